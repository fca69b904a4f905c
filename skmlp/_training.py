"""What to train, and the loop that trains it: train -> run_epoch -> compiled steps.

The objective, for N samples with weights s_i (1 where none are given) that add up
to S, cross-entropies CE_i and weight matrices W_l:

    J = (1/S) sum_i s_i CE_i  +  alpha / (2 S) sum_l |W_l|^2

Biases are not penalised. Every row counts alike, in whatever batch it falls, and weighs
what it weighs: with the parameters held still, batch_size / N times the sum of an
epoch's steps is the gradient of J.
"""

import math
from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._advice import diverged
from ._network import Architecture, as_rows, read_only
from ._prediction import mean_cross_entropy
from ._schedules import SMALLEST_RATE, scheduled_rate
from ._threads import call, kernels

# Numbers that a part of a batch may take up in the network: a few MB, so that memory
# does not grow with the batch, and all stays near the processor. Fewer rows than these
# would not be worth a part's pass over all gradients.
PART_NUMBERS, PART_ROWS = 2**19, 256
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
    rate_factor: float = 1.0  # of learning_rate="adaptive"
    data_loss: float = np.nan  # of the last epoch, without the penalty
    loss_curve: list = field(default_factory=list)
    validation_loss_curve: list = field(default_factory=list)  # empty: not recorded
    validation_scores: list = field(default_factory=list)
    watched: str = ""  # what the next four are about
    best_score: float = -np.inf
    best_iter: int = 0
    best_params: np.ndarray | None = None  # with early stopping alone
    n_no_improvement: int = 0
    has_left_plateau: bool = False  # the loss was once clearly better than chance
    stop_reason: str = ""

    @property
    def kept_params(self):
        return self.params if self.best_params is None else self.best_params

    @property
    def latest(self):
        """This state with its last weights kept, not those of the best epoch."""
        latest = copy(self)
        if self.best_params is not None:
            latest.best_params, latest.watched = None, ""  # another count begins
        return latest


@dataclass
class Validation:
    """Data that is looked at after each epoch.

    name : what a plateau is counted of; another name starts another count.
    score : callable(State) -> float, higher is better, or None for minus the
        data's mean cross-entropy.
    record : whether the loss curve is kept (not where it is the training data).
    """

    X: Any
    y: np.ndarray
    sample_weight: np.ndarray | None = None
    name: str = "loss"
    score: Callable | None = None
    record: bool = True


@dataclass
class Task:
    """One training: everything it needs and nothing of scikit-learn.

    It goes on from `state` for `n_epochs`.
    """

    architecture: Architecture
    X: Any  # (N, n_features), C order or CSR
    y: np.ndarray  # (N,) class indices
    sample_weight: np.ndarray | None  # (N,) float64, all > 0
    state: State
    n_epochs: int
    batch_size: int
    alpha: float = 0.0
    init_scale: float = 1.0  # of the first weights, for what is said in the end
    learning_rate: str = "constant"
    learning_rate_init: float = 0.2
    power_t: float = 0.5
    momentum: float = 0.9
    nesterovs_momentum: bool = False
    shuffle: bool = True
    validation: Validation | None = None
    early_stopping: bool = False
    n_iter_no_change: float = 10
    tol: float = 1e-4
    verbose: bool = False

    def __post_init__(self):
        self.last_epoch = self.state.n_iter + self.n_epochs
        self.total_weight = float(self.X.shape[0])
        if self.sample_weight is not None:
            self.total_weight = float(self.sample_weight.sum())
        self.decay = float(self.alpha) / self.total_weight
        if not self.decay < float(np.finfo(self.X.dtype).max):
            raise ValueError(
                f"alpha={self.alpha!r} divided by the total weight of the samples, "
                f"{self.total_weight:.6g}, is too large a number for {self.X.dtype}."
            )

    def penalty(self, params):
        """alpha / (2 S) |W|^2"""
        weights = params[: self.architecture.n_weights]
        return 0.5 * self.decay * float(np.einsum("i,i", weights, weights))

    @property
    def class_weights(self):
        """The total weight of each class that occurs."""
        weights = np.bincount(self.y, self.sample_weight)
        return weights[weights > 0]

    @property
    def chance_loss(self):
        """The loss of always predicting the class frequencies."""
        frequencies = self.class_weights / self.total_weight
        return float(-(frequencies * np.log(frequencies)).sum())

    @property
    def is_shuffled(self):
        return self.shuffle and self.batch_size < self.X.shape[0]

    @property
    def rate(self):
        """The learning rate of the next epoch."""
        return scheduled_rate(
            self.learning_rate,
            self.learning_rate_init,
            epoch=self.state.n_iter,
            horizon=self.last_epoch,
            weight_seen=self.state.weight_seen,
            power_t=self.power_t,
            factor=self.state.rate_factor,
        )

    @property
    def watched(self):
        """What a plateau is counted of, if anything."""
        if self.early_stopping:
            return self.validation.name
        return "training loss" if self.learning_rate == "adaptive" else ""

    @property
    def plateaued(self):
        """Whether what is watched got no better for too long. (An adaptive rate
        that can still shrink does so instead, and the count starts again.)"""
        return (
            self.early_stopping
            and self.state.watched == self.watched
            and self.state.n_no_improvement > self.n_iter_no_change
        )


