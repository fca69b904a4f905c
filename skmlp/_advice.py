"""What is said of a training that went wrong: facts, those that explain most first."""

import numpy as np
from scipy.sparse import issparse

from ._prediction import NotFinite, mean_cross_entropy
from ._quietly import quietly
from ._scaling import ROW_LENGTH

MOST_ROWS, MOST_ELEMENTS = 1000, 10**6  # of X that are looked at
# Epochs from which a training that learned nothing is remarked: where something about
# it is unusual, and where nothing is.
FEW_EPOCHS, MANY_EPOCHS = 5, 30


@quietly
def diverged(task):
    """The error of a training whose numbers are no longer finite."""
    epoch = min(task.state.n_iter + 1, task.last_epoch)
    found = facts(task) or ["A smaller learning_rate_init or momentum may help."]
    return NotFinite(
        f"Training diverged in epoch {epoch}: the loss, the weights or "
        "the scores are no longer finite, with learning_rate_init="
        f"{task.learning_rate_init:.6g} (this epoch's rate: {task.rate:.3g}), momentum="
        f"{task.settings.momentum!r} and alpha={task.settings.alpha!r}. "
        f"{' '.join(found)}"
    )


@quietly
def advice(task):
    """What to say of a training that has ended, or None: that early stopping had no
    score to go by; or that the network predicts no better than the class frequencies,
    though there is something to learn."""
    state, chance = task.state, task.chance_loss
    if task.settings.early_stopping and state.best is None:
        return (
            f"scoring={task.settings.scoring!r} gave no number above -inf in any "
            "epoch: no weights are restored."
        )
    if state.n_new < FEW_EPOCHS or chance == 0 or state.data_loss < 0.5 * chance:
        return None  # already the mean over the last epoch is better than chance
    some = some_rows(task.X)
    X, y = task.X[some], task.y[some]
    weight = None if task.sample_weight is None else task.sample_weight[some]
    network = task.network._replace(params=state.selected.params)
    try:
        loss = mean_cross_entropy(network, X, y, weight)
    except NotFinite as error:  # after the last step
        raise diverged(task) from error
    found = facts(task)
    if not found and state.n_new >= MANY_EPOCHS:
        found = ["Try a smaller learning_rate_init or alpha, or more epochs."]
    is_chance = loss >= 0.98 * chance and is_telling(X, y)
    is_hidden = loss >= 0.9 * chance and outliers(task)
    if found and (loss >= 1.5 * chance or is_chance or is_hidden):
        return (
            f"The network has learned little: its loss is {loss:.4g}, and that of "
            f"always predicting the class frequencies {chance:.4g}. {' '.join(found)}"
        )


def is_telling(X, y):
    """Whether a feature alone tells the classes apart, beyond all chance: whether its
    F, the variance between classes over that within, is above 20 (analysis of
    variance)."""
    rows = X.toarray() if issparse(X) else X
    scale, classes = rows.std(axis=0), np.unique(y)
    Z = (rows - rows.mean(axis=0)) / np.where(scale > 0, scale, 1)
    means = [Z[y == k].mean(axis=0) * np.sqrt(np.mean(y == k)) for k in classes]
    between = np.square(means).sum(axis=0).max()  # of a variance of 1
    return between * (len(y) - len(classes)) > 20 * (1 - between) * (len(classes) - 1)


def facts(task):
    """What is unusual about a training, that which explains most first."""
    checks = light_weights, unusual_rate, unusual_features, outliers, strong_penalty
    return [message for check in checks if (message := check(task))]


def light_weights(task):
    total, n_samples, alpha = task.state.alpha_weight, len(task.y), task.settings.alpha
    if total < 0.1 * n_samples and alpha > 0 and task.settings.class_weight is None:
        return (
            f"The weights of the {n_samples} samples add up to {total:.3g}, and alpha "
            f"is divided by that: set alpha={alpha * total / n_samples:.3g}, which "
            "penalises as with weights of mean 1."
        )


def unusual_rate(task):
    rate, automatic = task.learning_rate_init, task.automatic_rate
    if not 0.01 * automatic < rate <= 2 * automatic:
        return (
            f"The rate is {'large' if rate > automatic else 'small'}: "
            f"learning_rate_init={rate:.3g}, where for this network and these batches "
            f'"auto" is {automatic:.3g}.'
        )


def unusual_features(task):
    """Rows far from their usual length, where they are not standardised."""
    if task.network.scale is not None:
        return None
    rows = task.X[some_rows(task.X)]
    numbers = rows.data if issparse(rows) else rows
    length = np.sqrt(np.square(numbers, dtype=np.float64).sum() / rows.shape[0])
    usual = ROW_LENGTH if issparse(rows) else min(ROW_LENGTH, np.sqrt(rows.shape[1]))
    if not 0.1 <= length / usual <= 3:
        return (
            f"With standardize=False, the features are {length / usual:.3g} times as "
            "large as suits the network (root mean square). Leave standardize=True, or "
            "scale them."
        )


def outliers(task):
    """Features, most of whose values are alike beside the standard deviation."""
    if task.network.scale is None or issparse(task.X):
        return None
    rows = task.X[some_rows(task.X)[::5]]
    spread = np.subtract(*np.percentile(rows, [75, 25], axis=0)) / task.network.scale
    if 2 * ((spread > 0) & (spread < 0.01)).sum() > (spread > 0).sum():
        return (
            "The middle half of most features' values spans less than 0.01 standard "
            "deviations: outliers, or codes for missing values, hide all else. Replace "
            "them, or put a QuantileTransformer before the network."
        )


def strong_penalty(task):
    if task.decay > 0.05:
        return (
            f"The penalty is strong: alpha={task.settings.alpha!r} divided by the "
            f"effective number of samples, {task.state.alpha_weight:.3g}, is "
            f"{task.decay:.3g}. Try a smaller alpha."
        )


def some_rows(X):
    """Rows of X, evenly spread: fewer than MOST_ROWS of very many features."""
    most = max(10, min(MOST_ROWS, MOST_ELEMENTS // X.shape[1]))
    return np.arange(0, X.shape[0], -(-X.shape[0] // most))


@quietly
def grid_advice(alphas, scores, errors, chosen):
    """What to say where the chosen alpha is at an end of those tried, and the scores
    still rise there: the last step gained more than two standard errors, and more than
    half as much as the step before, so that one step more would gain as well.

    scores, errors : (n_alphas,), a mean score of each alpha and the standard error of
        its difference from the best.
    chosen : index of the alpha.
    """
    order = np.argsort(alphas)
    for end, inner, *further in (order[:3], order[:-4:-1]) if len(order) > 1 else ():
        alpha, gain = alphas[end], scores[end] - scores[inner]
        before = scores[inner] - scores[further[0]] if further else 0.0
        rises = gain > 2 * errors[inner] > 0 and not 2 * gain <= before < np.inf
        if end == chosen and alpha > 0 and rises:
            factor = np.clip(alpha / alphas[inner], 0.1, 10)
            grid = ", ".join(f"{x:.3g}" for x in alpha * factor ** np.arange(3))
            return (
                f"alpha_={alpha:g} scores best and is at the end of alphas: one beyond "
                f"it may score better. Try alphas=[{grid}]."
            )
