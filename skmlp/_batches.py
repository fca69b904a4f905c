"""The batches of an epoch: which rows, in which order, with targets and weights."""

from functools import cached_property
from typing import Any

import numpy as np
from scipy.sparse import issparse

from ._layers import Buffer

# A larger batch passes through the network in parts: its activations would leave the
# cache, and be larger than the data.
PART_ROWS = 2**13


class Batch:
    """What a step reads, or a part of it, for the networks `models` (a slice).

    One object for all steps, which is given the next one's arrays: recorded calls
    know where to look.
    """

    X: Any  # (B, n_features), dense or CSR
    targets: np.ndarray  # (1, K * B), one-hot times weights
    weights: np.ndarray  # (1, B), adding up to 1 over the step
    total: float  # what they added up to before
    ends_step: bool

    def __init__(self, models):
        self.models = models


class Batches:
    """Epochs over one training set, for the networks that read it in one order.

    An epoch's rows are permuted once; they are gathered a few batches at a time
    into one buffer, and a large batch comes in parts whose gradients add up to its
    own. So memory does not grow with the training set, nor with the batch.

    models : slice, the networks of the stack that are fed.
    X : (N, n_features) array in C order, or CSR.
    y : (N,) class indices.
    sample_weight : (N,) float64, or None for 1.
    n_classes, batch_size : int; the last batch may be smaller.
    """

    GATHER_BYTES = 2**20  # about what is gathered at a time

    def __init__(self, models, X, y, sample_weight, *, n_classes, batch_size):
        self.batch = Batch(models)
        self.X, self.y, self.sample_weight = X, y, sample_weight
        self.n_rows, self.batch_size = X.shape[0], batch_size
        self.classes = np.arange(n_classes)[:, np.newaxis]  # (K, 1)
        part = rows_at_once(batch_size)
        part_bytes = X.dtype.itemsize * X.shape[1] * part
        several = self.GATHER_BYTES // max(part_bytes, 1)
        self.gathered = min(max(several, 1), self.n_rows // batch_size)  # batches
        rows = self.gathered * part
        self._X = None if issparse(X) else Buffer(rows * X.shape[1], X.dtype)
        self._y = Buffer(rows, y.dtype)
        self._weights = Buffer(rows, np.float64)
        self._cast_weights = Buffer(rows, X.dtype)
        self._targets = Buffer(n_classes * rows, X.dtype)
        self._is_always_the_same = self.n_rows == batch_size == part
        if self._is_always_the_same:
            next(self._gather(slice(0, self.n_rows), self.n_rows))

    @cached_property
    def _generator(self):
        # Seeded anew in each epoch, which is far quicker than making another.
        return np.random.RandomState(0)

    def epoch(self, seed):
        """Yield the batch in each of its states; rows in an order drawn from seed, an
        int in [0, 2**32), or as they lie for None."""
        if self._is_always_the_same:
            yield self.batch
            return
        order = None
        if seed is not None:
            self._generator.seed(seed)
            order = self._generator.permutation(self.n_rows)
        size = self.batch_size
        if rows_at_once(size) < size:
            for start in range(0, self.n_rows, size):
                yield from self._parts(order, start, min(start + size, self.n_rows))
            return
        full = self.n_rows - self.n_rows % size
        step = self.gathered * size
        for start in range(0, full, step):
            yield from self._gather(
                between(order, start, min(start + step, full)), size
            )
        if full < self.n_rows:
            rows = between(order, full, self.n_rows)
            yield from self._gather(rows, self.n_rows - full)

    def _parts(self, order, start, stop):
        """The parts of one batch."""
        cuts = [
            (first, min(first + PART_ROWS, stop))
            for first in range(start, stop, PART_ROWS)
        ]
        parts = [between(order, *cut) for cut in cuts]
        total = float(stop - start)
        if self.sample_weight is not None:
            total = sum(self.sample_weight[rows].sum() for rows in parts)
        for (first, last), rows in zip(cuts, parts, strict=True):
            yield from self._gather(rows, last - first, total, last == stop)

    def _gather(self, rows, size, total=None, ends_step=True):
        """The batches, of `size` each, that `rows` (a slice or indices) make; or the
        part of a batch whose weights have this total."""
        X = self.X[rows] if issparse(self.X) else take(self.X, rows, self._X)
        y = take(self.y, rows, self._y).reshape(-1, 1, size)
        weights, totals = self._normalised_weights(rows, len(y), size, total)
        targets = self._targets.view(len(y), len(self.classes), size)
        np.equal(y, self.classes, out=targets)
        targets *= weights
        targets = targets.reshape(len(y), 1, -1)
        for i, of_batch in enumerate(totals):
            batch = self.batch
            # Slicing a CSR matrix copies it: not where it is all there is.
            batch.X = X if len(totals) == 1 else X[i * size : (i + 1) * size]
            batch.targets, batch.weights = targets[i], weights[i]
            batch.total, batch.ends_step = of_batch, ends_step
            yield batch

    def _normalised_weights(self, rows, n_batches, size, total):
        """Weights (n_batches, 1, B) that add up to 1 in each batch, and the totals
        that they added up to before."""
        weights = self._weights.view(n_batches, 1, size)
        if self.sample_weight is None:
            weights[...] = 1.0
        else:
            weights.reshape(-1)[...] = take(self.sample_weight, rows, self._weights)
        if total is None:
            totals = weights.sum(axis=2, keepdims=True)  # (n_batches, 1, 1)
        else:
            totals = np.full((1, 1, 1), total)
        weights /= totals
        cast = self._cast_weights.view(n_batches, 1, size)
        cast[...] = weights
        return cast, totals.ravel().tolist()


def rows_at_once(batch_size):
    """Rows that pass through a network at a time."""
    return min(batch_size, PART_ROWS)


def between(order, start, stop):
    """The rows of an epoch from start to stop, as a slice or indices."""
    return slice(start, stop) if order is None else order[start:stop]


def take(array, rows, buffer):
    """The rows of an array, as they lie (a slice) or copied into the buffer."""
    if isinstance(rows, slice):
        return array[rows]
    # mode="clip" writes straight into `out`; "raise" would buffer it.
    out = buffer.view(len(rows), *array.shape[1:])
    return np.take(array, rows, axis=0, out=out, mode="clip")
