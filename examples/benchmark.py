"""
Time and memory, side by side
=============================

Times MomentumMLPClassifier against scikit-learn's MLPClassifier and, where they are
installed (extra ``benchmark``), a PyTorch loop and skorch, all at the same settings,
without standardised features; and against the floor: the bare matrix products of the
same training, in the same shapes and number, written into buffers that exist.

All contenders of a row take turns in one process, after a warm-up each; a ratio is
the median over the rounds of that round's ratio. Where the training accuracies
disagree there is no ratio. Absolute times mean little on a shared machine.

    python examples/benchmark.py                         everything, half an hour
    python examples/benchmark.py --only recipe,batch32   some workloads
    python examples/benchmark.py --csv table.csv
"""

import argparse
import csv
import os
import platform
import subprocess
import sys
import tempfile
import time
import tracemalloc
import warnings
from functools import partial
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from unittest.mock import patch

import joblib
import numpy as np
import scipy.sparse
from joblib.externals.loky import get_reusable_executor
from sklearn.datasets import load_digits, make_classification
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, train_test_split
from sklearn.neural_network import MLPClassifier
from threadpoolctl import threadpool_info, threadpool_limits

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


def common(hidden, batch_size, rate, epochs):
    return {
        "hidden_layer_sizes": hidden,
        "activation": "logistic",
        "batch_size": batch_size,
        "learning_rate": "constant",
        "learning_rate_init": rate,
        "momentum": MOMENTUM,
        "nesterovs_momentum": False,
        "max_iter": epochs,
        "early_stopping": False,
        "random_state": 0,
    }


def ours(X, y, *settings):
    return MomentumMLPClassifier(
        alpha=ALPHA, init_scale=1.0, standardize=False, **common(*settings)
    ).fit(X, y)


