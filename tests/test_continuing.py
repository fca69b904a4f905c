"""A training that is continued is the same training, bit for bit."""

import copy
import pickle
import warnings

import joblib
import numpy as np
import pytest
import skops.io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from settings import plain
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import accuracy_score, balanced_accuracy_score, make_scorer

OWN_TYPE = "skmlp._classifier.MomentumMLPClassifier"


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


def assert_same_training(a, b):
    for name in ("n_iter_", "loss_curve_", "validation_loss_curve_", "best_iter_"):
        assert getattr(a, name) == getattr(b, name), name
    for one, other in zip(
        a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True
    ):
        assert one.dtype == other.dtype
        assert_array_equal(one, other)


SETTINGS = st.fixed_dictionaries(
    {
        "batch_size": st.sampled_from([None, 20, 32, "auto"]),
        "learning_rate": st.sampled_from(["constant", "invscaling", "adaptive"]),
        "learning_rate_init": st.sampled_from([0.05, 0.3]),
        "momentum": st.sampled_from([0.0, 0.9]),
        "nesterovs_momentum": st.booleans(),
        "shuffle": st.booleans(),
        "random_state": st.integers(0, 5),
        "n_iter_no_change": st.sampled_from([1, 10]),
        "tol": st.sampled_from([1e-4, 0.2]),
        "activation": st.sampled_from(["logistic", "tanh"]),
    }
)
AS_LAW = settings(
    max_examples=40,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)


@AS_LAW
@given(
    params=SETTINGS,
    k=st.integers(1, 6),
    keeper=st.sampled_from(sorted(KEEPERS)),
    dtype=st.sampled_from([np.float64, np.float32]),
)
def test_k_partial_fits_are_a_fit_of_k_epochs(iris, tmp_path, params, k, keeper, dtype):
    X, y = iris[0].astype(dtype), iris[1]
    whole = plain((6,), max_iter=k, **params).fit(X, y)
    parts = plain((6,), **params)
    for _ in range(k):
        parts = KEEPERS[keeper](parts.partial_fit(X, y, classes=[0, 1, 2]), tmp_path)
    assert_same_training(whole, parts)


@pytest.mark.filterwarnings("ignore:No epoch was trained")
@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
@AS_LAW
@given(
    params=SETTINGS,
    epochs=st.lists(st.integers(1, 6), min_size=2, max_size=3),
    keeper=st.sampled_from(sorted(KEEPERS)),
    dtype=st.sampled_from([np.float64, np.float32]),
    early_stopping=st.booleans(),
)
def test_warm_starts_add_up(
    iris, tmp_path, params, epochs, keeper, dtype, early_stopping
):
    X, y = iris[0].astype(dtype), iris[1]
    params = params | {"early_stopping": early_stopping}
    whole = plain((6,), max_iter=sum(epochs), **params).fit(X, y)
    parts = plain((6,), warm_start=True, **params)
    for n in epochs:
        parts = KEEPERS[keeper](parts.set_params(max_iter=n).fit(X, y), tmp_path)
    assert_same_training(whole, parts)


def test_without_warm_start_fit_starts_anew(iris):
    mlp = plain((6,), max_iter=3, random_state=0).fit(*iris)
    first = mlp.loss_curve_
    assert mlp.fit(*iris).loss_curve_ == first


def test_what_was_stopped_early_goes_on_only_with_more_patience(iris):
    mlp = plain(
        (6,), max_iter=50, early_stopping=True, n_iter_no_change=2, tol=0.5,
        warm_start=True, random_state=0,
    )  # fmt: skip
    n_iter = mlp.fit(*iris).n_iter_
    with pytest.warns(ConvergenceWarning, match=r"No epoch .* n_iter_no_change=2\."):
        assert mlp.fit(*iris).n_iter_ == n_iter < 50
    assert mlp.set_params(n_iter_no_change=4).fit(*iris).n_iter_ == n_iter + 2
    assert mlp.stop_reason_ == "early_stopping"
    mlp.set_params(early_stopping=False, max_iter=5).fit(*iris)
    assert mlp.n_iter_ == n_iter + 7


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
def test_an_equal_scorer_made_anew_goes_on_counting(iris):
    X, y = iris
    mlp = plain(
        (6,), max_iter=30, early_stopping=True, n_iter_no_change=2, tol=0.5,
        warm_start=True, random_state=0, scoring=make_scorer(accuracy_score),
    ).fit(X, y)  # fmt: skip
    n_iter = mlp.n_iter_
    mlp.set_params(scoring=make_scorer(accuracy_score))
    with pytest.warns(ConvergenceWarning, match="No epoch was trained"):
        assert mlp.fit(X, y).n_iter_ == n_iter
    mlp.set_params(scoring=make_scorer(balanced_accuracy_score))
    assert mlp.fit(X, y).n_iter_ > n_iter


