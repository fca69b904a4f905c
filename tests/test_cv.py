"""MomentumMLPClassifierCV: the search, what it chooses, and what is left after it."""

import pickle
import re
from functools import partial
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import sklearn
from helpers import Interrupter, TaskRecorder, assert_same_fit, needs_callbacks
from hypothesis import given, settings
from hypothesis import strategies as st
from joblib import parallel_config
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.metrics import log_loss
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    LeaveOneGroupOut,
    PredefinedSplit,
    StratifiedKFold,
    cross_val_score,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import (
    LossCurveDisplay,
    MomentumMLPClassifier,
    MomentumMLPClassifierCV,
    to_sklearn,
)
from skmlp._cv import choose
from skmlp._training import train

ALPHAS = [3.0, 0.1, 1.0]
make = partial(
    MomentumMLPClassifierCV,
    (6,),
    alphas=ALPHAS,
    max_iter=5,
    search_max_iter=5,
    random_state=0,
)


def plain(cv, **params):
    """The network alone, with the parameters of `cv`."""
    own = cv.get_params()
    names = set(MomentumMLPClassifier().get_params()) - {"alpha"}
    return MomentumMLPClassifier(**{name: own[name] for name in names} | params)


def framed(X):
    return pd.DataFrame(X, columns=list("abcd"))


def assert_same_search(a, b):
    assert_array_equal(a.scores_, b.scores_)
    assert a.alpha_ == b.alpha_
    assert_same_fit(a, b)


@pytest.fixture(scope="module")
def fitted(iris):
    return make().fit(*iris)


EVEN_AND_ODD = [(np.arange(0, 150, 2), np.arange(1, 150, 2))]
ODD_AND_EVEN = [EVEN_AND_ODD[0][::-1]]
FOLD = np.where(np.arange(150) % 3 == 0, 0, -1)
GROUPS = np.arange(150) // 10


# -- the same as GridSearchCV --------------------------------------------------------


@pytest.mark.parametrize(
    "params",
    [
        {"cv": 3},
        {"cv": None, "scoring": "accuracy"},
        {"cv": StratifiedKFold(2, shuffle=True, random_state=3), "scoring": None},
        {"cv": PredefinedSplit(FOLD), "scoring": "roc_auc_ovr"},
        {"cv": EVEN_AND_ODD},
        {"cv": [(FOLD < 0, FOLD == 0)]},
        {"cv": 2, "early_stopping": True, "n_iter_no_change": 1}
        | {"max_iter": 60, "search_max_iter": 60},
    ],
)
@pytest.mark.filterwarnings("ignore:alpha_=")
@pytest.mark.filterwarnings("ignore:The network has learned little")
def test_equals_a_grid_search_number_for_number(iris, params):
    mlp = make(**params).fit(*iris)
    monitored = {} if mlp.scoring != "neg_log_loss" else {"scoring": "loss"}
    search = GridSearchCV(
        plain(mlp, **monitored), {"alpha": ALPHAS}, cv=mlp.cv, scoring=mlp.scoring
    ).fit(*iris)
    for i in range(search.n_splits_):
        found = search.cv_results_[f"split{i}_test_score"]
        assert_allclose(mlp.scores_[:, i], found, rtol=1e-13)
    assert mlp.scores_.shape == (3, search.n_splits_)
    assert_allclose(mlp.best_score_, search.best_score_, rtol=1e-13)
    if mlp.alpha_ == search.best_params_["alpha"]:  # else these are equal in score
        assert_same_fit(mlp, search.best_estimator_)
    assert_array_equal(mlp.alphas_, ALPHAS)


