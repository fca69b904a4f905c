"""What is compiled, and nothing else: plain Python that Numba translates.

Samples in rows, as scikit-learn has them: a layer's activations are Y (B, n_out), for
the B rows that pass through the network at a time, and W is (n_in, n_out).

The entry points, at the end, are ``train_rows`` and ``predict_rows``.
With NUMBA_DISABLE_JIT=1 everything here runs as it stands, slowly.
"""

from typing import Any, NamedTuple

import numpy as np

from ._activations import ENTRY, activate, differentiate, exact, exp, kernel, pasted
from ._blas import multiply_add, view
from ._cache import Entry


class Data(NamedTuple):
    """What passes through the network: the rows, in which order, and how scaled. Either
    X or csr is None."""

    X: Any  # (N, n_features)
    csr: Any  # (values, columns, starts)
    order: np.ndarray  # of an epoch's samples; empty for their own
    rows: np.ndarray  # of X, that these are; empty where nothing is left out or moved
    mean: np.ndarray  # (n_features,) float64; empty to leave the features as they are
    inverse_scale: np.ndarray  # (n_features,) float64; empty likewise


class Params(NamedTuple):
    """What a step changes. The rows of a batch form groups, each with a gradient."""

    P: np.ndarray  # (n_params,) weights and biases
    V: np.ndarray  # (n_params,) their velocities
    G: np.ndarray  # (n_groups, n_params) gradients
    losses: np.ndarray  # (n_groups,)
    totals: np.ndarray  # (2,) the epoch's mean of J so far: cross-entropy and penalty


class Step(NamedTuple):
    """What an epoch's steps have in common."""

    n_rows: int  # of the epoch
    total_weight: float  # of these rows
    batch_size: int
    group_size: int  # rows whose gradients add up in one row of G
    micro_batch: int  # rows that pass through the network at a time
    updates: bool  # whether the last row of a batch is followed by its update
    rate: float
    momentum: float
    nesterov: bool
    decay: float  # alpha / effective number of samples


@kernel
def add_rows(dZ, is_first, db):
    """db (n_out,) <- the sum of the rows of dZ (B, n_out), added to db unless first"""
    if is_first:
        db[:] = 0
    for j in range(dZ.shape[0]):
        for i in range(db.size):
            db[i] += dZ[j, i]


# -- the loss ------------------------------------------------------------------------


@kernel
def softmax(S, P, top, norm):
    """P (B, K) <- exp(S - top), top (B,) being the largest score of each row of S, and
    norm (B,) what the softmax divides that by, which is at least 1."""
    B, K = S.shape
    for j in range(B):
        top[j] = S[j, 0]
        for k in range(1, K):
            top[j] = max(top[j], S[j, k])
        for k in range(K):
            P[j, k] = S[j, k] - top[j]
    p = view(P, 0, (P.size,))
    for i in range(p.size):
        p[i] = exp(p[i])
    for j in range(B):
        norm[j] = 0
        for k in range(K):
            norm[j] += P[j, k]


@kernel
def cross_entropy(S, dS, y, w, top, norm):
    """The loss sum_j w_j CE_j for scores S (B, K), and its gradient dS.

    With p = softmax of a row, CE = -log p_y and d CE / d S_k = p_k - [k = y].
    """
    B, K = S.shape
    softmax(S, dS, top, norm)
    loss = 0.0
    for j in range(B):
        loss += w[j] * (np.log(norm[j]) + (top[j] - S[j, y[j]]))
        share = w[j] / norm[j]
        for k in range(K):
            dS[j, k] *= share
        dS[j, y[j]] -= w[j]
    return loss


# -- rows ----------------------------------------------------------------------------
# Rows of dense data are gathered, standardised, and multiplied by BLAS; CSR rows are
# found by their indices. Where X or csr is None, the compiler leaves out what needs it.


@kernel
def take_rows(X, data, start, B, workspace):
    """Samples start : start + B of an epoch, standardised, (B, n_features); of CSR data
    no columns."""
    if X is None:
        return view(workspace.rows, 0, (B, 0))
    n_features, mean = X.shape[1], data.mean
    if data.rows.size == 0 and mean.size == 0:
        return view(X, start * n_features, (B, n_features))
    rows = view(workspace.rows, 0, (B, n_features))
    for j in range(B):
        row = data.rows[start + j] if data.rows.size else start + j
        if mean.size == 0:
            for i in range(n_features):
                rows[j, i] = X[row, i]
        else:
            standardise(X, row, mean, data.inverse_scale, rows, j)
    return rows


@exact  # in float64: in float32 a large mean would take away what a feature tells
def standardise(X, row, mean, inverse_scale, rows, j):
    for i in range(rows.shape[1]):
        rows[j, i] = (X[row, i] - mean[i]) * inverse_scale[i]


@kernel
def take_targets(y, sample_weight, order, start, B, scale, workspace):
    for j in range(B):
        sample = order[start + j] if order.size else start + j
        workspace.y[j] = y[sample]
        workspace.w[j] = sample_weight[sample] * scale if sample_weight.size else scale


