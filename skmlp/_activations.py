"""The activations as compiled code: values and derivatives, and the exp that they need.

Here are also the options that everything compiled has.
"""

from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

from ._blas import view
from ._network import ACTIVATIONS

# error_model="numpy": with Python's, a division checks for zero, and no loop that has
# one is vectorised. nogil: other threads run meanwhile. forceinline: a separate
# compilation of a helper may round differently. Without the wrappers by which Python
# or C would call a helper (they must not, then), compiling takes a fifth less time.
# "contract" lets a * b + c be one instruction. Sums need "reassoc" to be vectorised;
# it would undo the rounding of exp. Flags that assume there is no nan or inf would
# hide that a training diverges.
ENTRY: Any = {"error_model": "numpy", "nogil": True, "no_cfunc_wrapper": True}
HELPER: Any = {"forceinline": True, "no_cpython_wrapper": True, **ENTRY}
EXACT: Any = {"fastmath": {"contract"}, **HELPER}
KERNEL = {"fastmath": {"contract", "reassoc", "nsz", "arcp"}, **HELPER}
exact, kernel = njit(**EXACT), njit(**KERNEL)
# For what has no loop: Numba pastes it where it is called, and compiles it there.
pasted = njit(inline="always", **ENTRY)


# -- exp -----------------------------------------------------------------------------
# The library's exp is called for one number at a time; these are vectorised. With
# n = round(x / ln 2) and r = x - n ln 2,
#
#     exp(x) = 2^n (Q + P) / (Q - P),    P / Q = tanh(r / 2) for |r| <= ln 2 / 2,
#
# where P / Q is a rational function of least relative error, 5e-18 in float64 and
# 7e-10 in float32 (Remez). The sigmoids take P and Q into a division that they have
# anyway, and tanh loses no digit of a small number. Constants that find no register are
# read anew for each number: so ln 2 is one number, not two [1]_, and exp errs as if x
# had another last bit.
#
# .. [1] W. J. Cody, W. Waite, "Software Manual for the Elementary Functions", 1980.


def parts64(x):
    """P, Q and 2^n"""
    x = min(max(x, -708.0), 709.0)
    t = x * 1.4426950408889634 + 6755399441055744.0  # 1.5 * 2**52: rounds to n, which
    n = t - 6755399441055744.0  # is in the lowest bits of t
    r = x - n * 0.6931471805599453
    s = r * r
    P = r * (0.5 + s * (0.013887421393165475 + s * 3.304434243104082e-05))
    Q = 1.0 + s * (0.11110817611966284 + s * 9.917700282841121e-04)
    bits = (np.float64(t).view(np.int64) << np.int64(52)) + np.int64(1023 << 52)
    return P, Q, np.int64(bits).view(np.float64)


f = np.float32  # literals are float64, and would make everything so
LOW, HIGH, LOG2E, ROUND = f(-87), f(88), f(1.44269504), f(12582912.0)
LN2, ONE, HALF, A1, B1 = f(0.6931472), f(1), f(0.5), f(0.0083233886), f(0.09998005)


def parts32(x):
    x = min(max(x, LOW), HIGH)
    t = x * LOG2E + ROUND
    n = t - ROUND
    r = x - n * LN2
    s = r * r
    bits = (f(t).view(np.int32) << np.int32(23)) + np.int32(127 << 23)
    return r * (HALF + s * A1), ONE + s * B1, np.int32(bits).view(f)


def parts(x):
    return parts32(x) if x.dtype == np.float32 else parts64(x)


@overload(parts, jit_options=EXACT)
def parts_when_compiled(x):
    return parts32 if x == types.float32 else parts64


@exact
def exp(x):
    P, Q, power = parts(x)
    return power * ((Q + P) / (Q - P))


@exact
def logistic(x):
    """1 / (1 + exp(-x))"""
    P, Q, power = parts(x)
    e = power * (Q + P)
    return e / (e + (Q - P))


@exact
def tanh(x):
    """(exp(2 x) - 1) / (exp(2 x) + 1)"""
    P, Q, power = parts(x + x)
    return ((power * P + P) + (power * Q - Q)) / ((power * Q + Q) + (power * P - P))


# -- activations ---------------------------------------------------------------------
# Each has a branch in both functions: the value y = f(z), and from y the derivative.
# Rows lie one behind the other: a single loop over all of them is quicker than a loop
# for each, and so are indices than views of rows, which are counted references.

LOGISTIC, TANH, RELU, IDENTITY = range(len(ACTIVATIONS))


@kernel
def activate(code, Z, b):
    """Z (B, n_out) <- f(Z + b)"""
    one = Z.dtype.type(1)
    for j in range(Z.shape[0]):
        for i in range(b.size):
            z = Z[j, i] + b[i]
            Z[j, i] = max(z, one - one) if code == RELU else z  # nan stays nan
    y = view(Z, 0, (Z.size,))
    if code == LOGISTIC:
        for i in range(y.size):
            y[i] = logistic(y[i])
    elif code == TANH:
        for i in range(y.size):
            y[i] = tanh(y[i])


@kernel
def differentiate(code, Y, dY):
    """dY (B, n_out) <- dY * f'(Z)"""
    one = Y.dtype.type(1)
    y, d = view(Y, 0, (Y.size,)), view(dY, 0, (dY.size,))
    if code == LOGISTIC:
        for i in range(y.size):
            d[i] *= y[i] * (one - y[i])
    elif code == TANH:
        for i in range(y.size):
            d[i] *= (one - y[i]) * (one + y[i])
    elif code == RELU:
        for i in range(y.size):
            d[i] = d[i] if y[i] > 0 else one - one
