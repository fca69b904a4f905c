"""A network that learned little says so, with facts and the way to go."""

import copy
import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from settings import plain
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer, scale

from skmlp import MomentumMLPClassifier
from skmlp._advice import FEW_EPOCHS, MANY_EPOCHS


def said_by(mlp, X, y, **weights):
    """The one warning of a fit, or none; whatever the caller's error state."""
    with warnings.catch_warnings(record=True) as caught, np.errstate(all="raise"):
        warnings.simplefilter("always")
        mlp.fit(X, y, **weights)
    assert len(caught) <= 1
    if not caught:
        return ""
    assert caught[0].category is ConvergenceWarning
    assert caught[0].filename == __file__  # it points at the caller
    return str(caught[0].message)


def assert_in_order(text, *parts):
    assert re.search(".*".join(map(re.escape, parts)), text, re.IGNORECASE), text


def slow(**params):
    """Weights stay about as they are drawn: small, for a loss as that of chance."""
    return MomentumMLPClassifier(
        (5,), random_state=0,
        **({"init_scale": 0.01, "learning_rate_init": 1e-6, "alpha": 0} | params),
    )  # fmt: skip


def test_weights_that_add_up_to_one():
    """AdaBoost's: the penalty then weighs as much as all samples."""
    X, y = load_breast_cancer(return_X_y=True)
    weight = np.full(len(y), 1 / len(y))
    mlp = MomentumMLPClassifier(alpha=0.5, random_state=0)
    said = said_by(mlp, X, y, sample_weight=weight)
    light = "The weights of the 569 samples add up to 1, and alpha is divided by that: "
    assert_in_order(said, "learned little", light)
    (alpha,) = re.findall(r"that: set alpha=(\S+), which penalises", said)
    assert float(alpha) == pytest.approx(0.5 / 569, rel=1e-2)
    assert said_by(mlp.set_params(alpha=float(alpha)), X, y, sample_weight=weight) == ""
    assert mlp.score(X, y) > 0.97


@pytest.mark.parametrize(("alpha", "divided"), [(225, 1.5), (75, 0.5)])
def test_a_penalty_that_is_too_strong(iris, alpha, divided):
    mlp = MomentumMLPClassifier(alpha=alpha, learning_rate_init=1.0, momentum=0.0)
    assert_in_order(
        said_by(mlp, *iris),
        f"alpha={alpha} divided by the effective number of samples, 150, is {divided}",
        "Try a smaller alpha.",
    )


@pytest.mark.parametrize("factor", [1.9, 2.1])
def test_a_rate_far_above_auto(iris, factor):
    """Units that are off learn nothing, whatever the rate."""
    mlp = slow(activation="relu", learning_rate_init="auto", warm_start=True).fit(*iris)
    auto = mlp.learning_rate_init_
    mlp.intercepts_[0][...] = -1000
    said = said_by(mlp.set_params(learning_rate_init=factor * auto), *iris)
    large = f"rate is large: learning_rate_init={factor * auto:.3g}, where for this"
    assert (large in said) == (f'"auto" is {auto:.3g}' in said) == (factor > 2)


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu"])
def test_where_nothing_is_unusual_it_says_what_helps_most_often(iris, activation):
    """Units that are saturated, or off, whatever the rate."""
    mlp = MomentumMLPClassifier(activation=activation, warm_start=True, max_iter=30)
    mlp.fit(*iris).intercepts_[0][...] = -1e6
    said = said_by(mlp, *iris)
    assert said.endswith("Try a smaller learning_rate_init or alpha, or more epochs.")
    assert said_by(mlp.set_params(max_iter=MANY_EPOCHS - 1), *iris) == ""


def test_features_of_another_scale_where_they_are_not_standardised(iris):
    X, y = load_wine(return_X_y=True)
    mlp = MomentumMLPClassifier(standardize=False, random_state=0)
    assert_in_order(
        said_by(mlp, X, y),
        "with standardize=False, the features are 2",
        " times as large as suits the network (root mean square). Leave standardize=T",
    )
    assert "times as large as suits" in said_by(mlp, csr_array(X), y)
    assert said_by(mlp.set_params(standardize=True), X, y) == ""
    assert mlp.score(X, y) > 0.97
    said = said_by(slow(standardize=False), iris[0] / 1000, iris[1])
    assert "the features are 0.001 times as large as suits" in said


