"""What comes out: probabilities, their logarithms, scores, labels."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from settings import plain


@pytest.fixture(scope="module")
def fitted(digits):
    X, y = digits
    return plain(random_state=0, max_iter=20).fit(X, y), X


def test_methods_agree(fitted):
    mlp, X = fitted
    proba, scores = mlp.predict_proba(X), mlp.decision_function(X)
    assert proba.shape == scores.shape == (len(X), 10)
    assert_allclose(proba.sum(axis=1), 1, rtol=1e-14)
    assert_allclose(proba, np.exp(scores) / np.exp(scores).sum(axis=1)[:, None])
    assert_allclose(mlp.predict_log_proba(X), np.log(proba), rtol=1e-9, atol=1e-15)
    assert_array_equal(mlp.predict(X), mlp.classes_[proba.argmax(axis=1)])


def test_two_classes_have_one_column_of_scores(digits):
    X, y = digits
    X, y = X[y < 2], y[y < 2]
    mlp = plain(random_state=0, max_iter=5).fit(X, y)
    scores, log_proba = mlp.decision_function(X), mlp.predict_log_proba(X)
    assert scores.shape == (len(X),)
    assert_allclose(scores, log_proba[:, 1] - log_proba[:, 0], rtol=1e-10, atol=1e-13)
    assert_array_equal(mlp.predict(X), (scores > 0).astype(int))


def test_log_probabilities_never_underflow(digits):
    X, y = digits
    mlp = plain((), alpha=0, max_iter=20, random_state=0).fit(X / 16, y)
    far = X * 1e4
    assert mlp.predict_proba(far).min() < 1e-300
    log_proba = mlp.predict_log_proba(far)
    assert np.isfinite(log_proba).all()
    assert log_proba.min() < -1e3


def test_the_seeds_output_caps_probabilities(digits):
    X, y = digits
    mlp = plain(output_activation="logistic", alpha=0, random_state=0).fit(X, y)
    assert mlp.score(X, y) > 0.95
    assert 0.2 < mlp.predict_proba(X).max() <= np.e / (np.e + 9)


def test_many_rows_agree_with_few(fitted):
    """Predictions come in blocks; where the blocks end must not show."""
    mlp, X = fitted
    many = np.vstack([X] * 3)
    for method in ("predict_proba", "decision_function", "predict_log_proba"):
        whole = getattr(mlp, method)(many)
        rows = [getattr(mlp, method)(many[i : i + 1])[0] for i in range(0, 5000, 501)]
        assert_allclose(whole[::501][: len(rows)], rows, rtol=1e-10, atol=1e-12)
        assert_allclose(whole[: len(X)], whole[len(X) : 2 * len(X)], atol=1e-12)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations([0, 1, 2]), seed=st.integers(0, 99))
def test_renaming_classes_renames_predictions(iris, order, seed):
    """Permuting them is the same training with the output units in another order:
    start it there, and every column comes out where it went."""
    X, y = iris
    order = np.array(order)
    first, permuted = (
        plain((5,), max_iter=1, learning_rate_init=1e-300, warm_start=True,
              random_state=seed).fit(X, labels)
        for labels in (y, order[y])
    )  # fmt: skip
    permuted.coefs_[-1] = first.coefs_[-1][:, np.argsort(order)]
    for mlp, labels in (first, y), (permuted, order[y]):
        mlp.set_params(learning_rate_init=0.2, max_iter=3).fit(X, labels)
    assert_allclose(
        permuted.predict_proba(X)[:, order], first.predict_proba(X), rtol=1e-9
    )
