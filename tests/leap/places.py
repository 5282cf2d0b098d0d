"""Places, steps before, zonal means and made-up raw files with NumPy and netCDF4-python, written without our Rust code at hand.

    places.py arrays RAW ARRAYS STRIDE    compares prepared arrays (with `previous`) with the raw files that they came from
    places.py zonal ARRAYS OOF CSV        compares the table of `score --zonal` with sums over all rows
    places.py loss ARRAYS                 prints where and when the rows are, as networks learn it: sums of eight columns
    places.py raw FOLDER COLUMNS KIND     writes two steps and a grid file; KIND is `earth` or `aqua`
"""

import csv
import glob
import json
import math
import os
import sys

import netCDF4
import numpy as np

STATES = ["state_t", "state_q0001", "state_q0002", "state_q0003", "state_u", "state_v"]
GASES = ["pbuf_ozone", "pbuf_CH4", "pbuf_N2O"]
SCALARS = (
    "state_ps pbuf_SOLIN pbuf_LHFLX pbuf_SHFLX pbuf_TAUX pbuf_TAUY pbuf_COSZRS cam_in_ALDIF cam_in_ALDIR cam_in_ASDIF "
    "cam_in_ASDIR cam_in_LWUP cam_in_ICEFRAC cam_in_LANDFRAC cam_in_OCNFRAC cam_in_SNOWHLAND cam_in_SNOWHICE"
).split()
FLUXES = "NETSW FLWDS PRECSC PRECC SOLS SOLL SOLSD SOLLD".split()
DAYS = [31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]


def tensors(path):
    with open(path, "rb") as file:
        size = int.from_bytes(file.read(8), "little")
        header = json.loads(file.read(size))
    kinds = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32}
    return {
        name: np.memmap(path, kinds[e["dtype"]], "r", 8 + size + e["data_offsets"][0], tuple(e["shape"]))
        if 0 not in e["shape"]
        else np.zeros(e["shape"], kinds[e["dtype"]])
        for name, e in header.items()
        if name != "__metadata__"
    }


def moment(path):
    """Day of the year and second of the day; seconds since year 0."""
    year, month, day, second = (int(x) for x in os.path.basename(path).split(".")[-2].split("-"))
    of_year = sum(DAYS[: month - 1]) + day - 1
    return of_year, second, (year * 365 + of_year) * 86400 + second


def step(mli):
    """States before and after, `[columns, 6, 60]`."""
    with netCDF4.Dataset(mli) as before, netCDF4.Dataset(mli.replace(".mli.", ".mlo.")) as after:
        return [np.stack([np.asarray(d[name][:]).T for name in STATES], 1) for d in (before, after)]


def arrays(raw, path, stride):
    grid = netCDF4.Dataset(glob.glob(f"{raw}/*grid-info.nc")[0])
    lat, lon, area = (np.asarray(grid[name][:]) for name in ("lat", "lon", "area"))
    found = tensors(path)
    files = {moment(f)[2]: f for f in glob.glob(f"{raw}/train/*/*.mli.*.nc")}
    name = os.path.basename(path)
    if name.startswith("train_"):
        month = "00" + name[6:8] + "-" + name[9:11]
        chosen = sorted(t for t, f in files.items() if f"/{month}/" in f)
    else:
        last = max(f.split("/")[-2] for f in files.values())
        chosen = sorted(t for t, f in files.items() if f"/{last}/" in f)
    chosen = [t for t in chosen[::stride] if t - 1200 in files]
    columns = len(lat)
    assert found["inputs"].shape == (len(chosen) * columns, 556), (found["inputs"].shape, len(chosen), columns)
    # Normalisation as a line through two values of each column, from the arrays themselves.
    at = 0
    for i, t in enumerate(chosen):
        day, second, _ = moment(files[t])
        rows = slice(i * columns, (i + 1) * columns)
        place = np.stack([lat, lon, area, np.full(columns, day), np.full(columns, second)], 1).astype(np.float32)
        assert np.array_equal(found["places"][rows], place), (name, t)
        previous = np.asarray(found["previous"][rows])
        if i > 0 and chosen[i - 1] == t - 1200:
            assert np.array_equal(previous, np.arange(columns) + (i - 1) * columns), (name, t, previous)
            state = found["inputs"][previous, 16:376]
            tendency = found["targets"][previous, 8:]
        else:
            assert np.array_equal(previous, -1 - at - np.arange(columns)), (name, t, previous)
            state, tendency = np.split(found["earlier"][at : at + columns], 2, 1)
            at += columns
        # The same numbers as those of raw values before the step, by the map that normalised the step itself.
        before, after = step(files[t - 1200])
        now, then = step(files[t])
        for raw_now, raw_before, normal_now, normal_before in (
            (now, before, found["inputs"][rows, 16:376], state),
            ((then - now) / 1200, (after - before) / 1200, found["targets"][rows, 8:], tendency),
        ):
            x, y = raw_now.reshape(columns, 360), np.asarray(normal_now, np.float64)
            span = x.max(0) - x.min(0)
            good = (span > 1e-3 * np.abs(x).max(0)) & (span > 0)
            high, low = x.argmax(0), x.argmin(0)
            pick = np.arange(360)
            slope = (y[high, pick] - y[low, pick])[good] / span[good]
            shift = y[low, pick][good] - slope * x[low, pick][good]
            expected = raw_before.reshape(columns, 360)[:, good] * slope + shift
            size = np.abs(y[:, good]).max(0) + np.abs(expected).max(0) + np.abs(shift) * 1e-3
            far = np.abs(expected - np.asarray(normal_before, np.float64)[:, good]) / size
            assert good.sum() > 100 and far.max() < 2e-3, (name, t, good.sum(), far.max())
    assert at == len(found["earlier"]), (at, len(found["earlier"]))
    print(f"{name}: {len(chosen)} steps of {columns} columns, {at} rows earlier")


