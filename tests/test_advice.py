"""A network that learned nothing says so, with the cause and the way to go."""

import re
import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import (
    load_breast_cancer,
    load_iris,
    load_wine,
    make_classification,
)
from sklearn.exceptions import ConvergenceWarning
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import scale

from skmlp import MomentumMLPClassifier, _advice


def said_by(mlp, X, y, **weights):
    """The one warning of a fit, or none."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        mlp.fit(X, y, **weights)
    assert len(caught) <= 1
    if not caught:
        return ""
    assert caught[0].category is ConvergenceWarning
    assert caught[0].filename == __file__  # it points at the caller
    return str(caught[0].message)


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu"])
@pytest.mark.parametrize(
    ("load", "column"), [(load_wine, "proline"), (load_breast_cancer, "worst area")]
)
def test_unscaled_features(load, column, activation):
    X, y = load(return_X_y=True, as_frame=True)
    rate = {"logistic": 1.0, "tanh": 0.1, "relu": 0.02}[activation]
    mlp = MomentumMLPClassifier(
        activation=activation, learning_rate_init=rate, random_state=0
    )
    said = said_by(mlp, X, y)
    assert "has learned little" in said
    assert f"of '{column}'" in said
    assert "StandardScaler" in said
    said = said_by(mlp, X.to_numpy(), y)
    assert f"of column {X.columns.get_loc(column)})" in said
    assert "StandardScaler" in said_by(mlp, csr_array(X.to_numpy()), y)
    assert said_by(mlp, scale(X), y) == ""


def test_weights_that_add_up_to_one():
    """AdaBoost's: the penalty then weighs as much as all samples."""
    X, y = load_breast_cancer(return_X_y=True)
    X = scale(X)
    weight = np.full(len(y), 1 / len(y))
    mlp = MomentumMLPClassifier(alpha=0.5, random_state=0)
    said = said_by(mlp, X, y, sample_weight=weight)
    for words in ("penalty is too strong", "alpha=0.5", "total weight, 1.", "smaller"):
        assert words in said
    mlp.set_params(alpha=0.5 / len(y))
    assert said_by(mlp, X, y, sample_weight=weight) == ""
    assert mlp.score(X, y) > 0.97


def test_a_penalty_that_cannot_converge():
    """Rate times alpha / S above 1: each step takes more than all of a weight."""
    X, y = load_iris(return_X_y=True)
    mlp = MomentumMLPClassifier(
        (48, 32), alpha=3000, learning_rate="constant", learning_rate_init=0.2,
        batch_size=200, max_iter=200, nesterovs_momentum=False, init_scale=1.0,
    )  # fmt: skip
    said = said_by(mlp, X, y)
    assert "far above" in said
    assert "alpha=3000 is too large. Try a smaller alpha" in said
    with pytest.raises(ValueError, match=r"diverged .* alpha=100000.* smaller alpha"):
        mlp.set_params(alpha=1e5).fit(X, y)


def test_steps_that_are_too_large(iris):
    X, y = iris
    mlp = MomentumMLPClassifier(
        (20,), learning_rate="constant", learning_rate_init=50.0, random_state=0
    )
    said = said_by(mlp, X, y)
    assert "steps were too large" in said
    assert "smaller learning_rate_init" in said


def test_heavy_samples_take_too_large_steps():
    """Wherever units are saturated, also if the loss is no longer bad."""
    X, y = make_classification(
        2000, 20, n_informative=10, weights=[0.98], flip_y=0, random_state=0
    )
    mlp = MomentumMLPClassifier(class_weight="balanced", random_state=0)
    said = said_by(mlp, scale(X), y)
    assert "saturated. Probably the steps were too large" in said
    assert re.search(r"as it weighs: the heaviest 2\d(\.\d)? times the mean", said)
    assert said_by(mlp.set_params(learning_rate_init=0.1), scale(X), y) == ""
    few = np.where(np.arange(2000) < 10, 50.0, 1.0)  # heavy, and no harm done
    mlp.set_params(class_weight=None)
    assert said_by(mlp, scale(X), y, sample_weight=few) == ""


@pytest.mark.parametrize("alpha", [0.75, 0])
def test_many_layers_want_smaller_steps(digits, alpha):
    X, y = digits[0] / 16, digits[1]
    mlp = MomentumMLPClassifier((50,) * 4, alpha=alpha, random_state=0)
    assert "too large for so many layers of sigmoids. Try 0.1" in said_by(mlp, X, y)
    assert said_by(mlp.set_params(learning_rate_init=0.1), X, y) == ""
    assert mlp.score(X, y) > 0.9


def test_defaults_that_suit_another_activation():
    X, y = load_breast_cancer(return_X_y=True)
    mlp = MomentumMLPClassifier(activation="relu", random_state=0)
    said = said_by(mlp, scale(X), y)
    assert "('relu' wants about 0.02, and init_scale=1)" in said


def test_features_that_saturate_from_the_start():
    """Their means are 6 at most; the steps are not to blame."""
    X, y = load_iris(return_X_y=True)
    mlp = MomentumMLPClassifier((5, 5), max_iter=5, alpha=0.1, random_state=0)
    assert "of column 0). Scale them" in said_by(mlp, X, y)


