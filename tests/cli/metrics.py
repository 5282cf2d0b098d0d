"""Writes small truths and predictions to a folder and prints what scikit-learn says about them, as JSON.

usage: python metrics.py FOLDER
"""

import json
import sys
import warnings

import numpy as np
from scipy.stats import spearmanr
from sklearn import metrics as m

warnings.filterwarnings("ignore")
folder, rng, cases = sys.argv[1], np.random.default_rng(7), []
ROWS = 60


def write(name, header, columns):
    with open(f"{folder}/{name}.csv", "w") as file:
        file.write(header + "\n")
        for row in zip(*columns):
            file.write(",".join(repr(x.item()) for x in row) + "\n")
    return f"{name}.csv"


def case(kind, y, members, scores, weighted, names=None, flags=()):
    """Every score with and without weights; `members` are arrays [rows] or [rows, columns], the columns with these names."""
    ids, w = np.arange(100, 100 + ROWS), rng.integers(0, 4, ROWS) + 0.5
    truth = write(f"{kind}_y", "id,y,w", [ids, y, w])
    files = {}
    for name, p in members.items():
        columns = [p] if p.ndim == 1 else list(p.T)
        header = "id," + ",".join(["p"] if p.ndim == 1 else names or [f"c{k}" for k in range(p.shape[1])])
        files[name] = write(f"{kind}_{name}", header, [ids, *columns])
    for metric, score in scores.items():
        for weights in [None, w] if metric in weighted else [None]:
            found = {name: float(score(y, p, weights)) for name, p in members.items()}
            cases.append({"kind": kind, "metric": metric, "truth": truth, **files, "scores": found,
                          "weighted": weights is not None, "flags": list(flags)})


numbers = {
    "rmse": lambda y, p, w: np.sqrt(m.mean_squared_error(y, p, sample_weight=w)),
    "mse": lambda y, p, w: m.mean_squared_error(y, p, sample_weight=w),
    "mae": lambda y, p, w: m.mean_absolute_error(y, p, sample_weight=w),
    "r2": lambda y, p, w: m.r2_score(y, p, sample_weight=w),
    "rmsle": lambda y, p, w: np.sqrt(m.mean_squared_log_error(y, p, sample_weight=w)),
    "mape": lambda y, p, w: m.mean_absolute_percentage_error(y, p, sample_weight=w),
    "spearman": lambda y, p, w: spearmanr(y, p).statistic,
    "pearson": lambda y, p, w: np.corrcoef(y, p)[0, 1],
}
y = rng.random(ROWS) * 4 + 0.5
for kind, digits in [("numbers", 15), ("ties", 0)]:
    truth = np.round(y, digits) + (0.0 if digits else 0.0)
    near = lambda s: np.round(np.abs(y + s * rng.standard_normal(ROWS)), digits)
    case(kind, truth, {"a": near(0.3), "b": near(1.0)}, numbers,
         ["rmse", "mse", "mae", "r2", "rmsle", "mape"])

probabilities = {
    "logloss": lambda y, p, w: m.log_loss(y, p, sample_weight=w, labels=[0, 1]),
    "brier": lambda y, p, w: m.brier_score_loss(y, p, sample_weight=w),
    "auc": lambda y, p, w: m.roc_auc_score(y, p, sample_weight=w),
    "average_precision": lambda y, p, w: m.average_precision_score(y, p, sample_weight=w),
}
labels = {
    "accuracy": lambda y, p, w: m.accuracy_score(y, p, sample_weight=w),
    "balanced_accuracy": lambda y, p, w: m.balanced_accuracy_score(y, p, sample_weight=w),
    "f1_macro": lambda y, p, w: m.f1_score(y, p, average="macro", sample_weight=w, zero_division=0),
    "f1_micro": lambda y, p, w: m.f1_score(y, p, average="micro", sample_weight=w, zero_division=0),
    "f1_weighted": lambda y, p, w: m.f1_score(y, p, average="weighted", sample_weight=w, zero_division=0),
    "mcc": lambda y, p, w: m.matthews_corrcoef(y, p, sample_weight=w),
    "qwk": lambda y, p, w: m.cohen_kappa_score(y, p, weights="quadratic", sample_weight=w),
}


