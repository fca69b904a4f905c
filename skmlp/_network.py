"""Layers in a row over one flat parameter array: forward, backward, prediction."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ._layers import InputLayer, Layer


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

    coefs : list of (M, n_in, n_out); intercepts : list of (M, n_out).
    activations : list of keys of ACTIVATIONS, one a layer.
    n_samples : the largest B.
    dcoefs, dintercepts : where ``backward`` overwrites the gradients, or None for a
        network that only predicts.

    Lives inside a call alone: it holds views, which pickle would tear apart.
    """

    def __init__(
        self, coefs, intercepts, activations, n_samples, dcoefs=None, dintercepts=None
    ):
        none = [None] * len(coefs)
        arrays = zip(
            coefs, intercepts, dcoefs or none, dintercepts or none, strict=True
        )
        kinds = [InputLayer] + [Layer] * (len(coefs) - 1)
        self.layers = [
            kind(*own, activation, n_samples)
            for kind, own, activation in zip(kinds, arrays, activations, strict=True)
        ]
        self.n_samples = None

    def resize(self, n_samples):
        if n_samples != self.n_samples:
            self.n_samples = n_samples
            for layer in self.layers:
                layer.resize(n_samples)

    def forward(self, inputs):
        """Scores (M, K, B) of inputs, a list of (models, rows X): see InputLayer."""
        self.resize(inputs[0][1].shape[0])
        A = inputs
        for layer in self.layers:
            A = layer.forward(A)
        return A

    @property
    def dscores(self):
        """Where a loss writes its gradient, (M, K, B), before ``backward``."""
        return self.layers[-1].dY

    def backward(self, inputs):
        for below, layer in zip(self.layers[-2::-1], self.layers[:0:-1], strict=True):
            layer.backward(below.Y, dA=below.dY)
        self.layers[0].backward(inputs)


class Predictor:
    """Scores of one network over any number of rows, in blocks.

    Memory does not grow with the rows: one block's activations are all there is.

    coefs : list of (n_in, n_out); intercepts : list of (n_out,).
    """

    BLOCK_BYTES = 2**20  # of the widest layer: large enough to be fast, a few MB
    MIN_ROWS = 64

    def __init__(self, coefs, intercepts, activations, n_rows):
        widest = max(max(coef.shape) for coef in coefs) * coefs[0].itemsize
        block = max(self.BLOCK_BYTES // widest, self.MIN_ROWS)
        self.block = max(min(block, n_rows), 1)
        self.network = Network(
            [coef[np.newaxis] for coef in coefs],
            [intercept[np.newaxis] for intercept in intercepts],
            activations,
            self.block,
        )

    def blocks(self, X):
        """Yield (slice of rows, their scores (K, B)); the scores are a buffer that
        the next block overwrites."""
        for start in range(0, X.shape[0], self.block):
            rows = slice(start, min(start + self.block, X.shape[0]))
            with np.errstate(over="ignore", invalid="ignore"):
                scores = self.network.forward([(slice(0, 1), X[rows])])[0]
            yield rows, scores