def test_nobody_expects_much_of_few_epochs(iris):
    X = iris[0] / 1000
    mlp = slow(standardize=False, max_iter=FEW_EPOCHS - 1)
    assert said_by(mlp, X, iris[1]) == ""
    assert_in_order(
        said_by(mlp.set_params(max_iter=FEW_EPOCHS), X, iris[1]),
        "rate is small: learning_rate_init=1e-06, where for this network and these bat",
        "With standardize=False, the features are 0.00",
    )


def test_a_weak_signal_that_is_learned_is_no_failure(rng):
    X = rng.normal(size=(5000, 3))
    y = X[:, 0] + 5 * rng.normal(size=5000) > 0
    assert said_by(MomentumMLPClassifier(max_iter=30, random_state=0), X, y) == ""


@pytest.mark.parametrize("max_iter", [1, 10, 100])
@pytest.mark.parametrize("n_classes", [1, 2, 5])
def test_no_cause_is_made_up_where_there_is_nothing_to_learn(n_classes, max_iter):
    for seed in range(5):
        rng = np.random.RandomState(seed)
        X, y = rng.normal(size=(60, 4)), rng.randint(0, n_classes, 60)
        mlp = MomentumMLPClassifier(max_iter=max_iter, random_state=seed)
        assert said_by(mlp, X, y) == ""


def test_it_is_about_the_weights_that_are_kept(iris):
    """The penalty takes all of them in the end; early stopping by a loss without it
    restores the first."""
    mlp = MomentumMLPClassifier(random_state=0, warm_start=True).fit(*iris)
    mlp.set_params(
        alpha=150, learning_rate_init=0.2, momentum=0, learning_rate="constant",
        batch_size=None, n_iter_no_change=np.inf, validation_fraction=None,
    )  # fmt: skip
    kept = copy.deepcopy(mlp)
    kept.set_params(early_stopping=True, scoring="neg_log_loss")
    assert said_by(kept, *iris) == ""
    assert kept.best_iter_ < 110 < kept.n_iter_ == 200
    assert "Try a smaller alpha" in said_by(mlp, *iris)


def test_a_penalty_that_shrinks_is_not_the_datas_loss(iris):
    """Weights drawn wide begin with it; what counts is where the data's loss ends."""
    mlp = MomentumMLPClassifier(
        activation="tanh", init_scale=30, learning_rate_init=0.02, random_state=0
    )
    assert said_by(mlp, *iris) == ""
    assert mlp.loss_ > 10
    assert mlp.score(*iris) > 0.95


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_divergence_is_an_error_with_values_and_facts(digits, dtype):
    X, y = digits
    mlp = plain(activation="identity", learning_rate_init=1e5, momentum=0.5)
    with pytest.raises(ValueError, match="Training diverged in epoch 1: ") as caught:
        mlp.fit(X.astype(dtype), y)
    assert_in_order(
        str(caught.value),
        "with learning_rate_init=100000 (this epoch's rate: 1e+05), momentum=0.5 and "
        "alpha=0.3. ",
        'learning_rate_init=1e+05, where for this network and these batches "auto" is',
        "with standardize=False, the features are 7.7",
    )
    assert not hasattr(mlp, "coefs_")
    assert not hasattr(mlp, "n_features_in_")


@pytest.mark.parametrize("activation", ["logistic", "relu"])
def test_outliers_that_hide_the_features(activation):
    X, y = load_iris(return_X_y=True)
    mlp = MomentumMLPClassifier(activation=activation, random_state=0)
    assert said_by(mlp, X, y) == ""
    rows = np.where(np.arange(150)[:, np.newaxis] == 7, 1e9, X)
    assert_in_order(said_by(mlp, rows, y), "outliers", "QuantileTransformer")
    coded = np.where(np.random.RandomState(0).uniform(size=X.shape) < 0.1, -999, X)
    assert_in_order(said_by(mlp, coded, y), "codes for missing values")
    pipeline = make_pipeline(QuantileTransformer(n_quantiles=50), mlp)
    assert pipeline.fit(rows, y).score(rows, y) > 0.9


