"""One layer of a stack of networks: an affine map and an activation.

Shapes, here and in every file below the estimator: M networks side by side, B
samples in a step, samples in columns. Activations are (M, n, B), weights W are
(M, n_out, n_in), biases (M, n_out, 1). In memory the weights lie as scikit-learn
shows them, ``coef`` (M, n_in, n_out), and W is a view of that.

A pass is recorded once and replayed in every step: what computes gives a list of
calls, each a numpy function bound to arrays that exist, the last of them its output.
A small step costs as much in finding out what to call as in the calls; so that is
done once. The arrays exist by then, and each is contiguous: numpy copies what is not
through buffers of its own.
"""

import math
from functools import partial

import numpy as np
from scipy.sparse import issparse


def replay(calls):
    for call in calls:
        call()


def of_each_batch(batches, function, *arrays):
    """Calls of function(batch, *arrays) for each batch, the arrays cut to what belongs
    to its networks."""
    return [
        partial(function, batch, *(array[batch.models] for array in arrays))
        for batch in batches
    ]


class Buffer:
    """Memory made once and seen, contiguous, in whatever shape is asked for."""

    def __init__(self, size, dtype):
        self.memory = np.empty(size, dtype=dtype)

    def view(self, *shape):
        return self.memory[: math.prod(shape)].reshape(shape)


def logistic(Z, b):
    """1 / (1 + exp(-(Z + b)))"""
    # exp may overflow to inf, and 1 / inf = 0 is the right answer: training and
    # prediction run under np.errstate(all="ignore").
    minus_b, one = np.empty_like(b), np.ones((), Z.dtype)
    return [
        partial(np.negative, b, minus_b),
        partial(np.subtract, minus_b, Z, Z),
        partial(np.exp, Z, Z),
        partial(np.add, Z, one, Z),
        partial(np.divide, one, Z, Z),  # np.reciprocal is slower
    ]


def logistic_backward(Y, dY):
    """dZ = dY * Y * (1 - Y)"""
    one = np.ones((), Y.dtype)
    return [
        partial(np.multiply, dY, Y, dY),
        partial(np.subtract, one, Y, Y),
        partial(np.multiply, dY, Y, dY),
    ]


def tanh(Z, b):
    return [partial(np.add, Z, b, Z), partial(np.tanh, Z, Z)]


def tanh_backward(Y, dY):
    """dZ = dY * (1 - Y ** 2)"""
    one = np.ones((), Y.dtype)
    return [
        partial(np.square, Y, Y),
        partial(np.subtract, one, Y, Y),
        partial(np.multiply, dY, Y, dY),
    ]


def relu(Z, b):
    zero = np.zeros((), Z.dtype)
    return [partial(np.add, Z, b, Z), partial(np.maximum, Z, zero, out=Z)]


def relu_backward(Y, dY):
    """dZ = dY where Y > 0, else 0"""
    return [partial(np.sign, Y, Y), partial(np.multiply, dY, Y, dY)]


def identity(Z, b):
    return [partial(np.add, Z, b, Z)]


def identity_backward(Y, dY):
    return []


# name: (forward, backward). The calls of forward turn Z into Y = f(Z + b) in place;
# those of backward turn dY into dZ in place and may spoil Y, which nothing needs any
# more.
ACTIVATIONS = {
    "logistic": (logistic, logistic_backward),
    "tanh": (tanh, tanh_backward),
    "relu": (relu, relu_backward),
    "identity": (identity, identity_backward),
}


class Layer:
    """Y = activation(W @ A + b), for each of the M networks.

    coef, intercept : (M, n_in, n_out) and (M, n_out) arrays, read in place.
    dcoef, dintercept : arrays of their shapes that ``backward`` overwrites.
    activation : key of ACTIVATIONS.
    """

    def __init__(self, coef, intercept, dcoef, dintercept, activation):
        self.coef, self.dcoef, self.dintercept = coef, dcoef, dintercept
        self.W = coef.swapaxes(1, 2)  # (M, n_out, n_in)
        self.b = intercept[:, :, np.newaxis]  # (M, n_out, 1)
        self.activation, self.derivative = ACTIVATIONS[activation]

    def forward(self, A, Y):
        """The calls that overwrite Y, (M, n_out, B)."""
        return [partial(np.matmul, self.W, A, Y), *self.activation(Y, self.b)]

    def backward(self, A, Y, dY, dA):
        """The calls that turn dY into dZ and overwrite dcoef, dintercept and dA.

        With Z = W A + b and Y = f(Z), for one sample:
        dZ = f'(Z) dY; dW = dZ A^T; db = dZ; dA = W^T dZ. Over a batch the
        columns of A and dZ add up, which the products do by themselves.
        """
        return [
            *self.derivative(Y, dY),
            partial(np.matmul, A, dY.swapaxes(1, 2), self.dcoef),
            self.sum_over_batch(dY),
            partial(np.matmul, self.coef, dY, dA),  # (M, n_in, B)
        ]

    def sum_over_batch(self, dZ):
        # A product with ones adds up faster than np.add.reduce.
        return partial(np.matmul, dZ, np.ones(dZ.shape[2], dZ.dtype), self.dintercept)


class InputLayer(Layer):
    """The first layer. Its A is a list of batches, each of which holds other rows in
    every step: `X` (B, n_in), dense or CSR, read by the networks `models`, a slice."""

    def forward(self, A, Y):
        return [*of_each_batch(A, product, self.W, Y), *self.activation(Y, self.b)]

    def backward(self, A, Y, dY, dA=None):
        # Nobody asks for dA, the slope by the data.
        return [
            *self.derivative(Y, dY),
            *of_each_batch(A, gradient, dY.swapaxes(1, 2), self.dcoef),
            self.sum_over_batch(dY),
        ]


def product(batch, W, Z):
    if issparse(batch.X):
        for W_m, Z_m in zip(W, Z, strict=True):
            Z_m[...] = (batch.X @ W_m.T).T  # (n_out, B)
    else:
        np.matmul(W, batch.X.T, Z)  # (M, n_out, B)


def gradient(batch, dZ_T, dcoef):
    if issparse(batch.X):
        for dZ_T_m, dcoef_m in zip(dZ_T, dcoef, strict=True):
            dcoef_m[...] = batch.X.T @ dZ_T_m  # (n_in, n_out)
    else:
        np.matmul(batch.X.T, dZ_T, dcoef)  # (M, n_in, n_out)
