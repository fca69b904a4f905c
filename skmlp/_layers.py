"""One layer of a stack of networks: an affine map and an activation.

Shapes, here and in every file below the estimator: M networks side by side, B
samples in a step, samples in columns. Activations are (M, n, B), weights W are
(M, n_out, n_in), biases (M, n_out, 1). In memory the weights lie as scikit-learn
shows them, ``coef`` (M, n_in, n_out), and W is a view of that.

Every function works in place: what a step needs is made once, by ``resize``.
"""

import math

import numpy as np
from scipy.sparse import issparse


def logistic(Z):
    # exp(-z) may overflow to inf, and 1 / inf = 0 is the right answer: training
    # and prediction run under np.errstate(over="ignore").
    np.negative(Z, out=Z)
    np.exp(Z, out=Z)
    Z += 1.0
    np.reciprocal(Z, out=Z)


def logistic_backward(Y, dY):
    """dZ = dY * Y * (1 - Y)"""
    dY *= Y
    np.subtract(1.0, Y, out=Y)
    dY *= Y


def tanh(Z):
    np.tanh(Z, out=Z)


def tanh_backward(Y, dY):
    """dZ = dY * (1 - Y ** 2)"""
    np.square(Y, out=Y)
    np.subtract(1.0, Y, out=Y)
    dY *= Y


def relu(Z):
    np.maximum(Z, 0.0, out=Z)


def relu_backward(Y, dY):
    """dZ = dY where Y > 0, else 0"""
    np.sign(Y, out=Y)
    dY *= Y


def identity(Z):
    pass


def identity_backward(Y, dY):
    pass


# name: (forward, backward). forward turns Z into Y in place; backward turns dY
# into dZ in place and may spoil Y, which nothing needs any more.
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

    Parameters
    ----------
    coef, intercept : (M, n_in, n_out) and (M, n_out) arrays, read in place.
    dcoef, dintercept : arrays of the same shapes that ``backward`` overwrites.
    activation : key of ACTIVATIONS.
    n_samples : the largest B.
    """

    def __init__(self, coef, intercept, dcoef, dintercept, activation, n_samples):
        self.coef, self.dcoef, self.dintercept = coef, dcoef, dintercept
        self.W = coef.swapaxes(1, 2)  # (M, n_out, n_in)
        self.b = intercept[:, :, np.newaxis]  # (M, n_out, 1)
        self.activate, self.differentiate = ACTIVATIONS[activation]
        self.n_models, self.n_out = intercept.shape
        size = self.n_models * self.n_out * n_samples
        self._Y, self._dY = Buffer(size, coef.dtype), None
        if dcoef is not None:
            self._dY = Buffer(size, coef.dtype)
            self.ones = np.ones(n_samples, dtype=coef.dtype)

    def resize(self, n_samples):
        """Make Y, and where it is trained dY, hold n_samples columns."""
        shape = (self.n_models, self.n_out, n_samples)
        self.Y = self._Y.view(*shape)
        if self._dY is not None:
            self.dY = self._dY.view(*shape)

    def forward(self, A):
        self.product(A)
        self.Y += self.b  # (M, n_out, B)
        self.activate(self.Y)
        return self.Y

    def backward(self, A, dA=None):
        """From dY, the gradients of coef, intercept and, if asked for, of A.

        With Z = W A + b and Y = f(Z), for one sample:
        dZ = f'(Z) dY; dW = dZ A^T; db = dZ; dA = W^T dZ. Over a batch the
        columns of A and dZ add up, which the products do by themselves.
        """
        self.differentiate(self.Y, self.dY)
        dZ = self.dY  # (M, n_out, B)
        self.gradient(A, dZ)
        # A product with ones adds up the columns faster than np.add.reduce does.
        np.matmul(dZ, self.ones[: dZ.shape[2]], out=self.dintercept)
        if dA is not None:
            np.matmul(self.coef, dZ, out=dA)  # (M, n_in, B)

    def product(self, A):
        np.matmul(self.W, A, out=self.Y)  # (M, n_out, B)

    def gradient(self, A, dZ):
        np.matmul(A, dZ.swapaxes(1, 2), out=self.dcoef)  # (M, n_in, n_out)


class InputLayer(Layer):
    """The first layer. Its A is a list of (models, X): networks, as a slice, that
    read the same rows X (B, n_in), dense or CSR, which are thus held once."""

    def product(self, A):
        for models, X in A:
            Y = self.Y[models]
            if issparse(X):
                for coef, Y_m in zip(self.coef[models], Y, strict=True):
                    Y_m[...] = (X @ coef).T  # (n_out, B)
            else:
                np.matmul(self.W[models], X.T, out=Y)

    def gradient(self, A, dZ):
        for models, X in A:
            dcoef = self.dcoef[models]
            if issparse(X):
                for dZ_m, dcoef_m in zip(dZ[models], dcoef, strict=True):
                    dcoef_m[...] = X.T @ dZ_m.T  # (n_in, n_out)
            else:
                np.matmul(X.T, dZ[models].swapaxes(1, 2), out=dcoef)
