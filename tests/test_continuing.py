"""A training that is continued is the same training, bit for bit."""

import copy
import itertools
import pickle
from functools import partial

import joblib
import numpy as np
import pandas as pd
import pytest
import skops.io
from helpers import Interrupter, assert_same_network, assert_same_training
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from settings import plain

OWN_TYPE = "skmlp._classifier.MomentumMLPClassifier"


@pytest.fixture
def data(iris):
    return {"X_val": iris[0][::3], "y_val": iris[1][::3]}


def through_joblib(mlp, folder):
    joblib.dump(mlp, folder / "mlp.joblib")
    return joblib.load(folder / "mlp.joblib")


def through_skops(mlp, folder):
    skops.io.dump(mlp, folder / "mlp.skops")
    assert skops.io.get_untrusted_types(file=folder / "mlp.skops") == [OWN_TYPE]
    return skops.io.load(folder / "mlp.skops", trusted=[OWN_TYPE])


KEEPERS = {
    "nothing": lambda mlp, folder: mlp,
    "pickle": lambda mlp, folder: pickle.loads(pickle.dumps(mlp)),
    "deepcopy": lambda mlp, folder: copy.deepcopy(mlp),
    "joblib": through_joblib,
    "skops": through_skops,
}
SETTINGS = {
    "batch_size": [None, 20, 32, "auto"],
    "learning_rate": ["constant", "invscaling", "adaptive"],
    "learning_rate_init": [0.05, 0.3],
    "momentum": [0.0, 0.9],
    "nesterovs_momentum": [False, True],
    "shuffle": [False, True],
    "random_state": range(6),
    "n_iter_no_change": [1, 10],
    "tol": [1e-4, 0.2],
    "activation": ["logistic", "tanh"],
    "standardize": [False, True],
}
WARM_STARTS = st.lists(st.integers(1, 6), min_size=2, max_size=3)