def test_groups_reach_the_splitter(iris):
    (X, y), cv = iris, GroupKFold(3)
    mlp = make(cv=cv).fit(X, y, groups=GROUPS)
    assert_same_search(mlp, make(cv=list(cv.split(X, y, GROUPS))).fit(X, y))
    with pytest.raises(ValueError, match="groups needs a cv for groups"):
        make().fit(X, y, groups=GROUPS)
    with pytest.raises(ValueError, match="enable_metadata_routing"):
        make().fit(X, y, unknown=1)
    with sklearn.config_context(enable_metadata_routing=True):
        assert_same_search(mlp, make(cv=cv).fit(X, y, groups=GROUPS))
        scores = cross_val_score(make(cv=cv), X, y, cv=2, params={"groups": GROUPS})
        with pytest.raises(TypeError, match="groups"):
            make(cv=2).fit(X, y, groups=GROUPS)
    assert np.isfinite(scores).all()


def test_weights_count_in_training_and_in_scores(iris):
    """An integer weight equals repeating the row, where a batch is all rows."""
    X, y, group = iris[0][::2], iris[1][::2], np.arange(75) % 3
    weight = np.random.RandomState(0).randint(0, 3, 75)

    def fit(X, y, group, weight=None):
        mlp = make(batch_size=None, cv=list(LeaveOneGroupOut().split(X, y, group)))
        return mlp.fit(X, y, weight)

    weighted = fit(X, y, group, weight)
    repeated = fit(*(np.repeat(array, weight, axis=0) for array in (X, y, group)))
    assert_allclose(weighted.scores_, repeated.scores_, rtol=1e-9)
    assert_allclose(weighted.coefs_[0], repeated.coefs_[0], rtol=1e-7)


@pytest.mark.parametrize("weight", [np.ones(150), 1.0 + np.arange(150)])
def test_rows_of_weight_0_are_left_out_of_the_folds(iris, weight):
    X, y = iris
    counted = np.arange(150) % 4 != 0
    a = make().fit(X, y, sample_weight=weight * counted)
    b = make().fit(X[counted], y[counted], sample_weight=weight[counted])
    assert_same_search(a, b)


@pytest.mark.filterwarnings("ignore:alpha_=")
def test_class_weights_count_in_the_log_loss_alone():
    X, y = make_classification(300, weights=[0.85], random_state=0)
    train, test = np.arange(200), np.arange(200, 300)
    params = {"cv": [(train, test)], "class_weight": {0: 1.0, 1: 5.0}, "alphas": [0.5]}
    mlp = make(**params).fit(X, y)
    alone = plain(mlp, alpha=0.5).fit(X[train], y[train])
    proba = alone.predict_proba(X[test])
    loss = log_loss(y[test], proba, sample_weight=1 + 4 * y[test])
    assert_allclose(mlp.scores_, -loss, rtol=1e-12)
    mlp = make(scoring="accuracy", **params).fit(X, y)
    assert mlp.scores_[0, 0] == alone.score(X[test], y[test])


# -- the final fit -------------------------------------------------------------------


@pytest.mark.parametrize("container", [np.float32, csr_array, framed])
def test_is_the_plain_estimator_with_the_alpha_chosen(iris, container):
    X, y = container(iris[0]), np.array(["one", "two", "three"])[iris[1]]
    mlp = make(n_jobs=2).fit(X, y)
    alone = plain(mlp, alpha=mlp.alpha_).fit(X, y)
    assert mlp.alpha_ in ALPHAS
    assert_same_fit(mlp, alone)
    assert_array_equal(mlp.predict_proba(X), alone.predict_proba(X))
    assert_array_equal(mlp.classes_, alone.classes_)
    assert (mlp.n_iter_, mlp.n_features_in_) == (5, 4)
    if container is framed:
        assert list(mlp.feature_names_in_) == list("abcd")
        assert not hasattr(mlp.fit(iris[0], y), "feature_names_in_")


@pytest.mark.parametrize("backend", ["threading", "loky"])
def test_is_the_same_for_any_number_of_jobs(iris, fitted, backend):
    with parallel_config(backend):
        assert_same_search(fitted, make(n_jobs=2).fit(*iris))


