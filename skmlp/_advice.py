"""What is said of a training that went wrong: what can be seen, and what to do."""

import sys
from itertools import pairwise

import numpy as np
from scipy.sparse import issparse

from ._prediction import mean_cross_entropy

MOST_ROWS, MOST_NUMBERS = 1000, 10**6  # that are looked at
WIDE = 10  # of init_scale
HEAVY = 10  # a sample's weight, in units of their mean
GOOD_RATES = {"tanh": 0.1, "relu": 0.02, "identity": 0.02}


def diverged(task):
    """The error of a training whose numbers are no longer finite."""
    return ValueError(
        f"Training diverged in epoch {task.state.n_iter + 1}: the loss or the weights "
        f"are no longer finite, with learning_rate_init={task.learning_rate_init!r} "
        f"(this epoch's rate: {task.rate:.3g}), momentum={task.momentum!r} and "
        f"alpha={task.alpha!r}. Try {remedy(task)}."
    )


def remedy(task):
    if is_overshooting(task):
        # A step takes rate * decay of each weight away: more than all of it.
        return (
            f"a smaller alpha (divided by the total weight {task.total_weight:.6g} and "
            f"times the rate it is {task.learning_rate_init * task.decay:.3g}, where "
            "above 1 weights change their signs in every step) or a smaller "
            "learning_rate_init"
        )
    activation, suits = task.architecture.activation, ""
    if task.learning_rate_init > 3 * (good := GOOD_RATES.get(activation, np.inf)):
        suits = f" ({activation!r} wants about {good}, and init_scale=1)"
    if (weight := heaviest(task)) > HEAVY:
        suits += (
            f" (a sample's step goes as far as it weighs: the heaviest {weight:.3g} "
            "times the mean)"
        )
    narrower = ", a smaller init_scale" if task.init_scale > WIDE else ""
    return (
        f"a smaller learning_rate_init{suits}, a smaller momentum{narrower}, or "
        "features scaled to similar ranges (StandardScaler)"
    )


def heaviest(task):
    """The largest weight of a sample, in units of their mean."""
    if task.sample_weight is None:
        return 1.0
    return float(task.sample_weight.max()) / task.total_weight * len(task.y)


def is_overshooting(task):
    return task.decay > 0.1 and task.learning_rate_init * task.decay > 1


@np.errstate(all="ignore")
def advice(task, estimator):
    """What to say of a training that has ended, or None."""
    names = getattr(estimator, "feature_names_in_", None)
    return failure(task, names) or shortfall(task, estimator)


def shortfall(task, estimator):
    """What early stopping did not do."""
    state = task.state
    if not state.n_new:
        return (
            f"No epoch was trained: the last {state.n_no_improvement} brought no "
            f"better score, more than n_iter_no_change={estimator.n_iter_no_change!r}. "
            "Raise it, give other validation data, or start anew with "
            "warm_start=False."
        )
    if task.watched and state.best_score == -np.inf:
        return (
            f"scoring={estimator.scoring!r} gave no number above -inf in any epoch: no "
            "weights are restored."
        )
    if not task.early_stopping or state.stop_reason != "max_iter":
        return None
    if state.has_left_plateau and task.n_iter_no_change == np.inf:
        return None  # only the best weights were asked for
    where = (
        "" if state.has_left_plateau else ", in which it got hardly better than chance"
    )
    return (
        "early_stopping=True did not stop the training within max_iter="
        f"{estimator.max_iter} epochs{where}. Raise max_iter, or continue with "
        "warm_start=True."
    )


