"""Where a warning points: at the user's line."""

import sys

# What stands between the user and a warning: this package and what it calls itself
# through (scikit-learn's decorators, NumPy's, Numba).
OURS = "skmlp.", "sklearn.base", "sklearn.callback", "contextlib", "numba.", "numpy."


def stacklevel():
    """For warnings.warn: the first caller that is not one of OURS."""
    frame, level = sys._getframe(1), 1
    # A namespace that code is executed in need not have a name.
    while frame.f_back and str(frame.f_globals.get("__name__")).startswith(OURS):
        frame, level = frame.f_back, level + 1
    return level
