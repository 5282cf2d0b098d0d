"""Times the PyPI package `hillclimbers` on the data that `benches/hill_climb.rs` wrote.

usage: python hill_climb.py FOLDER ROWS MODELS STEP
FOLDER holds y.f64 [ROWS] and p.f64 [MODELS, ROWS], little-endian doubles.
Prints one line of JSON: seconds, weights, score.
"""

import contextlib
import io
import json
import sys
import time

import numpy as np
import pandas as pd
from hillclimbers import climb_hill, partial


def negative_rmse(y, p):
    # NumPy on bare arrays: faster than scikit-learn's metrics, whose checks would count against the package.
    d = y.to_numpy() - p.to_numpy()
    return -np.sqrt(np.dot(d, d) / d.size)


folder, rows, models, step = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), float(sys.argv[4])
y = np.fromfile(f"{folder}/y.f64")
p = np.fromfile(f"{folder}/p.f64").reshape(models, rows)
names = [f"model_{k:02}" for k in range(models)]
train = pd.DataFrame({"y": y})
oof = pd.DataFrame({name: p[k] for k, name in enumerate(names)})
# "Test predictions" of the unit vectors come back as the weights.
test = pd.DataFrame(np.eye(models), columns=names)
start = time.perf_counter()
with contextlib.redirect_stdout(io.StringIO()):
    weights, blend = climb_hill(
        train=train, oof_pred_df=oof, test_pred_df=test, target="y", objective="maximize",
        eval_metric=partial(negative_rmse), negative_weights=True, precision=step,
        plot_hill=False, plot_hist=False, return_oof_preds=True,
    )
seconds = time.perf_counter() - start
print(json.dumps({"seconds": seconds, "weights": list(weights), "score": negative_rmse(train["y"], pd.Series(blend))}))
