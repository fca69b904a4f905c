"""The batches of an epoch: which rows, in which order, with targets and weights."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import issparse

from ._layers import Buffer


@dataclass(slots=True)
class Batch:
    """What a step reads, for the networks `models` (a slice) of the stack."""

    models: slice
    X: Any  # (B, n_features), dense or CSR
    targets: np.ndarray  # (1, K, B), one-hot times weights
    weights: np.ndarray  # (1, B), adding up to 1
    total: float  # what they added up to before


class Batches:
    """Epochs over one training set, for the networks that read it in one order.

    An epoch's rows are permuted once; they are gathered a few batches at a time
    into one buffer, so that memory does not grow with the training set.

    models : slice, the networks of the stack that are fed.
    X : (N, n_features) array in C order, or CSR.
    y : (N,) class indices.
    sample_weight : (N,) float64, or None for 1.
    n_classes, batch_size : int; the last batch may be smaller.
    generator : numpy RandomState that permutes the rows, or None for their order.
    """

    GATHER_BYTES = 2**20  # about what is gathered at a time

    def __init__(
        self, models, X, y, sample_weight, *, n_classes, batch_size, generator
    ):
        self.models, self.X, self.y, self.sample_weight = models, X, y, sample_weight
        self.n_rows, self.batch_size = X.shape[0], batch_size
        self.generator = generator
        self.classes = np.arange(n_classes)[:, np.newaxis]  # (K, 1)
        row_bytes = X.dtype.itemsize * X.shape[1]
        several = self.GATHER_BYTES // max(row_bytes * batch_size, 1)
        self.gathered = min(max(several, 1), self.n_rows // batch_size)  # batches
        rows = self.gathered * batch_size
        self._X = None if issparse(X) else Buffer(rows * X.shape[1], X.dtype)
        self._y = Buffer(rows, y.dtype)
        self._weights = Buffer(rows, np.float64)
        self._cast_weights = Buffer(rows, X.dtype)
        self._targets = Buffer(n_classes * rows, X.dtype)
        self._whole = None
        if batch_size == self.n_rows:
            self._whole = list(self._gather(slice(0, self.n_rows), self.n_rows))

    def __iter__(self):
        if self._whole is not None:
            yield from self._whole
            return
        order = None
        if self.generator is not None:
            order = self.generator.permutation(self.n_rows)
        full = self.n_rows - self.n_rows % self.batch_size
        step = self.gathered * self.batch_size
        for start in range(0, full, step):
            rows = slice(start, min(start + step, full))
            yield from self._gather(
                rows if order is None else order[rows], self.batch_size
            )
        if full < self.n_rows:
            rows = slice(full, self.n_rows)
            yield from self._gather(
                rows if order is None else order[rows], self.n_rows - full
            )

    def _gather(self, rows, size):
        """The batches, of `size` each, that `rows` (a slice or indices) make."""
        X = self.X[rows] if issparse(self.X) else take(self.X, rows, self._X)
        y = take(self.y, rows, self._y).reshape(-1, 1, size)
        weights, totals = self._normalised_weights(rows, len(y), size)
        targets = self._targets.view(len(y), len(self.classes), size)
        np.equal(y, self.classes, out=targets)
        targets *= weights
        for i, total in enumerate(totals):
            # Slicing a CSR matrix copies it: not where it is all there is.
            part = X if len(totals) == 1 else X[i * size : (i + 1) * size]
            yield Batch(self.models, part, targets[i : i + 1], weights[i], total)

    def _normalised_weights(self, rows, n_batches, size):
        """Weights (n_batches, 1, B) that add up to 1 in each batch, and the totals
        that they added up to before."""
        weights = self._weights.view(n_batches, 1, size)
        if self.sample_weight is None:
            weights[...] = 1.0
        else:
            weights.reshape(-1)[...] = take(self.sample_weight, rows, self._weights)
        totals = weights.sum(axis=2, keepdims=True)  # (n_batches, 1, 1)
        weights /= totals
        cast = self._cast_weights.view(n_batches, 1, size)
        cast[...] = weights
        return cast, totals.ravel().tolist()


def take(array, rows, buffer):
    """The rows of an array, as they lie (a slice) or copied into the buffer."""
    if isinstance(rows, slice):
        return array[rows]
    # mode="clip" writes straight into `out`; "raise" would buffer it.
    out = buffer.view(len(rows), *array.shape[1:])
    return np.take(array, rows, axis=0, out=out, mode="clip")
