"""What an estimator is handed: raw features, in whatever units, dense or sparse."""

import pickle
import warnings

import numpy as np
import pytest
from helpers import assert_same_fit
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from sklearn.datasets import load_wine
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import StandardScaler, scale

from skmlp import MomentumMLPClassifier
from skmlp._scaling import ROW_LENGTH, measure

# Of wine's rows, where they are sparse.
pytestmark = pytest.mark.filterwarnings("ignore:Columns .* vary little beside")
both_containers = pytest.mark.parametrize("container", [np.asarray, csr_array])


def short(**params):
    return MomentumMLPClassifier((9,), **{"max_iter": 8, "random_state": 0} | params)


@pytest.fixture(scope="module")
def wine():
    return load_wine(return_X_y=True)


# -- what is standardised -------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "offset", "tolerance"),
    [
        (np.float64, None, 1e-9),
        (np.float32, None, 1e-3),
        (
            np.float32,
            1e3,
            2e-3,
        ),  # no more is lost by large offsets than the scaler loses
        (np.float32, 1e5, 2e-3),
    ],
)
def test_it_is_a_standard_scaler_before_it(wine, dtype, offset, tolerance):
    X, y = wine
    X = (X if offset is None else scale(X) + offset).astype(dtype)
    scaler = StandardScaler().fit(X)
    Z = scaler.transform(X)
    mlp = short(max_iter=100).fit(X, y)
    other = short(max_iter=100, standardize=False).fit(Z, y)
    assert_allclose(mlp.predict_proba(X), other.predict_proba(Z), atol=tolerance)
    assert other.feature_mean_ is other.feature_scale_ is None
    if offset is None:
        assert_allclose(mlp.feature_mean_, scaler.mean_, rtol=1e-14)
        assert_allclose(mlp.feature_scale_, scaler.scale_, rtol=1e-14)


def test_rows_of_many_features_have_length_eight(digits):
    X, y = digits
    X = np.hstack([X, X + 1.0])  # 122 columns vary, six do not
    mlp = short(max_iter=1).fit(X, y)
    Z = (X - mlp.feature_mean_) / mlp.feature_scale_
    assert_allclose((Z**2).sum(axis=1).mean(), ROW_LENGTH**2, rtol=1e-12)
    assert_array_equal(mlp.feature_mean_[[0, 32, 39]], 0)
    varies = X.std(axis=0) > 0
    ratio = mlp.feature_scale_[varies] / X.std(axis=0)[varies]
    assert_allclose(ratio, np.sqrt(122) / ROW_LENGTH, rtol=1e-12)


@pytest.mark.parametrize("n_features", [1, 40])
def test_sparse_rows_have_length_eight_and_zeros_stay_zeros(rng, n_features):
    X, y = rng.uniform(1, 3, (50, n_features)), np.arange(50) % 2
    X[rng.uniform(size=X.shape) < 0.6] = 0
    mlp = short(max_iter=1).fit(csr_array(X), y)
    assert_array_equal(mlp.feature_mean_, 0)
    assert_allclose(mlp.feature_scale_, mlp.feature_scale_[0], rtol=1e-14)
    lengths = ((X / mlp.feature_scale_) ** 2).sum(axis=1)
    assert_allclose(lengths.mean(), ROW_LENGTH**2, rtol=1e-12)


def test_outlying_sparse_features_are_brought_to_the_usual_size(rng):
    """An income beside one-hot columns, which it would drown, and a tiny share; what is
    rare but of the usual size is not blown up."""
    X = np.eye(20)[rng.randint(0, 20, 400)]
    X[:, :2] = 0, 0
    X[7, 0] = 1
    income, share = np.exp(rng.normal(10, 1, 400)), rng.uniform(0, 0.01, 400)
    X, y = csr_array(np.c_[X, income, share]), np.arange(400) % 2
    scale = short(max_iter=1).fit(X, y).feature_scale_
    assert_allclose(scale[:20], scale[0], rtol=1e-14)
    for column, values in ((20, income), (21, share)):
        size = np.sqrt((values**2).mean())
        assert_allclose(scale[column] / scale[0], size, rtol=1e-10)