@pytest.mark.filterwarnings("ignore:alpha_=")  # by chance, of the last one
def test_random_state(iris):
    generator = np.random.RandomState(5)
    first = make(random_state=generator).fit(*iris)
    again = make(random_state=np.random.RandomState(5), n_jobs=2).fit(*iris)
    assert_same_search(first, again)
    second = make(random_state=generator).fit(*iris)
    assert (first.scores_ != second.scores_).any()
    make(random_state=None).fit(*iris)


def test_ecosystem(iris, fitted):
    skops = pytest.importorskip("skops.io")
    pytest.importorskip("matplotlib").use("agg")
    X, y = iris
    stored = skops.dumps(fitted)
    loaded = skops.loads(stored, trusted=skops.get_untrusted_types(data=stored))
    pickled = pickle.loads(pickle.dumps(fitted))
    for copy in loaded, pickled, clone(fitted).fit(X, y):
        assert_same_search(fitted, copy)
        assert_array_equal(copy.predict_proba(X), fitted.predict_proba(X))
    exported = to_sklearn(fitted)
    assert_allclose(exported.predict_proba(X), fitted.predict_proba(X), rtol=1e-9)
    display = LossCurveDisplay.from_estimator(fitted)
    assert display.score_names == ["negative loss"]  # what early stopping monitors
    assert_array_equal(display.lines_[0].get_ydata(), fitted.loss_curve_)
    pipeline = make_pipeline(StandardScaler(), make()).fit(X, y)
    assert pipeline[-1].alpha_ in ALPHAS
    assert "alpha" not in fitted.get_params()
    assert fitted.alpha == fitted.alpha_


def test_there_is_no_partial_fit(iris, fitted):
    for mlp in make(), fitted:
        assert not hasattr(mlp, "partial_fit")
        with pytest.raises(AttributeError, match="MomentumMLPClassifier goes on"):
            mlp.partial_fit(*iris)


def test_warm_start_goes_on_without_a_search(iris):
    frame, y = framed(iris[0]), iris[1]
    mlp = make(warm_start=True, learning_rate="constant").fit(frame, y)
    scores = mlp.scores_
    mlp.set_params(alphas=[9.0], max_iter=3).fit(frame, y)
    assert mlp.scores_ is scores
    assert mlp.n_iter_ == 8
    assert_same_fit(mlp, plain(mlp, alpha=mlp.alpha_, max_iter=8).fit(frame, y))
    assert list(mlp.feature_names_in_) == list("abcd")


# -- folds and epochs ----------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:alpha_=")
@pytest.mark.parametrize(
    ("params", "n_rows", "search", "cost"),
    [
        ({"max_iter": 10}, 399, 16 * [(200, 5)], 5.1),
        ({"max_iter": 10}, 400, 8 * [(200, 2)], 1.8),
        ({"max_iter": 7, "alphas": [1, 2], "cv": 3}, 600, 6 * [(400, 2)], 2.2),
        ({"max_iter": 7, "alphas": [1], "search_max_iter": 2}, 400, 2 * [(200, 2)], 2),
    ],
)
def test_what_the_search_costs(monkeypatch, params, n_rows, search, cost):
    spy = Mock(side_effect=train)
    monkeypatch.setattr("skmlp._classifier.train", spy)
    X = np.random.RandomState(0).normal(size=(n_rows, 2))
    MomentumMLPClassifierCV((2,), random_state=0, **params).fit(X, X[:, 0] > 0)
    tasks = [call.args[0] for call in spy.call_args_list]
    rows, epochs = np.transpose([(task.X.shape[0], task.n_epochs) for task in tasks])
    assert_allclose(rows[:-1], [n for n, _ in search], atol=1)
    assert_array_equal(epochs[:-1], [n for _, n in search])
    assert (rows[-1], epochs[-1]) == (n_rows, params["max_iter"])
    assert rows @ epochs / (n_rows * params["max_iter"]) <= cost


