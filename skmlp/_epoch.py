"""One pass over the training set: groups of rows for threads, and compiled calls."""

import math

import numpy as np
from scipy.sparse import issparse

from . import _kernels as kernels
from ._network import read_only
from ._prediction import as_data
from ._progress import print_that_it_compiles
from ._quietly import quietly
from ._threads import blas_limit, call

# Rows of each of two groups of a batch, which go to threads, and of each of more; and
# the operations of each. Fewer would not pay.
ROWS_OF_TWO, ROWS_OF_MORE, GROUP_FLOPS, MOST_GROUPS = 48, 128, 1e7, 8
MOST_ELEMENTS = 2**22  # of more than two gradients
FEW_ELEMENTS = 2**22  # of X: so small a matrix is standardised once, not row by row
# Operations of a compiled call, a tenth of a second: Ctrl-C waits for its end.
CALL_FLOPS = 1e9


class Buffers:
    """What a training works on and in: made once, changed by every step."""

    @quietly
    def __init__(self, task):
        X, network, is_sparse = task.X, task.network, issparse(task.X)
        architecture = network.architecture
        self.n_rows = X.shape[0]
        self.generator = np.random.RandomState(0) if task.is_shuffled else None
        self.data = as_data(X, network)
        if not is_sparse and self.data.mean.size and X.size <= FEW_ELEMENTS:
            Z = X[:] - self.data.mean  # in float64, as in standardise of _kernels.py
            Z *= self.data.inverse_scale
            Z = Z.astype(X.dtype, copy=False)
            self.data = as_data(Z, network._replace(scale=None))
        self.rows = self.data.rows  # of X, in their own order
        needs_rows = task.is_shuffled or self.data.mean.size or self.rows.size
        gather = bool(needs_rows) and not is_sparse
        row_flops = 3 * architecture.row_flops(X)
        n_groups = groups_of(task.batch_size, row_flops, architecture.n_params)
        self.group_size = math.ceil(task.batch_size / n_groups)
        self.micro_batch = architecture.micro_batch(self.group_size)
        self.params = kernels.Params(
            np.empty_like(task.state.params),
            np.empty_like(task.state.velocity),
            np.empty((n_groups, architecture.n_params), X.dtype),
            np.empty(n_groups),
            np.zeros(2),
        )
        self.workspaces = [
            architecture.make_workspace(self.micro_batch, X.dtype, gather=gather)
            for _ in range(n_groups)
        ]
        self.n_threads = min(n_groups, blas_limit()) if n_groups > 1 else 1
        self.kind = X.dtype, is_sparse
        row_flops += 10 * architecture.n_params / task.batch_size  # of the update
        self.rows_a_call = max(int(CALL_FLOPS / row_flops), 1)

    def reuse(self, old, best):
        """Go on in the arrays of a state that is over, unless it is the best one."""
        P, V = old.params, old.velocity
        if best is not None and best.params is P:
            P, V = np.empty_like(P), np.empty_like(V)
        self.params = self.params._replace(P=P, V=V)

    def draw_order(self, seed):
        """The order of an epoch's rows, where there is one to draw."""
        if self.generator is not None:
            # Seeded anew in each epoch, which is far quicker than making another.
            self.generator.seed(seed % 2**32)
            order = read_only(self.generator.permutation(self.n_rows))
            rows = order if self.rows.size == 0 else read_only(self.rows[order])
            self.data = self.data._replace(order=order, rows=rows)


def groups_of(batch_size, row_flops, n_params):
    """How many groups of a batch's rows have gradients of their own, which threads may
    share. It depends on no thread, and so does the order in which gradients add up."""
    by_rows = max(min(batch_size // ROWS_OF_TWO, 2), batch_size // ROWS_OF_MORE)
    by_flops = int(batch_size * row_flops / GROUP_FLOPS)
    by_memory = max(MOST_ELEMENTS // n_params, 2)
    return max(min(by_rows, by_flops, by_memory, MOST_GROUPS), 1)


def run_epoch(task, buffers, team):
    """One pass over the training set; returns the mean of J's two terms, the second nan
    where a parameter is no longer finite."""
    buffers.draw_order(task.state.seed + 1 + task.state.n_iter)  # seed: of a split
    params = buffers.params
    np.copyto(params.P, task.state.params)
    np.copyto(params.V, task.state.velocity)
    params.totals[:] = 0
    task.last_rate = task.rate
    step = kernels.Step(
        buffers.n_rows,
        task.total_weight,
        task.batch_size,
        buffers.group_size,
        buffers.micro_batch,
        not team.threads,
        float(task.last_rate),
        float(task.settings.momentum),
        bool(task.settings.nesterovs_momentum),
        task.decay,
    )
    weight = np.empty(0) if task.sample_weight is None else task.sample_weight
    layout = task.network.architecture.layout
    args = buffers.data, read_only(task.y), read_only(weight), layout, params
    workspace = buffers.workspaces[0]
    kernels.train_rows.prepare(
        buffers.kind,
        *(*args, workspace, step, 0, 0, 0),
        before_compiling=print_that_it_compiles if task.settings.verbose else None,
    )

    def pass_through(start, stop, workspace):
        while start < stop and not team.has_failed:
            end = min(start + buffers.rows_a_call, stop)
            start = kernels.train_rows(*args, workspace, step, start, end, 0)

    def pass_all():
        if step.updates:
            pass_through(0, step.n_rows, workspace)
            return
        for first in range(0, step.n_rows, step.batch_size):
            last = min(first + step.batch_size, step.n_rows)
            starts = range(first, last, step.group_size)
            stops = (min(start + step.group_size, last) for start in starts)
            groups = list(zip(starts, stops, buffers.workspaces, strict=False))
            team.map(lambda group: pass_through(*group), groups)
            kernels.train_rows(*args, workspace, step, 0, 0, last - first)

    call(pass_all)
    return params.totals