@kernel
def multiply(rows, csr, data, start, W, Z):
    """Z (B, n_out) <- rows W"""
    if csr is None:
        multiply_add(rows, W, 0, Z)
    else:
        Z[:] = 0
        add_sparse_product(csr, data, start, Z.shape[0], False, W, Z)


@kernel
def multiply_transposed(rows, csr, data, start, dZ, is_first, dW):
    """dW (n_in, n_out) <- rows^T dZ, added to dW unless first"""
    if csr is None:
        multiply_add(rows.T, dZ, 0 if is_first else 1, dW)
    else:
        if is_first:
            dW[:] = 0
        add_sparse_product(csr, data, start, dZ.shape[0], True, dZ, dW)


@kernel
def add_sparse_product(csr, data, start, B, is_transposed, A, C):
    """C <- C + rows A for B rows of CSR data, or C <- C + rows^T A"""
    values, columns, starts = csr
    for j in range(B):
        row = data.rows[start + j] if data.rows.size else start + j
        for at in range(starts[row], starts[row + 1]):
            x, column = values[at], columns[at]
            if data.inverse_scale.size:
                x = values.dtype.type(x * data.inverse_scale[column])
            source, target = (j, column) if is_transposed else (column, j)
            for i in range(A.shape[1]):
                C[target, i] += x * A[source, i]


# -- layers --------------------------------------------------------------------------


@pasted
def coef_of(P, layout, layer):
    """The view of P that holds a layer's weights, (n_in, n_out)."""
    shape = layout.sizes[layer], layout.sizes[layer + 1]
    return view(P, layout.starts[layer], shape)


@pasted
def intercept_of(P, layout, layer):
    """The view of P that holds a layer's biases, (n_out,)."""
    return view(P, layout.starts[layout.codes.size + layer], (layout.sizes[layer + 1],))


@pasted
def units_of(Y, layout, layer, B):
    """The view of Y that holds a layer's activations, (B, n_out)."""
    first = layout.codes.size
    start = (layout.starts[first + layer] - layout.starts[first]) * B
    return view(Y, start, (B, layout.sizes[layer + 1]))


@kernel
def forward(rows, csr, data, start, P, layout, workspace):
    """All layers' activations, into workspace.Y: Y = f(A W + b), A the layer's input.
    Returns the last ones, the scores (B, K)."""
    B = rows.shape[0]
    for layer in range(layout.codes.size):
        W, Z = coef_of(P, layout, layer), units_of(workspace.Y, layout, layer, B)
        if layer == 0:
            multiply(rows, csr, data, start, W, Z)
        else:
            multiply_add(units_of(workspace.Y, layout, layer - 1, B), W, 0, Z)
        activate(layout.codes[layer], Z, intercept_of(P, layout, layer))
    return units_of(workspace.Y, layout, layout.codes.size - 1, B)


@kernel
def backward(rows, csr, data, start, P, is_first, G, layout, workspace):
    """The gradient, added to G unless first, from the last layer's dY in workspace.dY.

    dZ = f'(Z) dY; dW = A^T dZ; db = dZ; and dA = dZ W^T is the layer before's dY. Over
    rows the gradients add up, which the products do by themselves.
    """
    B = rows.shape[0]
    for layer in range(layout.codes.size - 1, -1, -1):
        Y = units_of(workspace.Y, layout, layer, B)
        dY = units_of(workspace.dY, layout, layer, B)
        dW = coef_of(G, layout, layer)
        differentiate(layout.codes[layer], Y, dY)
        add_rows(dY, is_first, intercept_of(G, layout, layer))
        if layer == 0:
            multiply_transposed(rows, csr, data, start, dY, is_first, dW)
        else:
            A = units_of(workspace.Y, layout, layer - 1, B)
            multiply_add(A.T, dY, 0 if is_first else 1, dW)
            dA = units_of(workspace.dY, layout, layer - 1, B)
            multiply_add(dY, coef_of(P, layout, layer).T, 0, dA)


# -- the update ----------------------------------------------------------------------


@kernel
def add(G, D):
    """G <- G + D"""
    for i in range(G.size):
        G[i] += D[i]


@kernel
def momentum_update(P, G, V, rate, momentum, decay, nesterov):
    """V <- momentum V - rate (G + decay P); P <- P + V, with Nesterov's look-ahead
    P + momentum V - rate (G + decay P).

    Returns |P|^2 before, and 0, or nan where P is not finite.
    """
    zero = P.dtype.type(0)
    squares, nan_flag = zero, zero
    for i in range(P.size):
        p = P[i]
        squares += p * p
        step = rate * (G[i] + decay * p)
        v = momentum * V[i] - step
        V[i] = v
        p += momentum * v - step if nesterov else v
        P[i] = p
        nan_flag += zero * p
    return squares, nan_flag


MOST_SUMMED = 2**16  # squares: in float32 longer sums would lose digits


