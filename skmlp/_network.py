"""The shape of a network: sizes, where each parameter lies, initial weights."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np

# Each has a branch in activate and in differentiate of _kernels.py.
ACTIVATIONS = ("logistic", "tanh", "relu", "identity")


class Layout(NamedTuple):
    """What compiled code knows of an architecture with L layers of weights."""

    sizes: np.ndarray  # (L + 1,) n_features, hidden..., n_classes
    starts: np.ndarray  # (2 L + 1,) where each coef, each intercept and the end lie
    codes: np.ndarray  # (L,) of each layer's activation, its place in ACTIVATIONS


class Room(NamedTuple):
    """What compiled code works in while rows pass through the network."""

    Y: np.ndarray  # all layers' activations
    dY: np.ndarray  # their slopes
    y: np.ndarray  # class indices
    w: np.ndarray  # weights
    top: np.ndarray  # largest score of each row
    norm: np.ndarray  # and what its softmax divides by
    rows: np.ndarray  # (rows, n_features), where rows of X are gathered
    gathered: np.ndarray  # the same memory, read-only as X is: one type, one code


@dataclass(frozen=True)
class Architecture:
    """A network's layers, and where their parameters lie in one flat array.

    All weights come first, each layer's as (n_in, n_out); then all biases. So the
    part that is penalised is one slice.

    layer_sizes : (n_features, n_hidden..., n_classes)
    """

    layer_sizes: tuple
    activation: str
    output_activation: str

    @property
    @cache  # noqa: B019, not cached_property, whose lock a fork may find held
    def layout(self):
        names = [self.activation] * (len(self.layer_sizes) - 2)
        names.append(self.output_activation)
        counts = [n_in * n_out for n_in, n_out in pairwise(self.layer_sizes)]
        starts = np.cumsum([0, *counts, *self.layer_sizes[1:]])
        codes = [ACTIVATIONS.index(name) for name in names]
        return Layout(
            *(np.array(x, np.int64) for x in (self.layer_sizes, starts, codes))
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

    def flops(self, n_rows, is_sparse):
        """Floating-point operations of the largest product that BLAS is given."""
        counts = [n_in * n_out for n_in, n_out in pairwise(self.layer_sizes)]
        return 2 * n_rows * max(counts[1:] if is_sparse else counts, default=0)

    @property
    @cache  # noqa: B019
    def places(self):
        """Where each coef and then each intercept lies, and its shape."""
        shapes = [*pairwise(self.layer_sizes), *((n,) for n in self.layer_sizes[1:])]
        slices = [slice(*ends) for ends in pairwise(self.layout.starts.tolist())]
        return list(zip(slices, shapes, strict=True))

    def unpack(self, params):
        """Views of params (n_params,): lists of coefs (n_in, n_out) and intercepts
        (n_out,)."""
        parts = [params[place].reshape(shape) for place, shape in self.places]
        n_layers = len(parts) // 2
        return parts[:n_layers], parts[n_layers:]

    def pack(self, coefs, intercepts, dtype):
        """A network's coefs and intercepts as one flat array of dtype: the one that
        they are views of, where they are, else a copy.

        Raises
        ------
        ValueError
            Where they are not of this architecture's shapes.
        """
        parts = [*coefs, *intercepts]
        base = getattr(parts[0], "base", None) if parts else None
        if (
            isinstance(base, np.ndarray)
            and (base.shape, base.dtype) == ((self.n_params,), dtype)
            and base.flags.c_contiguous
            and len(parts) == len(self.places)
        ):
            start = base.__array_interface__["data"][0]
            if all(
                is_part(part, base, start + place.start * base.itemsize, shape)
                for part, (place, shape) in zip(parts, self.places, strict=True)
            ):
                return base
        n_layers = len(self.places) // 2
        for name, given, places in (
            ("coefs_", coefs, self.places[:n_layers]),
            ("intercepts_", intercepts, self.places[n_layers:]),
        ):
            found, expected = (
                [np.shape(x) for x in given],
                [shape for _, shape in places],
            )
            if found != expected:
                raise ValueError(
                    f"{name} has the shapes {found}, but expected {expected}, those "
                    "that the network was fitted with."
                )
        return np.concatenate([np.ravel(part) for part in parts]).astype(dtype)

    def initial_params(self, generator, dtype, scale=1.0):
        """Glorot's uniform weights times a scale, and zero biases, (n_params,).

        Drawn in float64 whatever the dtype: the numbers a seed gives are the same.
        """
        params = np.zeros(self.n_params, dtype)
        for coef in self.unpack(params)[0]:
            limit = scale * (np.sqrt(6.0) / np.sqrt(sum(coef.shape)))
            coef[...] = generator.uniform(-limit, limit, coef.shape)
        return params

    def make_room(self, n_rows, X, *, gather):
        """A Room for n_rows at a time of X, dense or CSR; `gather` where they come in
        an order of their own."""
        dtype, width = X.dtype, self.layer_sizes[0] if gather else 0
        rows = np.empty((n_rows, width), dtype)
        return Room(
            *(np.empty(self.n_units * n_rows, dtype) for _ in range(2)),
            np.empty(n_rows, np.int64),
            *(np.empty(n_rows, dtype) for _ in range(3)),
            rows,
            read_only(rows),
        )


architecture_of = cache(Architecture)  # the same object for the same arguments


def is_part(part, base, address, shape):
    """Whether an array is the part of base at an address, row by row in this shape."""
    return (
        getattr(part, "base", None) is base
        and (part.shape, part.dtype) == (shape, base.dtype)
        and part.flags.c_contiguous
        and part.__array_interface__["data"][0] == address
    )


# What was read-only and what was not are two types to the compiler, and so would be two
# compilations: all that it only reads is read-only.


def read_only(array):
    view = array.view()
    view.flags.writeable = False
    return view


def as_rows(X):
    """X (n, n_features) as compiled code reads it: (X, None), or of a CSR matrix (None,
    (data, indices, indptr))."""
    if isinstance(X, np.ndarray):
        return read_only(X), None
    arrays = (X.data, X.dtype), (X.indices, np.int32), (X.indptr, np.int64)
    return None, tuple(read_only(np.ascontiguousarray(*array)) for array in arrays)
