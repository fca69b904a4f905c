"""What was compiled, kept for the next process."""

import warnings
from functools import cache

from numba import njit


def kept(**how):
    """A decorator: njit(**how), whose results are kept in files where that works."""

    def compile_and_keep(function):
        plain = njit(**how)(function)
        try:
            compiled = njit(cache=True, **how)(function)
        except RuntimeError:  # neither the package nor the home is a folder to write in
            warn_once()
            compiled = plain

        def call(*args):
            try:
                return call.compiled(*args)
            except Exception:  # what is damaged may raise any
                if call.compiled is plain:
                    raise
                call.compiled = plain  # what was kept cannot be read: nothing ran yet
                return plain(*args)

        call.compiled = compiled
        return call

    return compile_and_keep


@cache
def warn_once():
    warnings.warn(
        "skmlp compiles its training anew in every process, which takes seconds: there "
        "is no folder to keep it in. Set NUMBA_CACHE_DIR to one.",
        stacklevel=2,
    )
