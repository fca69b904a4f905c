"""BLAS's threads: one where more would cost, the caller's at all other times, whatever
ends a call: its return, an error, Ctrl-C, a fork."""

import _thread
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import (
    assert_same_network,
    interrupt_at,
    needs_fork,
    replace_kernel,
    run_python,
)
from joblib import parallel_config
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from settings import plain
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

from skmlp import _epoch, _prediction, _threads
from skmlp._network import Architecture
from skmlp._team import Team


def blas_limits():
    return {
        lib["num_threads"]
        for lib in threadpool_info()
        if lib["internal_api"] == "openblas" and lib["threading_layer"] != "openmp"
    }


pytestmark = pytest.mark.skipif(
    not blas_limits(), reason="no BLAS with threads of its own"
)


def in_another_thread(function):
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


@pytest.fixture(autouse=True)
def two_blas_threads():
    """BLAS may use two threads, and no thread is in a context that limits it."""
    limit = in_another_thread(lambda: threadpool_limits(2, user_api="blas"))
    assert blas_limits() == {2}
    yield
    assert blas_limits() == {2}
    in_another_thread(limit.restore_original_limits)


@pytest.mark.parametrize("limit", [1, 2, 3])
def test_a_call_has_one_thread_and_gives_back_what_it_found(limit):
    def calls():
        seen.append(_threads.call(blas_limits))
        with pytest.raises(ZeroDivisionError):
            _threads.call(lambda: 1 / 0)
        seen.append(blas_limits())

    def as_in_a_signals_handler():  # which predicts in the middle of a training
        _threads.call(list)
        return blas_limits()

    seen = []
    with threadpool_limits(limit, user_api="blas"):
        calls()
        in_another_thread(calls)
        assert _threads.call(as_in_a_signals_handler) == {1}
    assert seen == 2 * [{1}, {limit}]


@pytest.mark.parametrize("batch_size", [10, 900])
def test_fits_and_predictions_have_it_so(rng, monkeypatch, batch_size):
    seen, during = {"train_rows": [], "predict_rows": []}, []

    def spy_on(name):
        def spy(kernel, *args):
            seen[name].append(blas_limits())
            return kernel(*args)

        replace_kernel(monkeypatch, name, spy)

    def scorer(estimator, X, y):
        during.append(blas_limits())
        return estimator.score(X, y)

    def limit():
        with threadpool_limits(1, user_api="blas"):
            return blas_limits()

    spy_on("train_rows")
    spy_on("predict_rows")
    X, y = rng.normal(size=(900, 100)), np.arange(900) % 2
    mlp = plain((40,), batch_size=batch_size, max_iter=1, scoring=scorer)
    mlp.fit(X, y, X_val=X[:batch_size], y_val=y[:batch_size])
    # The loss of the validation data, what the scorer predicts (and then, as next to
    # nothing was learned, what is looked at to say so).
    for limits in seen.values():
        assert set.union(*limits) == {1}
    assert during == [{2}]  # code of the user's finds what the user set
    assert in_another_thread(limit) == {1}  # others can limit BLAS after it


def test_the_last_of_several_threads_gives_back():
    inside, short_ends, long_ends = (threading.Barrier(2, timeout=60) for _ in range(3))

    def stay(end):
        inside.wait()
        end.wait()

    with ThreadPoolExecutor(2) as pool:
        short = pool.submit(_threads.call, stay, short_ends)
        pool.submit(_threads.call, stay, long_ends)
        short_ends.wait()
        short.result()
        assert blas_limits() == {1}
        long_ends.wait()
    assert blas_limits() == {2}


# -- interrupts ----------------------------------------------------------------------

SOURCE = Path(_threads.__file__).read_text().splitlines()


def can_be_interrupted(frame):
    """A line of _threads.py, but not one in the lock, or where it is left: CPython
    takes no signal between the end of a with block of a lock and its release."""
    if frame.f_code.co_filename != _threads.__file__:
        return False
    is_lock = "with _lock" in SOURCE[frame.f_lineno - 1]
    return not (is_lock and _threads._lock._is_owned())


def test_an_interrupt_at_any_line_leaves_the_limits_as_they_were():
    """At once or, where it comes while they are restored, after the next call."""
    n, n_restored = 1, 0
    while interrupt_at(n, lambda: _threads.call(int), can_be_interrupted):
        assert not _threads._lock._is_owned()
        n_restored += blas_limits() == {2}
        _threads.call(int)
        assert blas_limits() == {2}, n
        n += 1
    assert n > 20
    assert n_restored > n / 2