def test_sparse_features_that_their_means_hide_are_remarked(rng, monkeypatch):
    """As years beside one-hot columns are; not constants, counts, amounts, or what is
    0 in a row."""
    monkeypatch.setattr("skmlp._scaling.BLOCK_ELEMENTS", 2**9)
    years, near = rng.randint(1990, 2020, 200), rng.uniform(9.5, 10, 200)
    usual = np.c_[np.eye(9)[rng.randint(0, 9, 200)], np.full(200, 0.1), np.ones(200)]
    usual = np.c_[usual, rng.poisson(9, 200), rng.lognormal(9, 1, 200), near]
    usual[7, -1] = 0
    y = (years > 2005).astype(int)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        short().fit(csr_array(usual), usual[:, 0])
        short(standardize=False, max_iter=1).fit(csr_array(np.c_[usual, near]), y)
        for dtype in np.float64, np.float32:
            hidden = np.c_[usual, years, -near].astype(dtype)
            short().fit(hidden, y)
            said = r"Columns \[14, 15\] of X vary little"
            with pytest.raises(ConvergenceWarning, match=said):
                MomentumMLPClassifier(random_state=0).fit(csr_array(hidden), y)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 99),
    exponents=st.lists(st.floats(-4, 5), min_size=13, max_size=13),
    offset=st.floats(-1e3, 1e3),
)
def test_units_do_not_matter(wine, seed, exponents, offset):
    """Fit on X * s + t predicts what fit on X does."""
    X, y = wine
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    s = 10.0 ** np.array(exponents)
    mlp = short(random_state=seed, max_iter=100)
    expected = mlp.fit(X, y).predict_proba(X)
    moved = X * s + offset * s
    assert_allclose(mlp.fit(moved, y).predict_proba(moved), expected, atol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 9999), st.sampled_from([np.asarray, csr_array]))
def test_statistics_of_integer_weights_are_those_of_repeated_rows(seed, container):
    rng = np.random.RandomState(seed)
    X, y = rng.normal(size=(30, 4)) * 10.0 ** rng.randint(-3, 4, 4), np.arange(30) % 2
    X[rng.uniform(size=X.shape) < 0.3] = 0
    weight = rng.randint(0, 4, 30)
    weight[:2] = 1
    mlp = short(max_iter=1)
    a = mlp.fit(container(X), y, sample_weight=weight)
    weighted = a.feature_mean_, a.feature_scale_
    b = mlp.fit(container(X.repeat(weight, axis=0)), y.repeat(weight))
    assert_allclose(weighted, (b.feature_mean_, b.feature_scale_), rtol=1e-10)


@pytest.mark.parametrize("blocks", [2**10, 2**19])
def test_statistics_in_blocks_are_those_of_all_rows(wine, blocks, monkeypatch):
    """Whatever the classes weigh."""
    monkeypatch.setattr("skmlp._scaling.BLOCK_ELEMENTS", blocks)
    X, y = wine
    mlp = short(max_iter=1, class_weight={0: 9}).fit(X, y)
    assert_allclose(mlp.feature_mean_, X.mean(axis=0), rtol=1e-13)
    assert_allclose(mlp.feature_scale_, X.std(axis=0), rtol=1e-13)
    whole = mlp.fit(csr_array(X), y).feature_scale_
    monkeypatch.setattr("skmlp._scaling.BLOCK_ELEMENTS", 2**30)
    assert_allclose(mlp.fit(csr_array(X), y).feature_scale_, whole, rtol=1e-13)


@both_containers
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize("exponent", [170, 306])  # of 306 the sum overflows, too
def test_a_variance_beyond_float64_is_an_error(wine, container, method, exponent):
    mlp, (X, y) = short().fit(*wine), wine
    X = container(X * 10.0 ** (exponent * (np.arange(13) == 3)))
    with pytest.raises(ValueError, match="squares of column 3 are too large"):
        getattr(mlp, method)(X, y)


# -- kept with the training ------------------------------------------------------------


@both_containers
def test_predictions_do_not_depend_on_the_container(wine, container):
    """A network of centred features predicts sparse rows as it does dense ones."""
    X, y = wine
    mlp = short().fit(container(X), y)
    expected = mlp.predict_proba(X)
    assert_allclose(mlp.predict_proba(csr_array(X)), expected, rtol=1e-10)
    loaded = pickle.loads(pickle.dumps(mlp))
    assert_array_equal(loaded.predict_proba(X), expected)


@both_containers
@pytest.mark.parametrize("then", [np.asarray, csr_array])
def test_a_training_may_change_its_container(wine, container, then):
    X, y = scale(wine[0]), wine[1]
    params = {"learning_rate": "constant", "learning_rate_init": 0.02}
    mlp = short(warm_start=True, **params).fit(container(X), y)
    first = mlp.feature_mean_, mlp.feature_scale_
    mlp.fit(then(X), y)
    assert_array_equal((mlp.feature_mean_, mlp.feature_scale_), first)
    whole = short(max_iter=16, **params).fit(container(X), y)
    assert_allclose(mlp.loss_curve_, whole.loss_curve_, rtol=1e-9)


def test_a_warm_start_keeps_the_first_statistics(wine):
    X, y = wine
    mlp = short(warm_start=True).fit(X, y)
    mean = mlp.feature_mean_.copy()
    assert_array_equal(mlp.fit(X * 2 + 1, y).feature_mean_, mean)
    anew = mlp.set_params(warm_start=False).fit(X * 2 + 1, y)
    assert_allclose(anew.feature_mean_, mean * 2 + 1, rtol=1e-12)
    anew.set_params(warm_start=True, standardize=False)
    with pytest.raises(ValueError, match="standardize=False belongs to the first fit"):
        anew.fit(X, y)


