"""Layers in a row over one flat parameter array: forward, backward, prediction."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ._layers import ACTIVATIONS, Buffer, InputLayer, Layer


@dataclass(frozen=True)
class Architecture:
    """The shape of a network, and where each parameter lies in a flat array.

    All weights come first, each layer's as (n_in, n_out); then all biases. So the
    part that is penalised is one slice.

    layer_sizes : (n_features, n_hidden..., n_outputs)
    """

    layer_sizes: tuple
    activation: str
    output_activation: str

    @property
    def activations(self):
        return [self.activation] * (len(self.layer_sizes) - 2) + [
            self.output_activation
        ]

    @property
    def n_weights(self):
        return sum(n_in * n_out for n_in, n_out in pairwise(self.layer_sizes))

    @property
    def n_params(self):
        return self.n_weights + sum(self.layer_sizes[1:])

    def unpack(self, params):
        """Views of params (..., P): lists of coefs (..., n_in, n_out) and
        intercepts (..., n_out)."""
        lead, shapes = params.shape[:-1], list(pairwise(self.layer_sizes))
        ends = np.cumsum([a * b for a, b in shapes] + [b for _, b in shapes])
        parts = np.split(params, ends[:-1], axis=-1)
        coefs = [
            part.reshape(*lead, *shape)
            for part, shape in zip(parts, shapes, strict=False)
        ]
        return coefs, parts[len(shapes) :]

    def pack(self, coefs, intercepts):
        """One flat copy, (P,), of a network's coefs and intercepts."""
        return np.concatenate([np.ravel(part) for part in [*coefs, *intercepts]])

    def initial_params(self, generator, dtype):
        """Glorot's uniform weights and zero biases, (P,).

        Drawn in float64 whatever the dtype: the numbers a seed gives are the same.
        """
        params = np.zeros(self.n_params)
        for coef in self.unpack(params)[0]:
            limit = np.sqrt(6.0) / np.sqrt(sum(coef.shape))
            coef[...] = generator.uniform(-limit, limit, coef.shape)
        return params.astype(dtype)

    def flops(self, n_samples):
        """Floating-point operations of the largest product over n_samples."""
        return 2 * n_samples * max(a * b for a, b in pairwise(self.layer_sizes))


class Network:
    """M networks side by side over parameters that are read in place.

    architecture : Architecture.
    params, grads : (M, P) arrays; ``backward`` overwrites grads.
    n_samples : the largest B.

    Lives inside a call alone: it holds views, which pickle would tear apart.
    """

    def __init__(self, architecture, params, grads, n_samples):
        coefs, intercepts = architecture.unpack(params)
        dcoefs, _ = architecture.unpack(grads)
        self.dintercepts = grads[:, architecture.n_weights :]  # (M, n_units)
        self.layers = [
            kind(*arrays)
            for kind, *arrays in zip(
                [InputLayer] + [Layer] * (len(coefs) - 1),
                coefs,
                intercepts,
                dcoefs,
                architecture.activations,
                strict=True,
            )
        ]
        # The units of all layers lie one below the other.
        self.n_models, self.n_units = self.dintercepts.shape
        self.ends = np.cumsum(architecture.layer_sizes[1:])
        size = self.n_models * self.n_units * n_samples
        self._Y, self._dY = Buffer(size, params.dtype), Buffer(size, params.dtype)
        self._ones = np.ones(n_samples, dtype=params.dtype)
        self.n_samples = None

    def resize(self, n_samples):
        """Make Y and dY, lists of a layer's (M, n_l, B), hold n_samples columns."""
        if n_samples != self.n_samples:
            self.n_samples = n_samples
            shape = (self.n_models, self.n_units, n_samples)
            self.dY_of_all = self._dY.view(*shape)
            self.Y = np.split(self._Y.view(*shape), self.ends[:-1], axis=1)
            self.dY = np.split(self.dY_of_all, self.ends[:-1], axis=1)
            self.ones = self._ones[:n_samples]

    def forward(self, inputs):
        """Scores (M, K, B) of inputs, a list of (models, rows X): see InputLayer."""
        self.resize(inputs[0][1].shape[0])
        A = inputs
        for layer, Y in zip(self.layers, self.Y, strict=True):
            layer.forward(A, Y)
            A = Y
        return A

    @property
    def dscores(self):
        """Where a loss writes its gradient, (M, K, B), before ``backward``."""
        return self.dY[-1]

    def backward(self, inputs):
        Y, dY = self.Y, self.dY
        for i in range(len(self.layers) - 1, 0, -1):
            self.layers[i].backward(Y[i - 1], Y[i], dY[i], dY[i - 1])
        self.layers[0].backward(inputs, Y[0], dY[0])
        # All biases at once. A product with ones adds up faster than np.add.reduce.
        np.matmul(self.dY_of_all, self.ones, out=self.dintercepts)


class Predictor:
    """Scores of one network over any number of rows, in blocks.

    Memory does not grow with the rows: one block's activations are all there is.

    coefs : list of (n_in, n_out); intercepts : list of (n_out,).
    activations : list of keys of ACTIVATIONS, one a layer.
    """

    BLOCK_BYTES = 2**20  # of the widest layer: large enough to be fast, a few MB
    MIN_ROWS = 64

    def __init__(self, coefs, intercepts, activations):
        self.coefs, self.intercepts, self.activations = coefs, intercepts, activations
        widest = max(max(coef.shape) for coef in coefs)
        self.block = max(
            self.BLOCK_BYTES // (widest * coefs[0].itemsize), self.MIN_ROWS
        )

    def scores(self, X):
        """Scores (K, B) of the rows X (B, n_in), dense or CSR."""
        A = X.T
        for coef, intercept, activation in zip(
            self.coefs, self.intercepts, self.activations, strict=True
        ):
            A = coef.T @ A  # (n_out, B)
            ACTIVATIONS[activation][0](A, intercept[:, np.newaxis])
        return A

    def blocks(self, X):
        """Yield (slice of rows, their scores (K, B)), which the caller may spoil."""
        for start in range(0, X.shape[0], self.block):
            rows = slice(start, min(start + self.block, X.shape[0]))
            with np.errstate(over="ignore", invalid="ignore"):
                scores = self.scores(X[rows])
            yield rows, scores