# One may come in a callback of the garbage collector: hypothesis has one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_real_interrupts(digits):
    """At random moments of short trainings."""
    X, y = digits[0][:300], digits[1][:300]
    mlp = plain((30,), batch_size=300, max_iter=3).fit(X, y)
    stop, waits = threading.Event(), np.random.RandomState(0)
    n_interrupts, is_fitting = 0, False

    def interrupt(*args):
        nonlocal is_fitting
        if is_fitting:
            is_fitting = False
            raise KeyboardInterrupt

    def press():
        while not stop.wait(waits.uniform(0.0005, 0.004)):
            _thread.interrupt_main()

    presser = threading.Thread(target=press)
    handler = signal.signal(signal.SIGINT, interrupt)
    presser.start()
    try:
        while n_interrupts < 150:
            try:
                is_fitting = True
                mlp.fit(X, y)
                is_fitting = False
            except KeyboardInterrupt:
                n_interrupts += 1
    finally:
        is_fitting = False
        stop.set()
        presser.join()
        signal.signal(signal.SIGINT, handler)
    mlp.fit(X, y)  # would heal, and need not
    assert blas_limits() == {2}


# -- forks ---------------------------------------------------------------------------

FORKING = """
import os, signal, sys, threading, time, warnings
import numpy as np
from numba.core import event
from threadpoolctl import threadpool_info, threadpool_limits
from skmlp import MomentumMLPClassifier, _epoch, _threads
warnings.simplefilter("ignore")  # forking beside threads
threadpool_limits(2, user_api="blas")
X, y = np.random.RandomState(0).normal(size=(300, 64)), np.arange(300) % 10

def limits():
    blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return {lib["num_threads"] for lib in blas}

def fit(**params):
    params = {"batch_size": 300, "max_iter": 3, "random_state": 0, "alpha": 0} | params
    return MomentumMLPClassifier((48, 32), **params).fit(X, y, X_val=X, y_val=y)

def fork(child):
    pid = os.fork()
    if pid == 0:
        signal.alarm(250)  # ends it
        os._exit(0 if child() else 1)
    return pid

def is_good(pid):
    return os.waitpid(pid, 0)[1] == 0

def good_forks_beside(function, n, child):
    def keep_calling():
        while not stop.is_set():
            function()

    stop = threading.Event()
    threads = [threading.Thread(target=keep_calling) for _ in range(3)]
    for thread in threads:
        thread.start()
    n_good = sum(is_good(fork(child)) for _ in range(n))
    stop.set()
    for thread in threads:
        thread.join()
    return n_good
"""

BESIDE_FITS = """
def child():
    return limits() == {2} and fit().loss_ == expected and limits() == {2}

expected = fit().loss_
print(good_forks_beside(fit, 40, child), limits())
"""

BESIDE_CALLS = """
def call():
    return _threads.call(list) == []

call()
print(good_forks_beside(call, int(sys.argv[1]), lambda: is_good(fork(call))))
"""

BESIDE_A_FIRST_FIT = """
passes = event.RecordingListener()
event.register("numba:run_pass", passes)
first = threading.Thread(target=fit)
first.start()
while first.is_alive() and not passes.buffer:
    time.sleep(0.01)
children = [fork(fit) for _ in range(3)]
print(sum(map(is_good, children)))
"""


@needs_fork
def test_children_forked_beside_fitting_threads_start_clean():
    assert run_python(FORKING + BESIDE_FITS) == "40 {2}\n"


@needs_fork
def test_a_fork_waits_until_nobody_sets_blas_threads():
    """BLAS has a lock of its own while its number is set. (1 of 356 hung without.)
    Children have children, too."""
    n_forks = os.environ.get("SKMLP_FORKS", "60")
    assert run_python(FORKING + BESIDE_CALLS, n_forks) == f"{n_forks}\n"


@needs_fork
def test_a_fork_waits_while_the_kernels_are_compiled(tmp_path):
    done = run_python(FORKING + BESIDE_A_FIRST_FIT, NUMBA_CACHE_DIR=tmp_path)
    assert done == "3\n"


# -- searches ------------------------------------------------------------------------


def test_searches_in_processes_and_threads_give_the_numbers_of_one(digits):
    X, y = digits[0][:500] / 16, digits[1][:500]

    def search(n_jobs):
        grid = {"alpha": [0.1, 1.0], "batch_size": [32, None]}
        mlp = plain(max_iter=4, random_state=0)
        return GridSearchCV(mlp, grid, cv=3, n_jobs=n_jobs, scoring="neg_log_loss")

    one, processes = (search(n).fit(X, y) for n in (1, 2))
    with parallel_config("threading"):
        threads = search(2).fit(X, y)
    for other in (processes, threads):
        for name in ("split0_test_score", "mean_test_score"):
            assert_array_equal(one.cv_results_[name], other.cv_results_[name])
        assert_same_network(one.best_estimator_, other.best_estimator_)


