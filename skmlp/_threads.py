"""How many threads BLAS may use while compiled code multiplies.

OpenBLAS gives a product of medium size to several threads, which costs more than it
brings: they wait for work by turning, at the cost of whatever else runs, and a hundred
times as long where processes have fewer processors than threads. So such products get
one thread. Its number of threads is the process's own: it is changed around a compiled
call alone, where no code of the user's runs, and by the first thread that comes; the
last that leaves gives it back. (Other kinds of BLAS decide well by themselves.) Larger
products of other threads have one thread meanwhile, and so perhaps another last bit.
A limit that another thread sets meanwhile, by threadpoolctl, and keeps longer, is lost.
"""

import os
import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from itertools import product

from threadpoolctl import ThreadpoolController

# Products below this get one thread from OpenBLAS as it is (its interface/gemm.c).
FEW_FLOPS = 5e5
# From about here on a second thread brings more than it costs.
MANY_FLOPS = 1e7

_lock = threading.RLock()  # a signal's handler may come in while its thread has it
_inside: set = set()  # threads in a compiled call
_before: list = []  # (set, number) of each library, as the first of them found it


@cache
def kernels():
    """The compiled functions, loaded where they are first needed."""
    # A child forked meanwhile would wait for ever for the import's end. An interrupt
    # would leave half of it, for good: it cannot arrive in a thread.
    with _lock, ThreadPoolExecutor(1) as thread:
        return thread.submit(import_module, "._kernels", __package__).result()


@cache
def _blas():
    import scipy.linalg  # noqa: F401, compiled code calls its BLAS

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
                found.append(
                    [getattr(lib.dynlib, name.format(x)) for x in ("get", "set")]
                )
                break
    return found


def call(flops, function, *args, most=MANY_FLOPS):
    """function(*args), with one BLAS thread where its largest product takes fewer than
    `most` flops, but so many that BLAS would take more."""
    if not FEW_FLOPS < flops < most:
        return function(*args)
    # An interrupt may come anywhere. What cuts one of the calls that give back short is
    # made good by the other; where there was nothing to give back, they do nothing.
    try:
        try:
            _take()
            return function(*args)
        finally:
            _give_back()
    finally:
        _give_back()


def _take():
    with _lock:
        _inside.add(threading.get_ident())
        for get, set_number in _libraries():
            number = get()
            if number != 1:  # else it is our own limit, or the user's
                _before.append((set_number, number))
                set_number(1)


def _give_back():
    with _lock:
        _inside.discard(threading.get_ident())
        if not _inside:
            for set_number, number in _before:
                set_number(number)
            _before.clear()


# A child has a copy of each lock, held by threads that it has not got: while one sets
# BLAS's number, which takes a lock of BLAS's own, loads the kernels or compiles them,
# forks wait. Ctrl-C waits with them: Python would drop it, and fork without the locks.

_held: list = []  # locks
_handlers: list = []  # of SIGINT, while the main thread forks
_interrupts: list = []  # the processes that were to get them


def _before_fork():
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is threading.main_thread() and handler is not None:
        _handlers.append(handler)
        signal.signal(signal.SIGINT, lambda *_: _interrupts.append(os.getpid()))
    _lock.acquire()
    _held.append(_lock)
    compiler = sys.modules.get("numba.core.compiler_lock")
    if lock := getattr(compiler, "global_compiler_lock", None):
        lock.acquire()
        _held.append(lock)


def _after_fork():
    held = _held[::-1]
    _held.clear()  # while the lock is ours: then comes the next that forks
    for lock in held:
        lock.release()
    # (In a child forked by another thread while the main one waits, that is the main.)
    if (main := threading.main_thread()) is not threading.current_thread():
        return
    if _handlers:
        handler = _handlers.pop()
        _handlers.clear()
        signal.signal(signal.SIGINT, handler)
    arrived = os.getpid() in _interrupts
    _interrupts.clear()
    if arrived:
        # Not at once: what is raised in here would be dropped, too.
        interrupt = signal.pthread_kill, [main.ident, signal.SIGINT]
        threading.Timer(0.05, *interrupt).start()


def _after_fork_in_child():
    """It has one thread, which is in no call."""
    _inside.clear()
    _give_back()
    _after_fork()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )


def blas_limit():
    """How many threads the caller's BLAS may use."""
    with _lock:
        numbers = [number for _, number in _before]
        return max([1, *numbers, *(lib.get_num_threads() or 1 for lib in _blas())])
