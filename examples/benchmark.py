"""
Time and memory, side by side
=============================

Times MomentumMLPClassifier against scikit-learn's MLPClassifier and, where they are
installed (extra ``benchmark``), a PyTorch loop and skorch, all at the same settings;
and against the floor: the bare matrix products of the same training, in the same
shapes and number, written into buffers that exist.

All contenders of a row take turns in one process, after a warm-up each; a ratio is
the median over the rounds of that round's ratio. A row is believed only where the
contenders' training accuracies agree. Absolute times mean little on a shared machine.

    python examples/benchmark.py                       everything, twenty minutes
    python examples/benchmark.py --only seed,batch32   some workloads
    python examples/benchmark.py --csv table.csv
"""

import argparse
import csv
import os
import time
import tracemalloc
import warnings
from functools import partial
from itertools import pairwise

import joblib
import numpy as np
import scipy.sparse
from sklearn.base import clone
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_limits

from skmlp import MomentumMLPClassifier

try:
    import torch
except ImportError:
    torch = None
try:
    import skorch
except ImportError:
    skorch = None

MOMENTUM, ALPHA = 0.9, 0.3


# %%
# The contenders. Each trains on (X, y) and returns something that scores.


def ours(X, y, hidden, batch_size, rate, epochs):
    return MomentumMLPClassifier(
        hidden,
        alpha=ALPHA,
        batch_size=batch_size,
        learning_rate_init=rate,
        momentum=MOMENTUM,
        max_iter=epochs,
        random_state=0,
    ).fit(X, y)


def scikit_learn(X, y, hidden, batch_size, rate, epochs):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return MLPClassifier(
            hidden,
            activation="logistic",
            solver="sgd",
            alpha=ALPHA * batch_size / X.shape[0],  # it divides by the batch's size
            batch_size=batch_size,
            learning_rate_init=rate,
            momentum=MOMENTUM,
            nesterovs_momentum=False,
            max_iter=epochs,
            tol=0,
            n_iter_no_change=10**9,
            random_state=0,
        ).fit(X, y)


def torch_module(n_features, hidden, n_classes, dtype):
    layers = []
    for n_in, n_out in pairwise((n_features, *hidden)):
        layers += [torch.nn.Linear(n_in, n_out), torch.nn.Sigmoid()]
    layers.append(torch.nn.Linear((n_features, *hidden)[-1], n_classes))
    module = torch.nn.Sequential(*layers).to(getattr(torch, np.dtype(dtype).name))
    for layer in module[::2]:  # the same start for all: Glorot, biases 0
        torch.nn.init.xavier_uniform_(layer.weight)
        torch.nn.init.zeros_(layer.bias)
    return module


class TorchScore:
    def __init__(self, module):
        self.module = module

    def score(self, X, y):
        with torch.no_grad():
            return float(
                np.mean(self.module(torch.from_numpy(X)).argmax(1).numpy() == y)
            )


def torch_loop(X, y, hidden, batch_size, rate, epochs):
    torch.manual_seed(0)
    module = torch_module(X.shape[1], hidden, y.max() + 1, X.dtype)
    weights = [p for p in module.parameters() if p.ndim == 2]
    biases = [p for p in module.parameters() if p.ndim == 1]
    optimizer = torch.optim.SGD(
        [
            {"params": weights, "weight_decay": ALPHA / len(X)},
            {"params": biases, "weight_decay": 0.0},
        ],
        lr=rate,
        momentum=MOMENTUM,
    )
    loss = torch.nn.CrossEntropyLoss()
    inputs, targets = torch.from_numpy(X), torch.from_numpy(y)
    for _ in range(epochs):
        order = torch.randperm(len(X))
        for start in range(0, len(X), batch_size):
            rows = order[start : start + batch_size]
            optimizer.zero_grad()
            loss(module(inputs[rows]), targets[rows]).backward()
            optimizer.step()
    return TorchScore(module)


def skorch_net(X, y, hidden, batch_size, rate, epochs):
    torch.manual_seed(0)
    return skorch.NeuralNetClassifier(
        torch_module(X.shape[1], hidden, int(y.max()) + 1, X.dtype),
        criterion=torch.nn.CrossEntropyLoss,
        optimizer=torch.optim.SGD,
        optimizer__momentum=MOMENTUM,
        optimizer__weight_decay=ALPHA / len(X),
        lr=rate,
        batch_size=batch_size,
        iterator_train__shuffle=True,
        max_epochs=epochs,
        train_split=None,
        verbose=0,
    ).fit(X, y)


