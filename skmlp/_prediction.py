"""Scores, probabilities and the loss of any number of rows, in blocks.

Memory does not grow with the rows: one block a thread is all there is. Blocks go to as
many threads as BLAS may use, each with one for its products: they give the same numbers
however many there are.
"""

from typing import NamedTuple

import numpy as np
from scipy.sparse import issparse

from . import _kernels as kernels
from ._network import Architecture, read_only
from ._quietly import quietly
from ._rows import Rows
from ._team import Team
from ._threads import blas_limit, call

BLOCK_ELEMENTS = 2**18  # features and activations of a block, which a thread takes
THREAD_FLOPS = 1e7  # fewer operations are not worth a thread
NONE, NO_ROWS = np.empty(0), read_only(np.empty(0, np.int64))


class Network(NamedTuple):
    """All that a prediction depends on. With (X - mean) / scale of each row begins the
    first layer; mean and scale are None where features are taken as they are."""

    architecture: Architecture
    params: np.ndarray  # (n_params,)
    mean: np.ndarray | None  # (n_features,)
    scale: np.ndarray | None  # (n_features,)


class NotFinite(ValueError):
    """Scores, or what a training changes, are too large for their precision."""


def as_data(X, network):
    """X (n, n_features), dense, CSR or Rows, as compiled code takes it.

    Raises
    ------
    ValueError
        Where X, feature_mean_ or feature_scale_ are not as wide as the network.
    """
    width, features = network.architecture.layer_sizes[0], (NONE, NONE)
    found = {X.shape[1]}
    if network.scale is not None:
        mean = np.array(network.mean, np.float64)
        features = mean, 1.0 / np.asarray(network.scale, np.float64)
        found |= {mean.size, features[1].size}
    if found != {width}:
        raise ValueError(
            f"X, feature_mean_ and feature_scale_ have {sorted(found)} features, but "
            f"expected {width}, those of the network."
        )
    rows, X = (read_only(X.indices), X.X) if isinstance(X, Rows) else (NO_ROWS, X)
    if isinstance(X, np.ndarray):
        return kernels.Data(read_only(X), None, NO_ROWS, rows, *features)
    arrays = (X.data, X.dtype), (X.indices, np.int32), (X.indptr, np.int64)
    csr = tuple(read_only(np.ascontiguousarray(*array)) for array in arrays)
    return kernels.Data(None, csr, NO_ROWS, rows, *features)


def needs_dense_rows(X, network):
    """Whether X is sparse, and dense once the features' means are subtracted."""
    return issparse(X) and network.mean is not None and network.mean.any()


class Blocks:
    """X (n, n_features), dense, CSR or Rows, as blocks that compiled code takes."""

    def __init__(self, X, network):
        self.X, self.network, architecture = X, network, network.architecture
        # Blocks of rows are copied, not all of X, where it lies in memory column by
        # column, as that of a DataFrame, or has to become dense.
        by_column = isinstance(X, np.ndarray) and not X.flags.c_contiguous
        self.are_copied = by_column or needs_dense_rows(X, network)
        self.data = None if self.are_copied else as_data(X, network)
        is_sparse = issparse(X) and not self.are_copied
        self.kind = X.dtype, is_sparse
        self.gather = not is_sparse and (
            network.scale is not None or isinstance(X, Rows)
        )
        elements = architecture.n_units + (0 if is_sparse else X.shape[1])  # of a row
        self.size = max(BLOCK_ELEMENTS // elements, 64)
        self.micro_batch = architecture.micro_batch(max(min(self.size, X.shape[0]), 1))

    def arguments(self, rows, code):
        """What predict_rows takes for a slice of rows, the array of results last."""
        network, dtype, data = self.network, self.X.dtype, self.data
        architecture, start = network.architecture, rows.start
        if self.are_copied:
            X = self.X[rows]
            X = X.toarray() if issparse(X) else np.ascontiguousarray(X)
            data, start = as_data(X, network), 0
        workspace = architecture.make_workspace(
            self.micro_batch, dtype, gather=self.gather
        )
        out = np.empty((rows.stop - rows.start, architecture.layer_sizes[-1]), dtype)
        return data, start, architecture.layout, network.params, workspace, code, out


def map_blocks(function, values, X, network):
    """[function(rows, values)] of each block: rows a slice, those of `values`
    (B, n_classes), which are "scores", "probabilities" or "log_probabilities".

    X : (n, n_features), dense, CSR or Rows, in the precision of network.params.

    Raises
    ------
    NotFinite
        Where scores are not finite.
    """
    blocks, failed, n_rows = Blocks(X, network), [], X.shape[0]
    code = getattr(kernels, values.upper())
    starts = range(0, n_rows, blocks.size)

    def of_block(start):
        rows = slice(start, min(start + blocks.size, n_rows))
        args = blocks.arguments(rows, code)
        kernels.predict_rows.prepare(blocks.kind, *args)
        if kernels.predict_rows(*args):
            return function(rows, args[-1])
        failed.append(rows)

    if len(starts) == 1:
        results = [call(of_block, 0)]
    else:
        most = int(n_rows * network.architecture.row_flops(X) / THREAD_FLOPS)
        n_threads = min(len(starts), blas_limit(), most) if most > 1 else 1
        if n_threads > 1:  # a warning points at the caller's thread
            first = blocks.arguments(slice(0, blocks.size), code)
            kernels.predict_rows.prepare(blocks.kind, *first)
        with Team(n_threads) as team:
            results = call(team.map, of_block, starts)
    if failed:
        rows = min(failed, key=lambda rows: rows.start)
        raise NotFinite(
            f"The network's scores of rows {rows.start} to {rows.stop - 1} are not "
            f"finite in {X.dtype}: {cause_of_overflow(X[rows], network)}."
        )
    return results


def cause_of_overflow(rows, network):
    if not np.isfinite(network.params).all():
        return "coefs_ or intercepts_ hold numbers that are not"
    if network.scale is None:
        return (
            "the features are too large for it. Leave standardize=True, or scale them "
            "before fit and predict"
        )
    largest = np.abs(rows.data if issparse(rows) else rows).max(initial=0)
    return (
        "the features, or the weights, are too large for it (the largest feature is "
        f"{largest:.3g}, in the units of the training data)"
    )


def mean_cross_entropy(network, X, y, sample_weight):
    """Of class indices y (n,), weighted where sample_weight is not None; raises as
    map_blocks does."""

    @quietly
    def total(rows, log_probabilities):
        at = np.arange(rows.stop - rows.start), y[rows]
        losses = -log_probabilities[at].astype(np.float64)  # (B,)
        if sample_weight is not None:
            losses *= sample_weight[rows]
        return losses.sum()

    totals = map_blocks(total, "log_probabilities", X, network)
    weight = len(y) if sample_weight is None else float(sample_weight.sum())
    return float(sum(totals)) / weight
