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
_before: list = []  # (library, its number of threads), of what is to be restored


@cache
def _libraries():
    # Finding the loaded libraries takes milliseconds: once is enough.
    found = ThreadpoolController().select(user_api="blas").lib_controllers
    return [lib for lib in found if lib.get_num_threads() is not None]


def blas_limit():
    """How many threads the caller's BLAS may use."""
    return max((lib.get_num_threads() for lib in _libraries()), default=1)


@contextmanager
def blas_threads(flops):
    """One BLAS thread inside, where the largest product takes few `flops`.

    Most libraries have one limit for the process: the first thread to enter sets it and
    the last to leave restores what was there, however many train at once. Some have one
    for each thread.
    """
    global _n_inside
    if flops >= FLOPS_FOR_THREADS:
        yield
        return
    own = limit(lib for lib in _libraries() if has_limit_per_thread(lib))
    with _lock:
        if _n_inside == 0:
            shared = (lib for lib in _libraries() if not has_limit_per_thread(lib))
            _before[:] = limit(shared)
        _n_inside += 1
    try:
        yield
    finally:
        restore(own)
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                restore(_before)


@cache
def has_limit_per_thread(lib):
    """Whether a library's limit is of the thread that sets it, as some of those on
    OpenMP have it. threadpoolctl finds out by trying."""
    if getattr(lib, "threading_layer", None) not in ("openmp", "gnu", "intel"):
        return False
    try:
        return lib.info(debugging_info=True)["thread_limit_scope"] == "current_thread"
    except TypeError:  # before threadpoolctl 3.8 each limit was the process's
        return False


def limit(libraries):
    """One thread for each library. What those had that had more: (library, number)."""
    before = [(lib, lib.get_num_threads()) for lib in libraries]
    before = [(lib, number) for lib, number in before if number != 1]
    for lib, _ in before:
        free_control(lib)
        lib.set_num_threads(1)
    return before


def restore(before):
    for lib, number in before:
        free_control(lib)
        lib.set_num_threads(number)
        free_control(lib)


def free_control(lib):
    """Let the next thread that sets a library's number do so.

    Since threadpoolctl 3.8 a process-wide number can be set by one thread alone, the
    first that does, until its own context ends: whatever others set is ignored.
    """
    if hasattr(lib, "clear_controlling_thread") and not has_limit_per_thread(lib):
        lib.clear_controlling_thread(force=True)


def for_each(function, items, n_threads):
    """Call function(item) for each, in this thread and n_threads - 1 others, with one
    BLAS thread in each of them.

    The first error ends all and is raised. Where the system gives no more threads
    (for lack of memory, or while the interpreter ends), fewer do the work: that is
    why this is not concurrent.futures.
    """
    remaining, errors = iter(items), []

    def work():
        try:
            with blas_threads(0):
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