# -- training ------------------------------------------------------------------------


def meet_in(monkeypatch, kernel, n_threads):
    """Let the first n_threads that call a kernel wait for each other; the set of all
    that call it."""
    seen, meet = set(), threading.Barrier(n_threads)

    def spy(original, *args):
        if threading.get_ident() not in seen:
            seen.add(threading.get_ident())
            meet.wait(timeout=60)
        return original(*args)

    replace_kernel(monkeypatch, kernel, spy)
    return seen


@pytest.fixture
def small_groups(monkeypatch):
    """A group of a batch goes to a thread, however little there is to do."""
    monkeypatch.setattr(_epoch, "ROWS_OF_TWO", 16)
    monkeypatch.setattr(_epoch, "GROUP_FLOPS", 1)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("batch_size", [None, 130])
def test_trainings_are_the_same_however_many_threads(
    rng, small_groups, container, dtype, batch_size
):
    X = container(rng.poisson(0.5, size=(500, 30)).astype(dtype))
    y, weight = np.arange(500) % 3, rng.uniform(1, 2, 500)
    results, before = [], threading.active_count()
    for n_threads in (1, 2, 3):
        with threadpool_limits(n_threads, user_api="blas"):
            mlp = plain((9, 8), batch_size=batch_size, max_iter=3, standardize=True)
            mlp.set_params(random_state=0).fit(X, y, weight)
        results.append([*mlp.loss_curve_, *np.concatenate(mlp.coefs_, axis=None)])
        assert threading.active_count() == before
        assert_array_equal(results[0], results[-1])


def test_groups_of_a_batch_go_to_several_threads(rng, small_groups, monkeypatch):
    seen = meet_in(monkeypatch, "train_rows", 2)
    plain(batch_size=64, max_iter=1).fit(rng.normal(size=(64, 3)), np.arange(64) % 2)
    assert len(seen) == 2


def test_threads_end_with_their_team():
    """An interrupt may come before the `with` block that would end them."""
    team = Team(3)
    assert team.map(abs, [-1, -2]) == [1, 2]
    threads = team.threads
    assert len(threads) == 2
    del team
    for thread in threads:
        thread.join(timeout=60)
        assert not thread.is_alive()


def test_an_error_in_a_thread_of_training_is_raised(rng, small_groups, monkeypatch):
    def fails(kernel, *args):
        if threading.current_thread() is not threading.main_thread():
            raise MemoryError("no room")
        time.sleep(0.01)  # so that the other thread has a turn
        return kernel(*args)

    before = threading.active_count()
    replace_kernel(monkeypatch, "train_rows", fails)
    mlp = plain(batch_size=None, max_iter=500)
    with pytest.raises(MemoryError, match="no room"):
        mlp.fit(rng.normal(size=(64, 3)), np.arange(64) % 2)
    assert not hasattr(mlp, "coefs_")
    assert threading.active_count() == before


def test_an_interrupt_ends_the_work_of_all_threads():
    """Nobody begins another turn, and long ones may look whether to end."""
    n_done = []

    def work(turn):
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt
        while not team.has_failed:
            time.sleep(0.001)
        n_done.append(turn)

    with Team(2) as team:
        with pytest.raises(KeyboardInterrupt):
            team.map(work, range(10_000))
        assert len(n_done) <= 1
    with Team(2) as team:  # it may come while work is handed over
        team.work.put(lambda: work(0))
    assert not any(thread.is_alive() for thread in team.threads)


IN_A_FIT = """
def scoring(mlp, X, y):
    if not children:
        children.append(os.fork())
        signal.alarm(250)  # ends it
    return mlp.n_iter_

_epoch.ROWS_OF_TWO, _epoch.GROUP_FLOPS, children = 16, 1, []
n_iter = fit(max_iter=5, scoring=scoring).n_iter_
if children[0] == 0:
    os._exit(n_iter)
print(n_iter, os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
"""


@needs_fork
def test_a_child_that_is_forked_in_a_fit_goes_on_with_it():
    assert run_python(FORKING + IN_A_FIT) == "5 5\n"


# -- prediction ----------------------------------------------------------------------


@pytest.fixture
def fitted(digits, monkeypatch):
    monkeypatch.setattr(_prediction, "BLOCK_ELEMENTS", 1)  # 64 rows
    monkeypatch.setattr(_prediction, "THREAD_FLOPS", 1)
    X, y = digits
    return plain(max_iter=1, random_state=0).fit(X, y), X


