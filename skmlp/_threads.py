"""Threads: how many BLAS may use while a network trains or predicts, and our own."""

import threading
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

# Below about this many operations in a product a second thread costs more than it
# brings; and it goes on spinning for a while, at the cost of whatever else runs.
FLOPS_FOR_THREADS = 1e7
# Products below this get one thread from OpenBLAS as it is (its interface/gemm.c).
FEW_FLOPS = 5e5

_lock = threading.Lock()
_n_inside = 0
_before: list = []  # (library, its number of threads)


@cache
def _libraries():
    # Finding the loaded libraries takes milliseconds: once is enough.
    return ThreadpoolController().select(user_api="blas").lib_controllers


def blas_limit():
    """How many threads the caller's BLAS may use."""
    return max((lib.get_num_threads() for lib in _libraries()), default=1)


@contextmanager
def blas_threads(flops):
    """One BLAS thread inside, where the largest product takes few `flops`.

    The limit is the process's, not the thread's: the first to enter sets it and the
    last to leave restores what was there, however many threads train at once.
    """
    global _n_inside
    if flops >= FLOPS_FOR_THREADS:
        yield
        return
    with _lock:
        if _n_inside == 0:
            _before[:] = [(lib, lib.get_num_threads()) for lib in _libraries()]
            for lib, _ in _before:
                set_threads(lib, 1)
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                for lib, number in _before:
                    set_threads(lib, number)


def set_threads(lib, number):
    if lib.get_num_threads() != number:
        lib.set_num_threads(number)
        # With threadpoolctl 3.8 the first thread that sets OpenBLAS's number is the
        # only one that can until it lets go, which it must say.
        if hasattr(lib, "clear_controlling_thread"):
            lib.clear_controlling_thread()


def for_each(function, items, n_threads):
    """Call function(item) for each, in this thread and n_threads - 1 others.

    The first error ends all and is raised. Where the system gives no more threads
    (for lack of memory, or while the interpreter ends), fewer do the work: that is
    why this is not concurrent.futures.
    """
    remaining, errors = iter(items), []

    def work():
        try:
            for item in remaining:
                if errors:
                    return
                function(item)
        except BaseException as error:
            errors.append(error)

    others = []
    for _ in range(n_threads - 1):
        thread = threading.Thread(target=work, name="skmlp-predict", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            break
        others.append(thread)
    work()
    for thread in others:
        thread.join()
    if errors:
        raise errors[0]