def train(task, begin_epoch=None, end_epoch=None):
    """Train a task to its end; its `state` is always that of its last complete epoch.

    ``begin_epoch()`` and ``end_epoch(state)`` are called around each epoch; a true
    answer of the latter stops.
    """
    arrays = Arrays(task)
    while not is_finished(task):
        if begin_epoch is not None:
            begin_epoch()
        data_loss, penalty = run_epoch(task, arrays)
        if not math.isfinite(data_loss + penalty):
            raise diverged(task)
        params, velocity = arrays.params.copy(), arrays.velocity.copy()
        advance(task, data_loss, penalty, params, velocity)
        if task.verbose:
            print_line(task)
        if end_epoch is not None and end_epoch(task.state):
            task.state.stop_reason = "callback"


def is_finished(task):
    """Whether a task needs no further epoch; says why in its state."""
    if task.state.stop_reason == "callback":
        return True
    if task.plateaued:
        task.state.stop_reason = "early_stopping"
        return True
    if task.state.n_iter >= task.last_epoch:
        task.state.stop_reason = "max_iter"
        return True
    return False


class Arrays:
    """What a training works on and in: made once, changed by every step."""

    def __init__(self, task):
        architecture, X, batch_size = task.architecture, task.X, task.batch_size
        (self.X, self.csr), self.layout = as_rows(X), architecture.layout
        self.y = read_only(task.y)
        weight = np.empty(0) if task.sample_weight is None else task.sample_weight
        self.weight = read_only(weight)
        is_sparse = self.X is None
        self.n_rows = X.shape[0]
        self.order = read_only(np.arange(self.n_rows if is_sparse else 0))
        self.generator = np.random.RandomState(0) if task.is_shuffled else None
        self.params = task.state.params.copy()
        self.velocity = task.state.velocity.copy()
        self.gradient = self.part_gradient = np.empty_like(self.params)
        gather = task.is_shuffled and not is_sparse
        row_numbers = 2 * architecture.n_units + (X.shape[1] if gather else 0)
        n_parts = math.ceil(batch_size / max(PART_NUMBERS // row_numbers, PART_ROWS))
        self.part_size = math.ceil(batch_size / n_parts)
        if self.part_size < batch_size:
            self.part_gradient = np.empty_like(self.params)
        self.room = architecture.make_room(self.part_size, X, gather=gather)
        self.flops = architecture.flops(self.part_size, is_sparse)
        # What a row costs, in about as many operations: products, activations, update.
        filled = X.nnz / X.shape[0] if is_sparse else X.shape[1]
        hidden = architecture.n_weights - X.shape[1] * architecture.layer_sizes[1]
        row_flops = (
            6 * (filled * architecture.layer_sizes[1] + hidden)
            + 50 * architecture.n_units
            + 10 * architecture.n_params / batch_size
        )
        self.rows_a_call = max(int(CALL_FLOPS / row_flops), 1)

    def draw_order(self, seed):
        """The order of an epoch's rows, where there is one to draw."""
        if self.generator is not None:
            # Seeded anew in each epoch, which is far quicker than making another.
            self.generator.seed(seed % 2**32)
            self.order = read_only(self.generator.permutation(self.n_rows))


def run_epoch(task, arrays):
    """One pass over the training set; returns the mean of J's two parts, the second nan
    where a parameter is no longer finite."""
    arrays.draw_order(task.state.seed + 1 + task.state.n_iter)  # seed: of a split
    rate, start, data_loss, penalty = task.rate, 0, 0.0, 0.0
    while start < arrays.n_rows:
        start, of_data, of_weights = call(
            arrays.flops, kernels().train,
            arrays.X, arrays.csr, arrays.y, arrays.weight, arrays.order,
            start, min(start + arrays.rows_a_call, arrays.n_rows),
            task.batch_size, arrays.part_size, arrays.layout,
            arrays.params, arrays.velocity, arrays.gradient, arrays.part_gradient,
            arrays.room, float(rate), float(task.momentum),
            bool(task.nesterovs_momentum), task.decay, task.total_weight,
        )  # fmt: skip
        data_loss, penalty = data_loss + of_data, penalty + of_weights
    return data_loss, penalty


def advance(task, data_loss, penalty, params, velocity):
    """Replace the task's state by that after one more epoch: look at the validation
    data, watch for a plateau."""
    old, loss = task.state, data_loss + penalty
    old.loss_curve.append(loss)
    state = copy(old)
    state.data_loss = data_loss
    state.params, state.velocity = params, velocity
    state.n_iter, state.n_new = old.n_iter + 1, old.n_new + 1
    state.weight_seen = old.weight_seen + task.total_weight
    state.rows_seen = old.rows_seen + task.X.shape[0]
    if not old.has_left_plateau and task.early_stopping:
        state.has_left_plateau = data_loss <= 0.95 * task.chance_loss
    is_recorded = task.validation is not None and task.validation.record
    if is_recorded:
        state.validation_loss_curve.append(np.nan)
        state.validation_scores.append(np.nan)
    if state.watched != task.watched:
        state.watched, state.best_score, state.best_iter = task.watched, -np.inf, 0
        state.best_params, state.n_no_improvement = None, 0
    if task.watched and not task.early_stopping:
        watch(task, state, -loss)
    score, validation_loss = validate(task, state)
    if is_recorded:
        state.validation_loss_curve[-1] = validation_loss
        state.validation_scores[-1] = score
    if task.early_stopping:
        watch(task, state, score)
    task.state = state


def validate(task, state):
    """The score of the data that are watched, and their penalised loss."""
    data, score, loss = task.validation, np.nan, np.nan
    if data is None:
        return score, loss
    if data.record or data.score is None:
        loss = mean_cross_entropy(
            task.architecture, state.params, data.X, data.y, data.sample_weight
        )
        score = -loss
    if data.score is not None:
        score = data.score(state)
    return score, loss + task.penalty(state.params)


def watch(task, state, score):
    """Count the epochs without improvement, as MLPClassifier does; keep the best
    parameters; shrink an adaptive rate on a plateau.

    Sigmoid networks begin with one, on which they do no better than chance: nobody is
    stopped before the training has left it.
    """
    is_waiting = task.early_stopping and not state.has_left_plateau
    if score >= state.best_score + task.tol or is_waiting:
        state.n_no_improvement = 0
    else:  # also where the score is nan
        state.n_no_improvement += 1
    if score > state.best_score:
        state.best_score, state.best_iter = score, state.n_iter
        if task.early_stopping:
            state.best_params = state.params
    if task.learning_rate == "adaptive" and (
        state.n_no_improvement > task.n_iter_no_change
        and task.learning_rate_init * state.rate_factor > SMALLEST_RATE
    ):
        state.rate_factor /= 5.0
        state.n_no_improvement = 0


def print_line(task):
    state = task.state
    line = f"Epoch {state.n_iter}/{task.last_epoch}: loss {state.loss_curve[-1]:.6f}"
    if task.validation is not None and task.validation.record:
        line += (
            f", validation loss {state.validation_loss_curve[-1]:.6f}"
            f", score {state.validation_scores[-1]:.6f}"
        )
    # A full disk or a closed pipe costs the line, not the epochs.
    with suppress(OSError, ValueError):
        print(line)