@pytest.mark.filterwarnings("ignore:The network has learned little")
@settings(
    max_examples=80,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    params=st.fixed_dictionaries({k: st.sampled_from(v) for k, v in SETTINGS.items()}),
    epochs=WARM_STARTS | st.lists(st.integers(0, 3), min_size=1, max_size=6),
    keeper=st.sampled_from(sorted(KEEPERS)),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_warm_starts_and_partial_fits_add_up(
    iris, tmp_path, params, epochs, keeper, dtype
):
    """Calls of partial_fit (epochs: 0) without a penalty, which is divided by the
    weight of all rows seen."""
    X, y = iris[0].astype(dtype), iris[1]
    params = params | {"alpha": 0.3 if all(epochs) else 0}
    whole = plain((6,), max_iter=sum(n or 1 for n in epochs), **params).fit(X, y)
    parts = plain((6,), warm_start=True, **params)
    for n in epochs:
        if n == 0:
            parts.partial_fit(X, y, classes=[0, 1, 2])
        else:
            parts.set_params(max_iter=n).fit(X, y)
        parts = KEEPERS[keeper](parts, tmp_path)
    assert_same_training(whole, parts)


@pytest.mark.parametrize("class_weight", [None, [1, 2, 5]])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_a_block_divides_alpha_by_the_weight_of_all_rows_seen(
    iris, method, class_weight
):
    """By one step of a softmax regression, written plainly."""
    X, y = iris
    s, c = np.linspace(0.5, 2, 150), np.array(class_weight or [1, 1, 1])
    mlp = plain((), alpha=9.0, batch_size=None, momentum=0.0, max_iter=1)
    if class_weight:
        mlp.set_params(class_weight=dict(enumerate(class_weight)))
    first = {"classes": [0, 1, 2]} if method == "partial_fit" else {}
    blocks = slice(0, 150, 3), slice(9, 20), slice(1, 150, 3)
    start = X[blocks[0]], y[blocks[0]]
    getattr(mlp, method)(*start, sample_weight=s[blocks[0]], **first)
    effective = 0.0
    for rows in blocks:
        w = s[rows] * c[y[rows]]
        effective += w.sum() ** 2 / (w @ c[y[rows]])
        if rows is blocks[0]:
            continue
        W, P = mlp.coefs_[0].copy(), mlp.predict_proba(X[rows])
        loss = w @ -np.log(P[np.arange(len(w)), y[rows]]) / w.sum()
        gradient = X[rows].T @ (w[:, np.newaxis] * (P - np.eye(3)[y[rows]])) / w.sum()
        mlp.partial_fit(X[rows], y[rows], sample_weight=s[rows])
        expected = W - 0.2 * (gradient + 9.0 / effective * W)
        assert_allclose(mlp.coefs_[0], expected, rtol=1e-11, atol=1e-13)
        penalised = loss + 9.0 / (2 * effective) * np.sum(W**2)
        assert_allclose(mlp.loss_, penalised, rtol=1e-12)


def test_without_warm_start_fit_starts_anew(iris):
    """With what it is now given: names of features, too."""
    mlp = plain((6,), max_iter=3, random_state=0)
    first = mlp.fit(pd.DataFrame(iris[0], columns=list("abcd")), iris[1]).loss_curve_
    assert list(mlp.feature_names_in_) == list("abcd")
    assert mlp.fit(*iris).loss_curve_ == first
    assert not hasattr(mlp, "feature_names_in_")


def test_after_early_stopping_the_best_epoch_goes_on(iris, data, tmp_path):
    X, y = iris
    make = partial(
        plain, (), batch_size=20, learning_rate="invscaling", power_t=0.1,
        warm_start=True, random_state=0,
    )  # fmt: skip
    scores = iter([1.0, 2.0, 3.0, *[0.0] * 9])
    stopped = make(max_iter=50, early_stopping=True, n_iter_no_change=2)
    stopped.set_params(scoring=lambda *_: next(scores)).fit(X, y, **data)
    assert (stopped.n_iter_, stopped.best_iter_) == (6, 3)
    stopped.set_params(early_stopping=False, scoring="loss", max_iter=4)
    whole = make(max_iter=7).fit(X, y, **data)
    for keeper in KEEPERS.values():
        other = keeper(copy.deepcopy(stopped), tmp_path).fit(X, y, **data)
        assert_same_training(other, whole)
        assert other.validation_scores_[3:] == whole.validation_scores_[3:]


def test_the_next_warm_start_has_its_own_patience_and_best(iris):
    mlp = plain(
        (), max_iter=50, early_stopping=True, n_iter_no_change=2, warm_start=True,
        random_state=0, validation_fraction=None,
    )  # fmt: skip
    for call in (1, 2, 3):  # the best is the first epoch of each call
        before = getattr(mlp, "loss_curve_", [])[: call - 1]
        falling = itertools.count(10 // call, -1)
        mlp.set_params(scoring=lambda *_, scores=falling: next(scores)).fit(*iris)
        assert (mlp.best_iter_, mlp.n_iter_) == (call, call + 3)
        assert mlp.best_validation_score_ == 10 // call
        assert mlp.loss_curve_[: call - 1] == before
        assert len(mlp.loss_curve_) == call + 3


@pytest.mark.filterwarnings("ignore:The network has learned little")
@pytest.mark.parametrize(
    "params", [{}, {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1}]
)
def test_a_scorer_may_keep_copy_and_go_on_training_what_it_gets(iris, data, params):
    (X, y), given = iris, []

    def keep(estimator, X, y):
        given.append([estimator, copy.deepcopy(estimator), copy.copy(estimator)])
        return -float(len(given))  # the first is the best

    make = partial(plain, (6,), batch_size=32, random_state=0, **params)
    mlp = make(max_iter=3, warm_start=True, scoring=keep)
    mlp.fit(X, y, **data).fit(X, y, **data)  # from the start, and on
    whole = make(max_iter=6).fit(X, y)
    for n_iter, kept in enumerate(given, start=1):
        for other in kept:
            assert other.n_iter_ == n_iter
            assert other.loss_curve_ == mlp.loss_curve_[:n_iter]
            *scores, last = other.validation_scores_
            assert scores == mlp.validation_scores_[: n_iter - 1]
            assert np.isnan(last)  # which is being made
            other = pickle.loads(pickle.dumps(other.set_params(scoring="loss")))
            if n_iter < 6:
                other.set_params(max_iter=6 - n_iter).fit(X, y, **data)
                assert len(other.validation_scores_) == 6
            assert_array_equal(other.coefs_[0], whole.coefs_[0])
    assert len(given) == 6


def test_what_a_scorer_gets_counts_anew_and_may_be_changed(iris):
    """Its best weights are those of an epoch that it has not got."""
    given = []

    def keep_and_spoil(estimator, X, y):
        given.append(copy.copy(estimator))
        estimator.coefs_[0][:] = 0
        estimator.loss_curve_.append(9.0)
        return -float(len(given))

    make = partial(plain, (6,), max_iter=3, random_state=0)
    params = {"early_stopping": True, "validation_fraction": None}
    mlp = make(scoring=keep_and_spoil, **params).fit(*iris)
    assert mlp.best_iter_ == 1
    assert_same_network(mlp, make(max_iter=1).fit(*iris))
    assert mlp.loss_curve_ == make().fit(*iris).loss_curve_
    other = given[2].set_params(warm_start=True)
    assert other.best_iter_ is None
    assert other.fit(*iris).best_iter_ == 4


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.PCG64])
def test_random_state_objects_continue_their_own_stream(iris, bits):
    def make(max_iter):
        generator = np.random.RandomState(bits(3))
        mlp = plain((6,), batch_size=20, warm_start=True, random_state=generator)
        return mlp.set_params(max_iter=max_iter).fit(*iris)

    whole = make(5)
    assert_same_training(whole, make(2).set_params(max_iter=3).fit(*iris))
    pickle.loads(pickle.dumps(whole)).predict(iris[0])


