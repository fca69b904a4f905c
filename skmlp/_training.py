"""What to train, and the loop that trains it: train -> run_epoch -> compiled steps.

The objective, for N samples with weights s_i (1 where none are given) that add up
to S, cross-entropies CE_i and weight matrices W_l:

    J = (1/S) sum_i s_i CE_i  +  alpha / (2 S_eff) sum_l |W_l|^2

Biases are not penalised. S_eff is the effective number of samples; where class weights
are not at play it is S, in a stream the weight of all rows seen. Every row counts
alike, in whatever batch it falls, and weighs what it weighs: with the parameters held
still, batch_size / N times the sum of an epoch's steps is the gradient of J.
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from scipy.sparse import issparse

from . import _kernels as kernels
from ._advice import diverged
from ._network import read_only
from ._prediction import Network, as_data, mean_cross_entropy
from ._schedules import SMALLEST_RATE, scheduled_rate
from ._team import Team
from ._threads import blas_limit, call

# Rows of each of two groups of a batch, which go to threads, and of each of more; and
# the operations of each. Fewer would not pay.
ROWS_OF_TWO, ROWS_OF_MORE, GROUP_FLOPS, MOST_GROUPS = 48, 128, 1e7, 8
FEW_NUMBERS = 2**22  # of X: so small a matrix is standardised once, not row by row
# Operations of a compiled call, a tenth of a second: Ctrl-C waits for its end.
CALL_FLOPS = 1e9


@dataclass
class State:
    """Where a training stands after its last complete epoch.

    Replaced by the next one when an epoch is complete, so that an interrupt leaves
    the one or the other. The curves are those of this call, shared between states, and
    may run ahead of an interrupted epoch: n_new of their entries count.
    """

    params: np.ndarray  # (n_params,)
    velocity: np.ndarray  # (n_params,)
    seed: int  # of the order of the samples, which is another in each epoch
    n_iter: int = 0  # epochs, over all calls
    n_new: int = 0  # epochs of this call
    weight_seen: float = 0.0  # of all samples, over all epochs
    rows_seen: int = 0  # their number
    alpha_weight: float = 0.0  # what alpha is divided by
    statistics: Any = None  # what standardises the features
    rate_factor: float = 1.0  # of learning_rate="adaptive"
    data_loss: float = np.nan  # of the last epoch, without the penalty
    loss_curve: list = field(default_factory=list)
    validation_loss_curve: list = field(default_factory=list)  # empty: not recorded
    validation_scores: list = field(default_factory=list)
    best_score: float = -np.inf  # of what is monitored, and so the next two
    n_no_improvement: int = 0
    has_left_plateau: bool = False  # the loss was once clearly better than chance
    best: "State | None" = None  # the state of the best epoch, with early stopping
    stop_reason: str = ""

    @property
    def kept(self):
        """The state whose weights the estimator predicts with."""
        return self if self.best is None else self.best

    @property
    def latest(self):
        """This state with its own weights kept, not those of the best epoch."""
        return replace(self, best=None)


@dataclass
class Validation:
    """Data that are scored after each epoch.

    score : callable(Task, State) -> float, higher is better, or None for minus the
        data's mean cross-entropy.
    record : whether the loss curve is kept (not where it is the training data).
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None
    score: Callable | None
    record: bool


@dataclass
class Task:
    """One training: everything it needs and nothing of scikit-learn.

    It goes on from `state` for `n_epochs`. `settings` has the estimator's parameters of
    these names: alpha, learning_rate, power_t, momentum, nesterovs_momentum, shuffle,
    early_stopping, n_iter_no_change, tol, verbose.
    """

    settings: Any
    network: Network  # but for its params, which are those of the state
    X: Any  # (N, n_features), C order or CSR
    y: np.ndarray  # (N,) class indices
    sample_weight: np.ndarray | None  # (N,) float64, all > 0
    validation: Validation | None
    state: State
    n_epochs: int
    batch_size: int
    learning_rate: str
    learning_rate_init: float
    automatic_rate: float  # what it would be by itself

    def __post_init__(self):
        self.last_epoch = self.state.n_iter + self.n_epochs
        self.total_weight = float(self.X.shape[0])
        if self.sample_weight is not None:
            self.total_weight = float(self.sample_weight.sum())
        self.decay = float(self.settings.alpha) / self.state.alpha_weight
        if not self.decay < float(np.finfo(self.X.dtype).max):
            raise ValueError(
                f"alpha={self.settings.alpha!r} divided by the effective number of "
                f"samples, {self.state.alpha_weight:.6g}, is too large a number for "
                f"{self.X.dtype}."
            )

    def penalty(self, params):
        """alpha / (2 S_eff) |W|^2"""
        weights = params[: self.network.architecture.n_weights]
        return 0.5 * self.decay * float(np.einsum("i,i", weights, weights))

    @property
    def chance_loss(self):
        """The loss of always predicting the class frequencies."""
        weights = np.bincount(self.y, self.sample_weight)
        frequencies = weights[weights > 0] / self.total_weight
        return float(-(frequencies * np.log(frequencies)).sum())

    @property
    def is_shuffled(self):
        return self.settings.shuffle and self.batch_size < self.X.shape[0]

    @property
    def rate(self):
        """The learning rate of the next epoch."""
        return scheduled_rate(
            self.learning_rate,
            self.learning_rate_init,
            epoch=self.state.n_iter,
            horizon=self.last_epoch,
            weight_seen=self.state.weight_seen,
            power_t=self.settings.power_t,
            factor=self.state.rate_factor,
        )


