"""One layer of a stack of networks: an affine map and an activation.

Shapes, here and in every file below the estimator: M networks side by side, B
samples in a step, samples in columns. Activations are (M, n, B), weights W are
(M, n_out, n_in), biases (M, n_out, 1). In memory the weights lie as scikit-learn
shows them, ``coef`` (M, n_in, n_out), and W is a view of that.

Every function works in place, in arrays that the network makes once.
"""

import math

import numpy as np
from scipy.sparse import issparse


def logistic(Z, b):
    """1 / (1 + exp(-(Z + b)))"""
    # exp may overflow to inf, and 1 / inf = 0 is the right answer: training and
    # prediction run under np.errstate(over="ignore").
    np.subtract(-b, Z, out=Z)
    np.exp(Z, out=Z)
    Z += 1.0
    np.divide(1.0, Z, out=Z)  # np.reciprocal is slower


def logistic_backward(Y, dY):
    """dZ = dY * Y * (1 - Y)"""
    dY *= Y
    np.subtract(1.0, Y, out=Y)
    dY *= Y


def tanh(Z, b):
    Z += b
    np.tanh(Z, out=Z)


def tanh_backward(Y, dY):
    """dZ = dY * (1 - Y ** 2)"""
    np.square(Y, out=Y)
    np.subtract(1.0, Y, out=Y)
    dY *= Y


def relu(Z, b):
    Z += b
    np.maximum(Z, 0.0, out=Z)


def relu_backward(Y, dY):
    """dZ = dY where Y > 0, else 0"""
    np.sign(Y, out=Y)
    dY *= Y


def identity(Z, b):
    Z += b


def identity_backward(Y, dY):
    pass


# name: (forward, backward). forward turns Z into Y = f(Z + b) in place; backward turns
# dY into dZ in place and may spoil Y, which nothing needs any more.
ACTIVATIONS = {
    "logistic": (logistic, logistic_backward),
    "tanh": (tanh, tanh_backward),
    "relu": (relu, relu_backward),
    "identity": (identity, identity_backward),
}


class Buffer:
    """Memory made once and seen, contiguous, in whatever shape a step has."""

    def __init__(self, size, dtype):
        self.memory = np.empty(size, dtype=dtype)

    def view(self, *shape):
        return self.memory[: math.prod(shape)].reshape(shape)


class Layer:
    """Y = activation(W @ A + b), for each of the M networks.

    coef, intercept : (M, n_in, n_out) and (M, n_out) arrays, read in place.
    dcoef : array of coef's shape that ``backward`` overwrites, or None.
    activation : key of ACTIVATIONS.
    """

    def __init__(self, coef, intercept, dcoef, activation):
        self.coef, self.dcoef = coef, dcoef
        self.W = coef.swapaxes(1, 2)  # (M, n_out, n_in)
        self.b = intercept[:, :, np.newaxis]  # (M, n_out, 1)
        self.activate, self.differentiate = ACTIVATIONS[activation]

    def forward(self, A, Y):
        """Overwrite Y, (M, n_out, B)."""
        self.product(A, Y)
        self.activate(Y, self.b)

    def backward(self, A, Y, dY, dA=None):
        """Turn dY into dZ; overwrite dcoef and, if asked for, dA.

        With Z = W A + b and Y = f(Z), for one sample:
        dZ = f'(Z) dY; dW = dZ A^T; db = dZ; dA = W^T dZ. Over a batch the
        columns of A and dZ add up, which the products do by themselves.
        """
        self.differentiate(Y, dY)
        self.gradient(A, dY)
        if dA is not None:
            np.matmul(self.coef, dY, out=dA)  # (M, n_in, B)

    def product(self, A, Y):
        np.matmul(self.W, A, out=Y)  # (M, n_out, B)

    def gradient(self, A, dZ):
        np.matmul(A, dZ.swapaxes(1, 2), out=self.dcoef)  # (M, n_in, n_out)


class InputLayer(Layer):
    """The first layer. Its A is a list of (models, X): networks, as a slice, that
    read the same rows X (B, n_in), dense or CSR, which are thus held once."""

    def product(self, A, Y):
        for models, X in A:
            if issparse(X):
                for coef, Y_m in zip(self.coef[models], Y[models], strict=True):
                    Y_m[...] = (X @ coef).T  # (n_out, B)
            else:
                np.matmul(self.W[models], X.T, out=Y[models])

    def gradient(self, A, dZ):
        for models, X in A:
            dcoef = self.dcoef[models]
            if issparse(X):
                for dZ_m, dcoef_m in zip(dZ[models], dcoef, strict=True):
                    dcoef_m[...] = X.T @ dZ_m.T  # (n_in, n_out)
            else:
                np.matmul(X.T, dZ[models].swapaxes(1, 2), out=dcoef)
