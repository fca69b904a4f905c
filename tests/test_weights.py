"""Sample weights: exactly the objective they stand for."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from skmlp import MomentumMLPClassifier


def full_batch(**params):
    return MomentumMLPClassifier(
        (6,), batch_size=None, max_iter=30, random_state=0, **params
    )


def assert_same_network(a, b, rtol=1e-9):
    assert_allclose(a.loss_curve_, b.loss_curve_, rtol=rtol)
    for one, other in zip(
        a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True
    ):
        assert_allclose(one, other, rtol=rtol, atol=1e-10)


@settings(max_examples=25, deadline=None)
@given(
    data=st.data(), class_weight=st.sampled_from([None, "balanced", {0: 2, 1: 1, 2: 3}])
)
def test_an_integer_weight_equals_repeating_the_row(iris, data, class_weight):
    X, y = iris[0][::5], iris[1][::5]
    weight = np.array(data.draw(st.lists(st.integers(0, 4), min_size=30, max_size=30)))
    weight[[0, 10, 20]] = 1  # every class keeps a row
    mlp = full_batch(class_weight=class_weight, alpha=0.8)
    weighted = mlp.fit(X, y, sample_weight=weight)
    repeated = full_batch(class_weight=class_weight, alpha=0.8)
    repeated.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert_same_network(weighted, repeated)


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(1e-3, 1e3))
def test_scaling_weights_and_alpha_together_changes_nothing(iris, factor):
    X, y = iris
    weight = 1.0 + np.arange(150) % 3
    a = full_batch(alpha=0.5).fit(X, y, sample_weight=weight)
    b = full_batch(alpha=0.5 * factor).fit(X, y, sample_weight=weight * factor)
    assert_same_network(a, b)


@pytest.mark.parametrize("batch_size", [None, 32, "auto"])
def test_zero_weight_equals_leaving_out_bit_for_bit(iris, batch_size):
    """Also in mini-batches: the batches are made of what counts."""
    X, y = iris
    weight = np.ones(150)
    weight[::3] = 0
    kept = weight > 0
    mlp = MomentumMLPClassifier(batch_size=batch_size, max_iter=5, random_state=0)
    a = mlp.fit(X, y, sample_weight=weight)
    curve, coefs = a.loss_curve_, a.coefs_
    b = mlp.fit(X[kept], y[kept], sample_weight=weight[kept])
    assert curve == b.loss_curve_
    for one, other in zip(coefs, b.coefs_, strict=True):
        assert_array_equal(one, other)


@pytest.mark.parametrize("batch_size", [None, 32])
def test_equal_weights_are_no_weights(iris, batch_size):
    X, y = iris
    mlp = MomentumMLPClassifier(batch_size=batch_size, max_iter=5, random_state=0)
    curve = mlp.fit(X, y).loss_curve_
    assert mlp.fit(X, y, sample_weight=np.ones(150)).loss_curve_ == curve


def test_bad_weights_are_refused(iris):
    X, y = iris
    mlp = full_batch()
    with pytest.raises(ValueError, match=r"[Nn]egative"):
        mlp.fit(X, y, sample_weight=np.full(150, -1.0))
    with pytest.raises(ValueError, match=r"(?i)zero"):
        mlp.fit(X, y, sample_weight=np.zeros(150))
    with pytest.raises(ValueError, match=r"\(149,\)"):
        mlp.fit(X, y, sample_weight=np.ones(149))