@kernel
def update(params, n_weights, step, share):
    """The momentum update after a batch of `share` times batch_size rows; biases are
    not penalised. Returns |W|^2 before, nan where a parameter is not finite."""
    T = params.P.dtype.type
    total, at = 0.0, 0
    while at < params.P.size:
        is_weight = at < n_weights
        end = min(at + MOST_SUMMED, n_weights if is_weight else params.P.size)
        squares, nan_flag = momentum_update(
            view(params.P, at, (end - at,)), view(params.G, at, (end - at,)),
            view(params.V, at, (end - at,)), T(step.rate), T(step.momentum),
            T(share * step.decay if is_weight else 0), step.nesterov,
        )  # fmt: skip
        total += (squares if is_weight else 0) + nan_flag
        at = end
    return total


@kernel
def end_batch(params, layout, step, B):
    """After the gradients of a batch's B rows: add those of its groups, in order; take
    the step; count the loss in."""
    G = params.G
    n_groups = -(-B // step.group_size)
    for group in range(1, n_groups):
        add(view(G, 0, (G.shape[1],)), view(G, group * G.shape[1], (G.shape[1],)))
    loss = 0.0
    for group in range(n_groups):
        loss += params.losses[group]
    share = B / step.batch_size
    squares = update(params, layout.starts[layout.codes.size], step, share)
    params.totals[0] += loss * step.batch_size / step.n_rows
    params.totals[1] += 0.5 * step.decay * B / step.n_rows * squares


# -- predictions ---------------------------------------------------------------------

SCORES, PROBABILITIES, LOG_PROBABILITIES = range(3)


@kernel
def scores_to(S, kind, workspace, out):
    """out (B, K) <- what `kind` is of the scores S; returns whether these are finite.

    The first of the largest scores is the first of the largest probabilities, too,
    though rounding may make others as large.
    """
    B, K = out.shape
    finite = True
    for j in range(B):
        for k in range(K):
            out[j, k] = S[j, k]
            finite &= np.isfinite(S[j, k])
    if kind == SCORES:
        return finite
    top, norm = workspace.top, workspace.norm
    softmax(S, out, top, norm)
    for j in range(B):
        log_norm = np.log(norm[j])
        for k in range(K):
            if kind == LOG_PROBABILITIES:
                out[j, k] = (S[j, k] - top[j]) - log_norm
            else:
                out[j, k] /= norm[j]
        best = 0
        while S[j, best] < top[j]:
            best += 1
        for k in range(best):
            if out[j, k] == out[j, best]:
                out[j, k] = np.nextafter(out[j, k], S.dtype.type(-np.inf))
    return finite


# -- entry points --------------------------------------------------------------------


def train_rows(
    data, y, sample_weight, layout, params, workspace, step, start, stop, n_passed
):
    """Take a step after the n_passed rows of a batch, unless 0; then pass rows of the
    epoch through, from `start` to `stop` or soon after. Returns the next row.

    The rows of a batch form groups, those of a group micro-batches. So gradients are
    added in an order that depends on nothing else: threads may share the groups, and a
    call may end between two micro-batches.

    y : (N,) class indices.
    sample_weight : (N,), or empty for 1.

    With S the total weight of N rows s_i, a step over B rows, of a batch size b, is by

        (N / (b S)) sum_i s_i grad CE_i  +  (B / b) decay W
    """
    scale = step.n_rows / (step.batch_size * step.total_weight)
    n_params = params.P.size
    while n_passed or start < stop:
        if n_passed:  # at one place: compiled twice, it might round in two ways
            end_batch(params, layout, step, n_passed)
            n_passed = 0
            continue
        first = start // step.batch_size * step.batch_size
        last = min(first + step.batch_size, step.n_rows)
        group = (start - first) // step.group_size
        done = start - first - group * step.group_size
        B = min(step.micro_batch, step.group_size - done, last - start)
        rows = take_rows(data.X, data, start, B, workspace)
        take_targets(y, sample_weight, data.order, start, B, scale, workspace)
        S = forward(rows, data.csr, data, start, params.P, layout, workspace)
        dS = units_of(workspace.dY, layout, layout.codes.size - 1, B)  # (B, K)
        loss = cross_entropy(
            S, dS, workspace.y, workspace.w, workspace.top, workspace.norm
        )
        params.losses[group] = loss if done == 0 else params.losses[group] + loss
        backward(
            rows, data.csr, data, start, params.P, done == 0,
            view(params.G, group * n_params, (n_params,)), layout, workspace,
        )  # fmt: skip
        start += B
        if start == last and step.updates:
            n_passed = last - first
    return start


def predict_rows(data, start, layout, P, workspace, kind, out):
    """out (n, K) <- scores of the rows from `start`, or their softmax or its logarithm.

    Returns whether all scores are finite.
    """
    done, finite = 0, True
    while done < out.shape[0]:
        B = min(workspace.y.size, out.shape[0] - done)
        at = start + done
        rows = take_rows(data.X, data, at, B, workspace)
        S = forward(rows, data.csr, data, at, P, layout, workspace)
        finite &= scores_to(S, kind, workspace, out[done : done + B])
        done += B
    return finite


train_rows = Entry(train_rows, **ENTRY)
predict_rows = Entry(predict_rows, **ENTRY)
