"""Sample weights: exactly the objective they stand for."""

from functools import partial

import numpy as np
import pytest
from helpers import assert_close_network, assert_same_fit
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from settings import plain
from sklearn.base import clone

full_batch = partial(plain, (6,), batch_size=None, max_iter=30, random_state=0)


def assert_close_training(a, b):
    assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-9)
    assert_close_network(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.filterwarnings("ignore:The network has learned little")
@settings(max_examples=25, deadline=None)
@given(
    data=st.data(),
    class_weight=st.sampled_from([None, "balanced", {0: 2, 1: 1, 2: 3}]),
    learning_rate=st.sampled_from(["constant", "invscaling", "adaptive", "cosine"]),
)
def test_an_integer_weight_equals_repeating_the_row(
    iris, data, class_weight, learning_rate
):
    X, y = iris[0][::5], iris[1][::5]
    weight = np.array(data.draw(st.lists(st.integers(0, 4), min_size=30, max_size=30)))
    weight[[0, 10, 20]] = 1  # every class keeps a row
    make = partial(full_batch, class_weight=class_weight, alpha=0.8)
    weighted, repeated = (make(learning_rate=learning_rate) for _ in range(2))
    weighted.fit(X, y, sample_weight=weight)
    repeated.fit(np.repeat(X, weight, axis=0), np.repeat(y, weight))
    assert_close_training(weighted, repeated)


@settings(max_examples=25, deadline=None)
@given(factor=st.floats(1e-3, 1e3))
def test_scaling_weights_and_alpha_together_changes_nothing(iris, factor):
    X, y = iris
    weight = 1.0 + np.arange(150) % 3
    a = full_batch(alpha=0.5).fit(X, y, sample_weight=weight)
    b = full_batch(alpha=0.5 * factor).fit(X, y, sample_weight=weight * factor)
    assert_close_training(a, b)


@pytest.mark.parametrize("batch_size", [None, 32])
def test_zero_weight_equals_leaving_out_bit_for_bit(iris, batch_size):
    """Also in mini-batches, which are made of what counts; and 1 equals no weight."""
    X, y = iris
    weight = 1.0 * (np.arange(150) % 3 > 0)
    kept = weight > 0
    mlp = plain(batch_size=batch_size, max_iter=5, random_state=0)
    expected = clone(mlp).fit(X[kept], y[kept])
    assert_same_fit(expected, clone(mlp).fit(X, y, weight))
    assert_same_fit(expected, clone(mlp).fit(X[kept], y[kept], weight[kept]))


@pytest.mark.parametrize(
    ("weight", "said"),
    [
        (np.full(150, -1.0), "[Nn]egative"),
        (np.zeros(150), "(?i)zero"),
        (np.ones(149), r"\(149,\)"),
    ],
)
def test_bad_weights_are_refused(iris, weight, said):
    with pytest.raises(ValueError, match=said):
        full_batch().fit(*iris, sample_weight=weight)
