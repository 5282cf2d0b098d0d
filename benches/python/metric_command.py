"""A metric command that says how long its metric took, for `benches/hill_climb.rs`.

usage: python metric_command.py METRIC FILE

METRIC is pinball or logloss, both scikit-learn's. FILE gets one line of JSON: seconds in the metric, seconds until the first
array was asked for, number of calls.
"""

import time

begin = time.perf_counter()

import json
import sys

import numpy as np
from sklearn.metrics import log_loss, mean_pinball_loss


class Pipe:  # NumPy asks files for their position, which a pipe does not have
    read = sys.stdin.buffer.read


METRICS = {
    "pinball": lambda y, p: mean_pinball_loss(y, p, alpha=0.9),
    "logloss": lambda y, p: log_loss(y, np.clip(p, 0, 1)),
}
metric = METRICS[sys.argv[1]]
start = time.perf_counter() - begin
truth = np.lib.format.read_array(Pipe)
inside, calls = 0.0, 0
while sys.stdin.buffer.peek(1):
    blend = np.lib.format.read_array(Pipe)
    before = time.perf_counter()
    score = metric(truth[:, 0], blend[:, 0])
    inside += time.perf_counter() - before
    calls += 1
    print(score, flush=True)
with open(sys.argv[2], "w") as file:
    json.dump({"metric": inside, "start": start, "calls": calls}, file)
