"""What goes in: labels, containers, precision; and what is refused, how."""

import warnings
from functools import partial

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array, csc_matrix, csr_array
from settings import plain
from sklearn.utils.validation import validate_data
from threadpoolctl import threadpool_info

make = partial(plain, max_iter=60, random_state=0)


@pytest.mark.parametrize(
    ("container", "batch_size"),
    [(csr_array, None), (csr_array, 40), (csc_array, 40), (csc_matrix, 40)],
)
def test_sparse_equals_dense(digits, container, batch_size):
    X, y = digits[0][:500] / 16, digits[1][:500]
    dense = make(max_iter=5, batch_size=batch_size).fit(X, y)
    sparse = make(max_iter=5, batch_size=batch_size).fit(container(X), y)
    assert_allclose(sparse.loss_curve_, dense.loss_curve_, rtol=1e-10)
    assert_allclose(sparse.predict_proba(container(X)), dense.predict_proba(X))


@pytest.mark.parametrize("library", [pd, pl])
def test_data_frames(iris, library):
    X, y = iris
    frame = library.DataFrame({f"f{i}": column for i, column in enumerate(X.T)})
    labels = library.Series(np.array(["x", "y", "z"])[y].tolist())
    mlp = make(max_iter=3).fit(frame, labels)
    assert_array_equal(mlp.feature_names_in_, ["f0", "f1", "f2", "f3"])
    assert_array_equal(mlp.classes_, ["x", "y", "z"])
    plain = make(max_iter=3).fit(X, y)
    assert_array_equal(mlp.predict_proba(frame), plain.predict_proba(X))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_float32_stays_float32_throughout(iris, container, batch_size, standardize):
    X, y = iris
    X = container(X.astype(np.float32))
    params = {"batch_size": batch_size, "standardize": standardize, "max_iter": 20}
    mlp = make(alpha=0.1, **params).fit(X, y, sample_weight=np.ones(150))
    assert {a.dtype for a in mlp.coefs_ + mlp.intercepts_} == {np.dtype(np.float32)}
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        assert getattr(mlp, method)(X).dtype == np.float32
    wide = make(alpha=0.1, **params).fit(X.astype(np.float64), y)
    assert_allclose(mlp.loss_curve_, wide.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, bool])
def test_everything_else_becomes_float64(dtype):
    mlp = make(max_iter=1).fit(np.eye(4, dtype=dtype), [0, 1, 1, 0])
    assert mlp.coefs_[0].dtype == np.float64


@pytest.mark.parametrize(
    ("given", "used"),
    [(5, [(4, 5), (5, 3)]), ((), [(4, 3)]), ([7, 5], [(4, 7), (7, 5), (5, 3)])],
)
def test_any_number_of_hidden_layers(iris, given, used):
    mlp = make(hidden_layer_sizes=given, max_iter=2).fit(*iris)
    assert [coef.shape for coef in mlp.coefs_] == used
    assert [b.shape for b in mlp.intercepts_] == [shape[1:] for shape in used]
    assert (mlp.n_layers_, mlp.n_outputs_) == (len(used) + 1, 3)
    assert (mlp.n_features_in_, mlp.out_activation_) == (4, "softmax")


def test_one_class_is_fitted_and_predicted(iris):
    mlp = make(max_iter=2).fit(iris[0], ["only"] * 150)
    assert set(mlp.predict(iris[0])) == {"only"}
    assert_array_equal(mlp.predict_proba(iris[0]), np.ones((150, 1)))


@pytest.mark.parametrize("y", [[[1, 0], [1, 1], [0, 1]], [[1, 2], [3, 4], [1, 4]]])
def test_several_outputs_are_refused_with_the_way_to_go(y):
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        make().fit(np.ones((3, 2)), y)


@pytest.mark.parametrize(
    "bad",
    [np.full((2, 4), np.nan), np.array([list("abcd")]), np.ones((2, 4), complex)]
    + [np.ones(shape) for shape in [(2, 3), 4, (0, 4), (2, 4, 1)]],
)
def test_prediction_refuses_what_validate_data_refuses(iris, bad):
    mlp = make(max_iter=2).fit(*iris)
    with pytest.raises(ValueError) as expected:  # noqa: PT011, whatever it says
        validate_data(mlp, bad, reset=False, dtype=np.float64)
    with pytest.raises(ValueError) as own:  # noqa: PT011, compared below
        mlp.predict_proba(bad)
    assert str(own.value) == str(expected.value)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("alpha", -1.0, r"'alpha' .* Got -1\.0"),
        ("batch_size", "all", "'batch_size' .* Got 'all'"),
        ("hidden_layer_sizes", (5, 0), r"hidden_layer_sizes=\(5, 0\) .* int >= 1"),
        ("hidden_layer_sizes", (2.5,), r"hidden_layer_sizes=\(2\.5,\) .* int >= 1"),
    ],
)
def test_bad_parameters_are_quoted(iris, name, value, said):
    mlp = make(**{name: value})
    for method, classes in (("fit", []), ("partial_fit", [[0, 1, 2]])):
        with pytest.raises(ValueError, match=said):
            getattr(mlp, method)(*iris, *classes)


@pytest.mark.parametrize(
    ("params", "labels", "said"),
    [
        ({}, np.linspace(0, 1, 150), "Unknown label type"),
        ({"alpha": -3}, np.arange(150) % 3, "'alpha'"),
        ({"learning_rate_init": 1e9}, np.arange(150) % 3, "diverged"),
    ],
)
def test_a_failed_fit_leaves_the_estimator_as_it_was(iris, params, labels, said):
    mlp = make(max_iter=5, activation="relu").fit(*iris)
    expected = mlp.predict_proba(iris[0])
    before = vars(mlp.set_params(**params)).copy()
    with pytest.raises(ValueError, match=said):
        mlp.fit(np.hstack([iris[0], iris[0] * 1e3]), labels)
    assert vars(mlp) == before
    assert_array_equal(mlp.predict_proba(iris[0]), expected)


@pytest.mark.parametrize("method", ["predict", "predict_proba"])
def test_rows_too_large_for_float32_are_an_error_alone(iris, method):
    X, y = iris
    mlp = make(max_iter=1).fit(X.astype(np.float32), y)
    with pytest.raises(ValueError, match="too large for dtype"):
        getattr(mlp, method)(X * 1e300)  # a warning would be another error


def test_nothing_global_changes(iris):
    def world():
        threads = {lib["filepath"]: lib["num_threads"] for lib in threadpool_info()}
        return threads, np.geterr(), list(warnings.filters)

    before, state = world(), np.random.get_state()
    make(max_iter=3).fit(*iris).predict(iris[0])
    with pytest.raises(ValueError, match="diverged"):
        make(activation="relu", learning_rate_init=1e30).fit(*iris)
    assert world() == before
    assert_array_equal(np.random.get_state()[1], state[1])
