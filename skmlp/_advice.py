"""What is said of a training that went wrong: facts, those that explain most first."""

import numpy as np
from scipy.sparse import issparse

from ._prediction import NotFinite, mean_cross_entropy
from ._scaling import ROW_LENGTH, measure

MOST_ROWS, MOST_NUMBERS = 1000, 10**6  # that are looked at
FEW_EPOCHS = 5


@np.errstate(all="ignore")
def diverged(task):
    """The error of a training whose numbers are no longer finite."""
    found = facts(task) or ["A smaller learning_rate_init or momentum may help."]
    return ValueError(
        f"Training diverged in epoch {task.state.n_iter + 1}: the loss or the weights "
        f"are no longer finite, with learning_rate_init={task.learning_rate_init:.6g} "
        f"(this epoch's rate: {task.rate:.3g}), momentum={task.settings.momentum!r} "
        f"and alpha={task.settings.alpha!r}. {' '.join(found)}"
    )


@np.errstate(all="ignore")
def advice(task):
    """What to say of a training that has ended, or None."""
    if task.settings.early_stopping and task.state.best is None:
        return (
            f"scoring={task.settings.scoring!r} gave no number above -inf in any "
            "epoch: no weights are restored."
        )
    return failure(task)


def failure(task):
    """What to say of a network that predicts no better than the class frequencies,
    though features tell the classes apart; None where nothing is wrong."""
    state, chance = task.state, task.chance_loss
    if chance == 0 or state.data_loss < 0.5 * chance:
        return None  # already the mean over the last epoch is better
    some = some_rows(task.X)
    loss = loss_of(task, some)
    if loss < 0.98 * chance or (loss < 1.5 * chance and not is_telling(task, some)):
        return None
    found = facts(task)
    if not found or state.n_new < FEW_EPOCHS:
        return None  # no cause can be seen, or nobody expects more
    how = "no better than" if loss >= chance else "close to"
    return (
        f"The network has learned little: its loss, {loss:.4g}, is {how} that of "
        f"always predicting the class frequencies, {chance:.4g}. {' '.join(found)}"
    )


def facts(task):
    """What is unusual about a training, that which explains most first."""
    checks = light_weights, unusual_rate, unusual_features, strong_penalty, saturation
    return [said for check in checks for said in check(task)]


def light_weights(task):
    total, n_samples, alpha = task.state.alpha_weight, len(task.y), task.settings.alpha
    if total < 0.1 * n_samples and alpha > 0 and task.settings.class_weight is None:
        yield (
            f"The weights of the {n_samples} samples add up to {total:.3g}, and alpha "
            f"is divided by that: set alpha={alpha * total / n_samples:.3g}, which "
            "penalises as with weights of mean 1."
        )


def unusual_rate(task):
    rate, automatic = task.learning_rate_init, task.automatic_rate
    if not 0.01 * automatic < rate <= 2 * automatic:
        yield (
            f"The rate is {'large' if rate > automatic else 'small'}: "
            f"learning_rate_init={rate:.3g}, where for this network and these batches "
            f'"auto" is {automatic:.3g}.'
        )


def strong_penalty(task):
    """Whether a step takes away a weight whole, or all steps nearly all of a layer."""
    per_step = task.learning_rate_init * task.decay
    n_steps = task.state.n_new * len(task.y) / task.batch_size
    total = per_step * n_steps / max(1 - task.settings.momentum, 1e-3)
    coefs, _ = task.network.architecture.unpack(task.state.kept.params)
    left = min(  # of Glorot's standard deviation
        np.sqrt(np.square(coef, dtype=np.float64).mean() * sum(coef.shape) / 2)
        for coef in coefs
    )
    if per_step > 1 or (total > 1 and left < 0.1):
        yield (
            f"The penalty is strong: alpha={task.settings.alpha!r} divided by the "
            f"effective number of samples, {task.state.alpha_weight:.3g}, times the "
            f"learning rate is {per_step:.3g} (above 1, each step changes the weights' "
            f"signs), and a layer's weights are {left:.2g} times their usual size. Try "
            "a smaller alpha."
        )


