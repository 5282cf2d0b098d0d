"""Writes small truths and predictions to a folder and prints what scikit-learn says about them, as JSON.

usage: python metrics.py FOLDER
"""

import json
import sys
import warnings

import numpy as np
from scipy.stats import rankdata, spearmanr
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
    columns = [y] if y.ndim == 1 else list(y.T)
    targets = ["y"] if y.ndim == 1 else [f"y{k}" for k in range(y.shape[1])]
    truth = write(f"{kind}_y", ",".join(["id", *targets, "w"]), [ids, *columns, w])
    names = names or (None if y.ndim == 1 else targets)
    files = {}
    for name, p in members.items():
        columns = [p] if p.ndim == 1 else list(p.T)
        header = "id," + ",".join(["p"] if p.ndim == 1 else names or [f"c{k}" for k in range(p.shape[1])])
        files[name] = write(f"{kind}_{name}", header, [ids, *columns])
    for metric, score in scores.items():
        for weights in [None, w] if metric in weighted else [None]:
            found = {name: float(score(y, p, weights)) for name, p in members.items()}
            cases.append({"kind": kind, "metric": metric, "truth": truth, **files, "scores": found,
                          "weighted": weights is not None, "targets": targets, "flags": list(flags)})


def related(y, p, w):
    c = np.cov(y, p, aweights=w, bias=True)
    return c[0, 1] / np.sqrt(c[0, 0] * c[1, 1])


numbers = {
    "rmse": lambda y, p, w: np.sqrt(m.mean_squared_error(y, p, sample_weight=w)),
    "mse": lambda y, p, w: m.mean_squared_error(y, p, sample_weight=w),
    "mae": lambda y, p, w: m.mean_absolute_error(y, p, sample_weight=w),
    "r2": lambda y, p, w: m.r2_score(y, p, sample_weight=w),
    "rmsle": lambda y, p, w: np.sqrt(m.mean_squared_log_error(y, p, sample_weight=w)),
    "mape": lambda y, p, w: m.mean_absolute_percentage_error(y, p, sample_weight=w),
    "spearman": lambda y, p, w: spearmanr(y, p).statistic,
    "pearson": lambda y, p, w: related(y, p, w),
    "smape": lambda y, p, w: np.average(2 * np.abs(y - p) / (np.abs(y) + np.abs(p)), weights=w),
}


def or_zero(score):
    """Where scikit-learn has no answer, the score is 0."""
    def of(y, p, w):
        found = score(y, p, w)
        return found if np.isfinite(found) else 0.0
    return of


def ranked(y, p, w):
    return related(rankdata(y), rankdata(p), w)


y = rng.random(ROWS) * 4 + 0.5
for kind, digits in [("numbers", 15), ("ties", 0)]:
    truth = np.round(y, digits) + (0.0 if digits else 0.0)
    near = lambda s: np.round(np.abs(y + s * rng.standard_normal(ROWS)), digits)
    case(kind, truth, {"a": near(0.3), "b": near(1.0)}, numbers,
         ["rmse", "mse", "mae", "r2", "rmsle", "mape", "pearson", "smape"])
    case(kind + "_ranked", truth, {"a": near(0.3), "b": near(1.0)}, {"spearman": ranked}, ["spearman"])
# Nothing varies: in a member, in the truth, in both; and zeros in the truth.
flat, zeros = np.full(ROWS, 1.5), np.where(np.arange(ROWS) % 7 == 0, 0.0, y)
some = {n: numbers[n] for n in ("rmse", "mse", "mae", "r2", "rmsle")}
with_none = {n: or_zero(numbers[n]) for n in ("pearson", "spearman")}
case("flat_member", y, {"a": y + 0.1, "b": flat}, {**some, **with_none}, some)
case("flat_truth", flat, {"a": y, "b": flat}, {**some, **with_none}, some)
case("zeros", zeros, {"a": y, "b": y + 0.5}, {n: numbers[n] for n in ("mape", "rmse", "rmsle")}, ["mape"])
# Far from zero, where sums of squares lose digits.
case("far", y + 1e6, {"a": y - 3e6, "b": y * rng.random(ROWS)}, {n: numbers[n] for n in ("pearson", "spearman", "r2")},
     ["pearson", "r2"])
# Several targets count alike.
pair = np.stack([y, 10 * rng.random(ROWS) + 1], axis=1)


def each(score):
    return lambda y, p, w: np.mean([score(y[:, k], p[:, k], w) for k in range(y.shape[1])])


case("pair", pair, {"a": pair + 0.3, "b": np.abs(pair + rng.standard_normal(pair.shape))},
     {n: each(s) for n, s in numbers.items()}, ["rmse", "mse", "mae", "r2", "rmsle", "mape", "pearson"])
case("pair_flags", pair, {"a": pair + 0.3, "b": np.abs(pair + rng.standard_normal(pair.shape))},
     {"r2": lambda y, p, w: m.r2_score(y, p, sample_weight=w)}, ["r2"])

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
case("flat_labels", y, flat, {n: decided(or_zero(s), lambda p: (p >= 0.5).astype(int)) for n, s in two.items()}, two)
# Everything is the same and right, or wrong and certain.
same = {"a": np.full(ROWS, 0.9), "b": np.full(ROWS, 0.1)}
case("one_label", np.ones(ROWS, int), same,
     {n: decided(or_zero(s), lambda p: (p >= 0.5).astype(int)) for n, s in labels.items()}, labels)
case("wrong", y, {"a": 1.0 - y, "b": p["b"]}, probabilities, probabilities)
# Labels of -1 and 1, as support vector machines have them.
case("signs", 2 * y - 1, p, {n: (lambda s: lambda y, p, w: s((y + 1) // 2, p, w))(s) for n, s in probabilities.items()},
     probabilities)

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
case("classes_brier", classes, three,
     {"brier": lambda y, p, w: np.average(((p - np.eye(3)[y]) ** 2).sum(axis=1), weights=w)}, ["brier"])
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


def angle(y, p, w):
    unit = lambda v: v / np.linalg.norm(v, axis=1, keepdims=True)
    return np.average(np.arccos(np.clip((unit(y) * unit(p)).sum(axis=1), -1, 1)), weights=w)


vectors = rng.standard_normal((ROWS, 3))
case("vectors", vectors, {n: vectors + s * rng.standard_normal((ROWS, 3)) for n, s in (("a", 0.5), ("b", 1.5))},
     {"mean_angle": angle}, ["mean_angle"])
print(json.dumps(cases))