def test_a_scorer_that_nothing_asks_changes_nothing(iris):
    mlp = plain(
        (6,), learning_rate="adaptive", n_iter_no_change=2, tol=1e-2, max_iter=30,
        warm_start=True, random_state=0,
    ).fit(*iris)  # fmt: skip
    other = copy.deepcopy(mlp).set_params(scoring=None)
    assert_array_equal(other.fit(*iris).coefs_[0], mlp.fit(*iris).coefs_[0])


def test_edited_weights_and_another_scorer_start_another_count(iris):
    X, y = iris
    data = {"X_val": X[::3], "y_val": y[::3]}
    mlp = plain(
        (6,), max_iter=30, early_stopping=True, n_iter_no_change=2, tol=0.5,
        warm_start=True, random_state=0, scoring=hundredfold,
    ).fit(X, y, **data)  # fmt: skip
    assert mlp.stop_reason_ == "early_stopping"
    other = copy.deepcopy(mlp).set_params(scoring=less_than_nothing).fit(X, y, **data)
    new = other.validation_scores_[mlp.n_iter_ :]
    assert other.best_validation_score_ == max(new) < 0
    mlp.coefs_[0] *= 0.5
    n_iter = mlp.n_iter_
    mlp.fit(X, y, **data)
    assert mlp.best_iter_ > n_iter
    assert mlp.best_validation_score_ == max(mlp.validation_scores_[n_iter:])


@pytest.mark.parametrize(
    "params",
    [
        {},
        {"early_stopping": True},
        {"learning_rate": "adaptive", "tol": 0.1, "n_iter_no_change": 1},
    ],
)
def test_a_scorer_may_keep_copy_and_go_on_training_what_it_gets(iris, params):
    X, y = iris
    given = []

    def keep(estimator, X, y):
        given.append([estimator, copy.deepcopy(estimator), copy.copy(estimator)])
        return -float(len(given))  # the first is the best

    common = {"batch_size": 32, "random_state": 0, **params}
    mlp = plain((6,), max_iter=2, warm_start=True, scoring=keep, **common)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        for _ in range(2):  # from the start, and on
            mlp.fit(X, y, X_val=X[::3], y_val=y[::3])
        whole = plain((6,), max_iter=4, **common | {"early_stopping": False})
        whole.fit(X, y)
        for n_iter, kept in enumerate(given, start=1):
            for other in kept:
                assert other.n_iter_ == n_iter
                assert other.loss_curve_ == mlp.loss_curve_[:n_iter]
                *scores, last = other.validation_scores_
                assert scores == mlp.validation_scores_[: n_iter - 1]
                assert np.isnan(last)  # which is being made
                other.set_params(scoring="loss", early_stopping=False)
                other = pickle.loads(pickle.dumps(other))
                if n_iter < 4:
                    other.set_params(max_iter=4 - n_iter)
                    other.fit(X, y, X_val=X, y_val=y)
                    assert len(other.validation_scores_) == 4
                assert_array_equal(other.coefs_[0], whole.coefs_[0])
    assert len(given) == 4


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
def test_what_a_scorer_gets_counts_anew(iris):
    """Its best weights are those of an epoch that it has not got."""
    X, y = iris
    given = []

    def keep(estimator, X, y):
        given.append(copy.copy(estimator))
        return -float(len(given))

    mlp = plain((6,), max_iter=3, early_stopping=True, scoring=keep, random_state=0)
    assert mlp.fit(X, y).best_iter_ == 1
    other = given[2].set_params(warm_start=True)
    assert other.best_iter_ is None
    assert other.fit(X, y).best_iter_ == 4


def test_a_scorer_that_changes_what_it_gets_leaves_the_training_alone(iris):
    def spoil(estimator, X, y):
        estimator.coefs_[0][:] = 0
        estimator.loss_curve_.append(9.0)
        return 0.0

    params = {"max_iter": 3, "random_state": 0}
    spoilt = plain((3,), scoring=spoil, **params)
    spoilt.fit(*iris, X_val=iris[0], y_val=iris[1])
    assert_array_equal(spoilt.coefs_[0], plain((3,), **params).fit(*iris).coefs_[0])
    assert len(spoilt.loss_curve_) == 3


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
def test_another_scoring_between_changes_nothing_that_is_stored(iris):
    mlp = plain(
        (6,), max_iter=3, early_stopping=True, scoring="accuracy", warm_start=True,
        random_state=0,
    ).fit(*iris)  # fmt: skip
    other = pickle.loads(pickle.dumps(mlp.set_params(scoring="loss")))
    for one in (mlp, other):
        one.set_params(scoring="accuracy").fit(*iris)
    assert_same_training(mlp, other)


