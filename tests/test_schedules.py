"""Schedules, end to end: at equal settings and from equal weights the whole training
is MLPClassifier's."""

import warnings
from functools import partial

import numpy as np
import pytest
from helpers import assert_close_network, assert_same_fit
from numpy.testing import assert_allclose
from settings import plain
from sklearn.exceptions import ConvergenceWarning
from sklearn.neural_network import MLPClassifier

N_EPOCHS = 60


def both_trained(X, y, *, alpha=0.0, batch_size=150, **params):
    """Ours and scikit-learn's, from ours' first weights, samples in their order."""
    params = {"learning_rate_init": 0.2, "shuffle": False} | params
    ours = plain(
        (6,), max_iter=N_EPOCHS, alpha=alpha, batch_size=batch_size, random_state=0,
        **params,
    ).fit(X, y)  # fmt: skip
    first = plain((6,), max_iter=1, learning_rate_init=1e-300, random_state=0).fit(X, y)
    theirs = MLPClassifier(
        (6,), "logistic", solver="sgd", alpha=alpha * batch_size / len(y),
        batch_size=batch_size, momentum=0.9, **{"nesterovs_momentum": False} | params,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        theirs.set_params(max_iter=1).fit(X, y)
        theirs.coefs_, theirs.intercepts_ = first.coefs_, first.intercepts_
        theirs.t_ = theirs.n_iter_ = theirs._no_improvement_count = 0
        theirs.loss_curve_, theirs.best_loss_ = [], np.inf
        theirs.set_params(warm_start=True, max_iter=N_EPOCHS).fit(X, y)
    return ours, theirs


def assert_close_training(ours, theirs):
    assert_allclose(ours.loss_curve_, theirs.loss_curve_, rtol=1e-9)
    assert_close_network(ours, theirs, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("batch_size", [150, 50])
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize(
    "schedule",
    [{"learning_rate": "constant"}, {"learning_rate": "invscaling", "power_t": 0.1}],
)
def test_a_training_is_mlp_classifiers(iris, schedule, nesterov, batch_size):
    ours, theirs = both_trained(
        *iris, alpha=0.5, batch_size=batch_size, nesterovs_momentum=nesterov,
        n_iter_no_change=N_EPOCHS, **schedule,
    )  # fmt: skip
    assert ours.n_iter_ == theirs.n_iter_ == N_EPOCHS
    assert_close_training(ours, theirs)


def test_adaptive_shrinks_in_mlp_classifiers_epochs(iris):
    ours, theirs = both_trained(
        *iris, learning_rate="adaptive", learning_rate_init=0.5, tol=0.01,
        n_iter_no_change=3,
    )  # fmt: skip
    assert 1e-6 < theirs._optimizer.learning_rate < 0.5 / 5
    assert_close_training(ours, theirs)


@pytest.mark.parametrize("n_epochs", [1, 2, 7])
def test_cosine_by_its_formula(iris, n_epochs):
    """Epoch e of n has the rate init (1 + cos(pi e / n)) / 2, momentum on top."""
    make = partial(plain, (6,), batch_size=50, random_state=1, momentum=0.8, alpha=0)
    whole = make(learning_rate="cosine", learning_rate_init=0.4, max_iter=n_epochs)
    whole.fit(*iris)
    parts = make(learning_rate="constant")
    for e in range(n_epochs):
        parts.set_params(learning_rate_init=0.2 * (1 + np.cos(np.pi * e / n_epochs)))
        parts.partial_fit(*iris, classes=[0, 1, 2])
    assert_allclose(whole.loss_curve_, parts.loss_curve_, rtol=1e-12)
    assert_close_network(whole, parts, rtol=1e-10)


def test_cosine_in_partial_fit_keeps_the_first_rate(iris):
    """It cannot know how far it goes: k calls are a fit of k epochs at that rate."""
    make = partial(plain, (4,), batch_size=40, random_state=0, alpha=0)
    parts = make(learning_rate="cosine", max_iter=3)
    for _ in range(5):
        parts.partial_fit(*iris, classes=[0, 1, 2])
    assert_same_fit(parts, make(learning_rate="constant", max_iter=5).fit(*iris))


@pytest.mark.filterwarnings("ignore:The network has learned little")
def test_adaptive_never_falls_far_below_1e_6_and_runs_on(iris):
    make = partial(
        plain, (4,), learning_rate="adaptive", tol=10.0, n_iter_no_change=1,
        max_iter=60, random_state=0,
    )  # fmt: skip
    assert make().fit(*iris).n_iter_ == 60
    early = make(alpha=0.0, early_stopping=True).fit(*iris)
    # Nothing counts on the plateau at the beginning. 0.2 / 5**8 is the first rate below
    # 1e-6: it takes 2 epochs to each of eight divisions, and 2 more end it.
    waited = np.argmax(np.array(early.loss_curve_) <= 0.95 * np.log(3))
    assert early.n_iter_ == max(waited, 1) + 8 * 2 + 2
    assert early.stop_reason_ == "early_stopping"