def test_blocks_are_predicted_in_as_many_threads_as_blas_may_use(fitted, monkeypatch):
    mlp, X = fitted
    results = []
    for n_threads in (1, 2):
        with (
            threadpool_limits(n_threads, user_api="blas"),
            monkeypatch.context() as patch,
        ):
            seen = meet_in(patch, "predict_rows", n_threads)
            results.append(mlp.predict_proba(X))
        assert len(seen) == n_threads
    assert_array_equal(*results)


@pytest.mark.parametrize("n_rows", [1100, 2500])  # one block, and several
def test_predictions_are_the_same_however_many_threads_blas_may_use(rng, n_rows):
    """Which BLAS would share out else, rounding otherwise."""
    X = rng.normal(size=(n_rows, 783))
    mlp = plain((100,), max_iter=1, batch_size=32, random_state=0)
    mlp.fit(X, np.arange(n_rows) % 10)
    results = []
    for n_threads in (1, 2):
        with threadpool_limits(n_threads, user_api="blas"):
            results.append(mlp.predict_proba(X))
    assert_array_equal(*results)


def test_an_error_in_a_thread_of_prediction_is_raised(fitted, monkeypatch):
    fails = Mock(side_effect=MemoryError("no room"))
    replace_kernel(monkeypatch, "predict_rows", fails)
    with pytest.raises(MemoryError, match="no room"):
        fitted[0].predict(fitted[1])


def test_of_scores_that_overflow_the_first_rows_are_named(fitted, digits):
    X = fitted[1].copy()
    mlp = plain((), max_iter=1).fit(X, digits[1])
    X[[300, 1500]] = 1e308
    with pytest.raises(ValueError, match="scores of rows 256 to 319 are not finite"):
        mlp.predict(X)


def test_a_difference_of_scores_that_overflows_warns_in_no_thread(fitted, digits):
    """NumPy's error state does not reach other threads."""
    X = fitted[1].astype(np.float32)
    mlp = plain((), max_iter=1).fit(X, digits[1] % 2)
    mlp.coefs_ = [np.zeros_like(mlp.coefs_[0])]
    mlp.intercepts_ = [np.array([-3e38, 3e38], np.float32)]
    with np.errstate(all="raise"):
        assert (mlp.decision_function(X) == np.inf).all()


@pytest.mark.parametrize("n_given", [0, 1])
def test_prediction_where_no_more_threads_can_be_started(fitted, monkeypatch, n_given):
    mlp, X = fitted
    expected = mlp.predict_proba(X)
    start, given = threading.Thread.start, iter(range(n_given))

    def fails(self):
        if next(given, None) is None:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", fails)
    assert_array_equal(mlp.predict_proba(X), expected)


# -- how long Ctrl-C waits -----------------------------------------------------------


@pytest.fixture
def calls(monkeypatch):
    """How many rows each call of the training step takes."""
    rows = []

    def spy(kernel, *args):
        start, stop, _ = args[-3:]
        rows.append(stop - start)
        return kernel(*args)

    replace_kernel(monkeypatch, "train_rows", spy)
    return rows


@pytest.mark.parametrize("batch_size", [None, 32])
def test_a_call_is_short_however_long_the_epoch(rng, monkeypatch, calls, batch_size):
    X, y = rng.normal(size=(3000, 30)), np.arange(3000) % 3
    monkeypatch.setattr(Architecture, "micro_batch", lambda *args: 32)
    curves, n_calls = [], []
    for flops in (1e9, 1e6, 1):
        monkeypatch.setattr(_epoch, "CALL_FLOPS", flops)
        calls.clear()
        mlp = plain((9,), batch_size=batch_size, max_iter=2, random_state=0).fit(X, y)
        curves.append(mlp.loss_curve_)
        n_calls.append(len(calls))
    assert curves[0] == curves[1] == curves[2]
    if batch_size is not None:
        assert n_calls[0] == 2
        assert n_calls[2] == 2 * -(-3000 // 32)  # a batch a call at the least


def test_ctrl_c_waits_for_a_tenth_of_a_second_at_most(rng, calls):
    """By the operations of a call, not by a clock: 1e9, products alone."""
    X, y = rng.normal(size=(20_000, 100)), np.arange(20_000) % 2
    plain((500,), batch_size=32, max_iter=1).fit(X, y)
    assert len(calls) > 1
    assert max(calls) * 6 * (100 * 500 + 500 * 2) <= 1e9
