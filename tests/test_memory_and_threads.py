"""Properties that speed rests on: what is allocated, and how BLAS threads are set."""

import threading
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.base import clone
from threadpoolctl import threadpool_info, threadpool_limits

from skmlp import MomentumMLPClassifier, _batches, _threads
from skmlp._network import Architecture, Predictor
from skmlp._threads import blas_threads
from skmlp._training import Stack, State, Task, run_step


def peak_of(call):
    """Bytes that were held at once on top of what was there."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        call()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("n_models", [1, 3])
def test_a_step_allocates_nothing_that_grows_with_the_batch(
    rng, monkeypatch, n_models, weighted
):
    monkeypatch.setattr(_batches, "PART_ROWS", 2**40)  # every batch as one part

    def peak_of_steps(batch_size):
        architecture = Architecture((20, 30, 10, 4), "logistic", "identity")
        X, y = rng.normal(size=(9 * batch_size, 20)), np.arange(9 * batch_size) % 4
        weight = np.linspace(1, 2, len(y)) if weighted else None
        params = architecture.initial_params(np.random.RandomState(0), np.float64)
        state = State(params, np.zeros_like(params), seed=0)
        stack = Stack(
            [Task(architecture, X, y, weight, state, 1, batch_size)] * n_models
        )
        steps = zip(*(feed.epoch(0) for feed in stack.feeds), strict=True)
        run_step(stack, next(steps))  # draws the epoch's order and records the step

        def all_steps():
            for batches in steps:
                run_step(stack, batches)

        return peak_of(all_steps)

    small, large = peak_of_steps(10_000), peak_of_steps(40_000)
    # A single number a sample would make 30,000 * 8 bytes of difference. numpy's own
    # casting buffers (up to three of 64 kB, by its release) are there at either size.
    assert large < small + 2_000


@pytest.mark.parametrize("batch_size", ["auto", 60_000, None])
def test_fitting_needs_no_second_copy_of_the_data(rng, batch_size):
    X = rng.normal(size=(100_000, 100)).astype(np.float32)
    y = np.arange(len(X)) % 2
    mlp = MomentumMLPClassifier(batch_size=batch_size, max_iter=2, random_state=0)
    mlp.fit(X[:1000], y[:1000])
    assert peak_of(lambda: mlp.fit(X, y)) < 0.4 * X.nbytes


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", [np.asarray, csr_array])
@pytest.mark.parametrize("batch_size", [None, 100])
def test_the_parts_of_a_batch_add_up_to_it(
    digits, monkeypatch, batch_size, kind, weighted
):
    X, y = kind(digits[0][:250] / 16), digits[1][:250]
    weight = np.linspace(0, 2, 250) if weighted else None
    mlp = MomentumMLPClassifier(
        batch_size=batch_size, max_iter=10, momentum=0.5, random_state=0
    )
    whole = clone(mlp).fit(X, y, weight)
    monkeypatch.setattr(_batches, "PART_ROWS", 30)
    parts = clone(mlp).fit(X, y, weight)
    assert_allclose(parts.loss_curve_, whole.loss_curve_, rtol=1e-13)
    for a, b in zip(parts.coefs_, whole.coefs_, strict=True):
        assert_allclose(a, b, rtol=0, atol=1e-13)


@pytest.mark.parametrize("method", ["predict_proba", "predict", "decision_function"])
def test_prediction_holds_its_result_and_one_block(rng, method):
    X = rng.normal(size=(60_000, 10))
    mlp = MomentumMLPClassifier((200, 100), max_iter=1, random_state=0)
    mlp.fit(X[:500], np.arange(500) % 3)
    predict = getattr(mlp, method)
    with threadpool_limits(1, user_api="blas"):  # how two threads overlap is chance
        few, many = (peak_of(lambda n=n: predict(X[:n])) for n in (20_000, 60_000))
    assert many - few < 1.2 * 40_000 * 3 * 8 < 40_000 * 100 * 8 / 10


def test_blocks_agree_with_one_pass(digits, monkeypatch):
    X, y = digits
    mlp = MomentumMLPClassifier(max_iter=5, random_state=0).fit(X, y)
    monkeypatch.setattr(Predictor, "BLOCK_BYTES", 2**40)
    whole = mlp.predict_proba(X)
    for size in (1, 2**16):
        monkeypatch.setattr(Predictor, "BLOCK_BYTES", size)
        assert_allclose(mlp.predict_proba(X), whole, rtol=1e-12, atol=1e-15)
        assert_array_equal(mlp.predict(X), whole.argmax(axis=1))


def blas_limits():
    return {
        lib["filepath"]: lib["num_threads"]
        for lib in threadpool_info()
        if lib["user_api"] == "blas"
    }


def limits_while_fitting(hidden, batch_size, fails=False):
    seen = []

    def spy(estimator, X, y):
        seen.append(blas_limits())
        if fails:
            raise RuntimeError("the scorer fails")
        return 0.0

    rng = np.random.RandomState(0)
    X, y = rng.normal(size=(1000, 100)), np.arange(1000) % 2
    mlp = MomentumMLPClassifier(
        hidden, batch_size=batch_size, max_iter=1, scoring=spy, random_state=0
    )
    if fails:
        with pytest.raises(RuntimeError, match="the scorer fails"):
            mlp.fit(X, y, X_val=X, y_val=y)
    else:
        mlp.fit(X, y, X_val=X, y_val=y)
    return seen[0]


@pytest.mark.parametrize("fails", [False, True])
def test_small_products_get_one_thread_and_large_ones_the_callers(fails):
    with threadpool_limits(2, user_api="blas"):
        before = blas_limits()
        assert set(limits_while_fitting((10,), 100, fails).values()) == {1}
        assert blas_limits() == before
        # 2 * 1000 * 100 * 64 operations
        assert limits_while_fitting((64,), 1000, fails) == before
        assert blas_limits() == before


def in_another_thread(function):
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(function).result()


@pytest.fixture
def two_blas_threads():
    """BLAS may use two threads, and no thread is in a context that limits it."""
    limit = in_another_thread(lambda: threadpool_limits(2, user_api="blas"))
    assert set(blas_limits().values()) == {2}
    yield
    in_another_thread(limit.restore_original_limits)


def test_the_limit_ends_with_the_last_of_several_threads(two_blas_threads):
    """Whichever thread that is, and while the others are alive."""
    limits = [blas_threads(0), blas_threads(0)]
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as last:
        for thread, limit in zip((first, last), limits, strict=True):
            thread.submit(limit.__enter__).result()
            assert set(blas_limits().values()) == {1}
        first.submit(limits[0].__exit__, None, None, None).result()
        assert set(blas_limits().values()) == {1}
        last.submit(limits[1].__exit__, None, None, None).result()
        assert set(blas_limits().values()) == {2}


def test_the_limit_holds_in_a_thread_while_another_one_limits(two_blas_threads):
    def enter_and_leave():
        with blas_threads(0):
            seen.append(set(blas_limits().values()))
        seen.append(set(blas_limits().values()))

    seen = []
    with threadpool_limits(3, user_api="blas"):
        in_another_thread(enter_and_leave)
    assert seen == [{1}, {3}]
    assert set(blas_limits().values()) == {2}


def test_others_can_limit_blas_after_a_fit(digits, two_blas_threads):
    def limit():
        with threadpool_limits(1, user_api="blas"):
            return set(blas_limits().values())

    MomentumMLPClassifier(max_iter=1, batch_size=32).fit(*digits).predict(digits[0])
    assert in_another_thread(limit) == {1}


def test_what_was_limited_already_is_not_restored(two_blas_threads):
    """It is whoever set the limit that does."""
    with ThreadPoolExecutor(1) as other:
        limit = other.submit(threadpool_limits, 1, user_api="blas").result()
        with blas_threads(0):
            other.submit(limit.restore_original_limits).result()
        assert set(blas_limits().values()) == {2}


class LimitPerThread:
    """As MKL has it with threadpoolctl >= 3.8, and OpenBLAS where built on OpenMP."""

    threading_layer = "openmp"

    def __init__(self):
        self.local = threading.local()

    def info(self, debugging_info):
        return {"thread_limit_scope": "current_thread"}

    def get_num_threads(self):
        return getattr(self.local, "number", 8)

    def set_num_threads(self, number):
        self.local.number = number


def test_limits_of_a_thread_are_set_and_restored_in_it(monkeypatch):
    lib, limits = LimitPerThread(), [blas_threads(0), blas_threads(0)]
    monkeypatch.setattr(_threads, "_libraries", lambda: [lib])
    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as last:
        for thread, limit in zip((first, last), limits, strict=True):
            thread.submit(limit.__enter__).result()
            assert thread.submit(lib.get_num_threads).result() == 1
        for thread, limit in zip((first, last), limits, strict=True):
            thread.submit(limit.__exit__, None, None, None).result()
            assert thread.submit(lib.get_num_threads).result() == 8
    assert lib.get_num_threads() == 8


def test_limits_of_a_thread_are_set_in_all_that_predict(digits, monkeypatch):
    def spy(self, X):
        seen.append(lib.get_num_threads())
        return scores(self, X)

    X, y = digits
    mlp = MomentumMLPClassifier(max_iter=1, random_state=0).fit(X, y)
    lib, seen, scores = LimitPerThread(), [], Predictor.scores
    monkeypatch.setattr(_threads, "_libraries", lambda: [lib])
    monkeypatch.setattr(Predictor, "BLOCK_BYTES", 1)
    monkeypatch.setattr(Predictor, "scores", spy)
    mlp.predict(X)
    assert len(seen) == -(-len(X) // Predictor.MIN_ROWS)
    assert set(seen) == {1}


def test_blocks_are_predicted_in_as_many_threads_as_blas_may_use(digits, monkeypatch):
    X, y = digits
    mlp = MomentumMLPClassifier(max_iter=1, random_state=0).fit(X, y)
    monkeypatch.setattr(Predictor, "BLOCK_BYTES", 2**16)
    seen, results, scores = {}, [], Predictor.scores

    def spy(self, X):
        ident = threading.get_ident()
        if ident not in seen:
            seen[ident] = blas_limits()
            all_at_work.wait(timeout=60)
        return scores(self, X)

    monkeypatch.setattr(Predictor, "scores", spy)
    for n_threads in (1, 2):
        seen.clear()
        all_at_work = threading.Barrier(n_threads)
        with threadpool_limits(n_threads, user_api="blas"):
            before = blas_limits()
            results.append(mlp.predict_proba(X))
            assert blas_limits() == before
        assert len(seen) == n_threads
        assert all(set(limits.values()) == {1} for limits in seen.values())
    assert_array_equal(*results)


def test_an_error_in_a_thread_of_prediction_is_raised(digits, monkeypatch):
    X, y = digits
    mlp = MomentumMLPClassifier(max_iter=1, random_state=0).fit(X, y)
    monkeypatch.setattr(Predictor, "BLOCK_BYTES", 2**16)

    def fails(self, X):
        raise MemoryError("no room for a block")

    monkeypatch.setattr(Predictor, "scores", fails)
    with threadpool_limits(2, user_api="blas"):
        before = blas_limits()
        with pytest.raises(MemoryError, match="no room for a block"):
            mlp.predict(X)
        assert blas_limits() == before


def test_prediction_where_no_thread_can_be_started(digits, monkeypatch):
    X, y = digits
    mlp = MomentumMLPClassifier(max_iter=1, random_state=0).fit(X, y)
    monkeypatch.setattr(Predictor, "BLOCK_BYTES", 2**16)
    expected = mlp.predict_proba(X)

    def fails(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", fails)
    with threadpool_limits(2, user_api="blas"):
        assert_array_equal(mlp.predict_proba(X), expected)


def test_the_callers_error_state_does_not_reach_training_or_prediction(rng):
    X, y = 1000 * rng.normal(size=(300, 5)), np.arange(300) % 3
    with np.errstate(all="raise"):
        mlp = MomentumMLPClassifier((), max_iter=20, random_state=0)
        mlp.fit(X, y, X_val=X, y_val=y).predict_proba(X)
        assert np.geterr()["under"] == "raise"
