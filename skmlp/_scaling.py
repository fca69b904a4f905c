"""Means and scales of features: the network sees (X - mean) / scale.

Dense features: each less its mean over its standard deviation (1 where it is constant).
With many features, all are then divided by one number more, so that rows have a root
mean square length of ROW_LENGTH: else the first layer's sums grow with their number.
Sparse features: divided by one number, so that rows have that length. Zeros stay zeros,
and rare features are not blown up.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse

ROW_LENGTH = 8.0
# Statistics of fewer rows are rough: in a stream they are updated up to here.
ENOUGH = 100.0
BLOCK_NUMBERS = 2**17  # of X that are looked at at a time: a megabyte


class Statistics(NamedTuple):
    """Of the rows seen so far, weighted by their sample weights."""

    weight: float
    mean: np.ndarray  # (n_features,); where rows are sparse (1,), 0
    variance: np.ndarray  # (n_features,); where rows are sparse (1,), their mean square
    is_sparse: bool

    def mean_and_scale(self, n_features):
        """What is subtracted from features and what they are divided by, (n_features,)
        each."""
        is_constant = self.variance == 0
        scale = np.where(is_constant, 1.0, np.sqrt(self.variance))
        if self.is_sparse:
            return np.zeros(n_features), np.full(n_features, scale[0] / ROW_LENGTH)
        # Each feature that varies adds 1 to the mean square of the rows.
        return self.mean, scale * max(1.0, np.sqrt((~is_constant).sum()) / ROW_LENGTH)

    def merge(self, other):
        """Statistics of the rows of both; the same numbers where both have the same."""
        weight = self.weight + other.weight
        share, apart = other.weight / weight, other.mean - self.mean
        more = other.variance - self.variance + (1 - share) * apart**2
        return self._replace(
            weight=weight,
            mean=self.mean + share * apart,
            variance=self.variance + share * more,
        )


@np.errstate(all="ignore")  # what overflows is looked at
def measure(X, sample_weight):
    """Statistics of X (n, n_features), dense or CSR.

    Raises
    ------
    ValueError
        Where a variance is too large a number.
    """
    n_rows, of_block = X.shape[0], _of_sparse if issparse(X) else _of_dense
    weight = np.ones(n_rows)
    if sample_weight is not None:  # as their squares might be no numbers
        weight = sample_weight / sample_weight.max()
    size = max(1, BLOCK_NUMBERS * n_rows // max(X.nnz if issparse(X) else X.size, 1))
    found = None
    for start in range(0, n_rows, size):
        rows = slice(start, min(start + size, n_rows))
        block = of_block(X, rows, weight[rows])
        found = block if found is None else found.merge(block)
    if not np.isfinite(found.variance).all():
        at = int(np.argmin(np.isfinite(found.variance)))
        where = "its rows" if found.is_sparse else f"column {at}"
        raise ValueError(
            f"X cannot be standardised: the variance of {where} is too large for "
            "float64. Divide X by a power of ten first."
        )
    if not found.is_sparse:  # rounding makes the variance of a constant feature
        is_constant = np.sqrt(found.variance) <= 1e-13 * np.abs(found.mean)
        found = found._replace(
            mean=np.where(is_constant, X[0], found.mean),
            variance=np.where(is_constant, 0.0, found.variance),
        )
    total = n_rows if sample_weight is None else sample_weight.sum()
    return found._replace(weight=float(total))


def _of_dense(X, rows, weight):
    Z, total = X[rows].astype(np.float64), weight.sum()
    mean = np.einsum("i,ij->j", weight, Z) / total
    Z -= mean
    return Statistics(total, mean, np.einsum("i,ij,ij->j", weight, Z, Z) / total, False)


def _of_sparse(X, rows, weight):
    starts = X.indptr[rows.start : rows.stop + 1]
    values = X.data[starts[0] : starts[-1]].astype(np.float64)
    squares = np.einsum("i,i,i", np.repeat(weight, np.diff(starts)), values, values)
    total = weight.sum()
    return Statistics(total, np.zeros(1), np.array([squares / total]), True)


def update(seen, X, sample_weight):
    """Statistics with the rows of X counted in, where those of the rows seen so far are
    rough: of fewer than ENOUGH rows, or of features that were constant."""
    rough = (seen.variance == 0) | (seen.weight < ENOUGH)
    if not rough.any():
        return seen
    if issparse(X) and not seen.is_sparse:
        X = X.toarray()
    elif seen.is_sparse:
        X = csr_array(X)
    elif seen.weight >= ENOUGH and (X[:, rough] == seen.mean[rough]).all():
        # What was constant still is.
        added = X.shape[0] if sample_weight is None else sample_weight.sum()
        return seen._replace(weight=seen.weight + float(added))
    merged = seen.merge(measure(X, sample_weight))
    return merged._replace(
        mean=np.where(rough, merged.mean, seen.mean),
        variance=np.where(rough, merged.variance, seen.variance),
    )
