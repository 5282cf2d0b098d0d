"""ClimSim netCDF files to normalised arrays of both chains with netCDF4-python and NumPy: the other side of
`benches/leap_prepare.rs`.

    python leap_prepare.py TRAIN CONSTANTS OUT

TRAIN holds YYYY-MM/*.nc, CONSTANTS a.f64 and b.f64 as the bench writes them, OUT the arrays to compare with.
Each file is read once; arrays of a month are written with numpy.save. Needs netCDF4 and numpy.
"""

import glob
import json
import os
import struct
import sys
import tempfile
import threading
import time

import netCDF4
import numpy as np

PROFILES = ["state_t", "state_q0001", "state_q0002", "state_q0003", "state_u", "state_v"]
GASES = ["pbuf_ozone", "pbuf_CH4", "pbuf_N2O"]
SCALARS = (
    "state_ps pbuf_SOLIN pbuf_LHFLX pbuf_SHFLX pbuf_TAUX pbuf_TAUY pbuf_COSZRS cam_in_ALDIF cam_in_ALDIR cam_in_ASDIF "
    "cam_in_ASDIR cam_in_LWUP cam_in_ICEFRAC cam_in_LANDFRAC cam_in_OCNFRAC cam_in_SNOWHLAND"
).split()
FLUXES = "NETSW FLWDS PRECSC PRECC SOLS SOLL SOLSD SOLLD".split()


def read(path):
    """Inputs and un-weighted targets of one step in training order, f64."""
    with netCDF4.Dataset(path) as mli, netCDF4.Dataset(path.replace(".mli.", ".mlo.")) as mlo:
        mli.set_auto_mask(False)
        mlo.set_auto_mask(False)
        before = {name: mli[name][:] for name in PROFILES}
        inputs = [mli[name][:][:, None] for name in SCALARS]
        inputs += [before[name].T for name in PROFILES] + [mli[name][:].T for name in GASES]
        targets = [mlo["cam_out_" + name][:][:, None] for name in FLUXES]
        targets += [((mlo[name][:] - before[name]) / 1200).T for name in PROFILES]
        return np.concatenate(inputs, 1), np.concatenate(targets, 1)


def watch(peak, stop):
    while not stop.is_set():
        with open("/proc/self/status") as status:
            rss = [int(line.split()[1]) for line in status if line.startswith("RssAnon")][0]
        peak[0] = max(peak[0], rss)
        time.sleep(0.01)


def prepare(train, constants, out):
    for month in sorted(os.listdir(train)):
        blocks = [read(path) for path in sorted(glob.glob(f"{train}/{month}/*.mli.*.nc"))]
        inputs = np.concatenate([b[0] for b in blocks])
        targets = np.concatenate([b[1] for b in blocks])
        del blocks
        for chain, (mean_x, std_x, mean_y, std_y, weight) in constants.items():
            np.save(f"{out}/{chain}_inputs.npy", ((inputs - mean_x) / std_x).astype(np.float32))
            np.save(f"{out}/{chain}_outputs.npy", ((targets * weight - mean_y) / std_y).astype(np.float32))
    for chain in constants:
        for kind in ("inputs", "outputs"):
            fd = os.open(f"{out}/{chain}_{kind}.npy", os.O_RDONLY)
            os.fsync(fd)
            os.close(fd)


def safetensors(path, name):
    with open(path, "rb") as file:
        size = struct.unpack("<Q", file.read(8))[0]
        entry = json.loads(file.read(size))[name]
    offset = 8 + size + entry["data_offsets"][0]
    return np.memmap(path, np.float32, "r", offset, tuple(entry["shape"]))


train, folder, ours = sys.argv[1:4]
constants = {}
for chain in "ab":
    numbers = np.fromfile(f"{folder}/{chain}.f64")
    constants[chain] = np.split(numbers, np.cumsum([556, 556, 368, 368]))
steps = len(glob.glob(f"{train}/*/*.mli.*.nc"))
for round_ in ("first", "second"):
    with tempfile.TemporaryDirectory(dir=folder) as out:
        peak, stop = [0], threading.Event()
        watcher = threading.Thread(target=watch, args=(peak, stop))
        watcher.start()
        start = time.perf_counter()
        prepare(train, constants, out)
        seconds = time.perf_counter() - start
        stop.set()
        watcher.join()
        same = all(
            np.array_equal(np.load(f"{out}/{chain}_{theirs}.npy"), safetensors(f"{ours}/{chain}/train_01_03.safetensors", name))
            for chain in "ab"
            for theirs, name in (("inputs", "inputs"), ("outputs", "targets"))
        )
    print(
        f"netCDF4-python, {round_} pass: {steps} steps in {seconds:.2f} s, {steps / seconds:.1f} steps/s, "
        f"peak anonymous {peak[0] / 1024:.0f} MiB, arrays {'equal' if same else 'DIFFER'}"
    )
