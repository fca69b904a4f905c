"""What is said of a training that went wrong: facts, those that explain most first."""

import numpy as np
from scipy.sparse import issparse

from ._prediction import mean_cross_entropy
from ._scaling import ROW_LENGTH, measure

MOST_ROWS, MOST_NUMBERS = 1000, 10**6  # that are looked at
SOME_EPOCHS, MANY_EPOCHS = 5, 50


def diverged(task):
    """The error of a training whose numbers are no longer finite."""
    tries = facts(task) or ["a smaller learning_rate_init or momentum may help"]
    return ValueError(
        f"Training diverged in epoch {task.state.n_iter + 1}: the loss or the weights "
        f"are no longer finite, with learning_rate_init={task.learning_rate_init:.6g} "
        f"(this epoch's rate: {task.rate:.3g}), momentum={task.settings.momentum!r} "
        f"and alpha={task.settings.alpha!r}. {sentences(tries)}"
    )


@np.errstate(all="ignore")
def advice(task):
    """What to say of a training that has ended, or None."""
    return failure(task) or shortfall(task)


def shortfall(task):
    """What early stopping did not do."""
    state, settings = task.state, task.settings
    if not settings.early_stopping:
        return None
    if state.best is None:
        return (
            f"scoring={settings.scoring!r} gave no number above -inf in any epoch: no "
            "weights are restored."
        )
    if state.stop_reason != "max_iter" or task.learning_rate == "cosine":
        return None  # the rate has fallen to 0: this is the end
    if state.has_left_plateau and settings.n_iter_no_change == np.inf:
        return None  # only the best weights were asked for
    return (
        f"early_stopping=True did not stop the training within max_iter="
        f"{settings.max_iter} epochs. Raise max_iter, or continue with warm_start=True."
    )


def failure(task):
    """What to say of a network that predicts no better than the class frequencies,
    though features tell the classes apart; None where nothing is wrong."""
    state, chance = task.state, task.chance_loss
    if chance == 0 or state.data_loss < 0.5 * chance:
        return None  # the mean over the last epoch tells so much
    some = some_rows(task.X)
    loss = loss_of(task, some)
    if loss < 0.98 * chance or (loss < 1.5 * chance and not is_telling(task, some)):
        return None
    found = facts(task)
    if state.n_new < (SOME_EPOCHS if found else MANY_EPOCHS):
        return None  # nobody expects more of so few
    if not found:
        rate = f"{task.learning_rate_init:.3g}"
        found = [f"{state.n_new} epochs at a rate of {rate} were too few"]
    how = "no better than" if loss >= chance else "close to"
    return (
        f"The network has learned little: its loss, {loss:.4g}, is {how} that of "
        f"always predicting the class frequencies, {chance:.4g}. {sentences(found)}"
    )


def sentences(found):
    return " ".join(f"{fact[0].upper()}{fact[1:]}." for fact in found)


def facts(task):
    """What is unusual about a training, that which explains most first."""
    found = (
        light_weights(task),
        large_rate(task),
        strong_penalty(task),
        saturated_units(task),
        unusual_features(task),
    )
    return [fact for fact in found if fact]


def light_weights(task):
    total, n_samples, alpha = task.total_weight, len(task.y), task.settings.alpha
    if total < 0.1 * n_samples and alpha > 0:
        return (
            f"the weights of the {n_samples} samples add up to {total:.3g}, and alpha "
            f"is divided by that: alpha={alpha * total / n_samples:.3g} penalises as "
            "with weights of mean 1"
        )
    return None


def large_rate(task):
    given, automatic = task.learning_rate_init, task.automatic_rate
    if given > 2 * automatic:
        return (
            f"learning_rate_init={given:.3g} is large for this network and these "
            f'batches: "auto" would be {automatic:.3g}'
        )
    return None


def strong_penalty(task):
    """Whether a step takes away a weight whole, or all steps nearly all of a layer."""
    per_step = task.learning_rate_init * task.decay
    divided = (
        f"alpha={task.settings.alpha!r} divided by the effective number of samples, "
        f"{task.state.alpha_weight:.3g}"
    )
    if per_step > 1:
        return (
            f"{divided}, times the learning rate is {per_step:.3g}: above 1, each step "
            "changes the weights' signs. Try a smaller alpha"
        )
    architecture, params = task.network.architecture, task.state.kept.params
    for layer, coef in enumerate(architecture.unpack(params)[0]):
        first = 2 / sum(coef.shape)  # Glorot's variance
        left = float(np.square(coef, dtype=np.float64).mean()) / first
        if task.decay > 0 and left < 0.01:
            return (
                f"{divided}, has shrunk the weights of layer {layer + 1} to "
                f"{np.sqrt(left):.2g} of their usual size. Try a smaller alpha"
            )
    return None


def saturated_units(task):
    """The share of the first hidden layer's outputs whose derivative is about 0."""
    network, activation = task.network, task.network.architecture.activation
    coefs, intercepts = network.architecture.unpack(task.state.kept.params)
    if len(coefs) < 2 or activation == "identity":
        return None
    rows = task.X[some_rows(task.X, most=200)]
    if issparse(rows):
        if network.scale is not None:
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
        return (
            f"{share:.0%} of the first hidden layer's outputs are saturated. Try a "
            "smaller learning_rate_init or init_scale"
        )
    return None


def unusual_features(task):
    """Features far from a scale of 1, where they are not standardised."""
    if task.network.scale is not None:
        return None
    seen = measure(task.X[some_rows(task.X)], None)
    size = np.sqrt(seen.variance + seen.mean[: seen.variance.size] ** 2)
    if seen.is_sparse:
        size = size / ROW_LENGTH
    at = int(np.argmax(size))
    if 0.1 <= size[at] <= 3:
        return None
    where = "rows" if seen.is_sparse else f"column {at}"
    return (
        f"with standardize=False, the features are {size[at]:.3g} times as large as "
        f"suits (those of {where}). Leave standardize=True, or scale them"
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
    except ValueError:
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
