"""What to train, and the loops that train it: train -> epoch -> step.

The objective, for N samples with weights s_i (1 where none are given) that add up
to S, cross-entropies CE_i and weight matrices W_l:

    J = (1/S) sum_i s_i CE_i  +  alpha / (2 S) sum_l |W_l|^2

Biases are not penalised. A batch's step follows the weighted mean of its samples'
CE gradients plus (alpha / S) W, S being that of the whole training set: what alpha
means does not depend on the batch size.

Tasks of one shape are trained as one stack. No network of a stack influences
another: each gets the very numbers it would get alone.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ._batches import Batches, rows_at_once
from ._layers import replay
from ._loss import SoftmaxCrossEntropy, log_softmax
from ._network import Architecture, Network, Predictor
from ._optimizer import Momentum, scheduled_rate
from ._threads import blas_threads

SMALLEST_RATE = 1e-6  # where "adaptive" ends, as in MLPClassifier


@dataclass
class State:
    """Where a training stands after its last complete epoch.

    Replaced by the next one when an epoch is complete, so that an interrupt leaves
    the one or the other. The curves are shared between them and may run ahead of
    an interrupted epoch until ``trim``.
    """

    params: np.ndarray  # (P,)
    velocity: np.ndarray  # (P,)
    seed: int  # of the order of the samples, which is another in each epoch
    n_iter: int = 0
    n_seen: int = 0  # samples, over all epochs
    rate_factor: float = 1.0  # of learning_rate="adaptive"
    loss_curve: list = field(default_factory=list)
    validation_loss_curve: list = field(default_factory=list)  # nan: not looked at
    validation_scores: list = field(default_factory=list)
    watched: str = ""  # what the next four are about
    best_score: float = -np.inf
    best_iter: int = 0
    best_params: np.ndarray | None = None  # with early stopping alone
    n_no_improvement: int = 0
    stop_reason: str = ""

    def trim(self):
        del self.loss_curve[self.n_iter :]
        del self.validation_loss_curve[self.n_iter :]
        del self.validation_scores[self.n_iter :]


@dataclass
class Validation:
    """Data that is looked at after each epoch.

    name : what a plateau is counted of; another name starts another count.
    score : callable(params) -> float, higher is better, or None for minus the
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

    It goes on from `state` for `n_epochs`. ``begin_epoch()`` and
    ``end_epoch(state)`` are called around each; a true answer of the latter stops.
    """

    architecture: Architecture
    X: Any  # (N, n_features), C order or CSR
    y: np.ndarray  # (N,) class indices
    sample_weight: np.ndarray | None  # (N,) float64, all > 0
    state: State
    n_epochs: int
    batch_size: int
    alpha: float = 0.0
    learning_rate: str = "constant"
    learning_rate_init: float = 0.2
    power_t: float = 0.5
    horizon: int = 1  # epochs over which "cosine" falls to 0
    momentum: float = 0.9
    nesterovs_momentum: bool = False
    shuffle: bool = True
    validation: Validation | None = None
    early_stopping: bool = False
    n_iter_no_change: float = 10
    tol: float = 1e-4
    verbose: bool = False
    begin_epoch: Callable | None = None
    end_epoch: Callable | None = None
    error: BaseException | None = None

    def __post_init__(self):
        self.last_epoch = self.state.n_iter + self.n_epochs
        if self.sample_weight is None:
            self.total_weight = float(self.X.shape[0])
        else:
            self.total_weight = float(self.sample_weight.sum())

    @property
    def flops(self):
        """Floating-point operations of the largest product."""
        return self.architecture.flops(rows_at_once(self.batch_size))

    @property
    def decay(self):
        return self.alpha / self.total_weight

    @property
    def order_seed(self):
        """What the order of the samples in the next epoch is drawn from, if at all."""
        if not self.shuffle or self.batch_size >= self.X.shape[0]:
            return None
        return (self.state.seed + 1 + self.state.n_iter) % 2**32  # seed: of a split

    @property
    def rate(self):
        """The learning rate of the next epoch."""
        return scheduled_rate(
            self.learning_rate,
            self.learning_rate_init,
            epoch=self.state.n_iter,
            horizon=self.horizon,
            n_seen=self.state.n_seen,
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


def train(tasks, check=None):
    """Train tasks of one shape side by side, each to its end.

    Afterwards each task's `state` is that of its last complete epoch. What goes
    wrong with one of them (it diverges, its scorer raises) ends that one and is
    kept as its `error`. KeyboardInterrupt is raised on; `check`, called before each
    epoch, may raise it.
    """
    everyone = tasks
    tasks = [task for task in everyone if not is_finished(task)]
    flops = max((t.flops for t in tasks), default=0)
    try:
        with blas_threads(flops):
            while tasks:
                stack = Stack(tasks)
                while len(tasks) == len(stack.tasks):
                    if check is not None:
                        check()
                    run_epoch(stack)
                    tasks = [task for task in stack.tasks if not is_finished(task)]
    finally:
        for task in everyone:
            task.state.trim()


def is_finished(task):
    """Whether a task needs no further epoch; says why in its state."""
    if task.error is not None or task.state.stop_reason == "callback":
        return True
    if task.plateaued:
        task.state.stop_reason = "early_stopping"
        return True
    if task.state.n_iter >= task.last_epoch:
        task.state.stop_reason = "max_iter"
        return True
    return False


class Stack:
    """The arrays of M tasks in training: params, gradients, velocities (M, P)."""

    def __init__(self, tasks):
        feeds = group_by_feed(tasks)
        self.tasks = [task for feed in feeds for task in feed]
        first = self.tasks[0]
        architecture, size = first.architecture, rows_at_once(first.batch_size)
        self.params = np.stack([task.state.params for task in self.tasks])
        self.velocities = np.stack([task.state.velocity for task in self.tasks])
        self.grads = np.zeros_like(self.params)
        self.grads_before = None  # the sum over a batch's parts so far
        if size < first.batch_size:
            self.grads_before = np.zeros_like(self.params)
        self.network = Network(architecture, self.params, self.grads, size)
        self.optimizer = Momentum(
            self.params,
            self.grads,
            self.velocities,
            self.column([task.momentum for task in self.tasks]),
            self.column([task.decay for task in self.tasks]),
            first.nesterovs_momentum,
            architecture.n_weights,
        )
        self.step_loss, self.losses = np.zeros((2, len(self.tasks)))
        self.feeds, start = [], 0
        for feed in feeds:
            models = slice(start, start + len(feed))
            self.feeds.append(make_batches(feed[0], models))
            start = models.stop
        self.recorded = {}  # by number of samples

    def recorded_step(self, n_samples):
        """The loss of a batch of that size, and the calls that work out it and the
        gradients."""
        if n_samples not in self.recorded:
            batches = [feed.batch for feed in self.feeds]
            recorded = self.network.pass_over(n_samples, batches)
            loss = SoftmaxCrossEntropy(recorded.scores, recorded.dscores, batches)
            calls = [*recorded.forward, *loss.calls, *recorded.backward]
            self.recorded[n_samples] = loss.value, calls
        return self.recorded[n_samples]

    def column(self, numbers):
        """One number a network, (M, 1), in the networks' precision."""
        return np.array(numbers, dtype=self.params.dtype)[:, np.newaxis]


