"""LossCurveDisplay, read back from the axes it drew on."""

import matplotlib as mpl
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import LossCurveDisplay, MomentumMLPClassifier

mpl.use("agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    mpl.pyplot.close("all")


def make(**params):
    return MomentumMLPClassifier((6,), max_iter=30, random_state=0, **params)


def test_training_curve(iris):
    mlp = make().fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp)
    (line,) = display.lines_
    assert_array_equal(line.get_xdata(), np.arange(1, 31))
    assert_array_equal(line.get_ydata(), mlp.loss_curve_)
    assert display.ax_.get_yscale() == "linear"
    assert display.ax_.get_xlabel() == "epoch"
    assert display.figure_ is display.ax_.figure


def test_validation_curve_and_restored_epoch(iris):
    mlp = make(early_stopping=True, n_iter_no_change=2, tol=0.1).fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp, log_scale=True)
    _, validation, restored = display.lines_
    assert_array_equal(validation.get_ydata(), mlp.validation_loss_curve_)
    assert restored.get_xdata()[0] == mlp.best_iter_
    assert display.ax_.get_yscale() == "log"
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["training", "validation", f"restored epoch {mlp.best_iter_}"]


def test_validation_that_began_later_is_drawn_at_its_epochs(iris):
    X, y = iris
    mlp = make(warm_start=True).fit(X, y).fit(X, y, X_val=X, y_val=y)
    _, validation = LossCurveDisplay.from_estimator(mlp).lines_
    assert_array_equal(validation.get_xdata(), np.arange(31, 61))


def test_several_fits_on_one_axis(iris):
    first = LossCurveDisplay.from_estimator(make().fit(*iris), name="small alpha")
    pipe = make_pipeline(StandardScaler(), make(alpha=9.0)).fit(*iris)
    second = LossCurveDisplay.from_estimator(
        pipe, ax=first.ax_, name="large alpha", linewidth=3
    )
    assert second.ax_ is first.ax_
    assert len(first.ax_.lines) == 2
    assert second.lines_[0].get_linewidth() == 3
    assert second.lines_[0].get_label() == "large alpha: training"
    assert second.lines_[0].get_color() != first.lines_[0].get_color()


def test_what_cannot_be_drawn_is_refused(iris):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        LossCurveDisplay.from_estimator(make())
    with pytest.raises(TypeError, match=r"LogisticRegression.* has no loss_curve_"):
        LossCurveDisplay.from_estimator(LogisticRegression().fit(*iris))
