"""LossCurveDisplay, read back from the axes it drew on."""

import sys

import matplotlib as mpl
import numpy as np
import pytest
from helpers import run_python
from numpy.testing import assert_array_equal
from settings import plain
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import LossCurveDisplay

mpl.use("agg")
EARLY = {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.1}


@pytest.fixture(autouse=True)
def close_figures():
    yield
    mpl.pyplot.close("all")


def make(**params):
    return plain((6,), **({"max_iter": 30, "random_state": 0} | params))


def legend(display):
    ax = display.score_ax_ or display.ax_
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_training_curve(iris):
    mlp = make().fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp)
    (line,) = display.lines_
    assert_array_equal(line.get_xdata(), np.arange(1, 31))
    assert_array_equal(line.get_ydata(), mlp.loss_curve_)
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "loss")
    assert display.figure_ is display.ax_.figure
    assert legend(display) == ["training loss"]


def test_validation_curve_and_restored_epoch(iris):
    mlp = make(**EARLY).fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp, log_scale=True)
    training, validation = display.lines_
    (restored,) = display.best_iter_lines_
    assert_array_equal(validation.get_xdata(), training.get_xdata())
    assert_array_equal(validation.get_ydata(), mlp.validation_loss_curve_)
    assert_array_equal(restored.get_xdata(), [mlp.best_iter_] * 2)
    assert len({line.get_color() for line in (training, validation, restored)}) == 3
    assert validation.get_linestyle() != training.get_linestyle()
    assert display.ax_.get_yscale() == "log"
    names = ["training loss", "validation loss", f"restored epoch {mlp.best_iter_}"]
    assert legend(display) == names
    mlp = make(validation_fraction=None, **EARLY).fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp)
    assert legend(display) == ["training loss", f"restored epoch {mlp.best_iter_}"]


def test_validation_that_began_later_is_drawn_at_its_epochs(iris):
    X, y = iris
    mlp = make(warm_start=True).fit(X, y).fit(X, y, X_val=X, y_val=y)
    display = LossCurveDisplay.from_estimator(mlp)
    training, validation = display.lines_
    assert_array_equal(training.get_xdata(), np.arange(1, 61))
    assert_array_equal(np.isnan(validation.get_ydata()), [True] * 30 + [False] * 30)
    mlp.fit(X, y, X_val=X, y_val=y)  # which leaves what was drawn
    assert len(display.loss_curves[0]) == len(display.validation_loss_curves[0]) == 60


@pytest.mark.parametrize("together", [True, False])
def test_several_fits_on_one_axis(iris, together):
    X, y = iris
    small = make().fit(X, y, X_val=X, y_val=y)
    large = make_pipeline(StandardScaler(), make(alpha=9.0, max_iter=50)).fit(X, y)
    if together:
        fits, names = [small, large], ["small", "large"]
        display = LossCurveDisplay.from_estimators(fits, names=names)
    else:
        ax = LossCurveDisplay.from_estimator(small, name="small").ax_
        display = LossCurveDisplay.from_estimator(large, ax=ax, name="large")
    lines = display.ax_.lines
    expected = ["small: training", "small: validation", "large: training"]
    assert legend(display) == [f"{label} loss" for label in expected]
    assert (lines[0].get_color() == lines[1].get_color()) is together
    assert lines[2].get_color() not in {line.get_color() for line in lines[:2]}
    assert display.ax_.get_xlim() == (1, 50)


def own_score(estimator, X, y):
    return estimator.score(X, y)


class NamelessScorer:
    __name__ = None

    def __call__(self, *data):
        return own_score(*data)


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        (None, "accuracy"),
        ("loss", "negative loss"),
        ("f1_macro", "f1_macro"),
        (own_score, "own_score"),
        (lambda *data: own_score(*data), "score"),
        (NamelessScorer(), "score"),
    ],
)
def test_scores_and_the_epoch_that_they_chose(iris, scoring, name):
    mlp = make(early_stopping=True, scoring=scoring).fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp, scores=True)
    (score,), (restored,) = display.score_lines_, display.best_iter_lines_
    assert_array_equal(score.get_ydata(), mlp.validation_scores_)
    assert score.axes is display.score_ax_ is not display.ax_
    assert display.score_ax_.get_xlim() == display.ax_.get_xlim() == (1, mlp.n_iter_)
    assert score.get_color() == restored.get_color()
    assert legend(display)[-1] == f"validation {name}"