def test_divergence_after_weights_whose_squares_overflow(iris):
    mlp = plain((4,), "relu", learning_rate_init=1e100, alpha=0, random_state=0)
    with np.errstate(all="raise"), pytest.raises(ValueError, match="diverged in ep"):
        mlp.fit(*iris)


@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
def test_scores_that_overflow_before_the_loss_does_are_a_divergence(scoring):
    mlp = MomentumMLPClassifier(
        (30, 30, 30), "relu", learning_rate_init=3.0, init_scale=1, scoring=scoring,
        early_stopping=True, random_state=0,
    )  # fmt: skip
    said = "diverged in epoch 2: .* The rate is large: learning_rate_init=3, where"
    with pytest.raises(ValueError, match=said) as caught:
        mlp.fit(*load_iris(return_X_y=True))
    assert "the features" not in str(caught.value)
    assert not hasattr(mlp, "coefs_")


@pytest.mark.filterwarnings("ignore:X_val looks unlike X")
def test_validation_data_that_overflow_are_not_called_a_divergence(iris):
    X, y = iris[0].astype(np.float32), iris[1]
    mlp = plain(activation="relu")
    with pytest.raises(ValueError, match=r"largest feature|too large") as caught:
        mlp.fit(X, y, X_val=np.full_like(X, 3e38), y_val=y)
    assert "validation data" in caught.value.__notes__[0]


@pytest.mark.filterwarnings("ignore:Columns .* vary little beside")
def test_validation_data_in_other_units(iris, digits):
    """As for the last step of a Pipeline that is given rows as they were before it."""
    for (X, y), dtype in (load_wine(return_X_y=True), float), (digits, np.float32):
        Z = scale(X).astype(dtype)
        for training, X_val in (Z, X), (X, Z + 100), (Z, Z + 9):
            with pytest.warns(UserWarning, match="X_val looks unlike X") as said:
                slow(max_iter=1).fit(training, y, X_val=X_val, y_val=y)
            assert said[0].filename == __file__
            slow(max_iter=1, standardize=False).fit(Z, y, X_val=X_val, y_val=y)
            slow(max_iter=1).fit(csr_array(training), y, X_val=X_val, y_val=y)


def test_validation_data_that_drift_are_not_remarked(iris, rng):
    X, y = load_wine(return_X_y=True)
    constant = np.c_[X, np.ones((len(y), 5))]
    for X_val in X[:1], X[::-1][:7], X + 2 * X.std(axis=0), X * [*[1] * 12, 1e6]:
        slow(max_iter=1).fit(X, y, X_val=X_val, y_val=y[: len(X_val)])
    slow(max_iter=1).fit(constant, y, X_val=constant + 1e-9, y_val=y)
    slow(max_iter=1).fit(0 * X, y, X_val=X, y_val=y)


@pytest.mark.parametrize("name", [{}, {"__name__": 5}])
def test_the_warning_points_at_code_whose_namespace_has_no_name(iris, name):
    mlp = slow(max_iter=FEW_EPOCHS)
    code, names = compile("mlp.fit(*data)", "own", "exec"), {"mlp": mlp, "data": iris}
    with pytest.warns(ConvergenceWarning, match="learned little") as said:
        exec(code, name | names)
    assert said[0].filename == "own"


def test_who_asks_never_to_be_stopped_is_not_told_that_he_was_not(iris):
    params = {"early_stopping": True, "n_iter_no_change": np.inf, "alpha": 0}
    mlp = MomentumMLPClassifier(random_state=0, **params)
    assert said_by(mlp, *iris) == ""
    assert mlp.best_iter_ is not None


def test_the_training_is_not_changed_by_it(iris):
    mlp = slow(max_iter=50, learning_rate="constant")
    epochs = copy.deepcopy(mlp)
    assert said_by(mlp, *iris)
    for _ in range(50):
        epochs.partial_fit(*iris, classes=[0, 1, 2])  # which gives no advice
    assert_array_equal(mlp.coefs_[0], epochs.coefs_[0])
