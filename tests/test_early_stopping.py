"""Validation data, the scores that are monitored, and stopping on them."""

import warnings

import numpy as np
import pandas as pd
import pytest
import sklearn
from helpers import assert_same_network
from numpy.testing import assert_allclose
from settings import plain
from sklearn.exceptions import ConvergenceWarning
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import accuracy_score, log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import MomentumMLPClassifier


@pytest.fixture
def split(digits):
    X, y = digits[0] / 16, digits[1]
    return X[:300], y[:300], X[300:500], y[300:500]


def make(**params):
    return plain(
        **({"hidden_layer_sizes": (12,), "max_iter": 15, "random_state": 0} | params)
    )


# Learns within a few epochs and then gets worse: it stops early for sure.
STOPS = {"max_iter": 300, "learning_rate_init": 0.5, "alpha": 0.0, "batch_size": 20}


@pytest.mark.parametrize("batch_size", [None, 50])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_validation_loss_is_the_mean_cross_entropy_plus_the_penalty(
    split, batch_size, weighted
):
    X, y, X_val, y_val = split
    weight = np.linspace(0.5, 2, 300) if weighted else None
    weight_val = np.linspace(0.1, 3, 200) if weighted else None
    total = 300 if weight is None else weight.sum()
    mlp = make(batch_size=batch_size, alpha=0.7, max_iter=4)
    mlp.fit(X, y, weight, X_val=X_val, y_val=y_val, sample_weight_val=weight_val)
    assert len(mlp.validation_loss_curve_) == len(mlp.validation_scores_) == 4
    for epoch in range(4):
        part = make(batch_size=batch_size, alpha=0.7, max_iter=epoch + 1)
        part.fit(X, y, weight)
        loss = log_loss(y_val, part.predict_proba(X_val), sample_weight=weight_val)
        squares = sum(np.sum(coef**2) for coef in part.coefs_)
        penalised = loss + 0.7 / (2 * total) * squares
        assert_allclose(mlp.validation_loss_curve_[epoch], penalised, rtol=1e-10)
        assert_allclose(mlp.validation_scores_[epoch], -loss, rtol=1e-10)


def own_scorer(estimator, X, y):
    return accuracy_score(y, estimator.predict(X)) / 2


def scorer_of_arrays(estimator, X, y):
    return np.array(own_scorer(estimator, X, y))


@pytest.mark.parametrize(
    ("scoring", "factor"),
    [("accuracy", 1), (None, 1), (own_scorer, 0.5), (scorer_of_arrays, 0.5)],
)
def test_any_scorer_is_recorded(split, scoring, factor):
    X, y, X_val, y_val = split
    mlp = make(scoring=scoring).fit(X, y, X_val=X_val, y_val=y_val)
    assert mlp.validation_scores_[-1] == factor * mlp.score(X_val, y_val)
    assert len(set(mlp.validation_scores_)) > 1


def test_scorers_that_take_weights_get_them(split):
    X, y, X_val, y_val = split
    weight = np.linspace(0, 2, 200)
    data = {"X_val": X_val, "y_val": y_val, "sample_weight_val": weight}
    mlp = make(scoring="accuracy").fit(X, y, **data)
    assert mlp.validation_scores_[-1] == mlp.score(X_val, y_val, weight)
    mlp = make(scoring=own_scorer).fit(X, y, **data)
    assert mlp.validation_scores_[-1] == mlp.score(X_val, y_val) / 2


def test_looking_at_validation_data_changes_nothing(split):
    X, y, X_val, y_val = split
    plain = make(batch_size=32).fit(X, y)
    monitored = make(batch_size=32).fit(X, y, X_val=X_val, y_val=y_val)
    assert plain.loss_curve_ == monitored.loss_curve_
    assert_same_network(plain, monitored)
    assert plain.validation_loss_curve_ is plain.validation_scores_ is None


@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
def test_stops_and_restores_the_best_epoch(split, scoring):
    X, y, X_val, y_val = split
    mlp = make(early_stopping=True, scoring=scoring, n_iter_no_change=4, **STOPS)
    mlp.fit(X, y, X_val=X_val, y_val=y_val)
    scores = np.array(mlp.validation_scores_)
    assert mlp.stop_reason_ == "early_stopping"
    assert mlp.n_iter_ == len(scores) == len(mlp.loss_curve_) < 300
    assert mlp.best_iter_ == scores.argmax() + 1 < mlp.n_iter_
    assert mlp.best_validation_score_ == scores.max()
    # MLPClassifier's rule: more than n_iter_no_change epochs in a row without tol.
    best_before = np.maximum.accumulate(np.r_[-np.inf, scores])[:-1]
    worse = scores < best_before + 1e-4
    assert worse[-5:].all()
    assert not any(worse[i : i + 5].all() for i in range(len(worse) - 5))
    same = make(**STOPS).set_params(max_iter=mlp.best_iter_).fit(X, y)
    assert_same_network(mlp, same)


