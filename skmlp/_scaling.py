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
from sklearn.preprocessing import StandardScaler

ROW_LENGTH = 8.0
# Statistics of fewer rows are rough: in a stream they are updated up to here.
ENOUGH = 100.0
BLOCK_NUMBERS = 2**19  # of X that are looked at at a time: 4 MB


class Statistics(NamedTuple):
    """Of the rows seen so far, weighted by their sample weights."""

    weight: float
    mean: np.ndarray  # (n_features,); zeros where the rows are sparse
    variance: np.ndarray  # (n_features,); (1,) the rows' mean square where sparse

    @property
    def is_sparse(self):
        return self.variance.shape != self.mean.shape

    @property
    def scale(self):
        """(n_features,) what features are divided by."""
        is_constant = self.variance == 0
        scale = np.where(is_constant, 1.0, np.sqrt(self.variance))
        if self.is_sparse:
            return np.full(self.mean.shape, scale[0] / ROW_LENGTH)
        # Each feature that varies adds 1 to the mean square of the rows.
        return scale * max(1.0, np.sqrt((~is_constant).sum()) / ROW_LENGTH)


@np.errstate(all="ignore")  # what overflows is looked at
def measure(X, sample_weight):
    """Statistics of X (n, n_features), dense or CSR.

    Raises
    ------
    ValueError
        Where a variance is too large a number.
    """
    find = _of_sparse if issparse(X) else _of_dense
    total = X.shape[0]
    if sample_weight is not None:  # their unit does not matter, their mean is made 1
        total = sample_weight.sum()
        sample_weight = sample_weight / total * X.shape[0]
    found = Statistics(float(total), *find(X, sample_weight))
    if not np.isfinite(found.variance).all():
        at = int(np.argmin(np.isfinite(found.variance)))
        where = "its rows" if found.is_sparse else f"column {at}"
        raise ValueError(
            f"X cannot be standardised: the variance of {where} is too large for "
            "float64. Divide X by a power of ten first."
        )
    return found


def _of_dense(X, sample_weight):
    scaler = StandardScaler(copy=False)
    for rows in blocks(X):
        scaler.partial_fit(
            X[rows],
            sample_weight=None if sample_weight is None else sample_weight[rows],
        )
    # Where a feature is constant, the scaler's scale is 1: rounding made its variance.
    varies = (scaler.scale_ == np.sqrt(scaler.var_)) & (scaler.var_ > 0)
    varies |= ~np.isfinite(scaler.var_)
    mean = np.where(varies, scaler.mean_, X[0])
    return mean, np.where(varies, scaler.var_, 0.0)


def _of_sparse(X, sample_weight):
    squares = np.zeros(1)
    for rows in blocks(X):
        of_rows = np.asarray(X[rows].astype(np.float64).power(2).sum(axis=1)).ravel()
        squares += (
            of_rows.sum() if sample_weight is None else sample_weight[rows] @ of_rows
        )
    return np.zeros(X.shape[1]), squares / X.shape[0]


def blocks(X):
    """Slices of X's rows, of about BLOCK_NUMBERS stored numbers each."""
    n_rows = X.shape[0]
    stored = X.nnz if issparse(X) else X.size
    size = max(1, BLOCK_NUMBERS * n_rows // max(stored, 1))
    return [slice(start, start + size) for start in range(0, n_rows, size)]


def update(seen, X, sample_weight):
    """Statistics with the rows of X counted in, where those of the rows seen so far are
    rough: of fewer than ENOUGH rows, or of features that were constant."""
    rough = (seen.variance == 0) | (seen.weight < ENOUGH)
    if not rough.any():
        return seen
    if seen.is_sparse:
        X = csr_array(X)
    elif issparse(X):
        X = X.toarray()
    added = float(X.shape[0] if sample_weight is None else sample_weight.sum())
    weight = seen.weight + added
    is_settled = not seen.is_sparse and seen.weight >= ENOUGH
    if is_settled and (X[:, rough] == seen.mean[rough]).all():
        return seen._replace(weight=weight)  # what was constant still is
    new, share = measure(X, sample_weight), added / weight
    apart = new.mean - seen.mean
    mean = seen.mean + share * apart
    between = 0.0 if seen.is_sparse else (1 - share) * apart**2
    variance = seen.variance + share * (new.variance - seen.variance + between)
    rough_mean = False if seen.is_sparse else rough
    return Statistics(
        weight,
        np.where(rough_mean, mean, seen.mean),
        np.where(rough, variance, seen.variance),
    )
