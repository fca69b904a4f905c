"""Dask: a real cluster of separate processes, one of which may die."""

import os
import signal
from itertools import chain

import joblib
import numpy as np
import pytest
from helpers import assert_same_fit
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from skmlp import MomentumMLPClassifier, MomentumMLPClassifierCV

pytest.importorskip("distributed")
import dask.array as da
import dask.dataframe as dd
from dask_ml.wrappers import Incremental
from distributed import Client, LocalCluster

pytestmark = pytest.mark.filterwarnings("default")  # Dask's own are not ours


@pytest.fixture
def client():
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def data(digits):
    return digits[0][:600] / 16, digits[1][:600]


def kill_once(X, path, spared):
    """X; but the first other process that asks for it is killed."""
    if os.getpid() != spared and not path.exists():
        path.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return X


def test_alpha_is_chosen_on_the_cluster_as_it_is_locally(client, data):
    X, y = data
    local, remote = (
        MomentumMLPClassifierCV((5,), max_iter=10, random_state=0) for _ in range(2)
    )
    local.fit(X, y)
    with joblib.parallel_config(backend="dask"):
        remote.fit(X, y)
    assert (local.scores_ == remote.scores_).all()
    assert_same_fit(local, remote)


@pytest.mark.parametrize("kills", [False, True])
def test_a_search_on_the_cluster_equals_the_local_one(client, data, tmp_path, kills):
    """Though a worker be killed while it trains."""
    path, folds = tmp_path / "killed", list(StratifiedKFold(3).split(*data))
    if not kills:
        path.touch()
    pipe = make_pipeline(
        FunctionTransformer(kill_once, kw_args={"path": path, "spared": os.getpid()}),
        MomentumMLPClassifier((10,), max_iter=10, batch_size=50, random_state=0),
    )
    grid = {"momentummlpclassifier__alpha": [0.1, 1.0, 10.0]}
    search = GridSearchCV(pipe, grid, cv=folds, n_jobs=-1)
    local = clone(search).set_params(n_jobs=1).fit(*data)
    workers = set(client.run(os.getpid).values())
    # scatter: every worker holds the data and the folds' row numbers, so that none
    # takes an only copy with it: Dask cannot make scattered data again. Its memory
    # manager would soon remove all copies but one.
    client.amm.stop()
    shared = [*data, *chain.from_iterable(folds)]
    with joblib.parallel_config(backend="dask", scatter=shared):
        remote = search.fit(*data)  # a clone would have copies of the folds
    assert path.exists()
    assert len(workers - set(client.run(os.getpid).values())) == kills
    name = "mean_test_score"
    assert_array_equal(local.cv_results_[name], remote.cv_results_[name])
    assert local.best_params_ == remote.best_params_
    assert_same_fit(local.best_estimator_[-1], remote.best_estimator_[-1])


def learn_blocks(X, y):
    learner = Incremental(
        MomentumMLPClassifier((10,), random_state=0), shuffle_blocks=False
    )
    return learner.fit(X, y, classes=range(10)).estimator_


def learn_locally(X, y, sizes):
    mlp = MomentumMLPClassifier((10,), random_state=0)
    ends = np.cumsum(sizes)[:-1]
    for X_block, y_block in zip(np.split(X, ends), np.split(y, ends), strict=True):
        mlp.partial_fit(X_block, y_block, classes=range(10))
    return mlp


def test_blocks_of_a_dask_array(client, data):
    X, y = data
    mlp = learn_blocks(da.from_array(X, chunks=(150, 64)), da.from_array(y, chunks=150))
    assert mlp.n_iter_ == 4
    assert_same_fit(mlp, learn_locally(X, y, [150] * 4))


def test_blocks_of_parquet_files(client, data, tmp_path):
    pytest.importorskip("pyarrow")
    import pandas as pd

    X, y = data
    for i in range(3):
        rows = slice(i * 200, (i + 1) * 200)
        frame = pd.DataFrame(X[rows]).rename(columns=str).assign(label=y[rows])
        frame.to_parquet(tmp_path / f"part{i}.parquet")
    table = dd.read_parquet(tmp_path).persist()
    features = table.drop(columns="label").to_dask_array(lengths=True)
    mlp = learn_blocks(features, table["label"].to_dask_array(lengths=True))
    (sizes, _) = features.chunks
    assert len(sizes) > 1
    assert_same_fit(mlp, learn_locally(X, y, sizes))
