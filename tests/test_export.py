"""The same predictions from scikit-learn's class and from ONNX."""

import copy
from functools import partial

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from settings import plain
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from skmlp import to_sklearn

assert_close = partial(assert_allclose, rtol=0, atol=1e-12)


def make(hidden_layer_sizes=(8, 5), **params):
    return plain(hidden_layer_sizes, **{"max_iter": 40, "random_state": 0} | params)


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("labels", [["a", "b", "c"], [False, True], [-1, 5]])
@pytest.mark.parametrize("hidden", [(8, 5), 4, ()])
def test_predictions_are_the_same(iris, activation, labels, hidden):
    X, y = iris
    y = np.array(labels)[np.minimum(y, len(labels) - 1)]
    rate = 0.05 if activation in ("relu", "identity") else 0.2
    ours = make(hidden, activation=activation, learning_rate_init=rate).fit(X, y)
    theirs = to_sklearn(ours)
    assert isinstance(theirs, MLPClassifier)
    for data in (X, X * 50, csr_array(X)):  # probabilities of 0 and 1 too
        assert_close(theirs.predict_proba(data), ours.predict_proba(data))
        assert_array_equal(theirs.predict(data), ours.predict(data))
    assert_array_equal(theirs.classes_, ours.classes_)
    assert theirs.score(X, y) == ours.score(X, y)


# Units and offsets of the features, and how many standard deviations off 0 the means
# are then, at most: as many times more than 1e-12 may predictions differ.
UNITS = np.array([1e-6, 1.0, 1e3, 1e9])
OFFSETS = {"centred": (0.0, 1), "near": (3.0, 3), "far": (1000.0, 1000)}


@pytest.mark.parametrize("offset", OFFSETS)
@pytest.mark.parametrize("labels", [["a", "b", "c"], [False, True]])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_raw_features_in_mixed_units(iris, offset, labels, dtype):
    """The scales that the estimator found are folded into the first layer."""
    shift, off = OFFSETS[offset]
    X = ((iris[0] + shift) * UNITS * [1, -1, 1, 1]).astype(dtype)
    y = np.array(labels)[np.minimum(iris[1], len(labels) - 1)]
    ours = make(standardize=True).fit(X, y)
    expected, theirs = ours.predict_proba(X), to_sklearn(ours)
    assert expected.max() > 0.9
    atol = off * (1e-12 if dtype == np.float64 else 1e-6)
    found = theirs.predict_proba(X)
    assert found.dtype == dtype
    assert_close(found, expected, atol=atol)
    assert_close(theirs.predict_proba(csr_array(X)), expected, atol=atol)
    if off < 1000:
        assert_array_equal(theirs.predict(X), ours.predict(X))
    # ONNX computes in the precision of X.
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    for model in (ours, theirs, make_pipeline(FunctionTransformer().fit(X), ours)):
        session = onnxruntime.InferenceSession(
            skl2onnx.to_onnx(
                model, X[:1], options={"zipmap": False}
            ).SerializeToString(),
            providers=["CPUExecutionProvider"],
        )
        predicted, found = session.run(None, {"X": X})
        assert_close(found, expected, atol=atol)
        if off < 1000:
            assert_array_equal(predicted, ours.predict(X))


def test_it_is_the_fitted_network_that_counts(iris):
    ours = make().fit(*iris)
    ours.set_params(activation="relu", hidden_layer_sizes=3, early_stopping=True)
    theirs = to_sklearn(ours)
    proba = ours.predict_proba(iris[0])
    assert_close(theirs.predict_proba(iris[0]), proba)
    assert (theirs.hidden_layer_sizes, theirs.activation) == ((8, 5), "logistic")


def test_it_has_all_that_a_fitted_mlp_classifier_has(iris):
    X, y = pd.DataFrame(iris[0], columns=list("abcd")), iris[1]
    ours = make(random_state=np.random.RandomState(0)).fit(X, y)
    before = ours.random_state.get_state()[2]
    theirs = to_sklearn(ours)
    assert theirs.random_state is ours.random_state  # and is left alone
    assert ours.random_state.get_state()[2] == before
    real = MLPClassifier(max_iter=1, solver="sgd").partial_fit(X, y, classes=[0, 1, 2])
    assert set(vars(real)) - set(vars(theirs)) == {"_optimizer"}  # made when missing
    assert_array_equal(theirs.feature_names_in_, list("abcd"))
    assert_array_equal(theirs.predict(X), ours.predict(X))
    assert theirs.loss_curve_ == ours.loss_curve_
    assert theirs.best_loss_ == min(ours.loss_curve_)
    assert (theirs.n_iter_, theirs.n_layers_, theirs.n_outputs_) == (40, 4, 3)
    assert theirs.t_ == 40 * 150