def test_an_old_scorer_need_not_be_stored(iris):
    mlp = plain((3,), max_iter=2, scoring=lambda *_: 0.0, random_state=0).fit(*iris)
    mlp.set_params(scoring="loss", warm_start=True)
    other = pickle.loads(pickle.dumps(mlp))
    assert_same_training(mlp.fit(*iris), other.fit(*iris))


def test_a_class_weight_that_is_refused_can_be_copied():
    for wrong in ([1, 2], [["a", 1.0]], "none"):
        mlp = copy.deepcopy(plain(class_weight=wrong))
        assert mlp.class_weight == pickle.loads(pickle.dumps(mlp)).class_weight == wrong


def hundredfold(estimator, X, y):
    return 100 * estimator.score(X, y)


def less_than_nothing(estimator, X, y):
    return estimator.score(X, y) - 2


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_without_early_stopping_the_last_weights_go_on(iris, method):
    """Once it is switched off, the best epoch of the past is no longer restored."""
    X, y = iris
    mlp = plain(
        (6,), batch_size=None, max_iter=30, early_stopping=True, n_iter_no_change=2,
        validation_fraction=None, tol=0.5, warm_start=True, random_state=0,
    ).fit(X, y)  # fmt: skip
    mlp.set_params(early_stopping=False, max_iter=1)
    getattr(mlp, method)(X, y)
    whole = plain((6,), batch_size=None, max_iter=mlp.n_iter_, random_state=0)
    assert_same_training(mlp, whole.fit(X, y))
    assert mlp.best_validation_score_ is None


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
def test_what_is_watched_anew_has_its_own_best(iris):
    """Accuracies, losses and the training loss have no common best."""
    X, y = iris
    data = {"X_val": X[::3], "y_val": y[::3]}
    mlp = plain(
        (6,), early_stopping=True, scoring="accuracy", tol=0.0, max_iter=5,
        warm_start=True, random_state=0,
    ).fit(X, y, **data)  # fmt: skip
    mlp.set_params(scoring="loss").fit(X, y, **data)
    assert mlp.best_validation_score_ == max(mlp.validation_scores_[5:]) < 0
    assert mlp.best_iter_ > 5
    mlp = plain(
        (6,), learning_rate="adaptive", max_iter=9, warm_start=True, random_state=0
    ).fit(X, y)
    mlp.set_params(early_stopping=True).fit(X, y)
    assert mlp.best_validation_score_ == np.nanmax(mlp.validation_scores_)


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
@pytest.mark.parametrize("kind", [np.asarray, csr_array])
def test_other_validation_data_have_their_own_best(iris, kind):
    X, y = iris
    mlp = plain(
        (6,), early_stopping=True, max_iter=5, warm_start=True, random_state=0
    ).fit(X, y, X_val=kind(X[::3]), y_val=y[::3])
    other = {"X_val": kind(X[::3]), "y_val": (y[::3] + 1) % 3}  # far worse
    mlp.fit(X, y, **other)
    best = mlp.best_validation_score_
    assert best == max(mlp.validation_scores_[5:]) < mlp.validation_scores_[4]
    mlp.fit(X, y, **other)  # the same again: the best so far still counts
    assert mlp.best_validation_score_ == max(mlp.validation_scores_[5:]) >= best


def test_generators_of_other_kinds(iris):
    def make(max_iter, warm_start=False):
        generator = np.random.RandomState(np.random.PCG64(3))
        return plain(
            (6,), batch_size=20, max_iter=max_iter, random_state=generator,
            warm_start=warm_start,
        ).fit(*iris)  # fmt: skip

    whole = make(5)
    assert_same_training(whole, make(2, True).set_params(max_iter=3).fit(*iris))
    pickle.loads(pickle.dumps(whole)).predict(iris[0])


def test_another_schedule_forgets_how_far_adaptive_has_shrunk(iris):
    X, y = iris
    mlp = plain(
        (6,), learning_rate="adaptive", tol=9.0, n_iter_no_change=1, max_iter=9,
        momentum=0.0, warm_start=True, random_state=0,
    ).fit(X, y)  # fmt: skip
    same = copy.deepcopy(mlp).set_params(learning_rate="constant", max_iter=1)
    before = [coef.copy() for coef in mlp.coefs_]
    mlp.set_params(max_iter=1).fit(X, y)
    same.fit(X, y)
    shrunk, full = (np.abs(m.coefs_[0] - before[0]).max() for m in (mlp, same))
    assert full > 4 * shrunk > 0


