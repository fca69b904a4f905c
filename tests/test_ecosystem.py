"""The estimator inside scikit-learn's tools, run for real."""

import numpy as np
import pytest
from settings import plain
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import BaggingClassifier
from sklearn.model_selection import GridSearchCV
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import MomentumMLPClassifier, MomentumMLPClassifierCV, to_sklearn

MLP = plain((10,), max_iter=60, random_state=0)
TOOLS = {
    "search": GridSearchCV(MLP, {"alpha": np.logspace(-2, 3, 6)}, cv=3),
    "pipeline": make_pipeline(StandardScaler(), MLP),
    "bagging": BaggingClassifier(MLP, n_estimators=4, random_state=0),
    "calibration": CalibratedClassifierCV(MLP, cv=3),
    "one vs rest": OneVsRestClassifier(MLP),
}


@pytest.mark.filterwarnings("ignore:The network has learned little")
@pytest.mark.parametrize("name", TOOLS)
def test_tool(iris, name):
    tool = clone(TOOLS[name]).fit(*iris)
    assert tool.score(*iris) > 0.9
    if name == "search":
        scores = tool.cv_results_["mean_test_score"]
        assert tool.best_score_ > 0.9 > scores[-1]  # the largest alpha is too large
        assert tool.best_estimator_.alpha == tool.best_params_["alpha"]
    if name == "bagging":
        assert len({member.random_state for member in tool.estimators_}) == 4


@pytest.mark.parametrize("base", [MomentumMLPClassifier, MomentumMLPClassifierCV])
def test_a_subclass_with_parameters_of_its_own(base, iris):
    class Own(base):
        def __init__(self, max_iter=5, factor=2):
            super().__init__(max_iter=max_iter, momentum=0.8, random_state=0)
            self.factor = factor

        def fit(self, X, y):
            return super().fit(X * self.factor, y)

    own = clone(Own(factor=3)).fit(*iris)
    assert own.get_params() == {"max_iter": 5, "factor": 3}
    assert own.n_iter_ == 5
    assert to_sklearn(own).momentum == 0.8
