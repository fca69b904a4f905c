"""What goes in: labels, containers, precision; and what is refused, how."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csc_array, csc_matrix, csr_array, csr_matrix
from settings import plain
from sklearn.exceptions import NotFittedError
from sklearn.utils import check_random_state
from sklearn.utils.validation import validate_data

from skmlp import MomentumMLPClassifier


def make(**params):
    return plain(**({"max_iter": 60, "random_state": 0} | params))


@pytest.mark.parametrize(
    "labels",
    [
        ["setosa", "versicolor", "virginica"],
        [-7, 3, 1000],
        [0.0, 1.0, 2.0],
        np.array(["a", "b", "c"], dtype=object),
    ],
    ids=["strings", "ints", "floats", "objects"],
)
def test_labels_of_any_kind(iris, labels):
    X, codes = iris
    y = np.asarray(labels)[codes]
    mlp = make().fit(X, y)
    assert_array_equal(mlp.classes_, np.unique(y))
    predicted = mlp.predict(X)
    assert predicted.dtype == y.dtype
    assert np.mean(predicted == y) > 0.9
    assert_array_equal(mlp.predict_proba(X), make().fit(X, codes).predict_proba(X))


def test_bool_labels(iris):
    X, codes = iris
    mlp = make().fit(X, codes == 0)
    assert mlp.predict(X).dtype == bool
    assert mlp.score(X, codes == 0) > 0.9


def test_labels_in_a_column_warn_and_work(iris):
    X, y = iris
    with pytest.warns(Warning, match="column-vector y"):
        mlp = make(max_iter=2).fit(X, y[:, None])
    assert_array_equal(mlp.predict(X), make(max_iter=2).fit(X, y).predict(X))


@pytest.mark.parametrize("container", [csr_array, csc_array, csr_matrix, csc_matrix])
@pytest.mark.parametrize("batch_size", [None, 40])
def test_sparse_equals_dense(digits, container, batch_size):
    X, y = digits[0] / 16, digits[1]
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


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("container", [np.asarray, csr_array])
def test_float32_stays_float32_throughout(iris, container, batch_size):
    X, y = iris
    X = container(X.astype(np.float32))
    mlp = make(batch_size=batch_size, alpha=0.1).fit(X, y, sample_weight=np.ones(150))
    assert {a.dtype for a in mlp.coefs_ + mlp.intercepts_} == {np.dtype(np.float32)}
    for method in ("predict_proba", "predict_log_proba", "decision_function"):
        assert getattr(mlp, method)(X).dtype == np.float32
    wide = make(batch_size=batch_size, alpha=0.1).fit(X.astype(np.float64), y)
    assert_allclose(mlp.loss_curve_, wide.loss_curve_, rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.int64, np.uint8, np.float16, bool])
def test_everything_else_becomes_float64(dtype):
    X = np.array([[0, 1], [1, 0], [1, 1], [0, 0]], dtype=dtype)
    mlp = make(max_iter=1).fit(X, [0, 1, 1, 0])
    assert mlp.coefs_[0].dtype == np.float64


def test_attributes_have_scikit_learns_shapes(iris):
    mlp = make(hidden_layer_sizes=(7, 5)).fit(*iris)
    assert [coef.shape for coef in mlp.coefs_] == [(4, 7), (7, 5), (5, 3)]
    assert [b.shape for b in mlp.intercepts_] == [(7,), (5,), (3,)]
    assert (mlp.n_layers_, mlp.n_outputs_, mlp.out_activation_) == (4, 3, "softmax")
    assert mlp.n_features_in_ == 4


@pytest.mark.parametrize(
    ("given", "used"), [(5, [(4, 5), (5, 3)]), ((), [(4, 3)]), ([6], [(4, 6), (6, 3)])]
)
def test_any_number_of_hidden_layers(iris, given, used):
    mlp = make(hidden_layer_sizes=given, max_iter=2).fit(*iris)
    assert [coef.shape for coef in mlp.coefs_] == used


@pytest.mark.parametrize(("given", "equal"), [("auto", 32), (1000, 150), (None, 150)])
def test_batch_size_is_clipped_to_the_samples(iris, given, equal):
    a = make(batch_size=given, max_iter=3).fit(*iris)
    b = make(batch_size=equal, max_iter=3).fit(*iris)
    assert a.loss_curve_ == b.loss_curve_


def test_one_class_is_fitted_and_predicted(iris):
    X, _ = iris
    mlp = make(max_iter=2).fit(X, ["only"] * len(X))
    assert set(mlp.predict(X)) == {"only"}
    assert_array_equal(mlp.predict_proba(X), np.ones((150, 1)))


@pytest.mark.parametrize(
    "y",
    [
        np.eye(3, dtype=int)[[0, 1, 2, 0]] + [[0, 1, 0]],
        [[1, 2], [3, 4], [1, 4], [3, 2]],
    ],
)
def test_several_outputs_are_refused_with_the_way_to_go(y):
    with pytest.raises(ValueError, match="MultiOutputClassifier"):
        make().fit(np.ones((4, 2)), y)


def test_continuous_targets_are_refused():
    with pytest.raises(ValueError, match="Unknown label type"):
        make().fit(np.ones((3, 2)), [0.1, 0.2, 0.35])


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_nan_and_inf_are_refused(iris, bad):
    X, y = iris
    X = X.copy()
    X[3, 1] = bad
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        make().fit(X, y)
    with pytest.raises(ValueError, match=r"contains (NaN|infinity)"):
        make(max_iter=1).fit(*iris).predict(X)


def test_wrong_feature_count_is_refused(iris):
    mlp = make(max_iter=1).fit(*iris)
    with pytest.raises(ValueError, match=r"X has 3 features, but .* expecting 4"):
        mlp.predict(np.ones((2, 3)))


@pytest.mark.parametrize(
    ("wrong", "error", "said"),
    [
        ({"X_val": np.ones((150, 3))}, ValueError, "X_val and y_val: X has 3 features"),
        ({"X_val": np.full((150, 4), object())}, TypeError, "X_val and y_val: float"),
        ({"y_val": np.ones((150, 2), int)}, ValueError, "X_val and y_val: y has sever"),
        ({"sample_weight_val": [1.0, 1.0]}, ValueError, "sample_weight_val: sample_we"),
    ],
)
def test_wrong_validation_data_are_named(iris, wrong, error, said):
    X, y = iris
    with pytest.raises(error, match=said):
        make().fit(X, y, **({"X_val": X, "y_val": y} | wrong))


@pytest.mark.parametrize(
    "bad",
    [
        np.full((2, 4), np.nan),
        np.ones((2, 3)),
        np.ones(4),
        np.ones((0, 4)),
        np.ones((2, 4, 1)),
        np.array([["a", "b", "c", "d"]]),
        np.ones((2, 4), dtype=complex),
    ],
    ids=["nan", "narrow", "1-D", "empty", "3-D", "strings", "complex"],
)
def test_prediction_refuses_what_validate_data_refuses(iris, bad):
    mlp = make(max_iter=2).fit(*iris)
    with pytest.raises(ValueError) as expected:  # noqa: PT011, whatever it says
        validate_data(mlp, bad, reset=False, dtype=np.float64)
    with pytest.raises(ValueError) as own:  # noqa: PT011, compared below
        mlp.predict_proba(bad)
    assert str(own.value) == str(expected.value)


def test_an_array_where_names_are_known_warns(iris):
    X, y = iris
    mlp = make(max_iter=2).fit(pd.DataFrame(X, columns=list("abcd")), y)
    with pytest.warns(UserWarning, match="does not have valid feature names"):
        mlp.predict(X)


def test_unfitted_is_refused():
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(NotFittedError, match="not fitted yet"):
            getattr(make(), method)(np.ones((2, 3)))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("alpha", -1.0, r"'alpha' .* Got -1\.0"),
        ("batch_size", 0, "'batch_size' .* Got 0"),
        ("batch_size", "all", "'batch_size' .* Got 'all'"),
        ("activation", "sine", "'activation' .* Got 'sine'"),
        ("output_activation", "relu", "'output_activation' .* Got 'relu'"),
        ("learning_rate_init", 0.0, r"'learning_rate_init' .* Got 0\.0"),
        ("momentum", 1.5, r"'momentum' .* Got 1\.5"),
        ("max_iter", 0, "'max_iter' .* Got 0"),
        ("hidden_layer_sizes", (5, 0), r"hidden_layer_sizes=\(5, 0\) .* int >= 1"),
        ("hidden_layer_sizes", (2.5,), r"hidden_layer_sizes=\(2\.5,\) .* int >= 1"),
        ("random_state", "x", "'random_state' .* Got 'x'"),
    ],
)
def test_bad_parameters_are_quoted(iris, name, value, said):
    with pytest.raises(ValueError, match=said):
        make(**{name: value}).fit(*iris)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_divergence_is_an_error_with_advice(digits, dtype):
    X, y = digits
    mlp = make(activation="identity", learning_rate_init=1e5, momentum=0.5)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        mlp.fit(X.astype(dtype), y)
    for part in ("epoch", "learning_rate_init=100000.0", "Try a smaller", "Scaler"):
        assert part in str(caught.value)
    assert not hasattr(mlp, "coefs_")
    assert not hasattr(mlp, "n_features_in_")


@pytest.mark.parametrize("fails", ["labels", "parameter", "divergence"])
def test_a_failed_fit_leaves_the_estimator_as_it_was(iris, fails):
    X, y = iris
    mlp = make(max_iter=5, activation="relu").fit(X, y)
    before, expected = vars(mlp).copy(), mlp.predict_proba(X)
    wide = np.hstack([X, X])
    if fails == "labels":
        bad = (wide, np.linspace(0, 1, 150))
    elif fails == "parameter":
        mlp.set_params(alpha=-3)
        bad = (wide, y)
    else:
        mlp.set_params(learning_rate_init=1e9)
        bad = (wide * 1e3, y)
    params = mlp.get_params()
    with pytest.raises(ValueError, match=r"."):
        mlp.fit(*bad)
    after = vars(mlp).copy()
    for name in params:
        before.pop(name), after.pop(name)
    assert after.keys() == before.keys()
    assert all(after[name] is before[name] for name in before)
    assert_array_equal(mlp.predict_proba(X), expected)


def test_a_failed_fit_draws_nothing_from_the_users_generator(iris):
    generator = np.random.RandomState(0)
    before = generator.get_state()
    bad = make(activation="relu", learning_rate_init=1e30, random_state=generator)
    with pytest.raises(ValueError, match="diverged"):
        bad.fit(*iris)
    np.testing.assert_equal(generator.get_state(), before)


def test_a_failed_fit_takes_no_global_draw_of_others_back(iris):
    def draw_and_fail(*args):
        drawn.append(np.random.rand())
        raise RuntimeError("this scorer fails")

    drawn = []
    mlp = make(scoring=draw_and_fail)
    for generator in (None, None, check_random_state(None), np.random.mtrand._rand):
        mlp.set_params(random_state=generator)
        with pytest.raises(RuntimeError, match="this scorer fails"):
            mlp.fit(*iris, X_val=iris[0], y_val=iris[1])
    assert len(set(drawn)) == 4


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score"])
def test_rows_too_large_for_float32_are_an_error_alone(iris, method):
    X, y = iris
    mlp = make(max_iter=1).fit(X.astype(np.float32), y)
    args = (X * 1e300, y) if method == "score" else (X * 1e300,)
    with pytest.raises(ValueError, match="too large for dtype"):
        getattr(mlp, method)(*args)  # a warning would be another error


def test_parameters_are_validated_where_scikit_learn_does(iris, monkeypatch):
    calls, validate = [], MomentumMLPClassifier._validate_params
    monkeypatch.setattr(
        MomentumMLPClassifier,
        "_validate_params",
        lambda self: calls.append(1) or validate(self),
    )
    mlp = make(n_iter_no_change=5)
    for _ in range(3):
        mlp.partial_fit(*iris, classes=[0, 1, 2])
    assert len(calls) == 2  # scikit-learn's own look in the first call, and ours
    mlp.set_params(n_iter_no_change=5.0)
    with sklearn.config_context(skip_parameter_validation=True):
        mlp.partial_fit(*iris)
    assert len(calls) == 2
    with pytest.raises(ValueError, match="'n_iter_no_change' parameter"):
        mlp.set_params(n_iter_no_change=6.0).partial_fit(*iris)


def test_nothing_global_changes(iris):
    import warnings

    from threadpoolctl import threadpool_info

    def world():
        threads = {lib["filepath"]: lib["num_threads"] for lib in threadpool_info()}
        return threads, np.geterr(), list(warnings.filters)

    before, state = world(), np.random.get_state()
    make(max_iter=3).fit(*iris).predict(iris[0])
    with pytest.raises(ValueError, match="diverged"):
        make(activation="relu", learning_rate_init=1e30).fit(*iris)
    assert world() == before
    assert_array_equal(np.random.get_state()[1], state[1])
