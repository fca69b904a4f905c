"""The joblib backend: bit for bit what the same code gives without it."""

import contextlib
import os
import random
import signal
import subprocess
import sys
import threading
import time
import warnings

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from scipy.stats import loguniform
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.ensemble import BaggingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_info

from skmlp import MomentumMLPClassifier, _meeting, _training


def stacked(**params):
    return joblib.parallel_config(backend="skmlp", **params)


@pytest.fixture(params=["threads", "processes"])
def where(request, monkeypatch):
    """Whether stacks are trained here or, however small, in other processes."""
    if request.param == "processes":
        monkeypatch.setattr(_meeting, "PROCESS_FLOPS", 0)


@pytest.fixture(scope="module")
def data(digits):
    return digits[0][:303] / 16, digits[1][:303]


def make(**params):
    return MomentumMLPClassifier(
        **({"hidden_layer_sizes": (8,), "max_iter": 4, "random_state": 0} | params)
    )


def assert_same_networks(a, b):
    assert a.loss_curve_ == b.loss_curve_
    for one, other in zip(
        a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True
    ):
        assert one.dtype == other.dtype
        assert_array_equal(one, other)


def assert_same_search(plain, other):
    scores = [
        name
        for name in plain.cv_results_
        if "score" in name and "time" not in name and "rank" not in name
    ]
    for name in scores:
        assert_array_equal(plain.cv_results_[name], other.cv_results_[name])
    assert plain.best_params_ == other.best_params_


GRIDS = {
    "full batch": ({"batch_size": None}, {"alpha": [0.1, 1.0, 5.0]}),
    "mini-batch": ({"batch_size": 32}, {"alpha": [0.1, 1.0, 5.0]}),
    "rates and momenta": (
        {"batch_size": 50},
        {"learning_rate_init": [0.01, 0.3], "momentum": [0.0, 0.9]},
    ),
    "seeds": ({"batch_size": 50}, {"random_state": [0, 1, 2]}),
    "schedules": (
        {"batch_size": 50, "n_iter_no_change": 1, "tol": 1.0},
        {"learning_rate": ["constant", "invscaling", "adaptive", "cosine"]},
    ),
    "nesterov and shapes": (
        {"batch_size": 64},
        {"nesterovs_momentum": [False, True], "hidden_layer_sizes": [(4,), (6, 5)]},
    ),
    "early stopping": (
        {"early_stopping": True, "max_iter": 30, "n_iter_no_change": 2, "tol": 0.05},
        {"alpha": [0.1, 30.0], "validation_fraction": [0.2, None]},
    ),
    "early stopping by a scorer": (
        {"early_stopping": True, "max_iter": 20, "scoring": "accuracy"},
        {"n_iter_no_change": [2, 5]},
    ),
    "class weights": (
        {"batch_size": 40},
        {"class_weight": [None, "balanced", {k: 1 + k for k in range(10)}]},
    ),
    "epochs": ({"batch_size": 40}, {"max_iter": [1, 3, 7]}),
}


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", GRIDS)
def test_grid_search_is_the_same_bit_for_bit(data, name, dtype, where):
    params, grid = GRIDS[name]
    X, y = data[0].astype(dtype), data[1]
    search = GridSearchCV(
        make(**params), grid, cv=3, return_train_score=True, error_score="raise"
    )
    plain = clone(search).fit(X, y)
    with stacked():
        other = clone(search).fit(X, y)
    assert_same_search(plain, other)
    assert_same_networks(plain.best_estimator_, other.best_estimator_)


def test_networks_of_every_fold_are_the_same(data, where):
    X, y = data
    pipe = make_pipeline(StandardScaler(), make(batch_size=32))
    options = {"cv": 4, "return_estimator": True}  # folds of unequal size
    plain = cross_validate(pipe, X, y, **options)
    with stacked():
        other = cross_validate(pipe, X, y, **options)
    for a, b in zip(plain["estimator"], other["estimator"], strict=True):
        assert_same_networks(a[-1], b[-1])


def test_sample_weights(data, where):
    X, y = data
    weight = np.random.RandomState(0).randint(0, 4, len(y)).astype(float)
    search = GridSearchCV(make(batch_size=32), {"alpha": [0.1, 1.0]}, cv=3)
    plain = clone(search).fit(X, y, sample_weight=weight)
    with stacked():
        other = clone(search).fit(X, y, sample_weight=weight)
    assert_same_search(plain, other)


