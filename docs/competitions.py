"""Makes three small competitions, each with members, for docs/blending.md.

usage: python competitions.py [FOLDER]

Folders churn (two classes), prices (a number) and animals (three classes) hold train.csv, sample_submission.csv, and a csv
a member in oof (out of fold, rows of train.csv) and test (rows of the sample). Needs scikit-learn.
"""

import csv
import pathlib
import sys

import numpy as np
from sklearn.datasets import make_classification, make_friedman1
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import cross_val_predict
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

TRAIN, TEST = 1200, 400
base = pathlib.Path(sys.argv[1] if len(sys.argv) > 1 else ".")


def write(path, header, *columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        out = csv.writer(file)
        out.writerow(header)
        out.writerows(zip(*columns))


def competition(name, target, x, y, members, method, classes=None):
    """`classes` names the columns of probabilities; without it the last column, or the number, is predicted."""
    folder, columns = base / name, classes or [target]
    ids = np.arange(x.shape[0]) + 5000
    features = [f"f{k}" for k in range(x.shape[1])]
    labels = y if classes is None else np.asarray(classes)[y]
    write(folder / "train.csv", ["id", *features, target], ids[:TRAIN], *x[:TRAIN].T, labels[:TRAIN])
    write(folder / "sample_submission.csv", ["id", *columns], ids[TRAIN:], *[np.zeros(TEST)] * len(columns))
    for member, model in members.items():
        oof = cross_val_predict(model, x[:TRAIN], y[:TRAIN], cv=5, method=method)
        test = getattr(model.fit(x[:TRAIN], y[:TRAIN]), method)(x[TRAIN:])
        for part, rows, p in (("oof", ids[:TRAIN], oof), ("test", ids[TRAIN:], test)):
            wanted = p.T if classes else [p if p.ndim == 1 else p[:, -1]]
            write(folder / part / f"{member}.csv", ["id", *columns], rows, *wanted)


classifiers = {
    "linear": LogisticRegression(max_iter=1000),
    "bayes": GaussianNB(),
    "neighbours": KNeighborsClassifier(25),
    "forest": RandomForestClassifier(60, random_state=1),
}
x, y = make_classification(TRAIN + TEST, 12, n_informative=6, class_sep=0.8, flip_y=0.1, random_state=1)
competition("churn", "churned", x, y, classifiers, "predict_proba")
x, y = make_friedman1(TRAIN + TEST, 8, noise=1.0, random_state=2)
regressors = {
    "linear": Ridge(),
    "neighbours": KNeighborsRegressor(10),
    "forest": RandomForestRegressor(60, random_state=1),
}
competition("prices", "price", x, y, regressors, "predict")
x, y = make_classification(TRAIN + TEST, 12, n_informative=6, n_classes=3, flip_y=0.1, random_state=3)
competition("animals", "animal", x, y, classifiers, "predict_proba", ["cat", "dog", "owl"])