def decided(score, decide):
    return lambda y, p, w: score(y, decide(p), w)


t = rng.standard_normal(ROWS)
y = (t > 0.3).astype(int)
p = {n: 1 / (1 + np.exp(-2 * (t + s * rng.standard_normal(ROWS)))) for n, s in (("a", 0.5), ("b", 1.5))}
two = {**labels, "f1": lambda y, p, w: m.f1_score(y, p, sample_weight=w, zero_division=0)}
for kind, change in [("two", lambda p: p), ("two_ties", lambda p: np.round(p, 1)), ("certain", np.round)]:
    changed = {n: change(v) for n, v in p.items()}
    case(kind, y, changed, probabilities, probabilities)
    case(kind + "_labels", y, changed, {n: decided(s, lambda p: (p >= 0.5).astype(int)) for n, s in two.items()}, two)
# One member says the same of every row.
flat = {"a": p["a"], "b": np.full(ROWS, 0.25)}
case("flat", y, flat, probabilities, probabilities)
sound = {n: s for n, s in two.items() if n not in ("qwk",)}
case("flat_labels", y, flat, {n: decided(s, lambda p: (p >= 0.5).astype(int)) for n, s in sound.items()}, sound)

grades = np.clip(np.round(t * 1.5 + 2), 0, 4).astype(int)
grades[grades == 3] = 4  # a label that no row has
regressed = {n: grades + s * rng.standard_normal(ROWS) for n, s in (("a", 0.4), ("b", 1.2))}
rounded = lambda p: np.clip(np.round(p), grades.min(), grades.max()).astype(int)
case("grades", grades, regressed, {n: decided(s, rounded) for n, s in labels.items()}, labels)

classes = rng.integers(0, 3, ROWS)


def shares(s):
    z = np.eye(3)[classes] * 2 + s * rng.standard_normal((ROWS, 3))
    e = np.exp(z)
    return e / e.sum(axis=1, keepdims=True)


three = {"a": shares(0.8), "b": shares(2.0)}
case("classes", classes, three, {
    "logloss": lambda y, p, w: m.log_loss(y, p, sample_weight=w, labels=[0, 1, 2]),
    "auc": lambda y, p, w: m.roc_auc_score(y, p, multi_class="ovr", average="macro", sample_weight=w),
}, ["logloss", "auc"])
case("classes_labels", classes, three, {n: decided(s, lambda p: p.argmax(axis=1)) for n, s in labels.items()}, labels)


def searched(score):
    return lambda y, p, w: max(score(y, (p >= t).astype(int), w) for t in [*np.unique(p), np.inf])


y = (t > 0.3).astype(int)
case("searched", y, p, {n: searched(two[n]) for n in ("accuracy", "f1", "mcc", "f1_macro", "balanced_accuracy")},
     ["f1", "accuracy"], flags=["--search-threshold"])

y = rng.random(ROWS) * 4
levels = [0.1, 0.25, 0.5, 0.9]
quantiles = {n: np.sort(y[:, None] + s * rng.standard_normal((ROWS, 4)), axis=1) for n, s in (("a", 0.5), ("b", 1.5))}
pinball = lambda y, p, w: 2 * np.mean([m.mean_pinball_loss(y, p[:, k], alpha=a, sample_weight=w) for k, a in enumerate(levels)])
case("quantiles", y, quantiles, {"crps": pinball}, ["crps"], [f"q{a}" for a in levels])


def of_draws(y, p, w):
    far = np.abs(p - y[:, None]).mean(axis=1)
    return np.average(far - np.abs(p[:, :, None] - p[:, None, :]).mean(axis=(1, 2)) / 2, weights=w)


draws = {n: y[:, None] + s * rng.standard_normal((ROWS, 7)) for n, s in (("a", 0.5), ("b", 1.5))}
case("draws", y, draws, {"crps": of_draws}, ["crps"])
print(json.dumps(cases))
