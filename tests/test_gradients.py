"""The gradient against central differences, and the objective's law of batches."""

from contextlib import contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from skmlp import _epoch
from skmlp._epoch import Buffers, run_epoch
from skmlp._network import ACTIVATIONS, Architecture
from skmlp._prediction import Network
from skmlp._team import Team
from skmlp._training import State, Task

STEP = 1e-6


def central_differences(function, array):
    """d function() / d array, moving array's entries in place."""
    derivatives = np.empty_like(array)
    for index in np.ndindex(array.shape):
        value = array[index]
        array[index] = value + STEP
        above = function()
        array[index] = value - STEP
        below = function()
        array[index] = value
        derivatives[index] = (above - below) / (2 * STEP)
    return derivatives


def activated(name, Z):
    return {
        "logistic": lambda: 1 / (1 + np.exp(-Z)),
        "tanh": lambda: np.tanh(Z),
        "relu": lambda: np.where(Z > 0, Z, 0),
        "identity": lambda: Z,
    }[name]()


def objective(architecture, params, X, y, s, alpha):
    """J, from its definition and nothing else."""
    A, (_, activation, output_activation) = X, architecture.key
    *hidden, output = zip(*architecture.unpack(params), strict=True)
    for coef, intercept in hidden:
        A = activated(activation, A @ coef + intercept)
    A = activated(output_activation, A @ output[0] + output[1])
    P = np.exp(A) / np.exp(A).sum(axis=1, keepdims=True)
    data = -np.sum(s * np.log(P[np.arange(len(y)), y])) / s.sum()
    return data + alpha / (2 * s.sum()) * np.sum(params[: architecture.n_weights] ** 2)


def data_for(rng, n):
    """Rows, their labels and weights, and what standardises the features."""
    X, y = rng.normal(size=(n, 4)), np.arange(n) % 3
    X[rng.random(X.shape) < 0.3] = 0
    return X, y, rng.uniform(0.5, 3, n), rng.normal(size=4), rng.uniform(0.3, 3, 4)


def task_of(X, y, s, state, network, batch_size, rate=1.0, momentum=0.0):
    state.alpha_weight = float(len(y) if s is None else s.sum())
    parameters = {
        "alpha": 0.7, "momentum": momentum, "nesterovs_momentum": False,
        "shuffle": True, "power_t": 0.5, "verbose": False,
    }  # fmt: skip
    return Task(
        SimpleNamespace(**parameters),
        network, X, y, s, None, state, 1, batch_size, "constant", rate, rate,
    )  # fmt: skip


def start_of(architecture, rng):
    params = architecture.initial_params(rng, np.float64) + 0.1
    return State(params, np.zeros_like(params), seed=0)


@contextmanager
def small_groups(wanted):
    """Groups of 20 rows or more, in micro-batches of 8 at most, where wanted."""
    if not wanted:
        yield
        return
    with (
        patch.multiple(_epoch, ROWS_OF_MORE=20, GROUP_FLOPS=1),
        patch.object(Architecture, "micro_batch", lambda *args: 8),
    ):
        yield


@pytest.mark.parametrize("in_groups", [False, True])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("hidden", [(), (6,), (6, 5)])
@pytest.mark.parametrize("output_activation", ["identity", "logistic"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_whole_objective(
    activation, output_activation, hidden, weighted, container, in_groups
):
    """A step with a rate of 1 and no momentum is minus the gradient of J, penalty
    included; the loss it reports is J."""
    rng = np.random.RandomState(3)
    architecture = Architecture((4, *hidden, 3), activation, output_activation)
    X, y, s, *_ = data_for(rng, 70)
    state = start_of(architecture, rng)
    network = Network(architecture, state.params, None, None)
    task = task_of(container(X), y, s if weighted else None, state, network, len(y))
    s = s if weighted else np.ones(len(y))
    with small_groups(in_groups):
        buffers = Buffers(task)
    assert len(buffers.workspaces) == (3 if in_groups else 1)
    with Team(2 if in_groups else 1) as team:
        data_loss, penalty = run_epoch(task, buffers, team)
    args = architecture, state.params, X, y, s, 0.7
    gradient = central_differences(lambda: objective(*args), state.params)
    assert_allclose(state.params - buffers.params.P, gradient, rtol=1e-6, atol=1e-8)
    assert_allclose(data_loss, objective(*args[:-1], 0.0), rtol=1e-13)
    assert_allclose(data_loss + penalty, objective(*args), rtol=1e-13)


TINY = 2.0**-400  # a rate that moves nothing, and rounds nothing


def sum_of_steps(X, y, s, state, network, batch_size):
    """What the steps of an epoch add up to while the parameters stay."""
    task = task_of(X, y, s, state, network, batch_size, momentum=1.0, rate=TINY)
    buffers = Buffers(task)
    loss = sum(run_epoch(task, buffers, Team(1)))
    np.testing.assert_array_equal(buffers.params.P, state.params)
    return -buffers.params.V / TINY, loss


@settings(max_examples=40, deadline=None)
@given(
    n=st.integers(1, 40),
    seed=st.integers(0, 99),
    weighted=st.booleans(),
    container=st.sampled_from([np.asarray, csr_array]),
    standardised=st.booleans(),
    in_groups=st.booleans(),
)
def test_an_epochs_steps_add_up_to_the_gradient(
    n, seed, weighted, container, standardised, in_groups
):
    """b / N times their sum is the gradient of J, for every batch size, divisors of N
    or not, with weights as unequal as they may be; and the losses add up to J, with
    features standardised on the way or before."""
    rng = np.random.RandomState(seed)
    architecture = Architecture((4, 5, 3), "logistic", "identity")
    X, y, s, mean, scale = data_for(rng, n)
    s = s ** rng.randint(1, 8) if weighted else None
    if container is csr_array:  # zeros stay zeros, and all features have one scale
        mean, scale = np.zeros(4), np.full(4, scale[0])
    features, before = (None, None), X
    if standardised:
        features, before = (mean, scale), (X - mean) / scale
    state, rows = start_of(architecture, rng), container(X)
    network = Network(architecture, state.params, *features)
    args = architecture, state.params, before, y, np.ones(n) if s is None else s, 0.7
    J, whole = objective(*args), None
    with small_groups(in_groups):
        for batch_size in range(n, 0, -1):
            total, loss = sum_of_steps(rows, y, s, state, network, batch_size)
            total *= batch_size / n
            if whole is None:
                whole = total
                derivatives = central_differences(lambda: objective(*args), args[1])
                assert_allclose(whole, derivatives, rtol=1e-5, atol=1e-8)
            largest = np.abs(whole).max()
            assert_allclose(total, whole, rtol=1e-11, atol=1e-13 * largest)
            assert_allclose(loss, J, rtol=1e-12)