@pytest.mark.filterwarnings("ignore:The network has learned little")
def test_parameters_are_carried_over(iris):
    params = {
        "learning_rate": "invscaling", "learning_rate_init": 0.1, "power_t": 0.3,
        "momentum": 0.7, "nesterovs_momentum": True, "max_iter": 7, "shuffle": False,
        "early_stopping": True, "validation_fraction": 0.2, "n_iter_no_change": 3,
        "tol": 0.5, "warm_start": True, "random_state": 5,
    }  # fmt: skip
    ours = make(**params).fit(*iris)
    theirs = to_sklearn(ours)
    assert params.items() <= theirs.get_params().items()
    assert theirs.solver == "sgd"
    assert theirs.best_validation_score_ == ours.best_validation_score_
    assert theirs.validation_scores_ == ours.validation_scores_
    real = MLPClassifier(solver="sgd", early_stopping=True, tol=9, n_iter_no_change=1)
    assert theirs.best_loss_ is real.fit(*iris).best_loss_ is None


def test_what_mlp_classifier_cannot_say(iris):
    """The result can be cloned and fitted: each of its parameters is valid."""
    early = {"early_stopping": True, "validation_fraction": None, "tol": 0.5}
    ours = make(learning_rate="cosine", batch_size=None, **early).fit(*iris)
    theirs = to_sklearn(ours)
    assert (theirs.learning_rate, theirs.batch_size) == ("constant", 150)
    assert not theirs.early_stopping
    assert theirs.best_loss_ == min(ours.loss_curve_)
    theirs.fit(*iris)


@pytest.mark.filterwarnings("ignore:The network has learned little")
# Of sizes that divide 150: elsewhere the last, smaller batch is a smaller step of ours.
@pytest.mark.parametrize("batch_size", [None, 30, 1000])
def test_alpha_is_converted(iris, batch_size):
    """MLPClassifier's next epoch is ours: the same step and the same loss."""
    X, y = iris
    ours = make(batch_size=batch_size, alpha=9.0, momentum=0.0, shuffle=False)
    theirs = to_sklearn(ours.fit(X, y))
    ours.set_params(warm_start=True, max_iter=1)
    if batch_size == 1000:
        theirs.set_params(batch_size=150)  # it warns where we clip
    theirs.partial_fit(X, y)
    ours.fit(X, y)
    for a, b in zip(theirs.coefs_, ours.coefs_, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-14)
    assert_allclose(theirs.loss_curve_, ours.loss_curve_, rtol=1e-12)
    assert to_sklearn(make(batch_size="auto").fit(X, y)).batch_size == 32


@pytest.mark.filterwarnings("ignore:The network has learned little")
@pytest.mark.parametrize(
    ("params", "weight", "effective"),
    [
        ({"early_stopping": True, "tol": 0.5}, np.ones(150), 135),  # 15 held out
        ({}, np.arange(150) % 2, 75),
        ({}, np.full(150, 0.001), 0.15),
        ({"class_weight": {0: 4.0}}, np.ones(150), 300**2 / 900),
    ],
)
def test_alpha_counts_the_samples_that_were_trained_on(iris, params, weight, effective):
    """Their effective number, of a whole stream."""
    ours = make(batch_size=30, alpha=0.03, **params).fit(*iris, weight)
    assert_allclose(to_sklearn(ours).alpha, 0.03 * 30 / effective)
    if not params:
        ours.partial_fit(iris[0][:50], iris[1][:50])
        assert_allclose(to_sklearn(ours).alpha, 0.03 * 30 / (effective + 50))


def test_neither_changes_the_other(iris):
    ours = make(batch_size="auto").fit(*iris)
    before, theirs = ours.predict_proba(iris[0]), to_sklearn(ours)
    for array in [*theirs.coefs_, *theirs.intercepts_]:
        array[...] = 0
    theirs.loss_curve_.clear()
    assert_array_equal(ours.predict_proba(iris[0]), before)
    assert len(ours.loss_curve_) == 40
    copy.deepcopy(to_sklearn(ours)).partial_fit(*iris)


def test_what_has_no_counterpart_is_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match="output_activation='logistic', but expected"):
        to_sklearn(make(output_activation="logistic").fit(X, y))
    with pytest.raises(ValueError, match=r"classes \[7\], but expected two or more"):
        to_sklearn(make().fit(X, np.full(150, 7)))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        to_sklearn(make())
    for other in (LogisticRegression(), make_pipeline(LogisticRegression()), "mlp"):
        with pytest.raises(TypeError, match=r"(?s)Got .* expected a MomentumMLPC"):
            to_sklearn(other)


def test_a_pipeline_has_its_last_step_replaced(iris):
    X, y = iris
    pipe = make_pipeline(StandardScaler(), make()).fit(X * 3, y)
    exported, expected = to_sklearn(pipe), pipe.predict_proba(X * 3)
    assert isinstance(exported[-1], MLPClassifier)
    assert exported[0] is pipe[0]
    assert_close(exported.predict_proba(X * 3), expected)
    assert not isinstance(pipe[-1], MLPClassifier)