def failure(task, names):
    """What to say of weights whose loss is no better than chance, or far above it; None
    where nothing is wrong, or where no cause can be seen.

    names : of the features, or None.
    """
    state, chance = task.state, task.chance_loss
    if not state.n_new or len(task.class_weights) < 2:
        return None
    params = state.kept_params
    first = chance + task.decay / 2 * first_squares(task)
    most = 10 * max(first, 0.1) if state.n_new > 5 else np.inf
    is_heavy = heaviest(task) > HEAVY  # one such step may saturate units
    if not is_heavy and (
        state.data_loss < 0.5 * chance and state.loss_curve[-1] <= most
    ):
        return None  # the mean over the last epoch tells so much
    data_loss = data_loss_of(task, params)
    loss = data_loss + task.penalty(params)
    exploded = loss > most
    if not exploded and not is_heavy and data_loss < 0.5 * chance:
        return None
    saturated = saturation(task, params)
    if exploded or data_loss >= 0.98 * chance:
        number, how = loss if exploded else data_loss, "close to"
        if number > chance:
            how = "far above" if exploded else "no better than"
        what = (
            f"The network has learned little: its loss, {number:.4g}, is {how} that of "
            f"always predicting the class frequencies, {chance:.4g}"
        )
    elif saturated >= (0.95 if is_heavy else 0.99):
        what = (
            "The network may have learned less than it could: in its first hidden "
            f"layer {saturated:.0%} of the outputs are saturated"
        )
    else:
        return None
    cause = likely_cause(task, names, exploded, saturated > 0.9)
    return None if cause is None else f"{what}. Probably {cause}."


def data_loss_of(task, params):
    """Mean cross-entropy of some rows, or inf where scores are not finite."""
    some, weight = some_rows(task.X), task.sample_weight
    if weight is not None:
        weight = weight[some]
    try:
        return mean_cross_entropy(
            task.architecture, params, task.X[some].copy(), task.y[some], weight
        )
    except ValueError:
        return np.inf


def first_squares(task):
    """|W|^2 of weights as a training begins with them, on average."""
    shapes = pairwise(task.architecture.layer_sizes)
    return task.init_scale**2 * sum(2 * a * b / (a + b) for a, b in shapes)


def likely_cause(task, names, exploded, saturated):
    if exploded and is_overshooting(task):
        return f"alpha={task.alpha!r} is too large. Try {remedy(task)}"
    column, largest = largest_scale(task.X)
    is_wide = task.init_scale > WIDE * max(1, largest)
    if is_wide and (exploded or saturated or is_telling(task)):
        return (
            f"init_scale={task.init_scale!r} is too large: weights begin so wide that "
            "the first steps cannot mend them. Try one from 1 to 5"
        )
    much = 10 if exploded or task.learning_rate_init > 2 else 3
    if largest > much and (exploded or saturated):
        name = f"column {column}" if names is None else repr(str(names[column]))
        return (
            "the features are large or of very different scales (the largest standard "
            f"deviation or mean is {largest:.3g}, of {name}). Scale them, with "
            "StandardScaler in a pipeline"
        )
    if exploded or saturated:
        return f"the steps were too large. Try {remedy(task)}"
    is_small, is_deep, shrunken = largest < 0.1, is_too_deep(task), is_shrunken(task)
    if not (is_small or is_deep or shrunken) or not is_telling(task):
        return None
    if is_small:
        weaker = f", or try a smaller alpha than {task.alpha!r}" if shrunken else ""
        return (
            "the features are small (the largest standard deviation or mean is "
            f"{largest:.3g}). Scale them, with StandardScaler in a pipeline (sparse "
            f"ones with MaxAbsScaler){weaker}"
        )
    if is_deep:
        return (
            f"learning_rate_init={task.learning_rate_init!r} is too large for so many "
            "layers of sigmoids. Try 0.1"
        )
    return (
        f"the penalty is too strong for so little data: alpha={task.alpha!r} is "
        f"divided by the total weight, {task.total_weight:.6g}. Try a smaller "
        "alpha (with weights that add up to 1, divided by the number of samples)"
    )