def test_validation_curves_go_on(iris, data):
    X, y = iris
    make = partial(plain, (6,), max_iter=2, warm_start=True, random_state=0)
    parts, late = make().fit(X, y, **data), make().fit(X, y).fit(X, y, **data)
    parts.set_params(max_iter=3).fit(X, y, **data)
    assert_same_training(make(max_iter=5).fit(X, y, **data), parts)
    parts.fit(X, y)  # three epochs that are not monitored
    assert parts.n_iter_ == 8
    assert_array_equal(np.isnan(parts.validation_scores_), [False] * 5 + [True] * 3)
    assert_array_equal(np.isnan(late.validation_scores_), [True] * 2 + [False] * 2)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"columns": 3}, "X has 3 features, but .* expecting 4"),
        ({"hidden_layer_sizes": (7,)}, r"another architecture: .*\(4, 7, 3\)"),
        ({"activation": "tanh"}, "another architecture: .*'tanh'"),
        ({"output_activation": "logistic"}, "another architecture: .*'logistic'"),
        ({"labels": [0, 1, 9]}, r"y has the labels \[9\], .*: \[0, 1, 2\]"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_changes_between_calls_are_refused(iris, change, said, method):
    X, y = iris
    mlp = plain((6,), max_iter=2, warm_start=True).fit(X, y)
    before, change = vars(mlp).copy(), change.copy()
    X = X[:, : change.pop("columns", 4)]
    y = np.array(change.pop("labels", [0, 1, 2]))[y]
    with pytest.raises(ValueError, match=said):
        getattr(mlp.set_params(**change), method)(X, y)
    mlp.set_params(**{name: before[name] for name in change})
    assert vars(mlp) == before
    getattr(mlp, method)(*iris)  # and it goes on


def test_partial_fit_says_what_it_needs(iris):
    X, y = iris
    known = plain().partial_fit(X, y, classes=[0, 1, 2])
    for mlp, labels, classes, said in [
        (plain(), y, None, "classes must be passed on the first call"),
        (plain(early_stopping=True), y, [0, 1, 2], "not support early_stopping=True"),
        (known, y, [0, 1], r"classes=\[0, 1\] is not the same"),
        (plain(), y + 3, [0, 1, 2, 3], r"y has the labels \[4, 5\]"),
    ]:
        with pytest.raises(ValueError, match=said):
            mlp.partial_fit(X, labels, classes=classes)


def test_cosine_continues_an_interrupted_run(iris):
    """Its length is the epochs done before plus max_iter: what remains is asked for."""
    X, y = iris
    make = partial(
        plain, (6,), max_iter=8, learning_rate="cosine", batch_size=32, random_state=0
    )

    mlp = make(warm_start=True, scoring=Interrupter(4))
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(X, y, X_val=X, y_val=y)
    assert mlp.n_iter_ == 3
    mlp.set_params(max_iter=5).fit(X, y)
    assert mlp.loss_curve_ == make().fit(X, y).loss_curve_


def test_the_kept_state_is_plain(iris):
    """Arrays, numbers, strings and containers of them: nothing else to trust."""

    def kinds(value):
        if isinstance(value, dict):
            value = list(value.values())
        if isinstance(value, list | tuple):
            return set().union(*map(kinds, value))
        return {type(value)}

    mlp = plain((6,), max_iter=2, standardize=True, random_state=0).fit(*iris)
    assert kinds(vars(mlp)) <= {np.ndarray, float, int, bool, str, type(None)}