def test_large_first_losses_leave_room_to_the_rest():
    display = LossCurveDisplay(loss_curves=[[50.0, 40.0] + 18 * [0.1]], best_iters=[9])
    assert display.plot().ax_.get_ylim()[1] == 0.2
    assert display.plot(log_scale=True).ax_.get_ylim()[1] > 50
    ax = display.plot().ax_
    assert LossCurveDisplay(loss_curves=[[30.0] * 9]).plot(ax).ax_.get_ylim()[1] > 50


def test_line_kw_and_layout_of_a_second_plot():
    display = LossCurveDisplay(loss_curves=[[2, 1], [3, 2]], names=["a", "b"])
    display.validation_loss_curves = display.loss_curves
    axes = [display.plot().ax_, display.plot(line_kw={"c": "k", "ls": ":"}).ax_]
    assert [len(ax.lines) for ax in axes] == [4, 4]
    for line in display.lines_:
        assert (line.get_color(), line.get_linestyle()) == ("k", ":")
    assert display.figure_.get_layout_engine() is not None


def test_epochs_are_whole_numbers_and_a_single_one_shows(iris):
    display = LossCurveDisplay.from_estimator(make(max_iter=1).fit(*iris))
    assert display.lines_[0].get_marker() == "o"
    assert all(float(tick).is_integer() for tick in display.ax_.get_xticks())


def test_scikit_learns_mlp_can_be_compared(iris):
    theirs = MLPClassifier(early_stopping=True, n_iter_no_change=1, tol=9).fit(*iris)
    fits, names = [make().fit(*iris), theirs], ["ours", "theirs"]
    display = LossCurveDisplay.from_estimators(fits, names=names, scores=True)
    losses = ["ours: training loss", "theirs: training loss"]
    assert legend(display) == [*losses, "theirs: validation score"]
    assert display.score_lines_[0].get_color() == display.lines_[1].get_color()


def test_what_cannot_be_drawn_is_refused(iris):
    search = GridSearchCV(make(), {"alpha": [0.1, 1.0]})
    for unfitted in (make(), make_pipeline(StandardScaler(), make()), search):
        with pytest.raises(NotFittedError, match="not fitted"):
            LossCurveDisplay.from_estimator(unfitted)
    with pytest.raises(TypeError, match=r"Got LogisticRegression\(\), .*loss_curve_"):
        LossCurveDisplay.from_estimator(LogisticRegression().fit(*iris))
    with pytest.raises(TypeError, match="not an estimator"):
        LossCurveDisplay.from_estimator("mlp")
    with pytest.raises(ValueError, match=r"Got names=\['a', 'b'\], .* 1 estimators"):
        LossCurveDisplay.from_estimators([make().fit(*iris)], names=["a", "b"])
    with pytest.raises(ValueError, match=r"Got scores=True, .* validation data"):
        LossCurveDisplay.from_estimator(make().fit(*iris), scores=True)
    assert not mpl.pyplot.get_fignums()


def test_without_matplotlib(iris, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="from_estimators requires matplotlib"):
        LossCurveDisplay.from_estimator(make().fit(*iris))
    with pytest.raises(ImportError, match="plot requires matplotlib"):
        LossCurveDisplay(loss_curves=[[1.0]]).plot()


def test_importing_skmlp_leaves_matplotlib_alone():
    code = "import sys, skmlp; print('matplotlib' in sys.modules)"
    assert run_python(code) == "False\n"


def test_a_search_draws_its_best_estimator(iris):
    search = GridSearchCV(make(max_iter=3), {"alpha": [0.1, 1.0]}, cv=2).fit(*iris)
    display = LossCurveDisplay.from_estimator(search)
    assert display.loss_curves == [search.best_estimator_.loss_curve_]