def test_statistics_come_from_what_is_trained_on(wine):
    X, y = wine
    mlp = short(early_stopping=True, validation_fraction=0.4).fit(X, y)
    assert mlp._training_state["rows_seen"] / mlp.n_iter_ < 110
    assert np.abs(mlp.feature_mean_ - X.mean(axis=0)).max() > 1e-3
    with pytest.warns(UserWarning, match="X_val looks unlike X"):
        given = short().fit(X[::2], y[::2], X_val=X[1::2] * 1e6, y_val=y[1::2])
    assert_allclose(given.feature_mean_, X[::2].mean(axis=0), rtol=1e-13)


# -- streams ---------------------------------------------------------------------------


def stream(mlp, X, y, size):
    for start in range(0, len(y), size):
        rows = slice(start, start + size)
        mlp.partial_fit(X[rows], y[rows], classes=np.unique(y))
    return mlp


@both_containers
@pytest.mark.parametrize("size", [1, 7, 60])
def test_means_and_scales_are_those_of_all_rows_seen(wine, size, container):
    X, y = container(wine[0][::-1] + 1), wine[1][::-1]
    mlp = stream(short(), X, y, size)
    expected = short(max_iter=1).fit(X, y)
    assert_allclose(mlp.feature_mean_, expected.feature_mean_, rtol=1e-10)
    assert_allclose(mlp.feature_scale_, expected.feature_scale_, rtol=1e-10)


@both_containers
@pytest.mark.parametrize("n_rows", [20, 178])
def test_k_calls_on_the_same_rows_are_a_fit_of_k_epochs(wine, container, n_rows):
    """Few rows too, whose statistics are merged with themselves."""
    X, y = container(wine[0][::-1][:n_rows]), wine[1][::-1][:n_rows]
    params = {"alpha": 0.0, "learning_rate": "constant"}
    parts = short(**params)
    for _ in range(4):
        stream(parts, X, y, n_rows)
    assert_same_fit(parts, short(**params, max_iter=4).fit(X, y))


def test_how_long_a_feature_was_constant_tells_nothing_of_its_scale(digits, rng):
    """Its first values would be some ten standard deviations off, for a long time."""
    order = rng.permutation(len(digits[1]))
    late = np.r_[np.zeros(1000), rng.normal(5, 3, len(order) - 1000)]
    X, y = np.c_[digits[0][order], late], digits[1][order]
    mlp = MomentumMLPClassifier(random_state=0).fit(X[:1000], y[:1000])
    assert mlp.feature_scale_[-1] == mlp.feature_scale_[0]  # both are constant
    before = mlp.score(X[1300:], y[1300:])
    stream(mlp, X[1000:1300], y[1000:1300], 1)
    assert mlp.score(X[1300:], y[1300:]) > before - 0.02
    factor = mlp.feature_scale_[10] / np.std(X[:1300, 10])
    assert_allclose(mlp.feature_scale_[-1] / factor, 3, rtol=0.2)


@pytest.mark.parametrize("size", [1, 100])
def test_a_stream_may_drift(rng, size):
    """A timestamp, say: frozen scales would saturate all units."""
    z = rng.normal(size=2000)
    X, y = np.c_[1.7e9 + 60 * np.arange(2000), z], (z > 0).astype(int)
    mlp = stream(MomentumMLPClassifier(random_state=0), X, y, size)
    assert mlp.score(X[-500:], y[-500:]) > 0.85


@pytest.mark.parametrize("weight", [1, 1000])
def test_the_unit_of_weights_does_not_change_a_streams_steps(digits, weight):
    X, y = digits
    mlp = MomentumMLPClassifier(random_state=0)
    mlp.fit(X[:1000], y[:1000], sample_weight=np.full(1000, weight))
    for i in range(1000, 1100):
        mlp.partial_fit(X[i : i + 1], y[i : i + 1], sample_weight=[weight])
    assert mlp.learning_rate_init_ == pytest.approx(0.2 / 32, rel=1e-12)
    assert mlp.score(X[1100:], y[1100:]) > 0.9


def test_a_feature_that_begins_constant_is_measured_as_any_other():
    X = np.random.RandomState(0).normal(size=(200_000, 2))
    X[:199_000, 1] = 0  # for the first blocks
    found = measure(X, None)
    assert_allclose(found.first, X.mean(axis=0), rtol=1e-9, atol=1e-12)
    assert_allclose(found.second, X.var(axis=0), rtol=1e-9)


def test_a_sparse_stream_goes_on_with_dense_rows_of_weight_0():
    X, y, weight = np.eye(6), np.arange(6) % 2, np.array([1, 1, 0, 1, 1, 1.0])
    mlp = MomentumMLPClassifier(2).partial_fit(csr_array(X), y, classes=[0, 1])
    mlp.partial_fit(X, y, sample_weight=weight)
    assert mlp.n_iter_ == 2