def zonal(path, oof, table):
    truth, predicted = tensors(path), tensors(oof)
    y, p = (np.asarray(t, np.float64) for t in (truth["targets"], predicted["predictions"]))
    mean, std = truth["target_mean"], truth["target_std"]
    weights = {r["target"]: r for r in csv.DictReader(open(table))}
    names = list(weights)
    lat, area = (np.asarray(truth["places"][:, c], np.float64) for c in (0, 2))
    lines, seen = 0, 0
    for row in csv.DictReader(open(table)):
        low, high = float(row["latitude_from"]), float(row["latitude_to"])
        inside = (lat >= low) & ((lat < high) | (high == 90))
        c = names.index(row["target"])
        assert int(row["rows"]) == inside.sum(), row
        w = area[inside] / area[inside].sum()
        t, e = y[inside, c], p[inside, c] - y[inside, c]
        bias, mse = (w * e).sum(), (w * e * e).sum()
        spread = (w * (t - (w * t).sum()) ** 2).sum()
        # The weight of the target cancels in ratios; where it is 0 everything is.
        if float(row["rmse"]) == 0:
            continue
        seen += 1
        unit = float(row["rmse"]) / math.sqrt(mse)
        assert abs(float(row["bias"]) / unit - bias) < 1e-9 * (abs(bias) + math.sqrt(mse)), row
        expected = (w * t).sum() + mean[c] / std[c]
        assert abs(float(row["truth"]) / unit - expected) < 1e-6 * (abs(expected) + abs(mean[c] / std[c]) + 1e-3), row
        if spread > 1e-9:
            r2 = 1 - mse / spread
            assert abs(float(row["r2"]) - r2) < 1e-6 * (1 + abs(r2)), (row, r2)
        if row["w_m2"]:
            assert abs(float(row["rmse_w_m2"]) / float(row["rmse"]) / float(row["w_m2"]) - 1) < 1e-9, row
        lines += 1
    assert lines > 368, lines
    print(f"{lines} lines of {table}")


def loss(path):
    lat, lon, _, day, second = np.asarray(tensors(path)["places"], np.float64).T
    part = second / 86400
    turns = [lat / 360, lon / 360, (day + part) / 365, part + lon / 360]
    columns = [f(2 * np.pi * turn) for turn in turns for f in (np.sin, np.cos)]
    print(json.dumps([float(c.sum()) for c in columns]))


def raw(folder, columns, kind):
    """Values that vary little, so that the files stay small; the layout is that of the published ones."""
    lat = np.degrees(np.arcsin(np.linspace(-0.999, 0.999, columns)))
    lon = np.linspace(0, 7200, columns) % 360
    os.makedirs(f"{folder}/train/0001-02", exist_ok=True)
    with netCDF4.Dataset(f"{folder}/ClimSim_{kind}_{columns}_grid-info.nc", "w", format="NETCDF3_64BIT_DATA") as grid:
        grid.createDimension("ncol", columns)
        for name, values in (("lat", lat), ("lon", lon), ("area", np.full(columns, 4 * np.pi / columns))):
            grid.createVariable(name, "f8", ("ncol",))[:] = values
    for second in (0, 1200):
        for which in ("mli", "mlo"):
            path = f"{folder}/train/0001-02/E3SM-MMF.{which}.0001-02-01-{second:05}.nc"
            with netCDF4.Dataset(path, "w") as file:
                file.createDimension("ncol", columns)
                file.createDimension("lev", 60)
                file.createVariable("ymd", "i4", ())[:] = 10201
                file.createVariable("tod", "i4", ())[:] = second
                after = which == "mlo"
                for name in STATES + ([] if after else GASES + ["state_pmid"]):
                    profile = np.linspace(1, 2, 60)[:, None] * (1 + 0.01 * after + 1e-5 * second)
                    values = np.repeat(profile + np.round(lat / 30)[None, :], columns // lat.size, 1)
                    v = file.createVariable(name, "f8", ("lev", "ncol"), zlib=True, complevel=1)
                    v[:] = values
                for name in ["cam_out_" + f for f in FLUXES] if after else SCALARS:
                    # No land, no ice on a planet of water.
                    dry = kind == "aqua" and ("ICE" in name or "LAND" in name)
                    values = np.zeros(columns) if dry else np.round(lat / 30) + 3
                    file.createVariable(name, "f8", ("ncol",), zlib=True, complevel=1)[:] = values


if __name__ == "__main__":
    command, *rest = sys.argv[1:]
    if command == "arrays":
        arrays(rest[0], rest[1], int(rest[2]))
    elif command == "zonal":
        zonal(*rest)
    elif command == "loss":
        loss(*rest)
    else:
        raw(rest[0], int(rest[1]), rest[2])