@pytest.mark.filterwarnings("ignore:alpha_=")
@pytest.mark.filterwarnings("ignore:The least populated class")
@pytest.mark.parametrize("scoring", ["neg_log_loss", "loss", "accuracy"])
@pytest.mark.parametrize(("cv", "weight"), [("auto", None), (2, np.ones(152))])
def test_classes_that_folds_lack(iris, cv, scoring, weight):
    """A class of one row is trained on in some folds and scored in none."""
    X = np.vstack([iris[0], iris[0][:2]])
    y = np.append(iris[1].astype(str), ["rare", "rarer"])
    mlp = make(cv=cv, scoring=scoring).fit(X, y, weight)
    assert len(mlp.classes_) == 5
    assert np.isfinite(mlp.scores_).all()
    assert mlp.predict_proba(X).shape == (152, 5)


def test_one_class_alone(iris):
    mlp = make().fit(iris[0], np.zeros(150, int))
    assert (mlp.scores_ == 0).all()
    assert mlp.alpha_ == 1.0  # the nearest to .75


NONE_TO_SCORE = [(np.arange(50), np.arange(50, 150))]
THIRDS, ODD = np.arange(150) // 50, np.arange(150) % 2
NO_ALPHAS = [], [np.nan], ["x"], [-1.0], [np.inf], [[1], [-2]]


@pytest.mark.parametrize(
    ("params", "y", "weight", "said"),
    [
        ({}, [0, 1, 2], None, "n_samples=3: choosing alpha needs two"),
        ({"cv": NONE_TO_SCORE}, THIRDS, None, "None of the rows to score"),
        ({"cv": []}, THIRDS, None, r"cv=\[\] makes no folds"),
        ({"cv": ODD_AND_EVEN}, THIRDS, ODD, "weight > 0 and a class"),
        (
            {"cv": ODD_AND_EVEN, "scoring": "accuracy"},
            THIRDS,
            ODD,
            "weight > 0 and a class",
        ),
        *(({"alphas": alphas}, THIRDS, None, "alphas: ") for alphas in NO_ALPHAS),
    ],
)
def test_what_cannot_be_searched_is_refused(iris, params, y, weight, said):
    with pytest.raises(ValueError, match=said):
        make(**params).fit(iris[0][: len(y)], y, weight)


# -- the choice ----------------------------------------------------------------------


def score_by(function):
    """A scorer that knows alpha alone, and counts its calls."""

    def scorer(estimator, X, y):
        scorer.calls += 1
        return function(estimator.alpha, scorer.calls)

    scorer.calls = 0
    return scorer


@pytest.mark.filterwarnings("ignore:alpha_=")
@pytest.mark.filterwarnings("ignore:Scores are nan in 2 of 2 folds")
@pytest.mark.parametrize(
    ("function", "params", "alpha"),
    [
        (lambda a, call: 1.0, {"alphas": [9, 0.1, 0.8, 0.0]}, 0.8),
        (lambda a, call: 1.0, {"alphas": [9, 0.1, 0.8, 0.0], "cv": 2}, 0.8),
        (lambda a, call: np.nan if a == 1 else -1e9 * a, {"cv": 2}, 0.1),
        (lambda a, call: np.nan, {"cv": 2}, 1.0),
        # cv="auto" takes the nearest to .75 within 1.5 standard errors of the best.
        (lambda a, call: (a == 3) * (0.1 + (-1) ** call), {}, 1.0),
        (lambda a, call: (a == 3) * (0.1 + (-1) ** call), {"cv": 4}, 3.0),
        (lambda a, call: (a == 3) * (0.1 + 0.01 * (-1) ** call), {}, 3.0),
    ],
)
def test_the_choice(iris, function, params, alpha):
    assert make(scoring=score_by(function), **params).fit(*iris).alpha_ == alpha