def group_by_feed(tasks):
    """Lists of the tasks that read the same rows in the same order."""
    feeds: dict = {}
    for task in tasks:
        key = id(task.X), id(task.y), id(task.sample_weight), task.order_seed
        feeds.setdefault(key, []).append(task)
    return list(feeds.values())


def make_batches(task, models):
    return Batches(
        models,
        task.X,
        task.y,
        task.sample_weight,
        n_classes=task.architecture.layer_sizes[-1],
        batch_size=task.batch_size,
    )


def run_epoch(stack):
    """One pass over the training sets; each task then has its next state."""
    for task in stack.tasks:
        attempt(task, task.begin_epoch)
    losses, finite = run_steps(stack)
    for m, task in enumerate(stack.tasks):
        mean_loss = float(losses[m]) / task.total_weight
        if finite[m] and np.isfinite(mean_loss):
            params, velocity = stack.params[m].copy(), stack.velocities[m].copy()
            attempt(task, advance, task, mean_loss, params, velocity)
        elif task.error is None:
            task.error = diverged(task)


@np.errstate(all="ignore")  # what overflows is told by `finite`
def run_steps(stack):
    """All steps of an epoch. Returns the losses, times the total weights, and whether
    each network's parameters are finite, (M,) and (M,)."""
    stack.optimizer.learning_rate[...] = stack.column([t.rate for t in stack.tasks])
    stack.losses[...] = 0.0
    epochs = [
        feed.epoch(stack.tasks[feed.batch.models.start].order_seed)
        for feed in stack.feeds
    ]
    for batches in zip(*epochs, strict=True):
        run_step(stack, batches)
    return stack.losses, np.isfinite(np.vecdot(stack.params, stack.params))


