"""No warnings of NumPy's where what overflows is looked for afterwards."""

from contextvars import copy_context
from functools import wraps

import numpy as np


def quietly(function):
    """Decorate a function that runs with np.errstate(all="ignore"), whatever the caller
    asked for. It has a context of its own, so that an interrupt at any moment leaves
    the caller's error state as it was."""

    def quiet(*args, **kwargs):
        with np.errstate(all="ignore"):
            return function(*args, **kwargs)

    @wraps(function)
    def wrapper(*args, **kwargs):
        return copy_context().run(quiet, *args, **kwargs)

    return wrapper
