"""Memory: a training takes a few megabytes, whatever the data."""

import tracemalloc

import numpy as np
import pytest
from scipy.sparse import csr_array
from settings import plain


def peak_of(call):
    """Megabytes that were held at once on top of what was there."""
    call()  # compiles, and finds what is found once
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return (tracemalloc.get_traced_memory()[1] - before) / 1e6
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("batch_size", [200, None])
def test_a_fit_of_many_rows(batch_size):
    X = np.random.default_rng(0).standard_normal((200_000, 100), np.float32)
    y = (X[:, 0] > 0).astype(int)
    mlp = plain((10,), batch_size=batch_size, max_iter=1, standardize=True)
    # Class indices, where they are sorted; an epoch's order; 4 MB in the network.
    assert peak_of(lambda: mlp.fit(X, y)) < 12


@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_a_prediction_from_many_wide_rows(container):
    """Rows are standardised in blocks, and sparse ones made dense in blocks."""
    X = np.random.default_rng(0).standard_normal((20_000, 500), np.float32)
    mlp = plain((), max_iter=1, standardize=True).fit(X, (X[:, 0] > 0).astype(int))
    rows = container(X)
    assert peak_of(lambda: mlp.predict(rows)) < 8  # of 40 MB


def test_a_prediction_from_columns():
    """As a DataFrame has them: blocks of rows are copied."""
    X = np.asfortranarray(np.random.default_rng(0).standard_normal((200_000, 50)))
    mlp = plain((5,), max_iter=1).fit(X[:1000], X[:1000, 0] > 0)
    assert peak_of(lambda: mlp.predict(X)) < 10  # of 80 MB


def test_many_classes_and_few_features():
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20_000, 1)), rng.integers(0, 1000, 20_000)
    mlp = plain((48,), batch_size=None, max_iter=1)
    # One-hot targets or scores of all rows would be 160 MB.
    assert peak_of(lambda: mlp.fit(X, y)) < 15


def test_many_sparse_features():
    """Parameters, velocities and a gradient; and of the first two also those of the
    last epoch, which an interrupt leaves."""
    rng = np.random.default_rng(0)
    places = rng.integers(0, 300, 2000), rng.integers(0, 2**16, 2000)
    X = csr_array((np.ones(2000), places), shape=(300, 2**16))
    y = np.arange(300) % 2
    mlp = plain((48,), max_iter=2)
    megabytes = 2**16 * 48 * 8 / 1e6
    assert peak_of(lambda: mlp.fit(X, y)) < 5.5 * megabytes


def test_prediction_of_many_rows_needs_little_more_than_its_result(rng):
    X, y = rng.normal(size=(100_000, 20)), np.arange(100_000) % 10
    mlp = plain((48, 32), max_iter=1).fit(X[:1000], y[:1000])
    assert peak_of(lambda: mlp.predict_proba(X)) < 8 + 12


@pytest.mark.parametrize("early_stopping", [True, False])
def test_rows_that_are_chosen_are_not_copied(early_stopping):
    """Those to train on, or of weight 1."""
    X = np.random.default_rng(0).standard_normal((100_000, 100))
    y = (X[:, 0] > 0).astype(int)
    weight = None if early_stopping else np.arange(len(y)) % 2
    mlp = plain((10,), max_iter=1, early_stopping=early_stopping)
    assert peak_of(lambda: mlp.fit(X, y, weight)) < 20  # X has 80 MB
