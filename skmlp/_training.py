"""What to train, and the loop over its epochs.

The objective, for N samples with weights s_i (1 where none are given) that add up
to S, cross-entropies CE_i and weight matrices W_l:

    J = (1/S) sum_i s_i CE_i  +  alpha / (2 S_eff) sum_l |W_l|^2

Biases are not penalised. S_eff is the effective number of samples; where class weights
are not at play it is S, in a stream the weight of all rows seen. Every row counts
alike, in whatever batch it falls, and weighs what it weighs: with the parameters held
still, batch_size / N times the sum of an epoch's steps is the gradient of J.
"""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ._advice import diverged
from ._epoch import Buffers, run_epoch
from ._prediction import Network, NotFinite, mean_cross_entropy
from ._progress import print_lines
from ._schedules import SMALLEST_RATE, scheduled_rate
from ._team import Team


@dataclass
class State:
    """Where a training stands after its last complete epoch.

    Replaced by the next one when an epoch is complete, so that an interrupt leaves
    the one or the other; the next epoch then works in its arrays. The curves are those
    of this call, shared between states, and may run ahead of an interrupted epoch:
    n_new of their entries count.
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
    def selected(self):
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
        data's mean cross-entropy and the penalty. (Without that, wide first weights
        may be the best by chance, on few rows.)
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
                seconds = time.perf_counter() - start
                print_lines(task, seconds, is_stream=end_epoch is None)


def advance(task, data_loss, penalty, buffers):
    """Replace the task's state by that after one more epoch: score the validation data,
    look for a plateau, say whether it was the last."""
    old, loss, settings = task.state, data_loss + penalty, task.settings
    old.loss_curve.append(loss)
    state = replace(old)
    state.data_loss = data_loss
    state.params, state.velocity = buffers.params.P, buffers.params.V
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
    buffers.reuse(old, state.best)


def validate(task, state):
    """The score of the data that are monitored, and their penalised loss."""
    data, score, loss = task.validation, np.nan, np.nan
    if data is None:
        return score, loss
    network = task.network._replace(params=state.params)
    try:
        if data.record or data.score is None:
            loss = mean_cross_entropy(network, data.X, data.y, data.sample_weight)
            loss += task.penalty(state.params)
            score = -loss
        if data.score is not None:
            score = data.score(task, state)
    except NotFinite as error:
        try:
            mean_cross_entropy(network, task.X, task.y, task.sample_weight)
        except NotFinite:
            raise diverged(task) from error
        if data.record and math.isnan(loss):
            error.add_note("(In the validation data; the training data are sound.)")
        raise
    return score, loss


def monitor(task, state, score):
    """Count the epochs without improvement, as MLPClassifier does; keep the best state,
    the last of equals; shrink an adaptive rate on a plateau.

    Sigmoid networks begin with one, on which they do no better than chance: nobody is
    stopped before the training has left it.
    """
    settings = task.settings
    is_waiting = settings.early_stopping and not state.has_left_plateau
    if score >= state.best_score + settings.tol or is_waiting:
        state.n_no_improvement = 0
    else:  # also where the score is nan
        state.n_no_improvement += 1
    if score >= state.best_score and score > -np.inf:
        state.best_score, state.best = score, None
        if settings.early_stopping:
            state.best = replace(state)
    if task.learning_rate == "adaptive" and (
        state.n_no_improvement > settings.n_iter_no_change
        and task.learning_rate_init * state.rate_factor > SMALLEST_RATE
    ):
        state.rate_factor /= 5.0
        state.n_no_improvement = 0