def test_warm_starts(data, where):
    """Fits that go on, from different epochs, in one stack."""
    X, y = data

    def trained():
        mlps = [
            make(max_iter=k, warm_start=True, batch_size=32).fit(X, y)
            for k in (1, 2, 3)
        ]
        return joblib.Parallel(n_jobs=2)(joblib.delayed(mlp.fit)(X, y) for mlp in mlps)

    with joblib.parallel_config(backend="threading"):
        plain = trained()
    with stacked():
        other = trained()
    for a, b in zip(plain, other, strict=True):
        assert a.n_iter_ == b.n_iter_ > 1
        assert_same_networks(a, b)


@pytest.mark.parametrize(
    "run",
    [
        lambda X, y: (
            RandomizedSearchCV(
                make(), {"alpha": loguniform(0.01, 10)}, n_iter=4, cv=3, random_state=0
            )
            .fit(X, y)
            .cv_results_["mean_test_score"]
        ),
        lambda X, y: cross_val_predict(make(), X, y, cv=3, method="predict_proba"),
        lambda X, y: np.array(
            learning_curve(make(), X, y, cv=3, train_sizes=[0.3, 0.8])[1:]
        ),
        lambda X, y: (
            BaggingClassifier(make(), 5, random_state=0).fit(X, y).predict_proba(X)
        ),
        lambda X, y: OneVsRestClassifier(make(), n_jobs=2).fit(X, y).predict_proba(X),
        lambda X, y: cross_val_predict(
            GridSearchCV(make(), {"alpha": [0.1, 1.0]}, cv=2), X, y, cv=3
        ),
    ],
    ids=["randomized", "predict", "learning curve", "bagging", "one vs rest", "nested"],
)
def test_other_tools_give_the_same(data, run):
    plain = run(*data)
    with stacked():
        assert_array_equal(run(*data), plain)


def test_sparse(data, where):
    X, y = data
    search = GridSearchCV(make(batch_size=32), {"alpha": [0.1, 1.0]}, cv=3)
    plain = clone(search).fit(csr_array(X), y)
    with stacked():
        other = clone(search).fit(csr_array(X), y)
    assert_same_search(plain, other)
    assert_same_networks(plain.best_estimator_, other.best_estimator_)


# -- what is trained together ------------------------------------------------------


@pytest.fixture
def trained_together(monkeypatch):
    """The stacks that were trained, each a list of tasks."""
    stacks, train = [], _meeting.train

    def spy(tasks, *args):
        stacks.append(list(tasks))
        train(tasks, *args)

    monkeypatch.setattr(_meeting, "train", spy)
    return stacks


def test_fits_in_flight_become_stacks_and_equal_data_is_held_once(
    data, trained_together
):
    X, y = data[0][:300], data[1][:300]
    with stacked(n_jobs=1):
        GridSearchCV(
            make(batch_size=32), {"alpha": np.logspace(-2, 1, 8)}, cv=5, refit=False
        ).fit(X, y)
    assert [len(stack) for stack in trained_together] == [40]
    assert len({id(task.X) for task in trained_together[0]}) == 5
    assert len({id(task.y) for task in trained_together[0]}) == 5


def test_more_tasks_than_width_come_in_waves(data, trained_together):
    X, y = data[0][:300], data[1][:300]
    search = GridSearchCV(make(), {"alpha": np.logspace(-2, 1, 6)}, cv=2, refit=False)
    plain = clone(search).fit(X, y)
    trained_together.clear()
    with stacked(n_jobs=1, width=5):
        other = clone(search).fit(X, y)
    assert_same_search(plain, other)
    assert sum(map(len, trained_together)) == 12
    assert max(map(len, trained_together)) == 5


def test_width_bounds_what_is_in_flight(data):
    X, y = data
    n_now = n_most = 0
    lock = threading.Lock()

    def task():
        nonlocal n_now, n_most
        with lock:
            n_now += 1
            n_most = max(n_most, n_now)
        make().fit(X, y)
        with lock:
            n_now -= 1

    with stacked(width=3):
        joblib.Parallel(n_jobs=2)(joblib.delayed(task)() for _ in range(10))
    assert n_most == 3


