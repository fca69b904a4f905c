"""Layers in a row over one flat parameter array: forward, backward, prediction."""

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ._layers import ACTIVATIONS, Buffer, InputLayer, Layer, replay
from ._threads import FEW_FLOPS, blas_limit, blas_threads, for_each


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
        kinds = [InputLayer] + [Layer] * (len(architecture.layer_sizes) - 2)
        self.layers = [
            kind(*arrays)
            for kind, *arrays in zip(
                kinds,
                *architecture.unpack(params),
                *architecture.unpack(grads),
                architecture.activations,
                strict=True,
            )
        ]
        self.n_models, self.sizes = len(params), architecture.layer_sizes[1:]
        self.buffers = [
            [
                Buffer(self.n_models * size * n_samples, params.dtype)
                for size in self.sizes
            ]
            for _ in ("Y", "dY")
        ]

    def pass_over(self, n_samples, batches):
        """A Pass over batches of n_samples. All passes share the same memory."""
        Y, dY = (
            [
                buffer.view(self.n_models, size, n_samples)
                for buffer, size in zip(buffers, self.sizes, strict=True)
            ]
            for buffers in self.buffers
        )
        return Pass(self.layers, Y, dY, batches)


class Pass:
    """The recorded calls of a step, forward and backward.

    layers : list of Layer, the first an InputLayer.
    Y, dY : lists of each layer's (M, n_l, B).
    batches : list of what has the rows of a step: see InputLayer.
    """

    def __init__(self, layers, Y, dY, batches):
        A, dA = [batches, *Y], [None, *dY]  # what each layer reads, and its slope
        self.scores, self.dscores = Y[-1], dY[-1]  # a loss reads and writes these
        self.forward, self.backward = [], []
        for i, layer in enumerate(layers):
            self.forward += layer.forward(A[i], Y[i])
        for i, layer in reversed(list(enumerate(layers))):
            self.backward += layer.backward(A[i], Y[i], dY[i], dA[i])


class Predictor:
    """Scores of one network over any number of rows, in blocks.

    Memory does not grow with the rows: one block's activations a thread are all there
    is.

    architecture : Architecture.
    coefs : list of (n_in, n_out); intercepts : list of (n_out,).
    """

    BLOCK_BYTES = 2**20  # of the widest layer: large enough to be fast, a few MB
    MIN_ROWS = 64

    def __init__(self, architecture, coefs, intercepts):
        self.architecture, self.coefs, self.intercepts = architecture, coefs, intercepts
        row_bytes = max(architecture.layer_sizes) * coefs[0].itemsize
        self.block = max(self.BLOCK_BYTES // row_bytes, self.MIN_ROWS)  # rows

    def scores(self, X):
        """Scores (K, B) of the rows X (B, n_in), dense or CSR."""
        A = X.T
        for coef, intercept, activation in zip(
            self.coefs, self.intercepts, self.architecture.activations, strict=True
        ):
            A = coef.T @ A  # (n_out, B)
            replay(ACTIVATIONS[activation][0](A, intercept[:, np.newaxis]))
        return A

    def map(self, function, X):
        """[function(rows, scores)] of each block: rows a slice, their scores (K, B) an
        array that it may spoil.

        One block may use BLAS's threads. Several go to as many threads, one to each,
        and so give the same numbers however many there are.
        """
        n_rows = X.shape[0]
        if n_rows <= self.block:
            flops = self.architecture.flops(n_rows)
            with blas_threads(flops) if flops > FEW_FLOPS else nullcontext():
                return [self.of_block(function, X, slice(0, n_rows))]

        starts = range(0, n_rows, self.block)
        results = [None] * len(starts)

        def work_out(i):
            rows = slice(starts[i], min(starts[i] + self.block, n_rows))
            results[i] = self.of_block(function, X, rows)

        for_each(work_out, range(len(starts)), min(blas_limit(), len(starts)))
        return results

    def of_block(self, function, X, rows):
        with np.errstate(all="ignore"):
            return function(rows, self.scores(X[rows]))