def test_holds_a_stratified_fraction_of_the_training_data_out(split):
    X, y, _, _ = split
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
    X, y, _, _ = split
    params = {"early_stopping": True, "validation_fraction": None, **STOPS}
    mlp = make(scoring="accuracy", n_iter_no_change=3, **params).fit(X, y)
    assert mlp.stop_reason_ == "early_stopping"
    assert mlp.best_validation_score_ == mlp.score(X, y) == 1.0
    assert mlp.validation_loss_curve_ is mlp.validation_scores_ is None


def test_the_best_epoch_is_restored_where_nothing_stopped(split):
    X, y, *_ = split
    mlp = make(early_stopping=True, n_iter_no_change=50).fit(X, y)
    assert mlp.stop_reason_ == "max_iter"
    assert mlp.best_iter_ == np.argmax(mlp.validation_scores_) + 1


@pytest.mark.parametrize("seed", range(0, 20, 2))
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_a_plateau_is_left_by_the_loss_without_its_penalty(iris, seed):
    """However much the weights, and so the penalty, change within an epoch."""
    X, y = StandardScaler().fit_transform(iris[0]), iris[1]
    params = {"alpha": 20, "batch_size": None, "random_state": seed}
    whole = plain((6,), max_iter=6, early_stopping=True, validation_fraction=None)
    whole.set_params(**params).fit(X, y)
    step, losses = plain((6,), max_iter=1, warm_start=True, **params), []
    for _ in range(5):  # the loss an epoch reports is of the weights before
        losses.append(log_loss(y, step.fit(X, y).predict_proba(X)))
    has_left = whole._training_state["has_left_plateau"]
    assert has_left == (min(losses) <= 0.95 * np.log(3))


def test_in_a_pipeline_that_transforms_x_val(split):
    X, y, X_val, y_val = split
    with sklearn.config_context(enable_metadata_routing=True):
        mlp = make().set_fit_request(X_val=True, y_val=True)
        pipe = make_pipeline(StandardScaler(), mlp, transform_input=["X_val"])
        pipe.fit(X, y, X_val=X_val, y_val=y_val)
    scaler = StandardScaler().fit(X)
    plain = make().fit(
        scaler.transform(X), y, X_val=scaler.transform(X_val), y_val=y_val
    )
    assert pipe[-1].validation_loss_curve_ == plain.validation_loss_curve_


def test_bad_validation_data_are_refused(split):
    X, y, X_val, y_val = split
    for given, said in [
        ({"X_val": X_val}, "y_val is not given"),
        ({"y_val": y_val}, "X_val is not given"),
        ({"sample_weight_val": y_val}, "X_val is not given"),
        ({"X_val": X_val[:, 1:], "y_val": y_val}, "val: X has 63 features"),
        ({"X_val": X_val, "y_val": y_val + 1}, r"y_val has the labels \[10\]"),
        (
            {"X_val": X_val, "y_val": np.array(list("ab"))[y_val % 2]},
            r"y_val has the labels \['",
        ),
        ({"X_val": X_val, "y_val": y_val[1:]}, "inconsistent numbers of samples"),
        (
            {"X_val": X_val, "y_val": y_val, "sample_weight_val": 0 * y_val},
            "(?i)zero",
        ),
        (
            {"X_val": X_val, "y_val": y_val, "sample_weight_val": 1e307 + y_val},
            "sample_weight_val adds up to inf",
        ),
        ({"X_val": X_val * np.nan, "y_val": y_val}, "X_val and y_val: .* NaN"),
        (
            {"X_val": np.full((200, 64), object()), "y_val": y_val},
            "X_val and y_val: float",
        ),
        ({"X_val": X_val, "y_val": np.ones((200, 2), int)}, "y_val: y has several"),
        (
            {"X_val": X_val, "y_val": y_val, "sample_weight_val": [1.0, 1.0]},
            "sample_weight_val: sample_we",
        ),
    ]:
        with pytest.raises((ValueError, TypeError), match=said):
            make().fit(X, y, **given)


