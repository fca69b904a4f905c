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

BLOCK_NUMBERS = 2**18  # features and activations of a block, which a thread takes
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
    """Scores are too large for their precision, or not numbers."""


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


def map_blocks(function, values, X, network):
    """[function(rows, values)] of each block: rows a slice, those of `values`
    (B, n_classes), which are "scores", "probabilities" or "log_probabilities".

    X : (n, n_features), dense, CSR or Rows, in the precision of network.params.

    Raises
    ------
    NotFinite
        Where scores are not finite.
    """
    architecture, params = network.architecture, network.params
    n_rows, layout = X.shape[0], architecture.layout
    # Blocks of rows are copied, not all of X, where it lies in memory column by column,
    # as that of a DataFrame, or has to become dense.
    by_column = isinstance(X, np.ndarray) and not X.flags.c_contiguous
    copies_blocks = by_column or needs_dense_rows(X, network)
    if not copies_blocks:
        data = as_data(X, network)
    is_sparse = issparse(X) and not copies_blocks
    gather = not is_sparse and (network.scale is not None or isinstance(X, Rows))
    numbers = architecture.n_units + (0 if is_sparse else X.shape[1])  # of a row
    block = max(BLOCK_NUMBERS // numbers, 64)
    micro_batch = architecture.micro_batch(max(min(block, n_rows), 1))
    code = getattr(kernels, values.upper())
    kind = X.dtype, is_sparse

    def arguments(start):
        size = min(block, n_rows - start)
        workspace = architecture.make_workspace(micro_batch, X.dtype, gather=gather)
        out = np.empty((size, architecture.layer_sizes[-1]), X.dtype)
        if copies_blocks:
            rows = X[start : start + size]
            rows = rows.toarray() if issparse(rows) else np.ascontiguousarray(rows)
            at = as_data(rows, network), 0
        else:
            at = data, start
        return *at, layout, params, workspace, code, out

    def of_block(start):
        args = arguments(start)
        kernels.predict_rows.prepare(kind, *args)
        if kernels.predict_rows(*args):
            return function(slice(start, start + len(args[-1])), args[-1])
        failed.append(start)

    starts, failed = range(0, n_rows, block), []
    n_threads = min(len(starts), int(n_rows * architecture.row_flops(X) / THREAD_FLOPS))
    n_threads = min(n_threads, blas_limit()) if n_threads > 1 else 1
    if n_threads > 1:  # a warning points at the caller's thread
        kernels.predict_rows.prepare(kind, *arguments(0))
    if len(starts) == 1:
        results = [call(of_block, 0)]
    else:
        with Team(n_threads) as team:
            results = call(team.map, of_block, starts)
    if failed:
        start = min(failed)
        stop = min(start + block, n_rows)
        raise NotFinite(
            f"The network's scores of rows {start} to {stop - 1} are not finite in "
            f"{X.dtype}: {cause_of_overflow(X[start:stop], network)}."
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
    largest = np.abs(rows.data if issparse(rows) else rows).max()
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