def some_rows(X, most=MOST_ROWS):
    """A slice of rows of X, evenly spread: fewer than `most` of very many features."""
    most = max(10, min(most, MOST_NUMBERS // X.shape[1]))
    return slice(None, None, -(-X.shape[0] // most))


def product(A, B):
    """A @ B without BLAS, whose threads a fork in another thread may cut off."""
    return A @ B if issparse(A) else np.einsum("ij,jk->ik", A, B)


def saturation(task, params):
    """Share of the first hidden layer's outputs, over the rows, that have no slope."""
    architecture = task.architecture
    if len(architecture.layer_sizes) < 3 or architecture.activation == "identity":
        return 0.0
    coefs, intercepts = architecture.unpack(params)
    rows = task.X[some_rows(task.X, most=200)]
    Z = np.asarray(product(rows, coefs[0])) + intercepts[0]
    flat = {
        "logistic": np.abs(Z) > 5,  # a slope of less than .007
        "tanh": np.abs(Z) > 2.5,
        "relu": (Z <= 0).all(axis=0),  # a unit that is off for every row
    }
    return float(np.mean(flat.get(architecture.activation, 0.0)))


def dense(rows):
    """Columns as float64, each divided by its largest number, as squares may over- or
    underflow; these; and the numbers of the columns: of CSR those that occur."""
    columns = np.arange(rows.shape[1])
    if issparse(rows):
        columns = np.union1d(rows.indices, 0)
        rows = rows[:, columns].toarray()
    rows = rows.astype(np.float64)
    unit = np.maximum(np.abs(rows).max(axis=0), 1e-300)
    return rows / unit, unit, columns


def largest_scale(X):
    """The column of the largest standard deviation or mean, and that."""
    rows, unit, columns = dense(X[some_rows(X)])
    scale = np.maximum(rows.std(axis=0), np.abs(rows.mean(axis=0))) * unit
    at = int(np.argmax(scale))
    return int(columns[at]), float(scale[at])


def is_telling(task):
    """Whether a feature alone tells much of the class: by the share of its variance
    that lies between classes, far beyond what chance would make it."""
    some = some_rows(task.X)
    (rows, *_), y = dense(task.X[some]), task.y[some]
    kinds, codes = np.unique(y, return_inverse=True)
    indicator = np.eye(len(kinds))[codes]  # (n, K)
    centred = rows - rows.mean(axis=0)
    sums = product(indicator.T, centred)  # (K, n_features)
    between = (sums**2 / indicator.sum(axis=0)[:, np.newaxis]).sum(axis=0)
    share = (between / np.maximum((centred**2).sum(axis=0), 1e-300)).max()
    freedom = len(y) - len(kinds)
    return freedom > 0 and share * freedom > 20 * max(len(kinds) - 1, 1)


def is_too_deep(task):
    """Whether the steps are those that fewer layers like: measured on networks of 50
    units a layer, where the default rate fails from four layers on, .3 does not."""
    architecture = task.architecture
    return (
        architecture.activation == "logistic"
        and len(architecture.layer_sizes) > 5
        and task.learning_rate_init > 0.3
    )


def is_shrunken(task):
    """Whether the penalty has left next to nothing of a layer's first weights."""
    n_steps = task.state.n_new * task.X.shape[0] / task.batch_size
    shrinks = task.decay * task.learning_rate_init * n_steps
    if shrinks < 1 - task.momentum:  # by a factor of e, in all these steps
        return False
    first = min(task.init_scale, 1) ** 2 * 2
    return task.alpha > 0 and any(
        np.square(coef, dtype=np.float64).mean() < 0.01 * first / sum(coef.shape)
        for coef in task.architecture.unpack(task.state.kept_params)[0]
    )


def stacklevel():
    """For warnings.warn: the first caller outside of skmlp and scikit-learn's
    decorators, however many of these there are."""
    frame, level = sys._getframe(1), 1
    ours = ("skmlp.", "sklearn.base", "sklearn.callback", "contextlib")
    while frame.f_back and frame.f_globals.get("__name__", "").startswith(ours):
        frame, level = frame.f_back, level + 1
    return level