def test_few_samples_still_give_every_class_a_place(iris):
    X, y = iris[0][::10], iris[1][::10]  # 15 samples: a tenth is less than 3 classes
    mlp = make(early_stopping=True, n_iter_no_change=1, tol=1.0).fit(X, y)
    assert mlp.stop_reason_ == "early_stopping"


def test_a_scorer_that_raises_leaves_the_estimator_as_it_was(split):
    X, y, X_val, y_val = split
    mlp = make().fit(X, y)
    before = vars(mlp).copy()

    def broken(estimator, X, y):
        raise RuntimeError("cannot score this")

    mlp.set_params(scoring=broken)
    with pytest.raises(RuntimeError, match="cannot score this"):
        mlp.fit(X[:, :9], y, X_val=X_val[:, :9], y_val=y_val)
    assert vars(mlp) == before | {"scoring": broken}


def test_a_score_of_nan_is_no_improvement(split):
    X, y, X_val, y_val = split
    scores = iter([0.5, 0.6, *[np.nan] * 20])
    mlp = make(
        hidden_layer_sizes=(),  # it learns from the first epoch on
        early_stopping=True,
        scoring=lambda estimator, X, y: next(scores),
        n_iter_no_change=3,
        max_iter=20,
    ).fit(X, y, X_val=X_val, y_val=y_val)
    assert mlp.stop_reason_ == "early_stopping"
    assert (mlp.n_iter_, mlp.best_iter_, mlp.best_validation_score_) == (6, 2, 0.6)


def test_scorers_find_numpys_error_state_as_the_caller_left_it(split):
    X, y, X_val, y_val = split
    seen = []

    def score(estimator, X, y):
        seen.append(np.geterr())
        return 0.0

    with np.errstate(divide="raise", over="call", under="warn", invalid="print"):
        outside = np.geterr()
        make(scoring=score, max_iter=2).fit(X, y, X_val=X_val, y_val=y_val)
        assert np.geterr() == outside
    assert seen == [outside] * 2


def xor(seed):
    rng = np.random.RandomState(seed)
    X = rng.uniform(-1, 1, (300, 2))
    return StandardScaler().fit_transform(X), (X[:, 0] * X[:, 1] > 0).astype(int)


def texts():
    """900 short random texts in 3 classes: 8 telling words of 100 a class, 40 idle ones
    of 1,000 in each."""
    rng = np.random.RandomState(0)
    y = np.arange(900) % 3
    words = [
        [f"t{k}_{w}" for w in rng.randint(0, 100, 8)]
        + [f"idle{w}" for w in rng.randint(0, 1000, 40)]
        for k in y
    ]
    return TfidfVectorizer().fit_transform(map(" ".join, words)), y


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("make_data", [xor, texts])
def test_nobody_is_stopped_on_the_plateau_at_the_beginning(make_data, seed):
    """Sigmoid networks begin with one: with patience from the first epoch on, these
    ended at chance."""
    X, y = xor(seed) if make_data is xor else texts()
    settings = {"batch_size": 32} if make_data is xor else {"max_iter": 100}
    for params in (settings | {"max_iter": 1000}, None):
        mlp = (
            MomentumMLPClassifier(alpha=0.3, early_stopping=True, random_state=seed)
            if params is None
            else make(
                hidden_layer_sizes=(48,), alpha=0.01, early_stopping=True,
                random_state=seed, n_iter_no_change=10, **params,
            )
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mlp.fit(X, y)
        assert mlp.score(X, y) > 0.8


def test_nobody_is_stopped_on_the_plateau(rng):
    X, y = rng.normal(size=(200, 3)), rng.randint(0, 2, 200)
    mlp = make(early_stopping=True, alpha=1.0, max_iter=60).fit(X, y)
    assert (mlp.n_iter_, mlp.stop_reason_) == (60, "max_iter")


def test_a_scorer_that_is_always_nan_is_named(split):
    X, y, X_val, y_val = split
    mlp = make(hidden_layer_sizes=(), early_stopping=True, scoring=always_nan)
    with pytest.warns(ConvergenceWarning, match="gave no number above -inf") as seen:
        mlp.fit(X, y, X_val=X_val, y_val=y_val)
    assert len(seen) == 1
    assert mlp.best_iter_ is None


def always_nan(estimator, X, y):
    return np.nan
