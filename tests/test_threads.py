"""BLAS's threads: one where more would cost, the caller's at all other times, whatever
ends a call: its return, an error, Ctrl-C, a fork."""

import _thread
import os
import signal
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from helpers import needs_fork, replace_kernel, run_python
from joblib import parallel_config
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from settings import plain
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info, threadpool_limits

from skmlp import MomentumMLPClassifier, _epoch, _prediction, _threads
from skmlp._network import Architecture
from skmlp._team import Team


def blas_limits():
    return {
        lib["filepath"]: lib["num_threads"]
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
    assert set(blas_limits().values()) == {2}
    yield
    assert set(blas_limits().values()) == {2}
    in_another_thread(limit.restore_original_limits)


def test_a_call_has_one_thread():
    assert set(_threads.call(blas_limits).values()) == {1}
    with threadpool_limits(1, user_api="blas"):
        assert set(_threads.call(blas_limits).values()) == {1}
        assert set(blas_limits().values()) == {1}


@pytest.mark.parametrize("batch_size", [10, 900])
def test_fits_and_predictions_have_it_so(rng, monkeypatch, batch_size):
    seen, during = {"train_rows": [], "predict_rows": []}, []

    def spy_on(name):
        def spy(kernel, *args):
            seen[name].append(set(blas_limits().values()))
            return kernel(*args)

        replace_kernel(monkeypatch, name, spy)

    def scorer(estimator, X, y):
        during.append(set(blas_limits().values()))
        return estimator.score(X, y)

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


def test_a_call_within_a_call_leaves_the_limit():
    """Of a signal's handler that predicts in the middle of a training."""

    def inside():
        _threads.call(list)
        return blas_limits()

    assert set(_threads.call(inside).values()) == {1}


def test_an_error_gives_back():
    with pytest.raises(ZeroDivisionError):
        _threads.call(lambda: 1 / 0)
    assert set(blas_limits().values()) == {2}


def test_the_last_of_several_threads_gives_back():
    barriers = [threading.Barrier(2) for _ in range(3)]

    def stay(first, last):
        def inside():
            barriers[first].wait(timeout=60)
            barriers[last].wait(timeout=60)

        _threads.call(inside)

    with ThreadPoolExecutor(2) as pool:
        short, long = pool.submit(stay, 0, 1), pool.submit(stay, 0, 2)
        # Both are inside once the first barrier has been passed by both.
        barriers[1].wait(timeout=60)
        short.result()
        assert set(blas_limits().values()) == {1}
        barriers[2].wait(timeout=60)
        long.result()
    assert set(blas_limits().values()) == {2}


def test_the_limit_holds_while_another_thread_limits():
    def enter_and_leave():
        seen.append(set(_threads.call(blas_limits).values()))
        seen.append(set(blas_limits().values()))

    seen = []
    with threadpool_limits(3, user_api="blas"):
        in_another_thread(enter_and_leave)
    assert seen == [{1}, {3}]


def test_others_can_limit_blas_after_a_fit(digits):
    def limit():
        with threadpool_limits(1, user_api="blas"):
            return set(blas_limits().values())

    plain(max_iter=1, batch_size=300).fit(*digits).predict(digits[0])
    assert in_another_thread(limit) == {1}


# -- interrupts ----------------------------------------------------------------------


SOURCE = Path(_threads.__file__).read_text().splitlines()


def line_of(frame):
    return SOURCE[frame.f_lineno - 1]


def interrupt_at(n, function):
    """Call function(), with a KeyboardInterrupt before the n-th line of _threads.py
    that it runs. Whether there was such a line."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if frame.f_code.co_filename != _threads.__file__:
            return None
        # A line in the lock, or where it is left: CPython takes no signal between the
        # end of a with block of a lock and its release.
        in_lock = _threads._lock._is_owned()
        if event == "line" and not (in_lock and "with _lock" in line_of(frame)):
            count += 1
            if count == n:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return count >= n


def test_an_interrupt_at_any_line_leaves_the_limits_as_they_were():
    """At once or, where it comes while they are restored, after the next call."""
    n, n_restored = 1, 0
    while interrupt_at(n, lambda: _threads.call(int)):
        n_restored += set(blas_limits().values()) == {2}
        _threads.call(int)
        assert set(blas_limits().values()) == {2}, n
        n += 1
    assert n > 20
    assert n_restored > n / 2


# One may come in a callback of the garbage collector: hypothesis has one.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_real_interrupts(digits):
    """Ctrl-C at random moments of short trainings."""
    X, y = digits[0][:300], digits[1][:300]
    mlp = plain((30,), batch_size=300, max_iter=3)
    mlp.fit(X, y)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    stop, waits = threading.Event(), np.random.RandomState(0)

    def press():
        while not stop.wait(waits.uniform(0.0005, 0.004)):
            _thread.interrupt_main()

    presser = threading.Thread(target=press)
    n_interrupts = 0
    try:
        presser.start()
        while n_interrupts < 150:
            try:
                mlp.fit(X, y)
            except KeyboardInterrupt:
                n_interrupts += 1
    except KeyboardInterrupt:
        pass
    finally:
        try:
            stop.set()
            presser.join()
        except KeyboardInterrupt:
            presser.join()
        signal.signal(signal.SIGINT, handler)
    mlp.fit(X, y)  # would heal, and need not
    assert n_interrupts > 100
    assert set(blas_limits().values()) == {2}


# -- forks ---------------------------------------------------------------------------


FORKS = """
import os, sys, threading, warnings
import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits
from skmlp import MomentumMLPClassifier
warnings.simplefilter("ignore")  # forking beside threads

def limits():
    blas = [lib for lib in threadpool_info() if lib["user_api"] == "blas"]
    return {lib["num_threads"] for lib in blas}

X, y = np.random.RandomState(0).normal(size=(300, 64)), np.arange(300) % 10
params = {"batch_size": 300, "max_iter": 3, "random_state": 0, "alpha": 0}
make = lambda: MomentumMLPClassifier((48, 32), **params)
threadpool_limits(2, user_api="blas")
expected = make().fit(X, y).loss_
stop = threading.Event()

def keep_fitting():
    while not stop.is_set():
        make().fit(X, y)

threads = [threading.Thread(target=keep_fitting) for _ in range(3)]
for thread in threads:
    thread.start()
good = 0
for i in range(40):
    child = os.fork()
    if child == 0:
        right = limits() == {2} and make().fit(X, y).loss_ == expected
        os._exit(0 if right and limits() == {2} else 1)
    good += os.waitpid(child, 0)[1] == 0
stop.set()
for thread in threads:
    thread.join()
print(good, limits())
"""


@needs_fork
@pytest.mark.timeout(120)
def test_children_forked_beside_fitting_threads_start_clean():
    done = run_python(FORKS)
    assert done.split("\n")[0] == "40 {2}"


FORKS_OF_CALLS = """
import os, signal, sys, threading, warnings
from threadpoolctl import threadpool_limits
from skmlp import _threads
warnings.simplefilter("ignore")  # forking beside threads
import scipy.linalg
threadpool_limits(2, user_api="blas")
call = lambda: _threads.call(list)
call()
stop = threading.Event()

def keep_calling():
    while not stop.is_set():
        call()

threads = [threading.Thread(target=keep_calling) for _ in range(3)]
for thread in threads:
    thread.start()
good = 0
for i in range(int(sys.argv[1])):
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends it
        if os.fork() == 0:
            call()
            os._exit(0)
        os._exit(os.wait()[1])
    good += os.waitpid(child, 0)[1] == 0
stop.set()
print(good)
"""


@needs_fork
def test_a_fork_waits_until_nobody_sets_blas_threads():
    """BLAS has a lock of its own while its number is set. (1 of 356 hung without.)
    Children have children, too."""
    n_forks = int(os.environ.get("SKMLP_FORKS", 100))
    done = run_python(FORKS_OF_CALLS, str(n_forks))
    assert done.split() == [str(n_forks)]


FORKS_OF_A_FIRST_FIT = """
import os, signal, sys, threading, time, warnings
import numpy as np
from skmlp import MomentumMLPClassifier
warnings.simplefilter("ignore")  # forking beside threads

def fit():
    X, y = np.arange(20.0).reshape(10, 2), np.arange(10) % 2
    MomentumMLPClassifier(3, alpha=0, max_iter=1, random_state=0).fit(X, y)

first = threading.Thread(target=fit)
first.start()
children = []
while first.is_alive():
    children.append(os.fork())
    if children[-1] == 0:
        signal.alarm(240)  # ends it; several compile at once
        fit()
        os._exit(0)
    time.sleep(0.1)
print(len(children), sum(os.waitpid(child, 0)[1] == 0 for child in children))
"""


@needs_fork
@pytest.mark.timeout(300)
def test_a_fork_waits_while_the_kernels_are_compiled(tmp_path):
    done = run_python(FORKS_OF_A_FIRST_FIT, NUMBA_CACHE_DIR=str(tmp_path))
    n_children, n_good = map(int, done.split())
    assert n_good == n_children > 1


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
        for a, b in zip(
            one.best_estimator_.coefs_, other.best_estimator_.coefs_, strict=True
        ):
            assert_array_equal(a, b)


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
    results = []
    for n_threads in (1, 2, 3):
        seen = threading.active_count()
        with threadpool_limits(n_threads, user_api="blas"):
            mlp = MomentumMLPClassifier(
                (9, 8), batch_size=batch_size, max_iter=3, random_state=0
            ).fit(X, y, weight)
        results.append([*mlp.loss_curve_, *np.concatenate(mlp.coefs_, axis=None)])
        assert threading.active_count() == seen
    assert_array_equal(results[0], results[1])
    assert_array_equal(results[0], results[2])


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


FORK_IN_A_FIT = """
import os, signal, sys, warnings
import numpy as np
from threadpoolctl import threadpool_limits
from skmlp import MomentumMLPClassifier, _epoch
warnings.simplefilter("ignore")  # forking beside threads
threadpool_limits(2, user_api="blas")
_epoch.ROWS_OF_TWO, _epoch.GROUP_FLOPS = 16, 1
X, y = np.random.RandomState(0).normal(size=(64, 3)), np.arange(64) % 2
children = []

def scoring(mlp, X, y):
    if not children:
        children.append(os.fork())
        signal.alarm(60)  # ends it
    return mlp.n_iter_

mlp = MomentumMLPClassifier(3, max_iter=5, scoring=scoring, random_state=0)
mlp.fit(X, y, X_val=X, y_val=y)
if children[0] == 0:
    os._exit(mlp.n_iter_)
print(mlp.n_iter_, os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]))
"""


@needs_fork
def test_a_child_that_is_forked_in_a_fit_goes_on_with_it():
    assert run_python(FORK_IN_A_FIT).split() == ["5", "5"]


# -- prediction ----------------------------------------------------------------------


@pytest.fixture
def fitted(digits, monkeypatch):
    monkeypatch.setattr(_prediction, "BLOCK_NUMBERS", 1)  # 64 rows
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
    def fails(*args):
        raise MemoryError("no room for a block")

    replace_kernel(monkeypatch, "predict_rows", fails)
    with pytest.raises(MemoryError, match="no room for a block"):
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
    start, started = threading.Thread.start, []

    def fails(self):
        started.append(self)
        if len(started) > n_given:
            raise RuntimeError("can't start new thread")
        start(self)

    monkeypatch.setattr(threading.Thread, "start", fails)
    assert_array_equal(mlp.predict_proba(X), expected)


def test_blocks_agree_with_one_pass(fitted, monkeypatch):
    mlp, X = fitted
    blocks = mlp.predict_proba(X)
    monkeypatch.setattr(_prediction, "BLOCK_NUMBERS", 2**40)
    np.testing.assert_allclose(mlp.predict_proba(X), blocks, rtol=1e-12, atol=1e-15)
    assert_array_equal(mlp.predict(X), blocks.argmax(axis=1))


def test_a_call_is_short_however_long_the_epoch(rng, monkeypatch):
    """Ctrl-C waits for the end of a compiled call: a tenth of a second, or so."""
    X, y = rng.normal(size=(3000, 30)), np.arange(3000) % 3
    calls, whole = [], {}

    def spy(kernel, *args):
        calls.append(args)
        return kernel(*args)

    replace_kernel(monkeypatch, "train_rows", spy)
    for flops in (1e9, 1e6, 1):
        monkeypatch.setattr(_epoch, "CALL_FLOPS", flops)
        monkeypatch.setattr(Architecture, "micro_batch", lambda *args: 32)
        for batch_size in (None, 32):
            calls.clear()
            mlp = plain((9,), batch_size=batch_size, max_iter=2, random_state=0).fit(
                X, y
            )
            whole.setdefault(batch_size, mlp.loss_curve_)
            assert mlp.loss_curve_ == whole[batch_size]
        assert len(calls) == (2 if flops == 1e9 else len(calls))
    assert len(calls) == 2 * -(-3000 // 32)  # a batch a call at the least


def test_ctrl_c_waits_for_a_tenth_of_a_second_at_most(rng, monkeypatch):
    """By the operations of a call, not by a clock: 1e9, products alone."""
    rows = []

    def spy(kernel, *args):
        start, stop, _ = args[-3:]
        rows.append(stop - start)
        return kernel(*args)

    replace_kernel(monkeypatch, "train_rows", spy)
    X, y = rng.normal(size=(20_000, 100)), np.arange(20_000) % 2
    plain((500,), batch_size=32, max_iter=1).fit(X, y)
    assert len(rows) > 1
    assert max(rows) * 6 * (100 * 500 + 500 * 2) <= 1e9