def test_bad_width_is_refused():
    with (
        pytest.raises(ValueError, match=r"width=0 .* expected an int >= 1"),
        stacked(width=0),
    ):
        pass


# -- several at once ---------------------------------------------------------------


def results_of(seeds, X, y, **params):
    return joblib.Parallel(**params)(joblib.delayed(fits)(X, y, s) for s in seeds)


@pytest.mark.timeout(60)
def test_two_of_one_context_may_be_alive(data):
    plain = results_of(range(3), *data), results_of(range(3, 6), *data)
    with stacked():
        first = results_of(range(3), *data, return_as="generator")
        second = results_of(range(3, 6), *data, return_as="generator")
        second = list(second)
        assert (list(first), second) == plain


@pytest.mark.timeout(60)
def test_a_search_between_the_results_of_a_generator(data):
    expected = cross_validate(make(), *data, cv=3)["test_score"]
    with stacked():
        results = results_of(range(4), *data, return_as="generator", pre_dispatch=2)
        for seed, result in enumerate(results):
            assert result == fits(*data, seed)
            assert_array_equal(
                cross_validate(make(), *data, cv=3)["test_score"], expected
            )


@pytest.mark.timeout(60)
def test_a_search_between_the_tasks_that_are_handed_over(data):
    expected = cross_validate(make(), *data, cv=3)["test_score"]

    def tasks():
        for seed in range(3):
            assert_array_equal(
                cross_validate(make(), *data, cv=3)["test_score"], expected
            )
            yield joblib.delayed(fits)(*data, seed)

    with stacked():
        assert joblib.Parallel()(tasks()) == [fits(*data, s) for s in range(3)]


