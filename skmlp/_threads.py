"""How many threads BLAS may use while compiled code multiplies.

OpenBLAS gives a product of medium size to several threads, which spin while they wait:
their overhead exceeds the gain, and where processes have fewer processors than threads
it is a hundred times the gain. So such products get one thread. The limit holds for the
whole process and is reference-counted: the first caller limits, the last restores. It
is set around a compiled call alone, where no code of the user's runs. (Other kinds of
BLAS decide well by themselves.) Larger products of other threads have one thread
meanwhile, and so perhaps another last bit. A limit that another thread sets meanwhile
by threadpoolctl, and keeps longer, is lost.
"""

import os
import threading
from functools import cache
from itertools import product
from queue import SimpleQueue

import scipy.linalg  # noqa: F401, compiled code calls its BLAS
from numba.core.compiler_lock import global_compiler_lock
from threadpoolctl import ThreadpoolController

# Products below this get one thread from OpenBLAS as it is (its interface/gemm.c).
FEW_FLOPS = 5e5

_lock = threading.RLock()  # re-entrant: a signal's handler may fit, too
_callers: set = set()  # threads in a compiled call
_restore: list = []  # (set, number) of each library, as the first of them found it


@cache
def _blas():
    # Finding the loaded libraries takes milliseconds: once is enough.
    return ThreadpoolController().select(user_api="blas").lib_controllers


@cache
def _libraries():
    """(get, set) the number of threads of each OpenBLAS that has threads of its own.

    They are the library's own functions: since 3.8 those of threadpoolctl do nothing
    where another thread was the first to limit.
    """
    names = list(product(("", "scipy_"), ("", "64_", "_64")))
    found = []
    for lib in _blas():
        if lib.internal_api != "openblas" or lib.threading_layer == "openmp":
            continue
        for prefix, suffix in names:
            name = f"{prefix}openblas_{{}}_num_threads{suffix}"
            if hasattr(lib.dynlib, name.format("set")):
                functions = [
                    getattr(lib.dynlib, name.format(x)) for x in ("get", "set")
                ]
                found.append(functions)
                break
    return found


def call(flops, function, *args):
    """function(*args), with one BLAS thread unless its largest product takes so few
    flops that BLAS gives it one by itself."""
    if flops <= FEW_FLOPS:
        return function(*args)
    try:
        _limit()
        return function(*args)
    finally:
        _unlimit()


def _limit():
    with _lock:
        _callers.add(threading.get_ident())
        for get, set_number in _libraries():
            number = get()
            if number != 1:  # else it is our own limit, or the user's
                _restore.append((set_number, number))
                set_number(1)


def _unlimit():
    with _lock:
        _callers.discard(threading.get_ident())
        if not _callers:
            for set_number, number in _restore:
                set_number(number)
            _restore.clear()


def blas_limit():
    """How many threads the caller's BLAS may use."""
    with _lock:
        numbers = [number for _, number in _restore]
        return max([1, *numbers, *(lib.get_num_threads() or 1 for lib in _blas())])


class Team:
    """Threads for many calls of `map`: n_threads, the caller's included, or fewer where
    the system gives no more. They end with the `with` block."""

    def __init__(self, n_threads):
        self.pid = os.getpid()
        self.work, self.done = SimpleQueue(), SimpleQueue()
        self.threads = []
        for _ in range(n_threads - 1):
            # Daemons: an interrupt while they are told to end may leave one waiting.
            thread = threading.Thread(target=self._run, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if thread.ident is not None:  # it did start: a signal's handler raised
                    raise
                break
            self.threads.append(thread)

    def _run(self):
        while (work := self.work.get()) is not None:
            work()
            self.done.put(None)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        for _ in self.threads:
            self.work.put(None)
        if self.pid == os.getpid():
            for thread in self.threads:
                thread.join()

    def map(self, function, items):
        """[function(item) for item in items], shared among the threads."""
        results, errors, turns = [None] * len(items), [], iter(range(len(items)))

        def work():
            try:
                for i in turns:  # each i goes to one thread
                    results[i] = function(items[i])
            except BaseException as error:
                errors.append(error)
                for _ in turns:  # nobody begins another
                    pass

        helpers = self.threads if self.pid == os.getpid() else []  # not after a fork
        for _ in helpers:
            self.work.put(work)
        work()
        for _ in helpers:
            self.done.get()
        if errors:
            raise errors[0]
        return results


# A forked child has a copy of each lock, and of the threads only the one that forked.
# So a fork waits while another thread sets BLAS's number or compiles.


def _before_fork():
    _lock.acquire()
    global_compiler_lock.acquire()


def _after_fork():
    try:
        global_compiler_lock.release()
    finally:  # an interrupt may have ended the wait for it
        _lock.release()


def _after_fork_in_child():
    _callers.clear()
    _unlimit()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
