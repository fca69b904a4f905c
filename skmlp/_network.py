"""Layers in a row over one flat parameter array: forward, backward, prediction."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import pairwise

import numpy as np

from ._layers import ACTIVATIONS, InputLayer, Layer, replay
from ._threads import FEW_FLOPS, blas_limit, blas_threads


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
    params, grads : (M, P) arrays; backward passes overwrite grads.
    n_samples : the largest B.
    """

    def __init__(self, architecture, params, grads, n_samples):
        coefs, intercepts = architecture.unpack(params)
        dcoefs, _ = architecture.unpack(grads)
        kinds = [InputLayer] + [Layer] * (len(coefs) - 1)
        self.layers = [
            kind(*arrays)
            for kind, *arrays in zip(
                kinds, coefs, intercepts, dcoefs, architecture.activations, strict=True
            )
        ]
        self.dintercepts = grads[:, architecture.n_weights :]  # (M, n_units)
        self.first_units = np.cumsum(architecture.layer_sizes[1:-1])
        self.n_models, self.n_units = self.dintercepts.shape
        size = self.n_models * self.n_units * n_samples
        self.memory = np.empty(size, params.dtype), np.empty(size, params.dtype)

    def over(self, n_samples, batches):
        """A Pass over batches of n_samples. All passes share the same memory."""
        shape = (self.n_models, self.n_units, n_samples)
        Y, dY = (array[: np.prod(shape)].reshape(shape) for array in self.memory)
        return Pass(self, Y, dY, batches)


class Pass:
    """The recorded calls of a step, forward and backward.

    network : Network.
    Y, dY : (M, n_units, B) arrays, the units of all layers one below the other.
    batches : list of what has the rows of a step: see InputLayer.
    """

    def __init__(self, network, Y, dY, batches):
        Ys = np.split(Y, network.first_units, axis=1)  # of (M, n_l, B)
        dYs = np.split(dY, network.first_units, axis=1)
        A = [batches, *Ys]  # what each layer reads
        self.scores, self.dscores = Ys[-1], dYs[-1]  # a loss reads and writes these
        self.forward, self.backward = [], []
        for i, layer in enumerate(network.layers):
            self.forward += layer.forward(A[i], Ys[i])
        for i, layer in reversed(list(enumerate(network.layers))):
            self.backward += layer.backward(A[i], Ys[i], dYs[i], dYs[i - 1])
        # All biases at once. A product with ones adds up faster than np.add.reduce.
        ones = np.ones(dY.shape[2], dY.dtype)
        self.backward.append(partial(np.matmul, dY, ones, network.dintercepts))


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
        )  # rows
        self.flops = 2 * max(coef.size for coef in coefs)  # a row, largest product

    def scores(self, X):
        """Scores (K, B) of the rows X (B, n_in), dense or CSR."""
        A = X.T
        for coef, intercept, activation in zip(
            self.coefs, self.intercepts, self.activations, strict=True
        ):
            A = coef.T @ A  # (n_out, B)
            replay(ACTIVATIONS[activation][0](A, intercept[:, np.newaxis]))
        return A

    def map(self, function, X):
        """[function(rows, scores)] of each block: rows a slice, their scores (K, B) an
        array that it may spoil.

        Blocks go to as many threads as BLAS may use, if there are enough of them;
        each gives the same numbers wherever it is worked out.
        """

        def of_block(start):
            rows = slice(start, min(start + self.block, X.shape[0]))
            with np.errstate(over="ignore", invalid="ignore"):
                return function(rows, self.scores(X[rows]))

        starts = range(0, X.shape[0], self.block)
        n_threads = blas_limit() if len(starts) > 1 else 1
        if 1 < n_threads <= len(starts):
            with blas_threads(0), ThreadPoolExecutor(n_threads) as threads:
                return list(threads.map(of_block, starts))
        flops = self.flops * min(self.block, X.shape[0])
        with blas_threads(flops) if flops > FEW_FLOPS else nullcontext():
            return [of_block(start) for start in starts]
