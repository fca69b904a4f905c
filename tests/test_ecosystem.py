"""The estimator inside scikit-learn's tools, run for real."""

import numpy as np
import pytest
from settings import plain
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import MomentumMLPClassifier, MomentumMLPClassifierCV


@pytest.fixture
def mlp():
    return plain((10,), max_iter=60, random_state=0)


@pytest.mark.filterwarnings("ignore:The network has learned little")
def test_grid_search_over_alpha(mlp, iris):
    search = GridSearchCV(mlp, {"alpha": np.logspace(-2, 3, 6)}, cv=3).fit(*iris)
    scores = search.cv_results_["mean_test_score"]
    assert search.best_score_ > 0.9 > scores[-1]  # the largest penalty is too large
    assert search.best_estimator_.alpha == search.best_params_["alpha"]


def test_cross_val_score_in_a_pipeline(mlp, digits):
    X, y = digits
    scores = cross_val_score(make_pipeline(StandardScaler(), mlp), X, y, cv=3)
    assert scores.shape == (3,)
    assert scores.min() > 0.85


def test_clone_has_the_parameters_and_nothing_fitted(mlp, iris):
    mlp.set_params(alpha=0.7, hidden_layer_sizes=(3, 2))
    copy = clone(mlp.fit(*iris))
    assert copy.get_params() == mlp.get_params()
    assert not hasattr(copy, "coefs_")


@pytest.mark.parametrize("base", [MomentumMLPClassifier, MomentumMLPClassifierCV])
def test_a_subclass_with_parameters_of_its_own(base, iris):
    class Own(base):
        def __init__(self, max_iter=5, factor=2):
            super().__init__(max_iter=max_iter, random_state=0)
            self.factor = factor

        def fit(self, X, y):
            return super().fit(X * self.factor, y)

    own = clone(Own(factor=3)).fit(*iris)
    assert own.get_params() == {"max_iter": 5, "factor": 3}
    assert own.n_iter_ == 5


def test_bagging(mlp, iris):
    X, y = iris
    bag = BaggingClassifier(mlp, n_estimators=4, random_state=0, n_jobs=2).fit(X, y)
    assert bag.score(X, y) > 0.9
    assert len({member.random_state for member in bag.estimators_}) == 4


def test_calibration(mlp, iris):
    X, y = iris
    calibrated = CalibratedClassifierCV(mlp, cv=3).fit(X, y)
    assert calibrated.score(X, y) > 0.9
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(axis=1), 1)


def test_one_vs_rest(mlp, iris):
    X, y = iris
    rest = OneVsRestClassifier(mlp).fit(X, y)
    assert len(rest.estimators_) == 3
    assert rest.score(X, y) > 0.9


def test_permutation_importance_finds_the_feature_that_matters(mlp, rng):
    X = rng.normal(size=(200, 3))
    y = X[:, 1] > 0
    importance = permutation_importance(mlp.fit(X, y), X, y, random_state=0)
    means = importance.importances_mean
    assert means.argmax() == 1
    assert means[1] > 0.3 > abs(means[[0, 2]]).max() * 3