def test_folds_whose_scores_are_nan_do_not_count(iris):
    """As that of the area under the curve of a single class."""

    def scorer(estimator, X, y):
        return np.nan if len(y) < 50 else -estimator.alpha

    cv = [*EVEN_AND_ODD, (np.arange(0, 150, 2), np.arange(1, 50, 2)), *ODD_AND_EVEN]
    with pytest.warns(UserWarning, match="Scores are nan in 1 of 3 folds") as said:
        mlp = make(scoring=scorer, cv=cv).fit(*iris)
    assert said[0].filename == __file__
    assert (mlp.alpha_, mlp.best_score_) == (0.1, -0.1)
    assert_array_equal(np.isnan(mlp.scores_), [[False, True, False]] * 3)
    # An alpha that diverged is not chosen, though it be in a fold that does not count.
    scores = np.array([[-np.inf, -0.1], [np.nan, -0.5], [-0.6, -0.6]])
    found, _ = choose(np.array([0.1, 0.75, 3.0]), scores, EVEN_AND_ODD * 2, False)
    assert (found["alpha_"], found["best_score_"]) == (0.75, -0.5)


@pytest.mark.parametrize(
    ("alphas", "function", "grid"),
    [
        ([1, 4, 16], lambda a, call: np.log(a), "16, 64, 256"),
        ([16, 1, 4], lambda a, call: -np.log(a), "1, 0.25, 0.0625"),
        ([1, 2], lambda a, call: a, "2, 4, 8"),
        ([0, 2], lambda a, call: a, "2, 20, 200"),
        ([1, 4, 16], lambda a, call: -abs(np.log(a / 4)), None),  # not at an end
        ([1, 4, 16], lambda a, call: {1: 0, 4: 9, 16: 10}[a], None),  # levels out
        ([1, 4, 16], lambda a, call: np.log(a) * (-1) ** call, None),  # noise
        ([0, 1, 4], lambda a, call: -a, None),  # none below 0
        ([2], lambda a, call: a, None),
    ],
)
def test_advice_at_the_ends_of_the_grid(iris, alphas, function, grid, recwarn):
    scorer = score_by(lambda a, call: function(a, call) + 1e-4 * call**2)
    make(scoring=scorer, alphas=alphas).fit(*iris)
    said = [(str(warning.message), warning.filename) for warning in recwarn]
    assert len(said) == (grid is not None)
    if grid:
        assert said[0][0].endswith(f"Try alphas=[{grid}].")
        assert said[0][1] == __file__


def test_no_advice_on_noise_nor_on_bad_candidates(iris, rng):
    X, y = rng.normal(size=(200, 5)), rng.randint(0, 2, 200)
    MomentumMLPClassifierCV(random_state=0).fit(X, y)
    params = {"alphas": [0.3, 0.7, 100], "max_iter": 30, "search_max_iter": 30}
    assert make(**params).fit(*iris).alpha_ < 1


# -- what goes wrong, and what is seen -----------------------------------------------


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_an_error_says_which_alpha_and_fold(iris, n_jobs):
    mlp = make(cv=3, n_jobs=n_jobs).fit(*iris)
    mlp.set_params(learning_rate_init=1e150, activation="relu")
    before = vars(mlp).copy()
    with pytest.raises(ValueError, match="diverged") as caught:
        mlp.fit(*iris)
    assert re.fullmatch(
        r"\(alpha=[\d.]+, fold \d of 3, in the search for alpha\.\)",
        caught.value.__notes__[-1],
    )
    assert vars(mlp) == before


def test_a_scorer_counts_rows_whose_class_weighs_nothing(iris):
    """class_weight is the loss's: it says nothing of what a scorer counts."""
    folds = [(np.arange(150), np.arange(50))]
    mlp = make(cv=folds, scoring="accuracy", class_weight={0: 0, 1: 1, 2: 1})
    assert (mlp.fit(*iris).scores_ == 0).all()


