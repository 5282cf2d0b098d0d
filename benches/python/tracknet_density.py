"""The hit-density map as `hit-density` defines it, with NumPy and pandas; compares it with ours and prints its seconds.

    python tracknet_density.py FOLDER_OF_EVENTS OUR_MAP.npz
"""

import pathlib
import sys
import time

import numpy as np
import pandas as pd

folder, ours = pathlib.Path(sys.argv[1]), np.load(sys.argv[2])
files = sorted(folder.glob("event*-hits.csv"))
voxel = np.float32(100.0)

start = time.perf_counter()
events = [pd.read_csv(f, usecols=["x", "y", "z"], dtype=np.float32).to_numpy() for f in files]
low = np.min([e.min(axis=0) for e in events], axis=0) - np.float32(10.0)
high = np.max([e.max(axis=0) for e in events], axis=0) + np.float32(10.0)
shape = np.ceil((high - low) / voxel).astype(int)
counts = np.zeros(int(shape.prod()), dtype=np.int64)
for event in events:
    index = np.floor((event - low) / voxel).astype(int)
    inside = ((index >= 0) & (index < shape)).all(axis=1)
    flat = np.ravel_multi_index(index[inside].T, shape)
    counts += np.bincount(flat, minlength=counts.size)
density = (counts / len(events)).astype(np.float32)
centres = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), axis=-1).reshape(-1, 3)
centres = centres * float(voxel) + low.astype(np.float64) + float(voxel) / 2
np.savez(folder / "map-numpy.npz", density_map=density, voxel_centers=centres, occupied_mask=density > 0)
seconds = time.perf_counter() - start

assert (ours["shape"] == shape).all() and np.allclose(ours["density_map"], density, atol=1e-6), "the maps differ"
print(seconds)
