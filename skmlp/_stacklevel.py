"""Where a warning points: at the user's line."""

import sys


def stacklevel():
    """For warnings.warn: the first caller outside of skmlp and what it calls itself
    through (scikit-learn's decorators, NumPy's, Numba)."""
    frame, level = sys._getframe(1), 1
    ours = (
        "skmlp.",
        "sklearn.base",
        "sklearn.callback",
        "contextlib",
        "numba.",
        "numpy.",
    )
    while frame.f_back and (frame.f_globals.get("__name__") or "").startswith(ours):
        frame, level = frame.f_back, level + 1
    return level