def scikit_learn(X, y, hidden, batch_size, rate, epochs):
    return MLPClassifier(
        solver="sgd",
        alpha=ALPHA * batch_size / X.shape[0],  # it divides by the batch's size
        n_iter_no_change=epochs,
        **common(hidden, batch_size, rate, epochs),
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
            classes = self.module(torch.from_numpy(X)).argmax(1).numpy()
        return float(np.mean(classes == y))


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
    """The products of a training and nothing else; small ones on one thread, as BLAS
    gives them more than they are worth."""
    rng = np.random.default_rng(0)
    sizes, dtype = (X.shape[1], *hidden, y.max() + 1), X.dtype
    W = [rng.standard_normal(shape).astype(dtype) for shape in pairwise(sizes)]
    dW = [np.empty_like(w) for w in W]
    whole, rest = divmod(len(X), batch_size)
    batches = [batch_size] * whole + [rest] * (rest > 0)
    buffers = {
        B: [[rng.standard_normal((B, n)).astype(dtype) for n in sizes] for _ in "Yd"]
        for B in set(batches)
    }
    is_small = 2 * batch_size * max(w.size for w in W) < 1e7
    with threadpool_limits(1 if is_small else None, user_api="blas"):
        for _ in range(epochs):
            for B in batches:
                Y, dY = buffers[B]
                for layer, w in enumerate(W):
                    np.matmul(Y[layer], w, out=Y[layer + 1])
                for layer in reversed(range(len(W))):
                    np.matmul(Y[layer].T, dY[layer + 1], out=dW[layer])
                    if layer:
                        np.matmul(dY[layer + 1], W[layer].T, out=dY[layer])


# %%
# The workloads.


def recipe_data():
    X, y = load_digits(return_X_y=True)
    X, _, y, _ = train_test_split(X / 16, y, test_size=0.33, random_state=111)
    X, _, y, _ = train_test_split(X, y, test_size=0.40, random_state=123)
    return X, y


def wide_data():
    return make_classification(
        10_000, 784, n_informative=40, n_redundant=0, n_classes=10, class_sep=2,
        random_state=0,
    )  # fmt: skip


def sparse_data():
    rng = np.random.default_rng(0)
    X = scipy.sparse.random_array((20_000, 5_000), density=0.01, format="csr", rng=rng)
    scores = X @ rng.standard_normal((5_000, 5))
    return X, scores.argmax(axis=1)


def data_of_many_features():
    X = np.random.default_rng(0).standard_normal((100, 20_000))
    return X, X[:, :5].argmax(axis=1)


def four_times_digits():
    X, y = load_digits(return_X_y=True)
    return np.tile(X, (4, 1)) / 16, np.tile(y, 4)


def data_in_column_order():
    """As a DataFrame has its numbers."""
    X = np.random.default_rng(0).standard_normal((100_000, 50))
    return np.asfortranarray(X), X[:, :5].argmax(axis=1)


def data_of_two_classes():
    X = np.random.default_rng(0).standard_normal((2_000, 5_000))
    return X, (X[:, :5].sum(axis=1) > 0).astype(int)


HIDDEN = (48, 32)
FITS = {  # name: (data, hidden, batch size, learning rate, epochs)
    "recipe": (recipe_data, HIDDEN, 721, 0.2, 1000),
    "batch200": (recipe_data, HIDDEN, 200, 0.2, 200),
    "batch32": (recipe_data, HIDDEN, 32, 0.05, 100),
    "wide": (wide_data, (256, 128), 256, 0.2, 4),
    "sparse": (sparse_data, (48,), 200, 0.5, 3),
    "manyfeatures": (data_of_many_features, (48,), 100, 0.002, 20),
    "full7188": (four_times_digits, HIDDEN, 7188, 0.2, 300),
    "columns": (data_in_column_order, (50,), 316, 0.05, 4),
    "twoclasses": (data_of_two_classes, (), 200, 0.001, 10),
}
ROWS = {"predict1": 1, "predict200000": 200_000}
SEARCHES = {  # ten alphas by five folds of the digits: (batch size, rate, epochs)
    "grid200": (200, 0.2, 20),
    "grid32": (32, 0.05, 10),
}
MEMORY_ROWS = {"memory": 1_000_000}
DTYPES = ("float64", "float32")
PAIR = ("ours", "MLPClassifier")
PEERS = ("MLPClassifier", "PyTorch", "skorch")
COLUMNS = ("workload", "dtype", "seconds", *PEERS, "ours/floor", "MB", "MB theirs")


def contenders_of(workload):
    yield "ours", ours
    yield "MLPClassifier", scikit_learn
    if workload in ("recipe", "batch200", "batch32", "wide", "full7188"):
        if torch is not None:
            yield "PyTorch", torch_loop
        if skorch is not None and workload != "wide":
            yield "skorch", skorch_net
        yield "floor", floor


# %%
# Measuring. Each of these yields the rows of a workload.


def take_turns(calls, rounds):
    """Seconds (rounds, contenders); the first round is not counted. A call may say
    itself what it took."""
    seconds = []
    for _ in range(rounds + 1):
        row = []
        for call in calls:
            start = time.perf_counter()
            said = call()
            took = time.perf_counter() - start
            row.append(said if isinstance(said, float) else took)
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


def row_of(workload, dtype, names=(), seconds=None, memory=()):
    row = dict.fromkeys(COLUMNS, "") | {"workload": workload, "dtype": dtype}
    if seconds is not None:
        row["seconds"] = f"{np.median(seconds[:, 0]):.3g}"
        for name, ratios in zip(names, (seconds / seconds[:, :1]).T, strict=True):
            if name in PEERS:
                row[name] = f"{np.median(ratios):.2f}x"
            elif name == "floor":
                row["ours/floor"] = f"{np.median(1 / ratios):.2f}"
    for name, megabytes in zip(("MB", "MB theirs"), memory, strict=False):
        row[name] = f"{megabytes:.1f}"
    return row


def with_agreement(workload, names, scores):
    """The names, with "" for those whose accuracy is not ours (None: no accuracy)."""
    for name, score in zip(names, scores, strict=True):
        if score is not None and abs(score - scores[0]) > 0.1:
            print(
                f"  {workload}: no claim against {name}, whose accuracy is {score:.3f} "
                f"where ours is {scores[0]:.3f}"
            )
            name = ""
        yield name


def measure_fit(workload, rounds):
    make, *settings = FITS[workload]
    X, y = make()
    names, functions = zip(*contenders_of(workload), strict=True)
    for dtype in DTYPES:
        rows = X.astype(dtype)
        calls = [partial(f, rows, y, *settings) for f in functions]
        models = [call() for call in calls]
        scores = [m if m is None else m.score(rows, y) for m in models]
        agreed = with_agreement(workload, names, scores)
        seconds = take_turns(calls, rounds)
        memory = [peak_memory(call) for call in calls[:2]]
        yield row_of(workload, dtype, agreed, seconds, memory)


def measure_predict(workload, rounds):
    X, y = recipe_data()
    for dtype in DTYPES:
        train = (X.astype(dtype), y, HIDDEN, 32, 0.05, 50)
        models = [ours(*train), scikit_learn(*train)]
        scores = [model.score(*train[:2]) for model in models]
        agreed = with_agreement(workload, PAIR, scores)
        rows = np.resize(X, (ROWS[workload], X.shape[1])).astype(dtype)
        repeats = max(1, 200 // len(rows))

        def predict(model, rows=rows, repeats=repeats):
            for _ in range(repeats):
                model.predict_proba(rows)

        calls = [partial(predict, model) for model in models]
        seconds = take_turns(calls, 10 * rounds) / repeats  # short turns: many of them
        memory = [peak_memory(call) for call in calls]
        yield row_of(workload, dtype, agreed, seconds, memory)


def measure_search(workload, rounds):
    """GridSearchCV in two processes, which exist and have compiled: the search that is
    done for the scores starts them."""
    X, y = load_digits(return_X_y=True)
    batch_size, *rest = SEARCHES[workload]
    n_train = len(X) * 4 // 5
    alphas = np.logspace(-2, 1, 10)
    settings = common(HIDDEN, batch_size, *rest)
    theirs = MLPClassifier(solver="sgd", n_iter_no_change=10_000, **settings)
    searches = [
        GridSearchCV(model, {"alpha": values}, n_jobs=2, refit=False)
        for model, values in (
            (
                MomentumMLPClassifier(init_scale=1.0, standardize=False, **settings),
                alphas,
            ),
            (theirs, alphas * batch_size / n_train),
        )
    ]
    # scikit-learn 1.6 does not tell its processes which warnings to ignore.
    with patch.dict(os.environ, PYTHONWARNINGS="ignore"):
        for dtype in DTYPES:
            calls = [partial(search.fit, X.astype(dtype), y) for search in searches]
            scores = [call().cv_results_["mean_test_score"].max() for call in calls]
            agreed = with_agreement(workload, PAIR, scores)
            yield row_of(workload, dtype, agreed, take_turns(calls, rounds))
    get_reusable_executor().shutdown()  # they were told to ignore all warnings


def in_new_process(code, **environment):
    """The number that a fresh interpreter prints; it can import this file."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", code],
        cwd=Path(__file__).parent,
        env=os.environ | environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return float(done.stdout)


def first_fit(dtype):
    X, y = load_digits(return_X_y=True)
    X = X.astype(dtype)
    start = time.perf_counter()
    ours(X, y, HIDDEN, 200, 0.2, 1)
    return time.perf_counter() - start


def measure_cold(workload, rounds):
    """The first fit of a process, without and with what another has compiled; and the
    import, against that of sklearn.neural_network."""
    names = ("cold: first", "cold: cached")
    for dtype in DTYPES:
        code = f"import benchmark; print(benchmark.first_fit('{dtype}'))"
        seconds = []
        for _ in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                twice = [in_new_process(code, NUMBA_CACHE_DIR=folder) for _ in range(2)]
            seconds.append(twice)
        for name, column in zip(names, np.array(seconds).T, strict=True):
            yield row_of(name, dtype, ["ours"], column[:, np.newaxis])
    code = (
        "import time; start = time.perf_counter(); import {}; "
        "print(time.perf_counter() - start)"
    )
    codes = [code.format(module) for module in ("skmlp", "sklearn.neural_network")]
    seconds = take_turns([partial(in_new_process, c) for c in codes], 4 * rounds)
    yield row_of("cold: import", "", PAIR, seconds)


def peak_resident(call):
    """Megabytes by which the process grew at most, where Linux counts them: of
    compiled code too."""
    if not os.path.exists("/proc/self/clear_refs"):
        return peak_memory(call)
    Path("/proc/self/clear_refs").write_text("5")  # the peak starts again from here

    def peak():
        words = Path("/proc/self/status").read_text().split()
        return int(words[words.index("VmHWM:") + 1]) * 1024 / 1e6

    before = peak()
    call()
    return peak() - before


def memory_of_fit(train, n_rows, batch_size):
    X = np.random.default_rng(0).standard_normal((n_rows, 100), np.float32)
    y = (X[:, 0] > 0).astype(int)
    train(X[:1000], y[:1000], HIDDEN, 200, 0.2, 1)  # compiles
    return peak_resident(partial(train, X, y, HIDDEN, batch_size, 0.2, 1))


def measure_memory(workload, rounds):
    n_rows = MEMORY_ROWS[workload]
    for name, batch_size in (("200", 200), ("full batch", n_rows)):
        memory = [
            in_new_process(
                "import benchmark as b; "
                f"print(b.memory_of_fit(b.{train.__name__}, {n_rows}, {batch_size}))"
            )
            for train in (ours, scikit_learn)
        ]
        yield row_of(f"{workload}: {name}", "float32", memory=memory)


def measure_busy(workload, rounds):
    """Processor time, beside a process that keeps a processor busy."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((3000, 50))
    y = (X[:, 0] > 0).astype(int)

    def processor_time(train):
        start = time.process_time()
        train(X, y, (50,), 3000, 0.2, 50)
        return time.process_time() - start

    calls = [partial(processor_time, train) for train in (ours, scikit_learn)]
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        yield row_of(workload, "float64", PAIR, take_turns(calls, rounds))
    finally:
        busy.kill()
        busy.wait()


# %%
# The program.

WORKLOADS = {
    **dict.fromkeys(FITS, measure_fit),
    **dict.fromkeys(ROWS, measure_predict),
    **dict.fromkeys(SEARCHES, measure_search),
    "busy": measure_busy,
    "cold": measure_cold,
    **dict.fromkeys(MEMORY_ROWS, measure_memory),
}


def workloads(text):
    names = text.split(",")
    for name in names:
        if name not in WORKLOADS:
            raise argparse.ArgumentTypeError(
                f"no workload is called {name!r}; there are {', '.join(WORKLOADS)}"
            )
    return names


def print_machine():
    cpuinfo = Path("/proc/cpuinfo")
    words = set(cpuinfo.read_text().split()) if cpuinfo.exists() else ()
    vectors = [word for word in ("avx2", "avx512f", "neon", "asimd") if word in words]
    packages = ["skmlp", "numpy", "scipy", "scikit-learn", "numba"]
    packages += [module.__name__ for module in (torch, skorch) if module is not None]
    vectors = " ".join(vectors) or platform.machine()
    blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    blas = sorted(f"{b['internal_api']} for {b.get('architecture')}" for b in blas)
    print(f"Machine: {vectors}, {joblib.cpu_count()} cores; BLAS: {', '.join(blas)}")
    print("Versions:", ", ".join(f"{name} {version(name)}" for name in packages))
    for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE"):
        if name in os.environ:
            print(f"WARNING: {name} is set: BLAS does not do here what it does alone")


def print_cells(cells):
    print(" | ".join(f"{cell:>13}" for cell in cells), flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=workloads, default=list(WORKLOADS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--csv", help="also write the table to this file")
    parser.add_argument(
        "--small", action="store_true", help="for a first look: fewer epochs and rows"
    )
    args = parser.parse_args()
    if args.small:
        for table in (FITS, SEARCHES):
            for workload, (*settings, epochs) in table.items():
                table[workload] = (*settings, max(epochs // 5, min(epochs, 4)))
        ROWS["predict200000"] //= 5
        MEMORY_ROWS["memory"] //= 5
    print_machine()
    print_cells(COLUMNS)
    rows = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for workload in args.only:
            for row in WORKLOADS[workload](workload, args.rounds):
                rows.append(row)
                print_cells(row.values())
    print(
        "Named after a peer: its time divided by ours (import: sklearn.neural_network "
        "and skmlp). MB: peak memory on top of what was there, ours and "
        "MLPClassifier's."
    )
    if args.csv:
        with open(args.csv, "w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