def run_step(stack, batches):
    """Forward, loss, backward for one batch of each feed, or a part of it; then, if it
    is the last part, update."""
    loss, calls = stack.recorded_step(batches[0].X.shape[0])
    replay(calls)
    stack.step_loss += loss
    if stack.grads_before is not None:
        stack.grads_before += stack.grads
        if not batches[0].ends_step:
            return
        stack.grads[...] = stack.grads_before
        stack.grads_before[...] = 0.0
    replay(stack.optimizer.calls)
    stack.step_loss += stack.optimizer.penalty
    for batch in batches:
        stack.step_loss[batch.models] *= batch.total
    stack.losses += stack.step_loss
    stack.step_loss[...] = 0.0


def attempt(task, function, *args):
    """Call what may raise for one task's own reasons."""
    if function is not None and task.error is None:
        try:
            function(*args)
        except Exception as error:
            task.error = error


def diverged(task):
    return ValueError(
        f"Training diverged in epoch {task.state.n_iter + 1}: the loss or the weights "
        f"are no longer finite, with learning_rate_init={task.learning_rate_init!r} "
        f"(this epoch's rate: {task.rate:.3g}) and momentum={task.momentum!r}. Try a "
        "smaller learning_rate_init, a smaller momentum, or features scaled to "
        "similar ranges (StandardScaler)."
    )


def advance(task, loss, params, velocity):
    """Replace the task's state by that after one more epoch: look at the validation
    data, watch for a plateau; then tell whoever listens."""
    old = task.state
    old.loss_curve.append(loss)
    state = replace(
        old,
        params=params,
        velocity=velocity,
        n_iter=old.n_iter + 1,
        n_seen=old.n_seen + task.X.shape[0],
    )
    score, recorded = validate(task, state)
    for curve, entry in zip(
        (state.validation_loss_curve, state.validation_scores), recorded, strict=True
    ):
        curve.append(entry)
    if state.watched != task.watched:
        state.watched, state.best_score, state.best_iter = task.watched, -np.inf, 0
        state.best_params, state.n_no_improvement = None, 0
    if task.watched:
        watch(task, state, score if task.early_stopping else -loss)
    task.state = state
    if task.verbose:
        print(progress_line(task))
    if task.end_epoch is not None and task.end_epoch(state):
        state.stop_reason = "callback"


def validate(task, state):
    """The score of the data that are watched, and what goes into the curves: their
    penalised loss and their score, or nan."""
    data, score, loss = task.validation, np.nan, np.nan
    if data is None:
        return score, (np.nan, np.nan)
    if data.record or data.score is None:
        loss = mean_cross_entropy(task.architecture, state.params, data)
        score = -loss
    if data.score is not None:
        score = float(data.score(state.params))
    if not data.record:
        return score, (np.nan, np.nan)
    weights = state.params[: task.architecture.n_weights]
    penalty = 0.5 * task.decay * float(np.vecdot(weights, weights))
    return score, (loss + penalty, score)


def mean_cross_entropy(architecture, params, data):
    def total(rows, scores):
        y = data.y[rows]
        losses = -log_softmax(scores)[y, np.arange(len(y))].astype(np.float64)  # (B,)
        if data.sample_weight is not None:
            losses *= data.sample_weight[rows]
        return losses.sum()

    weight = len(data.y) if data.sample_weight is None else data.sample_weight.sum()
    predictor = Predictor(architecture, *architecture.unpack(params))
    return float(sum(predictor.map(total, data.X)) / weight)


def watch(task, state, score):
    """Count the epochs without improvement, as MLPClassifier does; keep the best
    parameters; shrink an adaptive rate on a plateau."""
    if score >= state.best_score + task.tol:
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


def progress_line(task):
    state = task.state
    line = f"Epoch {state.n_iter}/{task.last_epoch}: loss {state.loss_curve[-1]:.6f}"
    if task.validation is not None and task.validation.record:
        line += (
            f", validation loss {state.validation_loss_curve[-1]:.6f}"
            f", score {state.validation_scores[-1]:.6f}"
        )
    return line
