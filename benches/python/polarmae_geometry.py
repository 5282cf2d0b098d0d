"""The other side of `benches/polarmae_geometry.rs`: fpsample, NumPy and h5py, one repetition for every line of input.

    python benches/python/polarmae_geometry.py FOLDER

FOLDER holds `small.npy`, `large.npy` (clouds, f32 [n, 3]) and `events.h5`. Needs numpy, h5py, fpsample. Every line of
standard input names what to do; the answer is its seconds.
"""

import os
import sys
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAYON_NUM_THREADS", "1")

import fpsample
import h5py
import numpy as np

folder = sys.argv[1]
clouds = {name: np.load(os.path.join(folder, f"{name}.npy")) for name in ("small", "large")}
samples = {"small": 1024, "large": 4096}


def plain(points, count):
    nearest = np.full(len(points), np.inf, np.float32)
    taken = np.zeros(count, np.int64)
    for i in range(1, count):
        nearest = np.minimum(nearest, ((points - points[taken[i - 1]]) ** 2).sum(1))
        taken[i] = nearest.argmax()
    return taken


def events():
    total = 0
    with h5py.File(os.path.join(folder, "events.h5"), "r", libver="latest", swmr=True) as file:
        points, clusters = file["point"], file["cluster"]
        for i in range(len(points)):
            total += points[i].reshape(-1, 8).shape[0] + clusters[i].reshape(-1, 5).shape[0]
    return total


for line in sys.stdin:
    what, _, name = line.strip().partition(" ")
    begun = time.perf_counter()
    if what == "bucket":
        # 7 levels of the tree at 50,000 points and 5 at 4,096 were the fastest of 3 to 9 here.
        fpsample.bucket_fps_kdline_sampling(clouds[name], samples[name], h={"small": 5, "large": 7}[name], start_idx=0)
    elif what == "numpy":
        plain(clouds[name], samples[name])
    elif what == "h5py":
        events()
    print(time.perf_counter() - begun, flush=True)
