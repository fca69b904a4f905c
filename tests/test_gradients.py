"""Every gradient against central differences, and the loss against hand values."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.sparse import csr_array

from skmlp._batches import Batch
from skmlp._layers import ACTIVATIONS, InputLayer, Layer, replay
from skmlp._loss import SoftmaxCrossEntropy, log_softmax, softmax
from skmlp._network import Architecture
from skmlp._training import Stack, State, Task, run_epoch

M, N_IN, N_OUT, B = 2, 4, 3, 5
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


def make_layer(kind, activation, rng):
    coef, intercept = rng.normal(size=(M, N_IN, N_OUT)), rng.normal(size=(M, N_OUT))
    gradients = np.empty_like(coef), np.empty_like(intercept)
    layer = kind(coef, intercept, *gradients, activation)
    return layer, coef, intercept


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_layer(activation, rng):
    layer, coef, intercept = make_layer(Layer, activation, rng)
    A, weights = rng.normal(size=(M, N_IN, B)), rng.normal(size=(M, N_OUT, B))
    Y, dY, dA = np.empty((M, N_OUT, B)), weights.copy(), np.empty_like(A)

    def objective():
        replay(layer.forward(A, Y))
        return np.sum(weights * Y)

    expected = [central_differences(objective, x) for x in (coef, intercept, A)]
    objective()
    replay(layer.backward(A, Y, dY, dA))
    gradients = layer.dcoef, layer.dintercept, dA
    for gradient, slopes in zip(gradients, expected, strict=True):
        assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_input_layer(activation, container, rng):
    layer, coef, intercept = make_layer(InputLayer, activation, rng)
    inputs = [Batch(slice(m, m + 1)) for m in range(M)]
    for batch in inputs:
        batch.X = container(rng.normal(size=(B, N_IN)))
    weights = rng.normal(size=(M, N_OUT, B))
    Y, dY = np.empty((M, N_OUT, B)), weights.copy()

    def objective():
        replay(layer.forward(inputs, Y))
        return np.sum(weights * Y)

    expected = [central_differences(objective, x) for x in (coef, intercept)]
    objective()
    replay(layer.backward(inputs, Y, dY))
    for gradient, slopes in zip((layer.dcoef, layer.dintercept), expected, strict=True):
        assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("output_activation", ["identity", "logistic"])
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_whole_objective(activation, output_activation, weighted, rng):
    """The step of a stack of two, penalty included, with a rate of 1 and no
    momentum, is minus the slope of J; the loss it reports is J."""
    architecture = Architecture((N_IN, 6, 5, N_OUT), activation, output_activation)
    X, y = rng.normal(size=(B, N_IN)), np.array([0, 1, 2, 1, 0])
    s = rng.uniform(0.5, 3, B) if weighted else None
    alphas = (0.7, 2.0)
    start = [architecture.initial_params(rng, np.float64) + 0.1 for _ in alphas]

    def task(params, alpha):
        return Task(
            architecture, X, y, s, State(params, np.zeros_like(params), seed=0), 1, B,
            alpha=alpha, learning_rate_init=1.0, momentum=0.0,
        )  # fmt: skip

    def objective(params, alpha):
        """J, from its definition and nothing else."""
        A = X.T
        *hidden, output = zip(*architecture.unpack(params), strict=True)
        for coef, intercept in hidden:
            A = plain(activation, coef.T @ A + intercept[:, None])
        A = plain(output_activation, output[0].T @ A + output[1][:, None])
        P = np.exp(A) / np.exp(A).sum(axis=0)
        w = np.ones(B) if s is None else s
        data = -np.sum(w * np.log(P[y, np.arange(B)])) / w.sum()
        squares = np.sum(params[: architecture.n_weights] ** 2)
        return data + alpha / (2 * w.sum()) * squares

    stack = Stack([task(p, a) for p, a in zip(start, alphas, strict=True)])
    run_epoch(stack)
    for m, (params, alpha) in enumerate(zip(start, alphas, strict=True)):
        slopes = central_differences(lambda p=params, a=alpha: objective(p, a), params)
        assert_allclose(params - stack.params[m], slopes, rtol=1e-6, atol=1e-8)
        state = stack.tasks[m].state
        assert_allclose(state.loss_curve, [objective(params, alpha)], rtol=1e-13)


def plain(name, Z):
    return {
        "logistic": lambda: 1 / (1 + np.exp(-Z)),
        "tanh": lambda: np.tanh(Z),
        "relu": lambda: np.where(Z > 0, Z, 0),
        "identity": lambda: Z,
    }[name]()


def cross_entropy(scores, y, dtype=np.float64):
    """Value and gradient for unweighted samples in columns."""
    scores = np.asarray(scores, dtype=dtype)
    n_classes, n_samples = scores.shape
    weights = np.full((1, n_samples), 1 / n_samples, dtype=dtype)
    batch = Batch(slice(0, 1))
    batch.weights = weights
    batch.targets = (np.eye(n_classes, dtype=dtype)[:, y] * weights).reshape(1, -1)
    gradient = np.empty((1, n_classes, n_samples), dtype=dtype)
    loss = SoftmaxCrossEntropy(scores[np.newaxis], gradient, [batch])
    replay(loss.calls)
    return loss.value[0], gradient[0]


def test_loss_by_hand():
    """ln 2 for even odds; ln(1 + e^-1) and ln(1 + e) for odds of e to 1."""
    value, gradient = cross_entropy([[3.0], [3.0]], [0])
    assert_allclose(value, np.log(2), rtol=1e-15)
    assert_allclose(gradient, [[-0.5], [0.5]], rtol=1e-15)
    value, gradient = cross_entropy([[1.0, 1.0], [0.0, 0.0]], [0, 1])
    assert_allclose(value, (0.31326168751822286 + 1.3132616875182228) / 2, rtol=1e-15)
    assert_allclose(gradient[0], [-0.13447071068499755, 0.36552928931500245])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loss_is_stable_for_large_scores(dtype):
    value, gradient = cross_entropy([[1e3, -1e3], [-1e3, 1e3]], [0, 0], dtype)
    assert_allclose(value, 1e3, rtol=1e-6)  # (0 + 2000) / 2
    assert_allclose(gradient, [[0.0, -0.5], [0.0, 0.5]], atol=1e-6)


def test_softmax_and_its_logarithm_agree(rng):
    scores = rng.normal(scale=5, size=(4, 7))
    assert_allclose(np.log(softmax(scores.copy())), log_softmax(scores.copy()))
    assert np.isfinite(log_softmax(np.array([[1e4], [0.0]]))).all()
