"""What is compiled: its arithmetic, and that a user never meets the compiler."""

import numpy as np
import pandas as pd
import pytest
from helpers import needs_compiler, run_python
from numba import njit
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import coo_array, csc_array, csr_array, csr_matrix
from settings import plain

from skmlp import _activations, _kernels
from skmlp._network import ACTIVATIONS

# Kernels are called by compiled code alone.
activate = njit(lambda code, Z, b: _activations.activate(code, Z, b))
tanh = njit(lambda x: _activations.tanh(x))
compiled_cross_entropy = njit(lambda *args: _kernels.cross_entropy(*args))


def activated(name, values):
    Z = np.tile(values, (3, 1))
    activate(ACTIVATIONS.index(name), Z, np.zeros(len(values), Z.dtype))
    return Z[0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_activations_are_right_to_a_few_roundings(dtype):
    eps = np.finfo(dtype).eps
    z = np.concatenate(
        [np.linspace(-40, 40, 4001), np.geomspace(1e-12, 1, 200), [0.0, 1e4, -1e4]]
    ).astype(dtype)
    wide = z.astype(np.longdouble)
    logistic = 1 / (1 + np.exp(-wide))
    # A last bit of z changes it by up to |z| eps.
    error = np.abs(activated("logistic", z) - logistic)
    assert (error <= (4 + np.abs(z)) * eps * logistic + 1e-37).all()
    assert_allclose(activated("tanh", z), np.tanh(wide), rtol=4 * eps)
    assert_array_equal(activated("relu", z), np.maximum(z, 0))
    assert_array_equal(activated("identity", z), z)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@np.errstate(over="ignore")  # which NumPy says, uncompiled
def test_nan_stays_nan_and_nothing_else_becomes_it(dtype):
    z = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0, *range(6)], dtype)
    for name in ACTIVATIONS:
        assert_array_equal(np.isnan(activated(name, z)), np.isnan(z))
    assert [tanh(dtype(x)) for x in (np.inf, 1e30, 400, 40)] == [1] * 4


def cross_entropy(scores, y, dtype=np.float64):
    """Value and gradient for unweighted samples in rows."""
    S = np.asarray(scores, dtype=dtype)
    B = len(S)
    dS, (top, norm) = np.empty_like(S), np.empty((2, B), dtype)
    w = np.full(B, 1 / B, dtype)
    loss = compiled_cross_entropy(S, dS, np.array(y), w, top, norm)
    return loss, dS


def test_loss_by_hand():
    """ln 2 for even odds; ln(1 + e^-1) and ln(1 + e) for odds of e to 1."""
    value, gradient = cross_entropy([[3.0, 3.0]], [0])
    assert_allclose(value, np.log(2), rtol=1e-15)
    assert_allclose(gradient, [[-0.5, 0.5]], rtol=1e-15)
    value, gradient = cross_entropy([[1.0, 0.0], [1.0, 0.0]], [0, 1])
    assert_allclose(value, (0.31326168751822286 + 1.3132616875182228) / 2, rtol=1e-15)
    assert_allclose(gradient[:, 0], [-0.13447071068499755, 0.36552928931500245])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_loss_is_stable_for_large_scores(dtype):
    value, gradient = cross_entropy([[1e3, -1e3], [-1e3, 1e3]], [0, 0], dtype)
    assert_allclose(value, 1e3, rtol=1e-6)  # (0 + 2000) / 2
    assert_allclose(gradient, [[0.0, 0.0], [-0.5, 0.5]], atol=1e-6)


def swapped(X):
    return X.astype(X.dtype.newbyteorder())


def read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


def wide_indices(X):
    X = csr_array(X)
    return csr_array((X.data, X.indices.astype(np.int64), X.indptr.astype(np.int64)))


def strided(X):
    X = csr_array(X)
    data, indices = X.data.repeat(2)[::2], X.indices.repeat(2)[::2]
    return csr_matrix((data, indices, X.indptr))


@needs_compiler
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_one_compilation_for_each_precision_and_storage(iris, dtype, tmp_path):
    """Whatever the data came in: containers, layouts, byte orders, memory maps."""
    X, y = iris[0].astype(dtype), iris[1]
    np.save(tmp_path / "X.npy", X)
    weights = [None, np.ones(150), read_only(np.ones(150)), np.ones(150, np.float32)]
    containers = [
        read_only, np.asfortranarray, swapped, pd.DataFrame, lambda X: X[::2],
        lambda X: np.load(tmp_path / "X.npy", mmap_mode="r"), lambda X: X[:, ::-1],
        csr_array, csr_matrix, csc_array, coo_array, wide_indices, strided,
    ]  # fmt: skip
    for i, container in enumerate(containers):
        rows = container(X)
        labels = np.resize(y, rows.shape[0])
        for batch_size in (None, 32):
            mlp = plain((5,), max_iter=1, batch_size=batch_size)
            mlp.fit(rows, labels, sample_weight=np.resize(1.0, rows.shape[0]))
            if rows.shape[0] == 150:
                mlp.fit(rows, read_only(labels), sample_weight=weights[i % 4])
            mlp.set_params(nesterovs_momentum=np.True_, alpha=np.float32(1), momentum=0)
            mlp.fit(rows, labels).predict(rows)
    for entry in (_kernels.train_rows, _kernels.predict_rows):
        kinds = {str(signature[0]) for signature in entry.run.signatures}
        assert len(entry.run.signatures) == len(kinds) <= 4


PROGRAM = """
import numpy as np
from skmlp import MomentumMLPClassifier
rng = np.random.RandomState(0)
X, y = rng.normal(size=(90, 9)), np.arange(90) % 3
mlp = MomentumMLPClassifier((40, 12), max_iter=5, batch_size=32, random_state=0)
print(*mlp.fit(X, y).predict_proba(X).sum(axis=0), mlp.loss_)
"""


def test_without_the_compiler_the_numbers_are_the_same():
    """Plain Python is a slow oracle: of the same formulas, rounded elsewhere."""
    slow, fast = (
        np.array(run_python(PROGRAM, NUMBA_DISABLE_JIT=off).split(), float)
        for off in (1, 0)
    )
    assert_allclose(slow, fast, rtol=1e-12)
