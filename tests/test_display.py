"""LossCurveDisplay, read back from the axes it drew on."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
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


@pytest.fixture(autouse=True)
def close_figures():
    yield
    mpl.pyplot.close("all")


def make(**params):
    return plain(
        **({"hidden_layer_sizes": (6,), "max_iter": 30, "random_state": 0} | params)
    )


def legend(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_training_curve(iris):
    mlp = make().fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp)
    (line,) = display.lines_
    assert_array_equal(line.get_xdata(), np.arange(1, 31))
    assert_array_equal(line.get_ydata(), mlp.loss_curve_)
    assert display.best_iter_lines_ == []
    assert display.ax_.get_yscale() == "linear"
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("epoch", "loss")
    assert display.figure_ is display.ax_.figure
    assert legend(display) == ["training"]


def test_validation_curve_and_restored_epoch(iris):
    mlp = make(early_stopping=True, n_iter_no_change=2, tol=0.1).fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp, log_scale=True)
    training, validation = display.lines_
    (restored,) = display.best_iter_lines_
    assert_array_equal(validation.get_xdata(), training.get_xdata())
    assert_array_equal(validation.get_ydata(), mlp.validation_loss_curve_)
    assert_array_equal(restored.get_xdata(), [mlp.best_iter_] * 2)
    assert restored.get_color() == validation.get_color() != training.get_color()
    assert display.ax_.get_yscale() == "log"
    assert legend(display) == [
        "training",
        "validation",
        f"restored epoch {mlp.best_iter_}",
    ]


def test_restored_epoch_without_validation_data(iris):
    early = {"early_stopping": True, "n_iter_no_change": 2, "tol": 0.1}
    mlp = make(validation_fraction=None, **early).fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp)
    assert legend(display) == ["training", f"restored epoch {mlp.best_iter_}"]


def test_validation_that_began_later_is_drawn_at_its_epochs(iris):
    X, y = iris
    mlp = make(warm_start=True).fit(X, y).fit(X, y, X_val=X, y_val=y)
    training, validation = LossCurveDisplay.from_estimator(mlp).lines_
    assert_array_equal(training.get_xdata(), np.arange(1, 61))
    assert_array_equal(np.isnan(validation.get_ydata()), [True] * 30 + [False] * 30)


@pytest.mark.parametrize("together", [True, False])
def test_several_fits_on_one_axis(iris, together):
    X, y = iris
    small = make().fit(X, y, X_val=X, y_val=y)
    large = make_pipeline(StandardScaler(), make(alpha=9.0, max_iter=50)).fit(X, y)
    if together:
        display = LossCurveDisplay.from_estimators(
            [small, large], names=["small", "large"]
        )
        lines = display.lines_
    else:
        first = LossCurveDisplay.from_estimator(small, name="small")
        display = LossCurveDisplay.from_estimator(large, ax=first.ax_, name="large")
        lines = first.lines_ + display.lines_
    assert list(display.ax_.lines) == lines
    expected = ["small: training", "small: validation", "large: training"]
    assert legend(display) == [line.get_label() for line in lines] == expected
    assert len(lines[2].get_xdata()) == 50
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()


def test_the_first_epochs_do_not_hide_the_rest():
    losses = [90.0, 30.0, *np.linspace(2, 1, 28)]
    display = LossCurveDisplay(loss_curves=[losses]).plot()
    assert display.ax_.get_ylim()[1] == pytest.approx(3 * losses[3])
    assert display.ax_.get_xlim()[0] == 1
    display.plot(log_scale=True)
    assert display.ax_.get_ylim()[1] > 90


def test_scores_and_keywords_of_lines(iris):
    X, y = iris
    mlp = make(scoring="balanced_accuracy").fit(X, y, X_val=X, y_val=y)
    display = LossCurveDisplay.from_estimator(mlp)
    assert display.score_ax_ is None
    display.plot(scores=True, line_kw={"linewidth": 3})
    (line,) = display.score_lines_
    assert_array_equal(line.get_ydata(), mlp.validation_scores_)
    assert display.score_ax_.get_ylabel() == "balanced_accuracy"
    assert legend(display) == ["training", "validation", "balanced_accuracy"]
    assert {x.get_linewidth() for x in [line, *display.lines_]} == {3}


def test_plot_can_be_called_again(iris):
    display = LossCurveDisplay.from_estimator(make().fit(*iris))
    first = display.ax_
    assert display.plot(log_scale=True) is display
    assert display.ax_ is not first
    assert (len(first.lines), len(display.ax_.lines)) == (1, 1)


def test_a_training_that_goes_on_leaves_what_was_drawn(iris):
    mlp = plain((3,), max_iter=2, warm_start=True, random_state=0)
    mlp.fit(*iris, X_val=iris[0], y_val=iris[1])
    display = LossCurveDisplay.from_estimator(mlp)
    mlp.fit(*iris, X_val=iris[0], y_val=iris[1])
    assert len(display.loss_curves[0]) == len(display.validation_loss_curves[0]) == 2


def test_epochs_are_whole_numbers_and_a_single_one_shows(iris):
    mlp = make(max_iter=1).fit(*iris)
    display = LossCurveDisplay.from_estimator(mlp)
    assert display.lines_[0].get_marker() == "o"
    assert all(float(tick).is_integer() for tick in display.ax_.get_xticks())


def test_scikit_learns_mlp_can_be_compared(iris):
    theirs = MLPClassifier(solver="sgd").partial_fit(*iris, classes=[0, 1, 2])
    display = LossCurveDisplay.from_estimators(
        [make().fit(*iris), theirs], names=["ours", "theirs"]
    )
    assert legend(display) == ["ours: training", "theirs: training"]


def test_what_cannot_be_drawn_is_refused(iris):
    for unfitted in (make(), make_pipeline(StandardScaler(), make())):
        with pytest.raises(
            NotFittedError, match=r"MomentumMLPClassifier .* not fitted"
        ):
            LossCurveDisplay.from_estimator(unfitted)
    with pytest.raises(TypeError, match=r"Got LogisticRegression\(\), .*loss_curve_"):
        LossCurveDisplay.from_estimator(LogisticRegression().fit(*iris))
    with pytest.raises(TypeError, match="not an estimator"):
        LossCurveDisplay.from_estimator("mlp")
    with pytest.raises(ValueError, match=r"Got names=\['a', 'b'\], .* 1 estimators"):
        LossCurveDisplay.from_estimators([make().fit(*iris)], names=["a", "b"])
    assert not mpl.pyplot.get_fignums()


def test_without_matplotlib(iris, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ImportError, match="from_estimators requires matplotlib"):
        LossCurveDisplay.from_estimator(make().fit(*iris))
    with pytest.raises(ImportError, match="plot requires matplotlib"):
        LossCurveDisplay(loss_curves=[[1.0]]).plot()


def test_importing_skmlp_leaves_matplotlib_alone():
    code = "import sys, skmlp; sys.exit('matplotlib' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_search_draws_its_best_estimator(iris):
    search = GridSearchCV(plain((3,), max_iter=3), {"alpha": [0.1, 1.0]}, cv=2)
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(search)
    search.fit(*iris)
    display = LossCurveDisplay.from_estimator(search)
    assert_array_equal(
        display.lines_[0].get_ydata(), search.best_estimator_.loss_curve_
    )
