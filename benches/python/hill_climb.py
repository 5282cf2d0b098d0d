"""Times the PyPI package `hillclimbers` on the data that `benches/hill_climb.rs` wrote.

usage: python hill_climb.py FOLDER METRIC STEP MODELS

FOLDER holds y.npy [rows] and model_00.npy, ... [rows]. METRIC is rmse, auc, logloss, qwk or f1_macro; all but the first are
scikit-learn's. Prints one line of JSON: seconds, those of the processor, seconds of one call of the metric, weights, score.
"""

import contextlib
import io
import json
import sys
import time

import numpy as np
import pandas as pd
from hillclimbers import climb_hill, partial
from sklearn import metrics as m


def rmse(y, p):
    # NumPy on bare arrays: faster than scikit-learn's metric, whose checks would count against the package.
    d = y.to_numpy() - p.to_numpy()
    return -np.sqrt(np.dot(d, d) / d.size)


METRICS = {
    "rmse": rmse,
    "auc": m.roc_auc_score,
    "logloss": lambda y, p: -m.log_loss(y, p.clip(0, 1)),
    "qwk": lambda y, p: m.cohen_kappa_score(y, np.clip(np.round(p), y.min(), y.max()).astype(int), weights="quadratic"),
    "f1_macro": lambda y, p: m.f1_score(y, (p >= 0.5).astype(int), average="macro"),
}

folder, metric, step, models = sys.argv[1], METRICS[sys.argv[2]], float(sys.argv[3]), int(sys.argv[4])
names = [f"model_{k:02}" for k in range(models)]
train = pd.DataFrame({"y": np.load(f"{folder}/y.npy")})
oof = pd.DataFrame({name: np.load(f"{folder}/{name}.npy") for name in names})
if sys.argv[2] != "rmse":
    train = train.astype(int)
# "Test predictions" of the unit vectors come back as the weights.
test = pd.DataFrame(np.eye(models), columns=names)
start, processor = time.perf_counter(), time.process_time()
with contextlib.redirect_stdout(io.StringIO()):
    weights, blend = climb_hill(
        train=train, oof_pred_df=oof, test_pred_df=test, target="y", objective="maximize",
        eval_metric=partial(metric), negative_weights=True, precision=step,
        plot_hill=False, plot_hist=False, return_oof_preds=True,
    )
seconds, processor = time.perf_counter() - start, time.process_time() - processor
start = time.perf_counter()
score = metric(train["y"], pd.Series(blend))
one = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "processor": processor, "one": one, "weights": list(weights), "score": float(score)}))