def floor(X, y, hidden, batch_size, rate, epochs):
    """The products of a training and nothing else."""
    rng = np.random.default_rng(0)
    sizes, dtype = (X.shape[1], *hidden, y.max() + 1), X.dtype
    W = [rng.standard_normal((b, a)).astype(dtype) for a, b in pairwise(sizes)]
    dW = [np.empty_like(w) for w in W]
    batches = [batch_size] * (len(X) // batch_size)
    if rest := len(X) % batch_size:
        batches.append(rest)
    buffers = {
        B: (
            [rng.standard_normal((n, B)).astype(dtype) for n in sizes],
            [rng.standard_normal((n, B)).astype(dtype) for n in sizes],
        )
        for B in set(batches)
    }
    small = 2 * batch_size * max(a * b for a, b in pairwise(sizes)) < 1e7
    with threadpool_limits(1 if small else None, user_api="blas"):
        for _ in range(epochs):
            for B in batches:
                A, dA = buffers[B]
                for layer, w in enumerate(W):
                    np.matmul(w, A[layer], out=A[layer + 1])
                for layer in reversed(range(len(W))):
                    np.matmul(dA[layer + 1], A[layer].T, out=dW[layer])
                    if layer:
                        np.matmul(W[layer].T, dA[layer + 1], out=dA[layer])


# %%
# The workloads.


def seed_digits():
    X, y = load_digits(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, test_size=0.33, random_state=111)
    X, _, y, _ = train_test_split(X, y, test_size=0.40, random_state=123)
    return X, y


def wide_data():
    X, y = make_classification(
        10_000, 784, n_informative=40, n_redundant=0, n_classes=10, class_sep=2,
        random_state=0,
    )  # fmt: skip
    return X, y


def sparse_data():
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((20_000, 5_000), density=0.01, format="csr", rng=rng)
    scores = X @ rng.standard_normal((5_000, 5))
    return X, scores.argmax(axis=1)


FITS = {  # name: (data, hidden, batch size, learning rate, epochs)
    "seed": (seed_digits, (48, 32), 721, 0.2, 1000),
    "batch200": (seed_digits, (48, 32), 200, 0.2, 200),
    "batch32": (seed_digits, (48, 32), 32, 0.05, 100),
    "wide": (wide_data, (256, 128), 256, 0.2, 4),
    "sparse": (sparse_data, (48,), 200, 0.2, 3),
}
SEARCHES = {  # ten alphas by five folds of the digits: (batch size, epochs)
    "grid-full": (None, 200),
    "grid-200": (200, 20),
    "grid-32": (32, 10),
}
ROWS = {"predict1": 1, "predict1000": 1_000, "predict200000": 200_000}


def contenders_of(workload):
    yield "ours", ours
    yield "MLPClassifier", scikit_learn
    if workload != "sparse":
        if torch is not None:
            yield "PyTorch", torch_loop
        if skorch is not None:
            yield "skorch", skorch_net
        yield "floor", floor


# %%
# Measuring.


def take_turns(calls, rounds):
    """Seconds (rounds, contenders); the first round is not counted."""
    seconds = []
    for _ in range(rounds + 1):
        row = []
        for call in calls:
            start = time.perf_counter()
            call()
            row.append(time.perf_counter() - start)
        seconds.append(row)
    return np.array(seconds[1:])


def peak_memory(call):
    """Megabytes that Python and numpy held at once on top of what was there."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def row_of(workload, dtype, names, seconds, memory):
    mine = seconds[:, :1]
    ratios = dict(zip(names, np.median(seconds / mine, axis=0), strict=True))
    row = {
        "workload": workload,
        "dtype": np.dtype(dtype).name,
        "seconds": f"{np.median(mine):.3g}",
    }
    for name in ("MLPClassifier", "PyTorch", "skorch"):
        row[name] = f"{ratios[name]:.2f}x" if name in ratios else ""
    row["ours/floor"] = f"{1 / ratios['floor']:.2f}" if "floor" in ratios else ""
    row["MB"], row["MB MLPClassifier"] = (f"{m:.1f}" for m in memory)
    row["plain n_jobs"] = ""
    return row


def measure_fit(workload, dtype, rounds):
    make, *settings = FITS[workload]
    X, y = make()
    X = X.astype(dtype)
    names, functions = zip(*contenders_of(workload), strict=True)
    calls = [partial(f, X, y, *settings) for f in functions]
    scores = {
        name: call().score(X, y)
        for name, call in zip(names, calls, strict=True)
        if name != "floor"
    }
    for name, score in scores.items():
        if abs(score - scores["ours"]) > 0.1:
            print(
                f"  {workload}: accuracies disagree, no claim against {name}: {scores}"
            )
    seconds = take_turns(calls, rounds)
    return row_of(workload, dtype, names, seconds, [peak_memory(c) for c in calls[:2]])


def measure_predict(workload, dtype, rounds):
    X, y = seed_digits()
    X = X.astype(dtype)
    models = [train(X, y, (48, 32), 200, 0.2, 20) for train in (ours, scikit_learn)]
    rows = np.resize(X, (ROWS[workload], X.shape[1]))
    repeats = max(1, 200 // len(rows))

    def predict(model):
        for _ in range(repeats):
            model.predict_proba(rows)

    calls = [partial(predict, model) for model in models]
    seconds = take_turns(calls, 10 * rounds) / repeats  # short turns: many of them
    memory = [peak_memory(call) for call in calls]
    return row_of(workload, dtype, ["ours", "MLPClassifier"], seconds, memory)


def measure_search(workload, dtype, rounds):
    """GridSearchCV: stacked, plain with two processes, and MLPClassifier's."""
    X, y = load_digits(return_X_y=True)
    X = X.astype(dtype)
    batch_size, epochs = SEARCHES[workload]
    n_train = len(X) * 4 // 5
    alphas = np.logspace(-2, 1, 10)
    common = {
        "hidden_layer_sizes": (48, 32),
        "learning_rate_init": 0.2,
        "momentum": MOMENTUM,
        "max_iter": epochs,
        "random_state": 0,
    }
    own = GridSearchCV(
        MomentumMLPClassifier(batch_size=batch_size, **common),
        {"alpha": alphas},
        n_jobs=-1,
        refit=False,
    )
    theirs = GridSearchCV(
        MLPClassifier(
            activation="logistic",
            solver="sgd",
            nesterovs_momentum=False,
            batch_size=batch_size or len(X),  # clipped to what a fold has
            tol=0,
            n_iter_no_change=10**9,
            **common,
        ),
        {"alpha": alphas * (batch_size or n_train) / n_train},
        n_jobs=-1,
        refit=False,
    )

    def stacked():
        with joblib.parallel_config(backend="skmlp"):
            return clone(own).fit(X, y)

    def quiet(search):
        os.environ["PYTHONWARNINGS"] = "ignore"  # for MLPClassifier's processes
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return clone(search).fit(X, y)

    calls = [stacked, partial(quiet, theirs), partial(quiet, own)]
    scores = [call().cv_results_["mean_test_score"] for call in calls]
    assert np.array_equal(scores[0], scores[2])
    if abs(scores[0].max() - scores[1].max()) > 0.05:
        print(f"  {workload}: accuracies disagree, no claim: {scores}")
    seconds = take_turns(calls, rounds)
    row = row_of(workload, dtype, ["ours", "MLPClassifier"], seconds[:, :2], (0, 0))
    row["MB"] = row["MB MLPClassifier"] = ""
    row["plain n_jobs"] = f"{np.median(seconds[:, 2] / seconds[:, 0]):.2f}x"
    return row


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default=",".join([*FITS, *SEARCHES, *ROWS]))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="also write the table to this file")
    parser.add_argument(
        "--small", action="store_true", help="for a first look: fewer epochs and rows"
    )
    args = parser.parse_args()
    if args.small:
        for workload, (*settings, epochs) in FITS.items():
            FITS[workload] = (*settings, max(epochs // 5, 1))
        for workload, (batch_size, epochs) in SEARCHES.items():
            SEARCHES[workload] = batch_size, epochs // 5
        ROWS["predict200000"] //= 5
    rows = []
    for workload in args.only.split(","):
        for dtype in (np.float64, np.float32):
            measure = (
                measure_fit
                if workload in FITS
                else measure_search
                if workload in SEARCHES
                else measure_predict
            )
            rows.append(measure(workload, dtype, args.rounds))
            if len(rows) == 1:
                print(" | ".join(f"{key:>13}" for key in rows[0]))
            print(" | ".join(f"{value:>13}" for value in rows[-1].values()), flush=True)
    print(
        "Columns named after a peer: its time divided by ours. MB: peak memory on top "
        "of what was there. grid-*: ours is the stacked search; plain n_jobs is our "
        "own search without stacking."
    )
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
