"""Validation data, the scores that are monitored, and stopping on them."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from helpers import assert_same_network
from numpy.testing import assert_allclose
from settings import plain
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import log_loss

make = partial(plain, hidden_layer_sizes=(12,), max_iter=15, random_state=0)
# Learns within a few epochs and then gets worse: it stops early for sure.
STOPS = {"max_iter": 300, "learning_rate_init": 0.5, "alpha": 0.0, "batch_size": 20}


@pytest.fixture
def split(digits):
    X, y = digits[0] / 16, digits[1]
    return X[:300], y[:300], {"X_val": X[300:500], "y_val": y[300:500]}


@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_validation_loss_is_the_mean_cross_entropy_plus_the_penalty(
    split, batch_size, weighted
):
    X, y, data = split
    weight, total, weight_val = None, 300, None
    if weighted:
        weight, weight_val = np.linspace(0.5, 2, 300), np.linspace(0.1, 3, 200)
        total = weight.sum()
    params = {"batch_size": batch_size, "alpha": 0.7}
    mlp = make(max_iter=4, **params)
    mlp.fit(X, y, weight, **data, sample_weight_val=weight_val)
    assert len(mlp.validation_loss_curve_) == len(mlp.validation_scores_) == 4
    for epoch in range(4):
        part = make(max_iter=epoch + 1, **params).fit(X, y, weight)
        proba = part.predict_proba(data["X_val"])
        loss = log_loss(data["y_val"], proba, sample_weight=weight_val)
        squares = sum(np.sum(coef**2) for coef in part.coefs_)
        penalised = loss + 0.7 / (2 * total) * squares
        assert_allclose(mlp.validation_loss_curve_[epoch], penalised, rtol=1e-10)
        assert_allclose(mlp.validation_scores_[epoch], -penalised, rtol=1e-10)


def of_arrays(estimator, X, y):
    return np.array(estimator.score(X, y) / 2)


@pytest.mark.parametrize("scoring", ["accuracy", None, of_arrays])
def test_any_scorer_is_recorded_and_gets_weights_if_it_takes_them(split, scoring):
    X, y, data = split
    weight = np.linspace(0, 2, 200)
    mlp = make(scoring=scoring).fit(X, y, **data, sample_weight_val=weight)
    weighted = mlp.score(*data.values(), weight)
    expected = of_arrays(mlp, *data.values()) if scoring is of_arrays else weighted
    assert mlp.validation_scores_[-1] == expected
    assert len(set(mlp.validation_scores_)) > 1


@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
def test_stops_and_restores_the_best_epoch(split, scoring):
    X, y, data = split
    mlp = make(early_stopping=True, scoring=scoring, n_iter_no_change=4, **STOPS)
    scores = np.array(mlp.fit(X, y, **data).validation_scores_)
    assert mlp.stop_reason_ == "early_stopping"
    assert mlp.n_iter_ == len(scores) == len(mlp.loss_curve_) < 300
    last_of_the_best = np.flatnonzero(scores == scores.max())[-1]
    assert mlp.best_iter_ == last_of_the_best + 1 < mlp.n_iter_
    assert mlp.best_validation_score_ == scores.max()
    # MLPClassifier's rule: more than n_iter_no_change epochs in a row without tol.
    best_before = np.maximum.accumulate(np.r_[-np.inf, scores])[:-1]
    worse = scores < best_before + 1e-4
    assert worse[-5:].all()
    assert not any(worse[i : i + 5].all() for i in range(len(worse) - 5))
    same = make(**STOPS | {"max_iter": mlp.best_iter_}).fit(X, y)
    assert_same_network(mlp, same)


def test_holds_a_stratified_fraction_of_the_training_data_out(split):
    X, y, _ = split
    names = np.array([f"digit {k}" for k in range(10)])
    frame = pd.DataFrame(X, columns=[f"pixel {i}" for i in range(64)])
    seen = []

    def spy(estimator, X, y):
        seen.append((X, y))
        return estimator.score(X, y)

    mlp = make(early_stopping=True, validation_fraction=0.25, scoring=spy, **STOPS)
    mlp.fit(frame, names[y])
    assert mlp.stop_reason_ == "early_stopping"
    X_val, y_val = seen[0]
    assert len(y_val) == 75
    share = np.array([np.mean(y_val == name) for name in names])
    assert_allclose(share, np.bincount(y) / 300, atol=0.014)
    rows = {row.tobytes() for row in X}
    assert all(row.tobytes() in rows for row in X_val)


def test_none_monitors_the_training_data(split):
    X, y, _ = split
    params = {"early_stopping": True, "validation_fraction": None, **STOPS}
    mlp = make(scoring="accuracy", n_iter_no_change=3, **params).fit(X, y)
    assert mlp.stop_reason_ == "early_stopping"
    assert mlp.best_validation_score_ == mlp.score(X, y) == 1.0
    assert mlp.validation_loss_curve_ is mlp.validation_scores_ is None


@pytest.mark.parametrize("seed", range(0, 20, 2))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_plateau_is_left_by_the_loss_without_its_penalty(iris, seed):
    """However much the weights, and so the penalty, change within an epoch."""
    params = {"alpha": 20, "batch_size": None, "random_state": seed}
    whole = plain((6,), max_iter=6, early_stopping=True, validation_fraction=None)
    whole.set_params(**params).fit(*iris)
    step, losses = plain((6,), max_iter=1, warm_start=True, **params), []
    for _ in range(5):  # the loss an epoch reports is of the weights before
        losses.append(log_loss(iris[1], step.fit(*iris).predict_proba(iris[0])))
    has_left = whole._training_state["has_left_plateau"]
    assert has_left == (min(losses) <= 0.95 * np.log(3))


X_VAL, Y_VAL = np.ones((4, 64)), np.array([0, 1, 2, 3])


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"y_val": None}, "y_val is not given"),
        ({"X_val": None}, "X_val is not given"),
        ({"X_val": None, "y_val": None, "sample_weight_val": Y_VAL}, "X_val is not gi"),
        ({"X_val": X_VAL[:, 1:]}, "val: X has 63 features"),
        ({"y_val": Y_VAL + 7}, r"y_val has the labels \[10\]"),
        ({"y_val": np.array(list("abab"))}, r"y_val has the labels \['"),
        ({"y_val": Y_VAL[1:]}, "inconsistent numbers of samples"),
        ({"sample_weight_val": 0 * Y_VAL}, "(?i)zero"),
        ({"sample_weight_val": [1e308] * 4}, "sample_weight_val adds up to inf"),
        ({"sample_weight_val": [1.0, 1.0]}, "sample_weight_val: sample_we"),
        ({"X_val": X_VAL * np.nan}, "X_val and y_val: .* NaN"),
        ({"X_val": np.full((4, 64), object())}, "X_val and y_val: float"),
        ({"y_val": np.ones((4, 2), int)}, "y_val: y has several"),
    ],
)
def test_bad_validation_data_are_refused(split, given, said):
    with pytest.raises((ValueError, TypeError), match=said):
        make().fit(*split[:2], **{"X_val": X_VAL, "y_val": Y_VAL} | given)


def test_few_samples_still_give_every_class_a_place(iris):
    X, y = iris[0][::10], iris[1][::10]  # 15 samples: a tenth is less than 3 classes
    mlp = make(early_stopping=True, n_iter_no_change=1, tol=1.0).fit(X, y)
    assert mlp.stop_reason_ == "early_stopping"


def test_a_scorer_that_raises_leaves_the_estimator_as_it_was(split):
    X, y, data = split

    def broken(estimator, X, y):
        raise RuntimeError("cannot score this")

    mlp = make().fit(X[:, 1:], y).set_params(scoring=broken)
    before = vars(mlp).copy()
    with pytest.raises(RuntimeError, match="cannot score this"):
        mlp.fit(X, y, **data)
    assert vars(mlp) == before


def test_a_score_of_nan_is_no_improvement(split):
    X, y, data = split
    scores = iter([0.5, 0.6, *[np.nan] * 20])
    # Without a hidden layer it learns from the first epoch on.
    mlp = make(hidden_layer_sizes=(), early_stopping=True, n_iter_no_change=3)
    mlp.set_params(scoring=lambda *_: next(scores)).fit(X, y, **data)
    assert mlp.stop_reason_ == "early_stopping"
    assert (mlp.n_iter_, mlp.best_iter_, mlp.best_validation_score_) == (6, 2, 0.6)
    for useless in np.nan, -np.inf:
        mlp.set_params(scoring=lambda *_, score=useless: score)
        with pytest.warns(ConvergenceWarning, match="no number above -inf") as seen:
            mlp.fit(X, y, **data)
        assert len(seen) == 1
        assert mlp.best_iter_ is None


def test_scorers_find_numpys_error_state_as_the_caller_left_it(split):
    X, y, data = split
    seen = []

    def score(estimator, X, y):
        seen.append(np.geterr())
        return 0.0

    with np.errstate(divide="raise", over="call", under="warn", invalid="print"):
        outside = np.geterr()
        make(scoring=score, max_iter=2).fit(X, y, **data)
        assert np.geterr() == outside
    assert seen == [outside] * 2


def test_nobody_is_stopped_where_there_is_nothing_to_learn(rng):
    X, y = rng.normal(size=(200, 3)), rng.randint(0, 2, 200)
    mlp = make(early_stopping=True, alpha=1.0, max_iter=60).fit(X, y)
    assert (mlp.n_iter_, mlp.stop_reason_) == (60, "max_iter")
    assert mlp.best_iter_ == np.argmax(mlp.validation_scores_) + 1  # but it is restored