@pytest.mark.timeout(120)
def test_results_that_nobody_takes_do_not_keep_python_from_ending():
    code = """
import joblib, numpy as np
from skmlp import MomentumMLPClassifier

def fit(seed):
    return MomentumMLPClassifier(max_iter=1).fit(np.eye(20), np.arange(20) % 2)

with joblib.parallel_config(backend="skmlp"):
    results = joblib.Parallel(return_as="generator")(
        joblib.delayed(fit)(seed) for seed in range(3)
    )
print("the end")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout) == (0, "the end\n"), done.stderr


# -- faults ------------------------------------------------------------------------


class Raises(ClassifierMixin, BaseEstimator):
    def fit(self, X, y):
        raise RuntimeError("this estimator never fits")


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_error_score_and_failing_fits(data):
    X, y = data
    search = GridSearchCV(
        make(), {"alpha": [0.1, -1.0, 1.0]}, cv=3, error_score=np.nan, refit=False
    )
    with stacked(), pytest.warns(Warning, match=r"3 fits failed"):
        search.fit(X, y)
    assert_array_equal(
        np.isnan(search.cv_results_["mean_test_score"]), [False, True, False]
    )


@pytest.mark.filterwarnings("ignore:One or more of the test scores are non-finite")
def test_a_diverging_member_leaves_the_others_alone(data, where):
    X, y = data
    search = GridSearchCV(
        make(activation="relu", batch_size=32),
        {"learning_rate_init": [0.01, 1e30, 0.02]},
        cv=3,
        refit=False,
    )
    with pytest.warns(Warning, match=r"3 fits failed(.|\n)*diverged"):
        plain = clone(search).fit(X, y)
    with stacked(), pytest.warns(Warning, match=r"3 fits failed(.|\n)*diverged"):
        other = clone(search).fit(X, y)
    assert_same_search(plain, other)


@pytest.mark.parametrize("what", ["fit", "scorer"])
def test_errors_surface_with_their_cause(data, what):
    X, y = data

    def broken_score(y, predicted):
        raise RuntimeError("this scorer never scores")

    if what == "fit":
        search = GridSearchCV(Raises(), {}, cv=3, error_score="raise")
    else:
        search = GridSearchCV(
            make(), {}, cv=3, error_score="raise", scoring=make_scorer(broken_score)
        )
    with stacked(), pytest.raises(RuntimeError, match="never") as caught:
        search.fit(X, y)
    assert "raise RuntimeError" in "".join(caught.value.__notes__)
    with stacked():  # and the next search is none the worse
        GridSearchCV(make(), {"alpha": [0.1]}, cv=2).fit(X, y)


def fits(X, y, seed):
    return make(random_state=seed, batch_size=32).fit(X, y).loss_curve_


def fits_twice(X, y, seed):
    return fits(X, y, seed), fits(X, y, seed + 1)


def fits_other_shape(X, y, seed):
    return make(hidden_layer_sizes=(3, 3), random_state=seed).fit(X, y).loss_curve_


def fits_other_class(X, y, seed):
    return LogisticRegression(max_iter=500).fit(X[:, :4], y > 4).coef_.tolist()


def fails(X, y, seed):
    with contextlib.suppress(ValueError):
        make(alpha=-1.0).fit(X, y)
    return "failed"


def fails_after_fit(X, y, seed):
    curve = fits(X, y, seed)
    with contextlib.suppress(ZeroDivisionError):
        _ = 1 / 0
    return curve


def ends_before_fit(X, y, seed):
    return "nothing to do"


def nests(X, y, seed):
    return joblib.Parallel(n_jobs=2)(
        joblib.delayed(fits)(X, y, seed + i) for i in range(2)
    )


def nests_threads(X, y, seed):
    return joblib.Parallel(n_jobs=2, backend="threading")(
        joblib.delayed(fits)(X, y, seed + i) for i in range(2)
    )


KINDS = [
    fits,
    fits_twice,
    fits_other_shape,
    fits_other_class,
    fails,
    fails_after_fit,
    ends_before_fit,
    nests,
    nests_threads,
]


@pytest.mark.timeout(300)
def test_a_thousand_random_mixtures_end_with_the_right_results(data):
    X, y = data[0][:60], data[1][:60]
    chance = random.Random(0)
    expected = {(kind, seed): kind(X, y, seed) for kind in KINDS for seed in range(3)}
    for _ in range(1000):
        tasks = [
            (chance.choice(KINDS), chance.randrange(3))
            for _ in range(chance.randint(1, 7))
        ]
        with stacked(n_jobs=1, width=chance.choice([1, 2, 3, 64])):
            results = joblib.Parallel()(
                joblib.delayed(kind)(X, y, seed) for kind, seed in tasks
            )
        assert results == [expected[task] for task in tasks]


@pytest.mark.timeout(120)
def test_random_mixtures_with_a_raising_task_raise_and_end(data):
    X, y = data[0][:60], data[1][:60]
    chance = random.Random(1)

    def raises(X, y, seed):
        raise RuntimeError("as it should")

    for _ in range(100):
        tasks = [(chance.choice(KINDS), i) for i in range(chance.randint(0, 5))]
        tasks.insert(chance.randint(0, len(tasks)), (raises, 0))
        with (
            stacked(n_jobs=1, width=chance.choice([1, 2, 64])),
            pytest.raises(RuntimeError, match="as it should"),
        ):
            joblib.Parallel()(joblib.delayed(kind)(X, y, seed) for kind, seed in tasks)


@pytest.mark.timeout(120)
def test_a_killed_process_loses_nothing(data, monkeypatch, trained_together):
    monkeypatch.setattr(_meeting, "PROCESS_FLOPS", 0)
    X, y = data
    search = GridSearchCV(
        make(batch_size=16, max_iter=300),
        {"alpha": np.logspace(-2, 0, 4)},
        cv=3,
        refit=False,
    )
    scores = clone(search).fit(X, y).cv_results_["mean_test_score"]
    trained_together.clear()

    def stacked_scores(max_iter=300):
        with stacked(n_jobs=2):
            other = clone(search).set_params(estimator__max_iter=max_iter).fit(X, y)
        return other.cv_results_["mean_test_score"]

    stacked_scores(max_iter=1)  # the processes are warm now
    assert trained_together == []  # and train everything
    victim, _ = list(_meeting.processes(2)._processes)
    killer = threading.Timer(0.2, os.kill, (victim, signal.SIGKILL))
    killer.start()
    assert_array_equal(stacked_scores(), scores)
    killer.join()
    assert trained_together != []  # what was lost was trained here
    trained_together.clear()
    assert_array_equal(stacked_scores(), scores)
    assert trained_together == []  # there are new processes
    assert victim not in _meeting.processes(2)._processes


@pytest.mark.timeout(120)
@pytest.mark.parametrize("flops", [0, 1e30], ids=["processes", "threads"])
def test_keyboard_interrupt_in_the_middle(data, monkeypatch, flops):
    monkeypatch.setattr(_meeting, "PROCESS_FLOPS", flops)
    X, y = data
    search = GridSearchCV(make(max_iter=100_000), {"alpha": [0.1, 1.0]}, cv=3)
    filters = list(warnings.filters)
    alarm = threading.Timer(1.5, os.kill, (os.getpid(), signal.SIGINT))
    alarm.start()
    start = time.monotonic()
    with pytest.raises(KeyboardInterrupt), stacked(n_jobs=2):
        search.fit(X, y)
    assert time.monotonic() - start < 30
    assert not [t for t in threading.enumerate() if t.name.startswith("skmlp")]
    assert list(warnings.filters) == filters
    with stacked(n_jobs=2):
        assert GridSearchCV(make(), {}, cv=2).fit(X, y).best_score_ > 0


# -- the rest of the world ---------------------------------------------------------


def test_nothing_global_changes(data):
    def world():
        threads = {lib["filepath"]: lib["num_threads"] for lib in threadpool_info()}
        return threads, np.geterr(), list(warnings.filters), warnings.showwarning

    before = world()
    for _ in range(5):
        with stacked(width=8):
            GridSearchCV(make(), {"alpha": [0.1, 1.0, 2.0]}, cv=3).fit(*data)
    assert world() == before


def test_warnings_inside_tasks_reach_the_caller(data):
    X, y = data
    with (
        stacked(),
        pytest.warns(Warning, match="early_stopping=True did not stop"),
    ):
        cross_validate(make(early_stopping=True, max_iter=3), X, y, cv=2)


def test_a_task_finds_its_own_warnings_filters_after_training(data):
    def task(action, seed):
        with warnings.catch_warnings():
            warnings.simplefilter(action)
            fits(*data, seed)
            return warnings.filters[0][0]

    before = list(warnings.filters)
    actions = ["error", "ignore", "always", "once"]
    with stacked():
        found = joblib.Parallel()(
            joblib.delayed(task)(action, seed) for seed, action in enumerate(actions)
        )
    assert found == actions
    assert list(warnings.filters) == before


def test_an_error_in_making_a_stack_stays_with_its_task(data, monkeypatch):
    """Such as a lack of memory: the others are then trained alone."""
    make_stack = _training.Stack

    def fails_for_one(tasks):
        if any(task.alpha == 7.0 for task in tasks):
            raise MemoryError("no room for this one")
        return make_stack(tasks)

    monkeypatch.setattr(_training, "Stack", fails_for_one)

    def task(alpha):
        try:
            return make(alpha=alpha).fit(*data).loss_curve_
        except MemoryError as error:
            return str(error)

    alphas = [0.1, 7.0, 1.0]
    with stacked():
        results = joblib.Parallel()(joblib.delayed(task)(alpha) for alpha in alphas)
    assert results == [task(alpha) for alpha in alphas]
    assert results[1] == "no room for this one"


def test_verbose_prints_each_networks_epochs(data, capsys):
    X, y = data
    with stacked():
        cross_validate(make(verbose=True, max_iter=3), X, y, cv=2)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Epoch 3/3: loss") for line in lines) == 2
    assert len(lines) == 6


@pytest.mark.parametrize("n_epochs", [3, 1])
def test_callbacks_inside_a_stack(data, n_epochs):
    """Each fit's own, as without the context: all epochs, and one may stop its fit."""
    callback = pytest.importorskip("sklearn.callback", reason="needs scikit-learn 1.9")
    assert callback is not None
    from test_progress import Recorder

    def task(alpha):
        recorder = Recorder(stop_after=n_epochs)
        mlp = make(alpha=alpha, max_iter=3).set_callbacks(recorder).fit(*data)
        return recorder.events, mlp.stop_reason_, mlp.loss_curve_

    alphas = [0.1, 1.0, 5.0]
    with stacked():
        results = joblib.Parallel()(joblib.delayed(task)(alpha) for alpha in alphas)
    assert results == [task(alpha) for alpha in alphas]
    assert len(results[0][2]) == n_epochs


def test_scorers_see_finished_estimators(data):
    X, y = data

    def score(estimator, X, y):
        assert estimator.n_iter_ == 4
        return accuracy_score(y, estimator.predict(X))

    with stacked():
        result = cross_validate(make(), X, y, cv=3, scoring=score, error_score="raise")
    assert (result["test_score"] >= 0).all()
