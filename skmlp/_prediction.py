"""Scores, probabilities and the loss of any number of rows, in blocks.

Memory does not grow with the rows: one block a thread is all there is. Blocks go to as
many threads as BLAS may use, each with one for its products: they give the same numbers
however many there are (but where BLAS is of a kind that _threads leaves alone).
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import numpy as np

from ._network import as_rows, read_only
from ._threads import blas_limit, call, kernels

BLOCK_NUMBERS = 2**17  # activations of a block: about a megabyte


def map_blocks(function, kind, X, architecture, params):
    """[function(rows, values)] of each block: rows a slice, values (B, n_classes) what
    `kind` names: "scores", "probabilities" or "log_probabilities".

    X : (n, n_features), dense or CSR, in the precision of params.

    Raises
    ------
    ValueError
        Where scores are not finite.
    """
    n_rows = X.shape[0]
    block = max(BLOCK_NUMBERS // architecture.n_units, 64)
    (dense, csr), layout = as_rows(X), architecture.layout
    is_sparse = dense is None
    order = read_only(np.arange(n_rows if is_sparse else 0))
    flops = architecture.flops(min(block, n_rows), is_sparse)
    code = getattr(kernels(), kind.upper())

    def of_block(start):
        rows = slice(start, min(start + block, n_rows))
        size = rows.stop - start
        room = architecture.make_room(size, X, gather=False)
        values = np.empty((size, architecture.layer_sizes[-1]), X.dtype)
        args = dense, csr, order, start, layout, params, room, code, values
        if not call(flops, kernels().score, *args, most=np.inf):
            raise ValueError(
                f"The network's scores of rows {start} to {rows.stop - 1} are not "
                f"finite in {X.dtype}: the features are too large for it. Scale them "
                "(StandardScaler) before fit and predict."
            )
        return function(rows, values)

    starts = range(0, n_rows, block)
    if len(starts) > 1 and (limit := blas_limit()) > 1:
        with (
            suppress(RuntimeError),  # the system gives no more threads
            ThreadPoolExecutor(min(limit, len(starts))) as threads,
        ):
            return list(threads.map(of_block, starts))
    return [of_block(start) for start in starts]


def mean_cross_entropy(architecture, params, X, y, sample_weight):
    """Of class indices y (n,), weighted where sample_weight is not None; raises as
    map_blocks does."""

    @np.errstate(all="ignore")
    def total(rows, log_probabilities):
        at = np.arange(rows.stop - rows.start), y[rows]
        losses = -log_probabilities[at].astype(np.float64)  # (B,)
        if sample_weight is not None:
            losses *= sample_weight[rows]
        return losses.sum()

    totals = map_blocks(total, "log_probabilities", X, architecture, params)
    weight = len(y) if sample_weight is None else float(sample_weight.sum())
    return float(sum(totals)) / weight
