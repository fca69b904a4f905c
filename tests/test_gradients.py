"""Every gradient against central differences, and the objective's law of batches."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from skmlp import _training
from skmlp._network import ACTIVATIONS, Architecture
from skmlp._training import Arrays, State, Task, run_epoch

STEP = 1e-6


def central_differences(function, array):
    """d function() / d array, moving array's entries in place."""
    slopes = np.empty_like(array)
    for index in np.ndindex(array.shape):
        kept = array[index]
        array[index] = kept + STEP
        above = function()
        array[index] = kept - STEP
        below = function()
        array[index] = kept
        slopes[index] = (above - below) / (2 * STEP)
    return slopes


def plain(name, Z):
    return {
        "logistic": lambda: 1 / (1 + np.exp(-Z)),
        "tanh": lambda: np.tanh(Z),
        "relu": lambda: np.where(Z > 0, Z, 0),
        "identity": lambda: Z,
    }[name]()


def objective(architecture, params, X, y, s, alpha):
    """J, from its definition and nothing else."""
    A = X.T
    *hidden, output = zip(*architecture.unpack(params), strict=True)
    for coef, intercept in hidden:
        A = plain(architecture.activation, coef.T @ A + intercept[:, None])
    A = plain(architecture.output_activation, output[0].T @ A + output[1][:, None])
    P = np.exp(A) / np.exp(A).sum(axis=0)
    data = -np.sum(s * np.log(P[y, np.arange(len(y))])) / s.sum()
    return data + alpha / (2 * s.sum()) * np.sum(params[: architecture.n_weights] ** 2)


def data_for(rng, n, container=np.asarray):
    X, y = rng.normal(size=(n, 4)), np.arange(n) % 3
    X[rng.random(X.shape) < 0.3] = 0
    return X, container(X), y, rng.uniform(0.5, 3, n)


def start_of(architecture, rng):
    params = architecture.initial_params(rng, np.float64) + 0.1
    return State(params, np.zeros_like(params), seed=0)


@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("output_activation", ["identity", "logistic"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_whole_objective(
    activation, output_activation, hidden, weighted, container, in_parts, monkeypatch
):
    """A step with a rate of 1 and no momentum is minus the slope of J, penalty
    included; the loss it reports is J."""
    if in_parts:
        monkeypatch.setattr(_training, "PART_NUMBERS", 1)
        monkeypatch.setattr(_training, "PART_ROWS", 32)
    rng = np.random.RandomState(3)
    architecture = Architecture((4, *hidden, 3), activation, output_activation)
    X, rows, y, s = data_for(rng, 70, container)
    state = start_of(architecture, rng)
    task = Task(
        architecture, rows, y, s if weighted else None, state, 1, len(y),
        alpha=0.7, learning_rate_init=1.0, momentum=0.0,
    )  # fmt: skip
    s = s if weighted else np.ones(len(y))
    arrays = Arrays(task)
    assert (arrays.part_size < len(y)) == in_parts
    data_loss, penalty = run_epoch(task, arrays)
    args = architecture, state.params, X, y, s, 0.7
    slopes = central_differences(lambda: objective(*args), state.params)
    assert_allclose(state.params - arrays.params, slopes, rtol=1e-6, atol=1e-8)
    assert_allclose(data_loss, objective(*args[:-1], 0.0), rtol=1e-13)
    assert_allclose(data_loss + penalty, objective(*args), rtol=1e-13)


TINY = 2.0**-400  # a rate that moves nothing, and rounds nothing


def sum_of_steps(architecture, X, y, s, batch_size, state):
    """What the steps of an epoch add up to while the parameters stay."""
    task = Task(
        architecture, X, y, s, state, 1, batch_size,
        alpha=0.7, learning_rate_init=TINY, momentum=1.0, shuffle=True,
    )  # fmt: skip
    arrays = Arrays(task)
    loss = sum(run_epoch(task, arrays))
    np.testing.assert_array_equal(arrays.params, state.params)
    return -arrays.velocity / TINY, loss


@settings(max_examples=30, deadline=None)
@given(
    n=st.integers(1, 40),
    seed=st.integers(0, 99),
    weighted=st.booleans(),
    container=st.sampled_from([np.asarray, csr_array]),
    in_parts=st.booleans(),
)
def test_an_epochs_steps_add_up_to_the_gradient(n, seed, weighted, container, in_parts):
    """b / N times their sum is the gradient of J, for every batch size, divisors of N
    or not, with weights as unequal as they may be; and the losses add up to J."""
    rng = np.random.RandomState(seed)
    architecture = Architecture((4, 5, 3), "logistic", "identity")
    _, rows, y, s = data_for(rng, n, container)
    s = s ** rng.randint(1, 8) if weighted else None
    state = start_of(architecture, rng)
    whole, J = sum_of_steps(architecture, rows, y, s, n, state)
    numbers = 1 if in_parts else 2**19
    with patch.multiple(_training, PART_NUMBERS=numbers, PART_ROWS=32):
        for batch_size in range(1, n + 1):
            total, loss = sum_of_steps(architecture, rows, y, s, batch_size, state)
            scale = np.abs(whole).max()
            assert_allclose(
                total * batch_size / n, whole, rtol=1e-11, atol=1e-13 * scale
            )
            assert_allclose(loss, J, rtol=1e-12)
