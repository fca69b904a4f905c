"""The notebook's numbers, and the same numbers every time."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from reference import train_notebook
from settings import plain
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits


@pytest.fixture(scope="module")
def notebook_split(digits):
    X, y = digits
    X, _, y, _ = train_test_split(X, y, test_size=0.33, random_state=111)
    X, _, y, _ = train_test_split(X, y, test_size=0.40, random_state=123)
    return X, y


@pytest.mark.filterwarnings("ignore:The network has learned little")  # at alpha=30
@pytest.mark.parametrize("hidden", [(48, 32), (7,), (12, 9, 5)])
@pytest.mark.parametrize("alpha", [0.0, 0.599484, 30.0])
@pytest.mark.parametrize("seed", [0, 1, 111])
def test_training_equals_the_notebooks_equations(notebook_split, seed, alpha, hidden):
    X, y = notebook_split
    with threadpool_limits(1):  # several only wait for each other
        loss, weights, biases = train_notebook(
            X, y, hidden, seed=seed, lam=alpha, epochs=200
        )
    mlp = plain(hidden, batch_size=None, output_activation="logistic", alpha=alpha)
    mlp.set_params(max_iter=200, random_state=seed).fit(X, y)
    assert_allclose(mlp.loss_curve_, loss, rtol=0, atol=1e-10)
    for coef, W in zip(mlp.coefs_, weights, strict=True):
        assert_allclose(coef, W, rtol=0, atol=1e-10)
    for intercept, b in zip(mlp.intercepts_, biases, strict=True):
        assert_allclose(intercept, b[:, 0], rtol=0, atol=1e-10)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_initial_weights_are_the_notebooks_in_any_precision(iris, dtype):
    X, y = iris
    np.random.seed(5)
    drawn = [
        np.random.uniform(-bound, bound, shape)
        for shape in [(4, 48), (48, 32), (32, 3)]
        for bound in [np.sqrt(6.0) / np.sqrt(sum(shape))]
    ]
    # A rate too small to move a weight leaves the initial ones in sight.
    mlp = plain(random_state=5, max_iter=1, learning_rate_init=1e-30)
    mlp.fit(X.astype(dtype), y)
    for coef, expected in zip(mlp.coefs_, drawn, strict=True):
        assert_array_equal(coef, expected.astype(dtype))
    for intercept in mlp.intercepts_:
        assert_allclose(intercept, 0.0, atol=1e-29)


def test_the_loss_of_many_weights_is_as_exact_in_float32(rng):
    """Their squares add up to numbers that lose digits, unless in pieces (1.6e-5)."""
    X, y = rng.random_sample((20, 20_000)), np.arange(20) % 10
    mlp = plain((100,), alpha=20, batch_size=None, max_iter=1, random_state=0)
    expected = mlp.fit(X, y).loss_
    assert_allclose(mlp.fit(X.astype(np.float32), y).loss_, expected, rtol=1e-6)
