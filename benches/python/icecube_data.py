"""Events to tensors the usual way: a grouped table, one event at a time, arrays padded and stacked by the loader.

Prints events per second. Argument: a raw folder with test files and sensor_geometry.csv."""

import glob
import sys
import time

import numpy as np
import pandas as pd
import torch

LENGTH, BATCH, MOST = 192, 32, 4000
torch.set_num_threads(1)
raw = sys.argv[1]
geometry = pd.read_csv(f"{raw}/sensor_geometry.csv")[["x", "y", "z"]].values.astype(np.float32) / 500
efficiency = np.zeros(len(geometry), dtype=np.int64)
ice = pd.read_csv(f"{raw}/ice_transparency.txt", sep=r"\s+").values
depth = (ice[:, 0] - 1950) / 500
columns = [
    (c - np.median(c)) / (np.quantile(c, 0.75) - np.quantile(c, 0.25)) for c in (ice[:, 1], ice[:, 2])
]
pulses = pd.concat(pd.read_parquet(f).reset_index() for f in sorted(glob.glob(f"{raw}/test/*.parquet")))
groups = [
    {name: group[name].to_numpy() for name in ("sensor_id", "time", "charge", "auxiliary")}
    for _, group in list(pulses.groupby("event_id"))[:MOST]
]


def event(group):
    sensor = group["sensor_id"].astype(np.int64)
    n = len(sensor)
    kept = np.arange(n)
    if n >= LENGTH:
        order = torch.randperm(n).numpy()
        auxiliary = group["auxiliary"]
        first = order[np.where(~auxiliary)[0]][:LENGTH]
        rest = order[np.where(auxiliary)[0]][: LENGTH - len(first)]
        kept = np.sort(np.concatenate([first, rest]))
    m = len(kept)
    sensor = sensor[kept]
    pad = lambda values: np.pad(values, (0, LENGTH - m))
    position = np.zeros((LENGTH, 3), dtype=np.float32)
    position[:m] = geometry[sensor]
    clear = np.zeros((LENGTH, 2), dtype=np.float32)
    for place, values in enumerate(columns):
        clear[:m, place] = np.interp(position[:m, 2], depth, values)
    mask = torch.zeros(LENGTH, dtype=torch.bool)
    mask[:m] = True
    return {
        "sensor_id": torch.from_numpy(pad(sensor)),
        "time": torch.from_numpy(pad((group["time"][kept] - 1e4) / 3e4)).float(),
        "charge": torch.from_numpy(pad(np.log10(group["charge"][kept]) / 3)).float(),
        "pos": torch.from_numpy(position),
        "mask": mask,
        "auxiliary": torch.from_numpy(pad(group["auxiliary"][kept])).long(),
        "qe": torch.from_numpy(pad(efficiency[sensor])),
        "ice_properties": torch.from_numpy(clear),
        "L0": torch.tensor(n),
    }


def run():
    start = time.perf_counter()
    for begin in range(0, len(groups), BATCH):
        batch = [event(group) for group in groups[begin : begin + BATCH]]
        torch.utils.data.default_collate(batch)
    return len(groups) / (time.perf_counter() - start)


run()
print(run())
