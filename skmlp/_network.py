"""The shape of a network: sizes, where each parameter lies, initial weights."""

import math
from functools import lru_cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from ._quietly import quietly

# Each has a branch in activate and in differentiate of _activations.py.
ACTIVATIONS = ("logistic", "tanh", "relu", "identity")

LEAST_ROWS, MOST_ROWS = 64, 256  # of a micro-batch
# Multiplications that OpenBLAS does without a copy of its factors.
SMALL_PRODUCT = 10**6


class Layout(NamedTuple):
    """What compiled code knows of an architecture with L layers of weights."""

    sizes: np.ndarray  # (L + 1,) n_features, hidden..., n_classes
    starts: np.ndarray  # (2 L + 1,) where each coef, each intercept and the end lie
    codes: np.ndarray  # (L,) of each layer's activation, its place in ACTIVATIONS


class Workspace(NamedTuple):
    """Buffers that compiled code uses while some rows pass through the network."""

    Y: np.ndarray  # all layers' activations
    dY: np.ndarray  # their gradients
    y: np.ndarray  # class indices
    w: np.ndarray  # sample weights
    top: np.ndarray  # largest score of each row
    norm: np.ndarray  # and what its softmax divides by
    rows: np.ndarray  # (rows, n_features), gathered from X


class Architecture:
    """A network's layers, and where their parameters lie in one flat array.

    All weights come first, each layer's as (n_in, n_out); then all biases. So the
    part that is penalised is one slice.

    layer_sizes : (n_features, n_hidden..., n_classes)
    """

    def __init__(self, layer_sizes, activation, output_activation):
        self.key = layer_sizes, activation, output_activation
        self.layer_sizes, self.activation = layer_sizes, activation
        # Those of the coefs, and those of the intercepts.
        self.shapes = list(pairwise(layer_sizes)), [(n,) for n in layer_sizes[1:]]
        names = [*[activation] * (len(layer_sizes) - 2), output_activation]
        counts = [n_in * n_out for n_in, n_out in pairwise(layer_sizes)]
        starts = np.cumsum([0, *counts, *layer_sizes[1:]])
        codes = [ACTIVATIONS.index(name) for name in names]
        self.layout = Layout(
            *(np.array(x, np.int64) for x in (layer_sizes, starts, codes))
        )

    @property
    def n_weights(self):
        return int(self.layout.starts[len(self.layer_sizes) - 1])

    @property
    def n_params(self):
        return int(self.layout.starts[-1])

    @property
    def n_units(self):
        return sum(self.layer_sizes[1:])

    def row_flops(self, X):
        """About how many operations a row of X takes, there and not back."""
        stored = X.nnz / X.shape[0] if issparse(X) else X.shape[1]
        n_weights = self.n_weights - (X.shape[1] - stored) * self.layer_sizes[1]
        return 2 * n_weights + 20 * self.n_units

    def unpack(self, params):
        """Views of params (n_params,): lists of coefs (n_in, n_out) and intercepts
        (n_out,)."""
        coef_shapes, intercept_shapes = self.shapes
        views = [
            params[start:end].reshape(shape)
            for (start, end), shape in zip(
                pairwise(self.layout.starts.tolist()),
                coef_shapes + intercept_shapes,
                strict=True,
            )
        ]
        return views[: len(coef_shapes)], views[len(coef_shapes) :]

    def pack(self, coefs, intercepts, dtype):
        """A network's coefs and intercepts as one flat array (n_params,) of dtype.

        Raises
        ------
        ValueError
            Where they are not of this architecture's shapes.
        """
        for name, given, expected in zip(
            ("coefs_", "intercepts_"), (coefs, intercepts), self.shapes, strict=True
        ):
            found = [np.shape(x) for x in given]
            if found != expected:
                raise ValueError(
                    f"{name} has the shapes {found}, but expected {expected}, those "
                    "that the network was fitted with."
                )
        flat = [np.ravel(x) for x in (*coefs, *intercepts)]
        return np.concatenate(flat).astype(dtype, copy=False)

    @quietly
    def initial_params(self, generator, dtype, scale=1.0):
        """Glorot's uniform weights times a scale, and zero biases, (n_params,).

        Drawn in float64 whatever the dtype: the numbers a seed gives are the same.
        """
        params = np.zeros(self.n_params, dtype)
        for coef in self.unpack(params)[0]:
            limit = scale * (np.sqrt(6.0) / np.sqrt(sum(coef.shape)))
            coef[...] = generator.uniform(-limit, limit, coef.shape)
        return params

    def micro_batch(self, n_rows):
        """How many of n_rows pass through at a time: as many as let BLAS multiply
        without a copy, but enough to make a pass over the weights, or over the
        gradient, worth it; and all of nearly one size."""
        least = min(max(self.n_params // 2**10, LEAST_ROWS), MOST_ROWS)
        largest = max(n_in * n_out for n_in, n_out in pairwise(self.layer_sizes))
        most = min(max(SMALL_PRODUCT // largest, least), MOST_ROWS)
        return math.ceil(n_rows / math.ceil(n_rows / most))

    def make_workspace(self, n_rows, dtype, *, gather):
        """A Workspace for n_rows at a time; `gather` where rows of X are copied."""
        return Workspace(
            *(np.empty(self.n_units * n_rows, dtype) for _ in range(2)),
            np.empty(n_rows, np.int64),
            *(np.empty(n_rows, dtype) for _ in range(3)),
            np.empty((n_rows, self.layer_sizes[0] if gather else 0), dtype),
        )


# Made once for the many predictions of an estimator.
architecture_of = lru_cache(maxsize=32)(Architecture)


# To the compiler, writeable and read-only arrays are two types, and would be compiled
# twice: whatever it only reads is read-only.


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view