def test_random_state_objects_continue_their_own_stream(iris):
    whole = plain(
        (6,), batch_size=20, max_iter=5, random_state=np.random.RandomState(3)
    ).fit(*iris)
    parts = plain(
        (6,), batch_size=20, max_iter=2, random_state=np.random.RandomState(3)
    ).set_params(warm_start=True)
    parts.fit(*iris).set_params(max_iter=3).fit(*iris)
    assert_same_training(whole, parts)


def test_validation_curves_go_on(iris):
    X, y = iris
    data = {"X_val": X[::3], "y_val": y[::3]}
    whole = plain((6,), max_iter=5, random_state=0).fit(X, y, **data)
    parts = plain((6,), max_iter=2, random_state=0, warm_start=True)
    parts.fit(X, y, **data).set_params(max_iter=3).fit(X, y, **data)
    assert_same_training(whole, parts)
    parts.fit(X, y)  # three epochs that nobody watched
    assert parts.n_iter_ == 8
    assert_array_equal(np.isnan(parts.validation_scores_), [False] * 5 + [True] * 3)
    late = plain((6,), max_iter=2, random_state=0, warm_start=True)
    late.fit(X, y).fit(X, y, **data)
    assert_array_equal(np.isnan(late.validation_scores_), [True] * 2 + [False] * 2)


def test_a_batch_may_lack_a_class(iris):
    X, y = iris
    names = np.array(["a", "b", "c"])[y]
    mlp = plain((6,), random_state=0)
    mlp.partial_fit(X[:50], names[:50], classes=["c", "a", "b"])
    for _ in range(200):
        for rows in (slice(0, 60), slice(40, 110), slice(100, 150)):
            mlp.partial_fit(X[rows], names[rows])
    assert mlp.n_iter_ == 601
    assert mlp.score(X, names) > 0.8
    warm = plain((6,), max_iter=2, warm_start=True).fit(X, names)
    assert warm.fit(X[:60], names[:60]).n_iter_ == 4


def test_partial_fit_continues_a_fit(iris):
    mlp = plain((6,), max_iter=4, batch_size=32, random_state=0)
    whole = copy.deepcopy(mlp).set_params(max_iter=5).fit(*iris)
    assert_same_training(whole, mlp.fit(*iris).partial_fit(*iris))


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
    mlp.set_params(**change)
    with pytest.raises(ValueError, match=said):
        getattr(mlp, method)(X, y)
    mlp.set_params(**{name: before[name] for name in change})
    after = vars(mlp)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    getattr(mlp, method)(*iris)  # and it goes on


def test_partial_fit_says_what_it_needs(iris):
    X, y = iris
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        plain().partial_fit(X, y)
    with pytest.raises(ValueError, match="does not support early_stopping=True"):
        plain(early_stopping=True).partial_fit(X, y, [0, 1, 2])
    mlp = plain().partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"classes=\[0, 1\] is not the same"):
        mlp.partial_fit(X, y, classes=[0, 1])
    with pytest.raises(ValueError, match=r"y has the labels \[5\]"):
        plain().partial_fit(X, [5] * 150, classes=[0, 1, 2])


def test_cosine_continues_an_interrupted_run(iris):
    """Its length is the epochs done before plus max_iter: what remains is asked for."""

    X, y = iris
    common = {"learning_rate": "cosine", "batch_size": 32, "random_state": 0}
    whole = plain((6,), max_iter=8, **common).fit(X, y)
    calls = []

    def interrupt_third(estimator, X, y):
        calls.append(1)
        if len(calls) == 4:
            raise KeyboardInterrupt
        return 0.0

    mlp = plain((6,), max_iter=8, warm_start=True, scoring=interrupt_third, **common)
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(X, y, X_val=X, y_val=y)
    assert mlp.n_iter_ == 3
    mlp.set_params(max_iter=5).fit(X, y)
    assert mlp.loss_curve_ == whole.loss_curve_


def test_the_kept_state_is_plain(iris):
    """Arrays, numbers, strings and containers of them: nothing else to trust."""

    def kinds(value):
        if isinstance(value, dict):
            return set().union(*map(kinds, value.values()))
        if isinstance(value, list | tuple):
            return set().union(*map(kinds, value)) if value else set()
        return {type(value)}

    mlp = plain((6,), max_iter=2, random_state=0).fit(*iris)
    allowed = {np.ndarray, float, int, bool, str, type(None)}
    assert kinds(vars(mlp)) <= allowed
