"""Learning-rate schedules: MLPClassifier's, and the cosine."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.neural_network import MLPClassifier

from skmlp import MomentumMLPClassifier


def rates_used(X, y, n_epochs, **params):
    """Full batch, no momentum, no penalty: the step over the gradient is the rate.

    The gradient at each epoch is a step of rate 1 that a copy takes from there.
    """
    common = {"batch_size": None, "momentum": 0.0, "alpha": 0.0, "random_state": 0}
    mlp = MomentumMLPClassifier((4,), **common, **params)
    rates, before, biases = [], None, [np.zeros(4), np.zeros(len(np.unique(y)))]
    for epoch in range(n_epochs):
        trained = mlp.set_params(max_iter=epoch + 1).fit(X, y)
        after = [coef.copy() for coef in trained.coefs_]
        if before is None:
            still = MomentumMLPClassifier(
                (4,), max_iter=1, learning_rate_init=1e-300, **common
            )
            before = still.fit(X, y).coefs_
        unit = MomentumMLPClassifier((4,), learning_rate_init=1.0, **common)
        unit.set_params(max_iter=1, warm_start=True).fit(X, y)
        unit.coefs_ = [c.copy() for c in before]
        unit.intercepts_ = [b.copy() for b in biases]
        unit.fit(X, y)
        gradient = before[0] - unit.coefs_[0]
        rates.append(
            np.vdot(before[0] - after[0], gradient) / np.vdot(gradient, gradient)
        )
        before, biases = after, [b.copy() for b in trained.intercepts_]
    return np.array(rates)


def test_constant(iris):
    rates = rates_used(*iris, 4, learning_rate_init=0.3)
    assert_allclose(rates, 0.3, rtol=1e-6)


@pytest.mark.parametrize("power_t", [0.5, 0.2])
def test_invscaling_is_mlp_classifiers(iris, power_t):
    X, y = iris
    rates = rates_used(
        X, y, 4, learning_rate="invscaling", learning_rate_init=0.3, power_t=power_t
    )
    theirs = [0.3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for n_epochs in (1, 2, 3):
            mlp = MLPClassifier(
                (4,), solver="sgd", learning_rate="invscaling", power_t=power_t,
                learning_rate_init=0.3, max_iter=n_epochs, tol=0.0,
            ).fit(X, y)  # fmt: skip
            theirs.append(mlp._optimizer.learning_rate)  # after that many epochs
    assert_allclose(rates, theirs, rtol=1e-6)


def test_adaptive_divides_by_five_where_mlp_classifier_does(iris):
    """With a tol that nothing meets, every epoch but the first is one without
    improvement, in both."""
    X, y = iris
    n_epochs, patience = 8, 2
    rates = rates_used(
        X, y, n_epochs, learning_rate="adaptive", learning_rate_init=0.3,
        tol=10.0, n_iter_no_change=patience,
    )  # fmt: skip
    theirs = [0.3]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for epochs in range(1, n_epochs):
            mlp = MLPClassifier(
                (4,), solver="sgd", learning_rate="adaptive", learning_rate_init=0.3,
                max_iter=epochs, tol=10.0, n_iter_no_change=patience,
            ).fit(X, y)  # fmt: skip
            theirs.append(mlp._optimizer.learning_rate)
    assert len(set(theirs)) == 3
    assert_allclose(rates, theirs, rtol=1e-6)


def test_adaptive_never_falls_far_below_1e_6_and_runs_on(iris):
    mlp = MomentumMLPClassifier(
        (4,), learning_rate="adaptive", tol=10.0, n_iter_no_change=1, max_iter=60
    ).fit(*iris)
    assert mlp.n_iter_ == 60
    early = MomentumMLPClassifier(
        (4,), learning_rate="adaptive", tol=10.0, n_iter_no_change=1, max_iter=60,
        early_stopping=True,
    ).fit(*iris)  # fmt: skip
    # 0.2 / 5**8 is the first below 1e-6. It takes 3 epochs to the first division
    # and 2 to each of the next seven, and 2 more without improvement end it.
    assert early.n_iter_ == 3 + 7 * 2 + 2
    assert early.stop_reason_ == "early_stopping"


def test_cosine_is_half_a_wave_over_max_iter(iris):
    X, y = iris
    common = {"batch_size": None, "momentum": 0.0, "alpha": 0.0, "random_state": 0}
    n = 6
    mlp = MomentumMLPClassifier(
        (4,), learning_rate="cosine", learning_rate_init=0.4, max_iter=n, **common
    ).fit(X, y)
    steps = MomentumMLPClassifier((4,), max_iter=1, warm_start=True, **common)
    for epoch in range(n):
        rate = 0.4 * (1 + np.cos(np.pi * epoch / n)) / 2
        steps.set_params(learning_rate_init=rate).fit(X, y)
    assert_allclose(mlp.loss_curve_, steps.loss_curve_, rtol=1e-12)


def test_cosine_in_partial_fit_stays_at_its_last_rate(iris):
    X, y = iris
    mlp = MomentumMLPClassifier(
        (4,), learning_rate="cosine", max_iter=3, batch_size=40, random_state=0
    )
    whole = mlp.fit(X, y).loss_curve_
    parts = MomentumMLPClassifier(
        (4,), learning_rate="cosine", max_iter=3, batch_size=40, random_state=0
    )
    for _ in range(5):
        parts.partial_fit(X, y, classes=[0, 1, 2])
    assert parts.loss_curve_[:3] == whole
    assert parts.loss_curve_[4] < parts.loss_curve_[3] < parts.loss_curve_[2]