def train(task, begin_epoch=None, end_epoch=None):
    """Train a task to its end; its `state` is always that of its last complete epoch.

    ``begin_epoch()`` and ``end_epoch(state)`` are called around each epoch; a true
    answer of the latter stops.
    """
    buffers = Buffers(task)
    with Team(buffers.n_threads) as team:
        while not task.state.stop_reason:
            if begin_epoch is not None:
                begin_epoch()
            start = time.perf_counter()
            data_loss, penalty = map(float, run_epoch(task, buffers, team))
            if not math.isfinite(data_loss + penalty):
                raise diverged(task)
            advance(task, data_loss, penalty, buffers)
            if end_epoch is not None and end_epoch(task.state):
                task.state.stop_reason = "callback"
            if task.settings.verbose:
                print_lines(task, time.perf_counter() - start)


class Buffers:
    """What a training works on and in: made once, changed by every step."""

    def __init__(self, task):
        X, network, is_sparse = task.X, task.network, issparse(task.X)
        architecture = network.architecture
        self.n_rows = X.shape[0]
        self.generator = np.random.RandomState(0) if task.is_shuffled else None
        self.data = as_data(X, network)
        if not is_sparse and self.data.mean.size and X.size <= FEW_NUMBERS:
            Z = X - self.data.mean  # in float64, as in standardise of _kernels.py
            Z *= self.data.inverse_scale
            Z = Z.astype(X.dtype, copy=False)
            self.data = as_data(Z, network._replace(scale=None))
        gather = not is_sparse and (task.is_shuffled or self.data.mean.size > 0)
        row_flops = 3 * architecture.row_flops(X)
        n_groups = groups_of(task.batch_size, row_flops)
        self.group_size = math.ceil(task.batch_size / n_groups)
        self.micro_batch = architecture.micro_batch(self.group_size, is_sparse)
        self.params = kernels.Params(
            task.state.params.copy(),
            task.state.velocity.copy(),
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

    def draw_order(self, seed):
        """The order of an epoch's rows, where there is one to draw."""
        if self.generator is not None:
            # Seeded anew in each epoch, which is far quicker than making another.
            self.generator.seed(seed % 2**32)
            order = read_only(self.generator.permutation(self.n_rows))
            self.data = self.data._replace(order=order)


def groups_of(batch_size, row_flops):
    """How many groups of a batch's rows have gradients of their own, which threads may
    share. It depends on no thread, and so does the order in which gradients add up."""
    by_rows = max(min(batch_size // ROWS_OF_TWO, 2), batch_size // ROWS_OF_MORE)
    by_flops = int(batch_size * row_flops / GROUP_FLOPS)
    return min(max(min(by_rows, by_flops), 1), MOST_GROUPS)


def run_epoch(task, buffers, team):
    """One pass over the training set; returns the mean of J's two terms, the second nan
    where a parameter is no longer finite."""
    buffers.draw_order(task.state.seed + 1 + task.state.n_iter)  # seed: of a split
    buffers.params.totals[:] = 0
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
    layout, params = task.network.architecture.layout, buffers.params
    args = buffers.data, read_only(task.y), read_only(weight), layout, params
    workspace = buffers.workspaces[0]
    kernels.train_rows.prepare(
        buffers.kind,
        *(*args, workspace, step, 0, 0, 0),
        before_compiling=say_that_it_compiles if task.settings.verbose else None,
    )

    def pass_through(start, stop, workspace):
        while start < stop:
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


def advance(task, data_loss, penalty, buffers):
    """Replace the task's state by that after one more epoch: score the validation data,
    look for a plateau, say whether it was the last."""
    old, loss, settings = task.state, data_loss + penalty, task.settings
    old.loss_curve.append(loss)
    state = replace(old)
    state.data_loss = data_loss
    state.params, state.velocity = buffers.params.P.copy(), buffers.params.V.copy()
    state.n_iter, state.n_new = old.n_iter + 1, old.n_new + 1
    state.weight_seen = old.weight_seen + task.total_weight
    state.rows_seen = old.rows_seen + task.X.shape[0]
    if not old.has_left_plateau and settings.early_stopping:
        state.has_left_plateau = data_loss <= 0.95 * task.chance_loss
    is_recorded = task.validation is not None and task.validation.record
    if is_recorded:
        state.validation_loss_curve.append(np.nan)
        state.validation_scores.append(np.nan)
    if task.learning_rate == "adaptive" and not settings.early_stopping:
        monitor(task, state, -loss)
    score, validation_loss = validate(task, state)
    if is_recorded:
        state.validation_loss_curve[-1] = validation_loss
        state.validation_scores[-1] = score
    if settings.early_stopping:
        monitor(task, state, score)
        if state.n_no_improvement > settings.n_iter_no_change:
            state.stop_reason = "early_stopping"
    if state.n_iter >= task.last_epoch:
        state.stop_reason = state.stop_reason or "max_iter"
    task.state = state


def validate(task, state):
    """The score of the data that are monitored, and their penalised loss."""
    data, score, loss = task.validation, np.nan, np.nan
    if data is None:
        return score, loss
    if data.record or data.score is None:
        network = task.network._replace(params=state.params)
        loss = mean_cross_entropy(network, data.X, data.y, data.sample_weight)
        score = -loss
    if data.score is not None:
        score = data.score(task, state)
    return score, loss + task.penalty(state.params)


def monitor(task, state, score):
    """Count the epochs without improvement, as MLPClassifier does; keep the best state;
    shrink an adaptive rate on a plateau.

    Sigmoid networks begin with one, on which they do no better than chance: nobody is
    stopped before the training has left it.
    """
    settings = task.settings
    is_waiting = settings.early_stopping and not state.has_left_plateau
    if score >= state.best_score + settings.tol or is_waiting:
        state.n_no_improvement = 0
    else:  # also where the score is nan
        state.n_no_improvement += 1
    if score > state.best_score:
        state.best_score, state.best = score, None
        if settings.early_stopping:
            state.best = replace(state)
    if task.learning_rate == "adaptive" and (
        state.n_no_improvement > settings.n_iter_no_change
        and task.learning_rate_init * state.rate_factor > SMALLEST_RATE
    ):
        state.rate_factor /= 5.0
        state.n_no_improvement = 0


def print_lines(task, seconds):
    """Of every verbose-th epoch its number, loss, score, rate and time; and at last why
    the training ended."""
    state, settings = task.state, task.settings
    if state.n_iter % int(settings.verbose) and not state.stop_reason:
        return
    line = f"Epoch {state.n_iter}/{task.last_epoch}: loss {state.loss_curve[-1]:.5f}"
    if task.validation is not None and task.validation.record:
        line += f", validation loss {state.validation_loss_curve[-1]:.5f}"
        if settings.scoring != "loss":
            name = settings.scoring or "accuracy"
            name = name if isinstance(name, str) else "score"
            line += f", {name} {state.validation_scores[-1]:.5f}"
    lines = [f"{line}, rate {task.last_rate:.3g}, {seconds:.3g} s"]
    if state.stop_reason:
        why = {
            "max_iter": f"max_iter={settings.max_iter}",
            "early_stopping": "no improvement for more than n_iter_no_change="
            f"{settings.n_iter_no_change} epochs",
            "callback": "a callback asked for it",
        }[state.stop_reason]
        best = "" if state.best is None else f"; epoch {state.best.n_iter} is restored"
        lines.append(f"Ended after {state.n_iter} epochs: {why}{best}.")
    say(*lines)


def say_that_it_compiles():
    say("Compiling the training step, once for this environment: some seconds.")


def say(*lines):
    try:
        print(*lines, sep="\n", flush=True)
    except (OSError, ValueError) as error:
        # A full disk or a closed pipe costs the lines, not the epochs. (An OSError of
        # the system has a number; others come from a signal's handler.)
        is_the_systems = getattr(error, "errno", None) is not None
        if isinstance(error, TimeoutError) or not (is_the_systems or sys.stdout.closed):
            raise
