"""One thread for BLAS while compiled code multiplies.

OpenBLAS gives products to several threads, which spin while they wait: their overhead
exceeds the gain, and where processes have fewer processors than threads it is a hundred
times the gain; and which threads there are changes the last bit. So BLAS gets one. The
limit holds for the whole process and is reference-counted: the first caller limits, the
last restores. It is set around compiled calls alone, where no code of the user's runs.
(Other kinds of BLAS decide well by themselves.) A limit that another thread sets
meanwhile by threadpoolctl, and keeps longer, is lost.
"""

import os
import threading
from functools import cache
from weakref import ref

import scipy.linalg  # noqa: F401, compiled code calls its BLAS
from numba.core.compiler_lock import global_compiler_lock
from threadpoolctl import ThreadpoolController

_lock = threading.RLock()  # re-entrant: a signal's handler may fit, too
_calls: set = set()  # weak references to those under way
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
    return [
        [
            getattr(lib.dynlib, f"{prefix}_{do}_num_threads{suffix}")
            for do in ("get", "set")
        ]
        for lib in _blas()
        if lib.internal_api == "openblas" and lib.threading_layer != "openmp"
        for prefix in ("openblas", "scipy_openblas")
        for suffix in ("", "64_", "_64")
        if hasattr(lib.dynlib, f"{prefix}_set_num_threads{suffix}")
    ]


class Call:
    """A call under way, as long as this lives. `call` alone holds it: an interrupt that
    ends a call cannot keep it in the count, from which the next end takes the dead."""


def call(function, *args):
    """function(*args), with one BLAS thread; in a signal's handler within another call,
    too."""
    alive = Call()
    try:
        _limit(ref(alive))
        return function(*args)
    finally:
        del alive
        _unlimit()


def _limit(this):
    with _lock:
        _calls.add(this)
        for get, set_number in _libraries():
            number = get()
            if number != 1:  # else it is our own limit, or the user's
                _restore.append((set_number, number))
                set_number(1)


def _unlimit():
    with _lock:
        for call in tuple(_calls):
            if call() is None:
                _calls.discard(call)
        if not _calls:
            for set_number, number in _restore:
                set_number(number)
            _restore.clear()


def blas_limit():
    """How many threads the caller's BLAS may use."""
    with _lock:
        found = (lib.get_num_threads() or 1 for lib in _blas())
        return max(1, *(number for _, number in _restore), *found)


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
    _calls.clear()
    _unlimit()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
