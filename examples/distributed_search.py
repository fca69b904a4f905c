"""
Larger than one machine
=======================

A grid search of a Pipeline on a Dask cluster, through joblib's dask backend, and a
training over the blocks of a Dask array where they lie. You will see the cluster's
scores beside the local ones (they are equal), and what the blocks taught.

Without arguments it starts a cluster of two processes here. The same code uses a
cluster that exists:

    python examples/distributed_search.py --scheduler tcp://ADDRESS:8786

Needs the extra ``distributed``.
"""

import argparse
import time
from itertools import chain

import dask.array as da
import joblib
import numpy as np
from dask_ml.wrappers import Incremental
from distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import MomentumMLPClassifier


def make_search(max_iter, folds, n_jobs=None):
    pipe = make_pipeline(
        StandardScaler(), MomentumMLPClassifier(max_iter=max_iter, random_state=0)
    )
    grid = {"momentummlpclassifier__alpha": np.logspace(-1, 2, 4)}
    return GridSearchCV(pipe, grid, cv=folds, n_jobs=n_jobs)


def compare_searches(client, X, y, max_iter):
    """The same search here and on the cluster."""
    folds = list(StratifiedKFold(3).split(X, y))
    start = time.perf_counter()
    local = make_search(max_iter, folds).fit(X, y)
    between = time.perf_counter()
    # Every worker gets the data and the folds' row numbers, so that one that dies
    # takes no only copy with it: the search then goes on without it. Dask's memory
    # manager would soon remove all copies but one.
    client.amm.stop()
    shared = [X, y, *chain.from_iterable(folds)]
    with joblib.parallel_config(backend="dask", scatter=shared):
        remote = make_search(max_iter, folds, n_jobs=-1).fit(X, y)
    print(f"local search {between - start:.1f} s, ", end="")
    print(f"on the cluster {time.perf_counter() - between:.1f} s")
    print(f"{'alpha':>8} {'local':>10} {'cluster':>10}")
    name = "mean_test_score"
    for params, here, there in zip(
        local.cv_results_["params"],
        local.cv_results_[name],
        remote.cv_results_[name],
        strict=True,
    ):
        (alpha,) = params.values()
        print(f"{alpha:8.3g} {here:10.6f} {there:10.6f}")
    assert np.array_equal(local.cv_results_[name], remote.cv_results_[name])
    assert local.best_params_ == remote.best_params_
    for a, b in zip(
        local.best_estimator_[-1].coefs_, remote.best_estimator_[-1].coefs_, strict=True
    ):
        assert np.array_equal(a, b)
    print("scores, best parameters and best weights are equal")


def learn_from_blocks(X, y, n_passes):
    """partial_fit over the blocks of a Dask array, on the workers that hold them."""
    blocks = da.from_array(X, chunks=(300, X.shape[1]))
    labels = da.from_array(y, chunks=300)
    mlp = MomentumMLPClassifier(random_state=0)
    learner = Incremental(mlp, shuffle_blocks=True, random_state=0)
    for i in range(n_passes):
        learner.partial_fit(blocks, labels, classes=np.unique(y))
        if (i + 1) % 5 == 0:
            score = learner.estimator_.score(X, y)
            print(
                f"pass {i + 1} over {blocks.numblocks[0]} blocks: accuracy {score:.4f}"
            )


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scheduler", help="address of a Dask scheduler")
    parser.add_argument("--max-iter", type=int, default=30)
    parser.add_argument("--passes", type=int, default=20)
    args = parser.parse_args()
    X, y = load_digits(return_X_y=True)
    cluster = args.scheduler or LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with Client(cluster) as client:
        print(f"{len(client.scheduler_info()['workers'])} workers")
        compare_searches(client, X, y, args.max_iter)
        learn_from_blocks(X, y, args.passes)
    if not args.scheduler:
        cluster.close()


if __name__ == "__main__":
    main()
