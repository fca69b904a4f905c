"""Means and scales of features: the network sees (X - mean) / scale.

Dense features: each less its mean over its standard deviation (1 where it is constant).
With many features, all are then divided by one number more, so that rows have a root
mean square length of ROW_LENGTH: else the first layer's sums grow with their number.

Sparse features: nothing is subtracted, so that zeros stay zeros, and all are divided by
one number, so that rows have that length: standard deviations would blow rare words up.
But a feature that is OUTLYING times larger or smaller than usual where it occurs, as an
income is beside one-hot columns, is first brought to the usual size.
"""

from functools import reduce
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse

from ._quietly import quietly

ROW_LENGTH, OUTLYING = 8.0, 10.0
FAR_OFF = 3  # standard deviations
BLOCK_ELEMENTS = 2**17  # of X that are looked at at a time: a megabyte


class Statistics(NamedTuple):
    """Of the rows seen so far, (n_features,) each: means and variances of dense
    features; of sparse ones how often they occur, and mean squares."""

    weight: np.ndarray  # sum of the rows' sample weights, or one number for all
    first: np.ndarray
    second: np.ndarray
    is_sparse: bool

    def mean_and_scale(self):
        """What is subtracted from features and what they are divided by.

        Raises
        ------
        ValueError
            Where the squares of a feature overflow.
        """
        if not np.isfinite(self.second).all():
            at = int(np.argmin(np.isfinite(self.second)))
            raise ValueError(
                f"X cannot be standardised: the squares of column {at} are too large "
                "for float64. Divide X by a power of ten first."
            )
        if self.is_sparse:
            return np.zeros_like(self.first), self._sparse_scale()
        is_constant = self.second == 0
        scale = np.where(is_constant, 1.0, np.sqrt(self.second))
        # Each feature that varies adds 1 to the mean square of the rows.
        return self.first, scale * max(1.0, np.sqrt((~is_constant).sum()) / ROW_LENGTH)

    def _sparse_scale(self):
        frequency, square = self.first, self.second
        if not square.any():
            return np.ones_like(square)
        size = np.sqrt(square / np.maximum(frequency, 1e-300))  # where it occurs
        order = np.argsort(size)
        half = frequency.sum() / 2 * (1 - 1e-9)  # on one side of it, however rounded
        middle = np.searchsorted(np.cumsum(frequency[order]), half)
        ratio = np.where(frequency > 0, size / size[order[middle]], 1.0)
        scale = np.where(np.abs(np.log(ratio)) > np.log(OUTLYING), ratio, 1.0)
        return scale * np.sqrt((square / scale**2).sum()) / ROW_LENGTH

    @quietly
    def merge(self, other):
        """Statistics of the rows of both; the same numbers where both have the same."""
        weight = self.weight + other.weight
        share, apart = other.weight / weight, other.first - self.first
        more = other.second - self.second
        if not self.is_sparse:
            more += (1 - share) * apart**2
        first, second = self.first + share * apart, self.second + share * more
        return Statistics(weight, first, second, self.is_sparse)


@quietly
def measure(X, sample_weight):
    """Statistics of X (n, n_features), dense or CSR."""
    n_rows, of_block = X.shape[0], _of_sparse if issparse(X) else _of_dense
    weight = np.ones(n_rows)
    if sample_weight is not None:  # in a unit in which nothing overflows
        weight = sample_weight / sample_weight.max()
    found = reduce(Statistics.merge, (of_block(X, b, weight[b]) for b in blocks_of(X)))
    if not found.is_sparse:
        is_constant = are_constant(found)
        mean = np.where(is_constant, X[0], found.first)
        variance = np.where(is_constant, 0.0, found.second)
        found = found._replace(first=mean, second=variance)
    total = n_rows if sample_weight is None else sample_weight.sum()
    return found._replace(weight=np.full(X.shape[1], float(total)))


def blocks_of(X):
    """Slices of few rows each; of CSR, by what is stored."""
    n_rows = X.shape[0]
    size = max(1, BLOCK_ELEMENTS * n_rows // max(X.size, 1))
    return [slice(start, start + size) for start in range(0, n_rows, size)]


def are_constant(statistics):
    """Which dense features are: rounding gives them a tiny variance."""
    mean, variance = statistics.first, statistics.second
    return np.isfinite(variance) & (np.sqrt(variance) <= 1e-13 * np.abs(mean))


def _of_dense(X, rows, weight):
    Z, total = X[rows].astype(np.float64), weight.sum()
    mean = np.einsum("i,ij->j", weight, Z) / total
    Z -= mean
    variance = np.einsum("i,ij,ij->j", weight, Z, Z) / total
    return Statistics(total, mean, variance, False)


def _of_sparse(X, rows, weight):
    starts = X.indptr[rows.start : rows.stop + 1]
    stored = slice(starts[0], starts[-1])
    values, columns = X.data[stored].astype(np.float64), X.indices[stored]
    weights, total = np.repeat(weight, np.diff(starts)), weight.sum()
    occurs = np.bincount(columns, weights * (values != 0), X.shape[1])
    squares = np.bincount(columns, weights * values**2, X.shape[1])
    return Statistics(total, occurs / total, squares / total, True)


def update(seen, X, sample_weight):
    """Statistics with the rows of X counted in."""
    if seen.is_sparse:
        X = csr_array(X if issparse(X) else X[:])
    elif issparse(X):
        X = X.toarray()
    found = measure(X, sample_weight)
    if not seen.is_sparse:
        # However long a feature was constant, that tells nothing of its scale.
        at_most = np.minimum(seen.weight, found.weight)
        weight = np.where(seen.second == 0, at_most, seen.weight)
        seen = seen._replace(weight=weight)
    return seen.merge(found)


@quietly
def hidden_features(X, statistics):
    """What to say of sparse features that their means hide, or None: never 0, they vary
    by less than an OUTLYING-th of the mean, as years do beside one-hot columns."""
    if not statistics.is_sparse:
        return None
    columns = np.flatnonzero(statistics.first > 1 - 1e-9)
    if columns.size == 0:
        return None
    blocks = (X[b][:, columns].toarray() for b in blocks_of(X))
    found = (_of_dense(Z, slice(None), np.ones(len(Z))) for Z in blocks)
    found = reduce(Statistics.merge, found)
    hidden = OUTLYING * np.sqrt(found.second) < np.abs(found.first)
    hidden &= ~are_constant(found)
    if hidden.any():
        return (
            f"Columns {columns[hidden][:5].tolist()} of X vary little beside their "
            "means, which are not subtracted where X is sparse. Put a StandardScaler "
            "before these columns while they are dense, or pass all of X as a dense "
            "array (sparse_threshold=0 in a ColumnTransformer)."
        )


@quietly
def other_units(statistics, X_val):
    """What to say of validation rows that lie far from the training rows, or None: of
    dense features, where those are standardised by `statistics`.

    Rows that missed a scaler are most often far off in a part of the features. A single
    outlying feature, or some drift in many, is nothing unusual.
    """
    if statistics is None or statistics.is_sparse or issparse(X_val):
        return None
    varies = statistics.second > 0
    distance = np.abs(X_val.mean(axis=0, dtype=np.float64) - statistics.first)[varies]
    distance = np.sort(distance / np.sqrt(statistics.second[varies]))
    if not varies.any() or distance[3 * (distance.size - 1) // 4] <= FAR_OFF:
        return None
    return (
        "X_val looks unlike X: for a quarter of the features or more, its mean is over "
        f"{FAR_OFF} standard deviations from that of X. Check that both are in the "
        "same units, and have passed through the same steps of a Pipeline."
    )