def test_an_alpha_whose_training_diverges_scores_minus_inf():
    X, y = load_breast_cancer(return_X_y=True)
    mlp = MomentumMLPClassifierCV(
        (5,), alphas=[1e4, 1.0], max_iter=20, search_max_iter=20, random_state=0
    ).fit(X, y)
    assert (mlp.scores_[0] == -np.inf).all()
    assert np.isfinite(mlp.scores_[1]).all()
    assert mlp.alpha_ == 1
    with pytest.raises(ValueError, match="diverged"):
        mlp.set_params(alphas=[1e4, 1e5]).fit(X, y)


@pytest.mark.filterwarnings("ignore:alpha_=")
@given(
    n_single=st.integers(0, 12), n_pairs=st.integers(1, 3), seed=st.integers(0, 10**6)
)
@settings(max_examples=30, deadline=None)
def test_classes_of_a_single_row_are_trained_on_in_each_fold(n_single, n_pairs, seed):
    y = np.r_[np.repeat(np.arange(n_pairs), 2), n_pairs + np.arange(n_single)]
    X = np.random.RandomState(0).normal(size=(len(y), 2))
    mlp = make(max_iter=1, search_max_iter=1, cv="auto", random_state=seed).fit(X, y)
    assert np.isfinite(mlp.scores_).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_ctrl_c_ends_the_search(iris, n_jobs):
    scorer = Interrupter(2)
    mlp = make(cv=2, n_jobs=n_jobs, scoring=scorer)
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(*iris)
    assert not hasattr(mlp, "coefs_")
    if n_jobs == 1:  # other threads may have begun all that is left
        assert scorer.n == 0


def test_ctrl_c_in_the_final_fit_keeps_its_epochs(iris):
    params = {"cv": EVEN_AND_ODD, "alphas": [1.0], "early_stopping": True}
    params |= {"max_iter": 4, "search_max_iter": 2}
    mlp = make(scoring=Interrupter(2 + 1 + 3), **params)  # epochs, score, epochs
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(*iris)
    assert (mlp.n_iter_, mlp.stop_reason_, mlp.alpha_) == (2, "interrupted", 1.0)
    mlp.predict(iris[0])


def test_verbose_prints_a_line_a_fold_then_a_line_an_epoch(iris, capsys):
    mlp = make(cv=2, verbose=True).fit(*iris)
    lines = capsys.readouterr().out.splitlines()
    assert lines[:6] == [
        f"alpha={alpha:g}, fold {i + 1} of 2: score {mlp.scores_[k, i]:.6g}"
        for k, alpha in enumerate(ALPHAS)
        for i in range(2)
    ]
    assert lines[6] == f"alpha={mlp.alpha_:g} is chosen; now all rows are trained on."
    assert [line[:9] for line in lines[7:-1]] == [f"Epoch {i}/5" for i in range(1, 6)]
    make(cv=2).fit(*iris)
    assert capsys.readouterr().out == ""


class Recorder(TaskRecorder):
    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.note_end(context)
        self.fitted = fitted_estimator


class Propagated(Recorder):
    max_propagation_depth = None


@needs_callbacks
def test_callbacks_see_the_search_and_the_final_fit(iris):
    recorder, propagated = Recorder(), Propagated()
    params = {"alphas": [1.0], "cv": 2, "max_iter": 2, "search_max_iter": 1}
    mlp = make(**params).set_callbacks(recorder).fit(*iris)
    assert recorder.events == [
        "setup", "begin fit 0", "begin search 0", "begin fold 0", "end fold 0",
        "begin fold 1", "end fold 1", "end search 0", "begin refit 1", "end refit 1",
        "end fit 0", "teardown",
    ]  # fmt: skip
    assert_array_equal(recorder.fitted.predict(iris[0]), mlp.predict(iris[0]))
    make(**params).set_callbacks(propagated).fit(*iris)
    kinds = [" ".join(event.split()[:2]) for event in propagated.events]
    assert kinds.count("begin epoch") == kinds.count("end epoch") == 1 + 1 + 2