def test_weights_drawn_too_wide(iris, digits):
    mlp = MomentumMLPClassifier(
        (5, 5), "relu", init_scale=100, learning_rate_init=0.02, random_state=0
    )
    assert "init_scale=100 is too large" in said_by(mlp, *iris)
    mlp.set_params(init_scale=30)  # where units are off, and nothing explodes
    assert "init_scale=30 is too large" in said_by(mlp, scale(digits[0]), digits[1])
    with pytest.raises(ValueError, match=r"diverged in epoch 1.* a smaller init_scale"):
        mlp.set_params(hidden_layer_sizes=(20,) * 9, init_scale=100).fit(*iris)


def test_the_penalty_of_wide_weights_is_no_explosion(iris):
    """They begin with it; what counts is where the loss ends."""
    mlp = MomentumMLPClassifier(
        init_scale=30, learning_rate_init=0.02, random_state=0, activation="tanh"
    )
    assert said_by(mlp, *iris) == ""
    assert mlp.loss_ > 10
    assert mlp.score(*iris) > 0.95


def test_weights_drawn_small_are_not_the_penaltys_work(iris):
    mlp = MomentumMLPClassifier(
        init_scale=0.05, alpha=1e-6, max_iter=1, learning_rate_init=1e-4
    )
    assert said_by(mlp, *iris) == ""


def test_saturated_units_are_named_where_something_was_learned(rng):
    X = np.column_stack([rng.normal(size=(200, 2)), rng.choice([-500, 500], 200)])
    y = (X[:, 2] > 0) ^ (rng.uniform(size=200) < 0.25)
    said = said_by(MomentumMLPClassifier((5,), init_scale=9, random_state=0), X, y)
    assert "learned less than it could: in its first hidden layer 100%" in said
    assert "of column 2" in said


def test_a_wide_sparse_matrix_is_not_made_dense(rng):
    """Ten rows of it would take 8 GB."""
    X = csr_array(
        (np.full(40, 1e4), (np.arange(40), rng.randint(0, 10**8, 40))), (40, 10**8)
    )
    column, largest = _advice.largest_scale(X)
    assert X[:, [column]].sum() >= 1e4
    assert largest >= 1e4 / 40


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("n_classes", [1, 2, 5])
def test_no_cause_is_made_up_where_there_is_nothing_to_learn(seed, n_classes):
    rng = np.random.RandomState(seed)
    X, y = rng.normal(size=(60, 4)), rng.randint(0, n_classes, 60)
    for max_iter in (1, 100):
        mlp = MomentumMLPClassifier(max_iter=max_iter, random_state=seed)
        assert said_by(mlp, X, y) == ""


def test_the_training_is_not_changed_by_it(iris):
    X, y = iris
    mlp = MomentumMLPClassifier((5,), alpha=0, max_iter=3, random_state=0)
    coefs = mlp.fit(X, y).coefs_
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with np.errstate(all="raise"):
            mlp.fit(X, y)
    assert_array_equal(mlp.coefs_[0], coefs[0])


def test_it_is_about_the_weights_that_are_kept():
    X, y = scale(load_breast_cancer().data), load_breast_cancer().target
    mlp = MomentumMLPClassifier(
        (50, 50), "relu", learning_rate_init=0.3, learning_rate="constant",
        init_scale=1, early_stopping=True, random_state=0, max_iter=40, alpha=0.7,
    )  # fmt: skip
    assert said_by(mlp, X, y) == ""
    assert mlp.loss_ > 5  # the last epoch's: an earlier one was restored
    assert mlp.score(X, y) > 0.95


def test_a_penalty_that_shrinks_is_not_the_datas_loss(iris):
    X, y = scale(iris[0]), iris[1]
    mlp = MomentumMLPClassifier(init_scale=30, max_iter=5, random_state=0)
    assert said_by(mlp, X, y) == ""
    assert mlp.score(X, y) > 0.95


@pytest.mark.parametrize(("alpha", "way"), [(0.75, "a smaller alpha"), (0, "Scaler)")])
def test_small_features(alpha, way):
    X, y = load_wine(return_X_y=True)
    mlp = MomentumMLPClassifier(alpha=alpha, random_state=0)
    assert mlp.fit(scale(X), y).score(scale(X), y) > 0.98
    said = said_by(mlp, scale(X) / 100, y)
    assert "the features are small (the largest standard deviation or mean is 0.01" in (
        said
    )
    assert way in said


def test_who_asks_never_to_be_stopped_is_not_told_that_he_was_not(iris):
    mlp = MomentumMLPClassifier(
        early_stopping=True, n_iter_no_change=np.inf, alpha=0, random_state=0
    )
    assert said_by(mlp, *iris) == ""
    assert mlp.best_iter_ is not None


def test_the_callers_error_state_does_not_fail_a_fit_that_has_ended(iris):
    mlp = MomentumMLPClassifier(
        (), alpha=75, learning_rate="constant", learning_rate_init=1.9, momentum=0,
        max_iter=200, batch_size=None, random_state=0,
    )  # fmt: skip
    with np.errstate(all="raise"):
        assert "features are small" in said_by(mlp, scale(iris[0]) * 1e-170, iris[1])


def test_it_points_at_the_caller_through_a_pipeline():
    X, y = load_wine(return_X_y=True)
    pipe = make_pipeline(MomentumMLPClassifier(random_state=0))
    with pytest.warns(ConvergenceWarning, match="StandardScaler"):
        pipe.fit(X, y)
