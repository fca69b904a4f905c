"""How many threads BLAS may use while a network trains or predicts."""

import threading
from contextlib import contextmanager
from functools import cache

from threadpoolctl import ThreadpoolController

# Below about this many operations in a product a second thread costs more than it
# brings.
FLOPS_FOR_THREADS = 1e7

_lock = threading.Lock()
_n_inside = 0
_limit = None


@cache
def _controller():
    # Finding the loaded libraries takes milliseconds: once is enough.
    return ThreadpoolController()


@contextmanager
def blas_threads(flops):
    """One BLAS thread inside, where the largest product takes few `flops`.

    The limit is the process's, not the thread's: the first to enter sets it and the
    last to leave restores what was there, however many threads train at once.
    """
    global _n_inside, _limit
    if flops >= FLOPS_FOR_THREADS:
        yield
        return
    with _lock:
        if _n_inside == 0:
            _limit = _controller().limit(limits=1, user_api="blas")
        _n_inside += 1
    try:
        yield
    finally:
        with _lock:
            _n_inside -= 1
            if _n_inside == 0:
                _limit.restore_original_limits()
