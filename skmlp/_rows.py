"""Some rows of an array, by their indices: nothing is copied until it is needed."""

import numpy as np
from scipy.sparse import issparse


class Rows:
    """Looks like the array X[indices]; slices and other choices of it are arrays."""

    def __init__(self, X, indices):
        self.X, self.indices, self.dtype = X, indices, X.dtype
        self.shape = len(indices), X.shape[1]
        self.size = len(indices) * X.shape[1]

    def __getitem__(self, chosen):
        return self.X[self.indices[chosen]]


def rows_of(X, indices):
    """Rows of X, which is dense, sparse (whose rows are copied) or Rows itself."""
    if isinstance(X, Rows):
        return Rows(X.X, X.indices[indices])
    return X[indices] if issparse(X) else Rows(X, np.asarray(indices, np.int64))