def saturation(task):
    """The share of the first hidden layer's outputs whose derivative is about 0."""
    network, activation = task.network, task.network.architecture.activation
    coefs, intercepts = network.architecture.unpack(task.state.kept.params)
    if len(coefs) < 2 or activation == "identity":
        return
    rows = task.X[some_rows(task.X, most=200)]
    if issparse(rows):
        if network.scale is not None:
            rows = rows.copy()  # until here it may share the user's numbers
            rows.data /= network.scale[rows.indices]
        Z = rows @ coefs[0] + intercepts[0]
    else:  # not by BLAS, whose threads a fork in another thread may cut off
        if network.scale is not None:
            rows = (rows - network.mean) / network.scale
        Z = np.einsum("ij,jk->ik", rows, coefs[0]) + intercepts[0]
    flat = {
        "logistic": np.abs(Z) > 5,  # a derivative of less than .007
        "tanh": np.abs(Z) > 2.5,
        "relu": (Z <= 0).all(axis=0),  # a unit that is off for every row
    }
    if (share := float(np.mean(flat[activation]))) > 0.5:
        yield (
            f"{share:.0%} of the first hidden layer's outputs are saturated. Try a "
            "smaller learning_rate_init or init_scale."
        )


def unusual_features(task):
    """Features far from a scale of 1, where they are not standardised."""
    if task.network.scale is not None:
        return
    seen = measure(task.X[some_rows(task.X)], None)
    size = np.sqrt(seen.second + seen.first**2)  # root mean square
    if seen.is_sparse:
        size = np.sqrt(seen.second.sum(keepdims=True)) / ROW_LENGTH
    at = int(np.argmax(size))
    if not 0.1 <= size[at] <= 3:
        where = "rows" if seen.is_sparse else f"column {at}"
        yield (
            f"With standardize=False, the features are {size[at]:.3g} times as large "
            f"as suits (those of {where}). Leave standardize=True, or scale them."
        )


def some_rows(X, most=MOST_ROWS):
    """A slice of rows of X, evenly spread: fewer than `most` of very many features."""
    most = max(10, min(most, MOST_NUMBERS // X.shape[1]))
    return slice(None, None, -(-X.shape[0] // most))


def dense(rows):
    """Rows as an array; of sparse ones the columns that occur."""
    return rows[:, np.unique(rows.indices)].toarray() if issparse(rows) else rows


def loss_of(task, some):
    """Mean cross-entropy of some rows, or inf where scores are not finite."""
    weight = None if task.sample_weight is None else task.sample_weight[some]
    network = task.network._replace(params=task.state.kept.params)
    X = task.X[some] if issparse(task.X) else np.ascontiguousarray(task.X[some])
    try:
        return mean_cross_entropy(network, X, task.y[some], weight)
    except NotFinite:
        return np.inf


def is_telling(task, some):
    """Whether a feature alone tells the classes apart, beyond all chance: by its F, the
    variance between classes over that within (analysis of variance)."""
    rows, y = dense(task.X[some]), task.y[some]
    kinds, y = np.unique(y, return_inverse=True)
    freedom = len(y) - len(kinds)
    if len(kinds) < 2 or freedom < 1:
        return False
    Z = (rows - rows.mean(axis=0)) / np.maximum(rows.std(axis=0), 1e-300)
    indicator = np.eye(len(kinds))[y]  # (n, K)
    sums = np.einsum("nk,nj->kj", indicator, Z)
    between = (sums**2 / indicator.sum(axis=0)[:, np.newaxis]).sum(axis=0)
    within = np.maximum(len(y) - between, 1e-9)
    return (between / (len(kinds) - 1) / (within / freedom)).max() > 20


@np.errstate(all="ignore")  # of scores that are not finite
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
        rises = gain > 2 * errors[inner] > 0 and 2 * gain > before
        if end == chosen and alpha > 0 and rises:
            factor = np.clip(alpha / alphas[inner], 0.1, 10)
            grid = ", ".join(f"{x:.3g}" for x in alpha * factor ** np.arange(3))
            return (
                f"alpha_={alpha:g} scores best and is at the end of alphas: one beyond "
                f"it may score better. Try alphas=[{grid}]."
            )
    return None
