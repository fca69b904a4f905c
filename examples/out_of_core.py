"""
Larger than memory
==================

Trains on an array on disk that is larger than the memory this program allows itself.
You will see that loading the array fails, then a line for each pass over the blocks,
and at the end the accuracy beside that of a fit that held everything in memory, and
how much memory the training took.

The limit is on what the program allocates (RLIMIT_DATA, Linux); pages of the mapped
file belong to the system's cache, which takes them back when it needs them.
"""

import argparse
import resource
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from skmlp import MomentumMLPClassifier

N_FEATURES, N_CLASSES = 100, 5
HIDDEN, ALPHA, BATCH = (32,), 1.0, 200


def make_network(**params):
    return MomentumMLPClassifier(
        HIDDEN,
        alpha=ALPHA,
        batch_size=BATCH,
        learning_rate="constant",  # a stream has no end that a rate could fall towards
        random_state=0,
        **params,
    )


# %%
# The data: random points, labelled by a random network, written block by block.


def write_data(folder, n_samples, block):
    rng = np.random.default_rng(0)
    inner = rng.standard_normal((N_FEATURES, 12)) / 4
    outer = rng.standard_normal((12, N_CLASSES))
    X = np.lib.format.open_memmap(
        folder / "X.npy", "w+", np.float32, (n_samples, N_FEATURES)
    )
    y = np.empty(n_samples, dtype=np.int64)
    for start in range(0, n_samples, block):
        rows = slice(start, min(start + block, n_samples))
        part = rng.standard_normal((rows.stop - start, N_FEATURES), dtype=np.float32)
        X[rows] = part
        y[rows] = (np.tanh(part @ inner) @ outer).argmax(axis=1)
    X.flush()
    np.save(folder / "y.npy", y)


def in_memory_accuracy(folder, n_val, n_epochs):
    """What a fit reaches that holds all of it; runs in a process of its own."""
    X, y = np.load(folder / "X.npy"), np.load(folder / "y.npy")
    mlp = make_network(max_iter=n_epochs).fit(X[n_val:], y[n_val:])
    return mlp.score(X[:n_val], y[:n_val])


# %%
# The limit, and what is used of it.


def allocated():
    """Bytes of private memory, as RLIMIT_DATA counts them."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmData:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell")


def train_on_blocks(folder, n_val, n_epochs, block):
    X = np.load(folder / "X.npy", mmap_mode="r")
    y = np.load(folder / "y.npy", mmap_mode="r")
    X_val, y_val = np.array(X[:n_val]), np.array(y[:n_val])
    starts = np.arange(n_val, len(X), block)
    mlp = make_network()
    rng = np.random.default_rng(1)
    begin, before, most = time.perf_counter(), allocated(), 0
    for epoch in range(n_epochs):
        for start in rng.permutation(starts):
            rows = slice(start, start + block)
            mlp.partial_fit(X[rows], y[rows], classes=range(N_CLASSES))
            most = max(most, allocated())
        print(
            f"{time.perf_counter() - begin:5.1f} s  pass {epoch + 1} of {n_epochs}, "
            f"{len(starts)} blocks: validation accuracy {mlp.score(X_val, y_val):.4f}",
            flush=True,
        )
    return mlp.score(X_val, y_val), most - before


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=500_000)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--block", type=int, default=10_000)
    parser.add_argument("--limit", type=float, default=50, help="megabytes")
    args = parser.parse_args()
    n_val = args.block
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_data(folder, args.samples, args.block)
        size = (folder / "X.npy").stat().st_size / 1e6
        with ProcessPoolExecutor(1) as process:
            expected = process.submit(
                in_memory_accuracy, folder, n_val, args.epochs
            ).result()

        # Compiling, and what BLAS keeps for itself, come before the limit. (Where it
        # wants another buffer later, 32 MB, and gets none, it tries for ever.)
        few = np.zeros((args.block, N_FEATURES), np.float32)
        make_network(max_iter=1).fit(few, np.arange(len(few)) % N_CLASSES).predict(few)
        limit = allocated() + int(args.limit * 1e6)
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        resource.setrlimit(resource.RLIMIT_DATA, (limit, hard))
        print(f"{size:.0f} MB on disk; {args.limit:.0f} MB may be allocated.")
        try:
            np.load(folder / "X.npy")
        except MemoryError:
            print("Loading all of it: MemoryError, as it should.")
        else:
            raise SystemExit("the array fits into the limit: nothing is shown")
        # One thread: the stack of each other one (8 MB here) counts as allocated.
        with threadpool_limits(1, user_api="blas"):
            accuracy, used = train_on_blocks(folder, n_val, args.epochs, args.block)
    print(f"validation accuracy {accuracy:.4f}; all in memory it is {expected:.4f}")
    print(
        f"between blocks the training held {used / 1e6:.0f} MB at most, and never more "
        f"than the {args.limit:.0f} MB it was allowed"
    )
    assert abs(accuracy - expected) < 0.02


if __name__ == "__main__":
    main()
