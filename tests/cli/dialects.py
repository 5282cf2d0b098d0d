"""Writes one truth and two members in the forms in which pandas, NumPy and safetensors leave them, and prints as JSON which
arguments `hill-climb search` is to be asked with and which RMSE the member `a` has then.

usage: python dialects.py FOLDER
"""

import json
import os
import sys

import numpy as np
import pandas as pd
from safetensors.numpy import save_file

os.chdir(sys.argv[1])
rng, cases, ROWS = np.random.default_rng(3), [], 40
y = rng.random(ROWS) * 4
a, b = y + rng.normal(0, 0.3, ROWS), y + rng.normal(0, 0.5, ROWS)
ids, order = np.arange(100, 100 + ROWS), rng.permutation(ROWS)
halves = a.astype("float16").astype(float)


def rmse(p, rows=slice(None)):
    return float(np.sqrt(np.mean((y - p)[rows] ** 2)))


def case(args, expected=rmse(a)):
    cases.append({"args": args.split(), "rmse": expected})


def truth(name, ids=ids, **more):
    frame = pd.DataFrame({"id": ids, "text": [f'he said "no"\nand, well, {i}' for i in ids], "target": y} | more)
    frame.to_csv(f"{name}.csv", index=False)
    pd.DataFrame({"id": ids, "target": b}).to_csv(f"{name}_b.csv", index=False)


truth("t")
frame = pd.DataFrame({"id": ids, "target": a})
moved = frame.iloc[order]
moved.to_csv("index.csv")
moved.to_parquet("index.parquet")
frame.set_index("id").to_parquet("count.parquet")
frame.set_index("id").rename_axis(None).to_parquet("nameless.parquet")
moved.set_index("id").rename_axis(None).to_csv("nameless.csv")
moved.set_index("id").to_parquet("labels.pq")
moved.to_csv("tabs.tsv", index=False, sep="\t")
moved.astype({"id": float}).to_csv("floats.csv.gz", index=False)
moved.assign(note="two\r\nlines").to_csv("lines.csv", index=False)
moved.reset_index().rename(columns={"target": "guess"}).to_csv("counted.csv", index=False)
moved.astype({"id": "uint64", "target": "Float64"}).to_parquet("wide.parquet")
for name in ["index.csv", "index.parquet", "count.parquet", "nameless.parquet", "nameless.csv", "labels.pq", "tabs.tsv",
             "floats.csv.gz", "lines.csv", "counted.csv", "wide.parquet"]:
    case(f"-t t.csv --target target a={name} b=t_b.csv")

# Ids of every kind.
for name, kind in {"big": ids + 2**60, "huge": ids.astype("uint64") + np.uint64(2**63), "zeros": [f"{i:08d}" for i in ids],
                   "parts": ids + 0.25}.items():
    truth(name, kind)
    frame.assign(id=kind).iloc[order].to_csv(f"{name}_a.csv", index=False)
    frame.assign(id=kind).iloc[order].to_parquet(f"{name}_a.parquet")
    for ending in ["csv", "parquet"]:
        case(f"-t {name}.csv --target target a={name}_a.{ending} b={name}_b.csv")

# Days and times, as csv and as parquet have them.
for name, kind in {"days": pd.Timestamp("2024-02-27") + pd.to_timedelta(ids, unit="D"),
                   "times": pd.Timestamp("1969-12-31T23:59:59.25") + pd.to_timedelta(ids * 7, unit="s"),
                   "zoned": pd.Timestamp("2024-02-27", tz="UTC") + pd.to_timedelta(ids, unit="h")}.items():
    truth(name, kind)
    for unit in ["ms", "us", "ns"]:
        frame.assign(id=kind.as_unit(unit)).iloc[order].to_parquet(f"{name}_{unit}.parquet", row_group_size=7)
        case(f"-t {name}.csv --target target a={name}_{unit}.parquet b={name}_b.csv")
frame.assign(id=(pd.Timestamp("2024-02-27") + pd.to_timedelta(ids, unit="D")).date).to_parquet("dates.parquet")
case("-t days.csv --target target a=dates.parquet b=days_b.csv")
moved.to_csv("bars.csv", index=False, sep="|")
case("-t t.csv --target target a=bars.csv b=t_b.csv")

# A table of members with their truth beside them, and one with folds.
pd.DataFrame({"id": ids, "target": y, "a": a, "b": b}).iloc[order].to_csv("beside.csv", index=False)
case("-t t.csv --target target beside.csv")
pd.DataFrame({"id": ids, "target": y, "a": a, "b": b, "fold": ids % 3}).to_csv("folded.csv", index=False)
case("-t folded.csv --target target --fold-column fold --wide folded.csv")

# A solution whose ignored rows hold nonsense.
usage = np.where(ids % 3 == 0, "Public", np.where(ids % 3 == 1, "Private", "Ignored"))
solution = pd.DataFrame({"id": ids, "target": np.where(usage == "Ignored", -999, y), "Usage": usage})
solution.to_csv("solution.csv", index=False)
case("-t solution.csv a=index.csv b=t_b.csv", rmse(a, usage != "Ignored"))

# Holes in whole numbers and truths.
whole = pd.DataFrame({"id": ids, "target": pd.array(np.round(y), dtype="Int64")})
whole.loc[4, "target"] = pd.NA
whole.to_parquet("holes.parquet")
known = np.arange(ROWS) != 4
case("-t holes.parquet --mask-missing a=index.csv b=t_b.csv", float(np.sqrt(np.mean((np.round(y) - a)[known] ** 2))))

# Arrays.
np.save("y.npy", y)
np.save("b.npy", b[:, None])
np.save("half.npy", a.astype("float16"))
np.save("order.npy", np.asfortranarray(a[:, None].astype(">f8")))
np.savez("one.npz", target=y)
np.savez("ids.npz", oof=a[order], id=ids[order])
np.savez("texts.npz", oof=a[order], id=np.array([f"{i:08d}" for i in ids])[order])
save_file({"oof": a, "test": b[:5]}, "pair.safetensors")
save_file({"predictions": a.astype("float16")}, "half.safetensors")
case("-t y.npy a=half.npy b=b.npy", rmse(halves))
case("-t y.npy a=order.npy b=b.npy")
case("-t one.npz a=pair.safetensors b=b.npy")
case("-t one.npz a=half.safetensors b=b.npy", rmse(halves))
case("-t t.csv --target target a=ids.npz b=t_b.csv")
case("-t zeros.csv --target target a=texts.npz b=zeros_b.csv")
print(json.dumps(cases))
