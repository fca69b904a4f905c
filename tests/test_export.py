"""The same predictions from scikit-learn's class and from ONNX."""

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import MomentumMLPClassifier, to_sklearn


def make(**params):
    return MomentumMLPClassifier(
        **({"hidden_layer_sizes": (8, 5), "max_iter": 40, "random_state": 0} | params)
    )


@pytest.mark.parametrize("activation", ["logistic", "tanh", "relu", "identity"])
@pytest.mark.parametrize("labels", [["a", "b", "c"], [False, True], [-1, 5]])
@pytest.mark.parametrize("hidden", [(8, 5), ()])
def test_predictions_are_the_same(iris, activation, labels, hidden):
    X, y = iris
    y = np.array(labels)[np.minimum(y, len(labels) - 1)]
    rate = 0.05 if activation in ("relu", "identity") else 0.2
    ours = make(
        activation=activation, hidden_layer_sizes=hidden, learning_rate_init=rate
    ).fit(X, y)
    theirs = to_sklearn(ours)
    assert isinstance(theirs, MLPClassifier)
    assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), rtol=0, atol=1e-12)
    assert_array_equal(theirs.predict(X), ours.predict(X))
    assert_array_equal(theirs.classes_, ours.classes_)
    assert theirs.score(X, y) == ours.score(X, y)


def test_float32_stays_float32(iris):
    X, y = iris[0].astype(np.float32), iris[1]
    ours = make().fit(X, y)
    theirs = to_sklearn(ours)
    assert {coef.dtype for coef in theirs.coefs_} == {np.dtype(np.float32)}
    assert_allclose(theirs.predict_proba(X), ours.predict_proba(X), atol=1e-6)


def test_feature_names_and_history_come_along(iris):
    X = pd.DataFrame(iris[0], columns=list("abcd"))
    ours = make().fit(X, iris[1])
    theirs = to_sklearn(ours)
    assert_array_equal(theirs.feature_names_in_, list("abcd"))
    assert_array_equal(theirs.predict(X), ours.predict(X))
    assert theirs.loss_curve_ == ours.loss_curve_
    assert (theirs.n_iter_, theirs.n_layers_, theirs.n_outputs_) == (40, 4, 3)
    assert theirs.random_state == 0


@pytest.mark.parametrize(
    ("given", "batch_size", "alpha"), [("auto", 150, 3), (None, 150, 3), (30, 30, 0.6)]
)
def test_alpha_is_converted(iris, given, batch_size, alpha):
    theirs = to_sklearn(make(batch_size=given, alpha=3.0).fit(*iris))
    assert theirs.batch_size == batch_size
    assert_allclose(theirs.alpha, alpha)


def test_weights_are_copies(iris):
    ours = make().fit(*iris)
    before = ours.predict_proba(iris[0])
    for array in to_sklearn(ours).coefs_:
        array[...] = 0
    assert_array_equal(ours.predict_proba(iris[0]), before)


def test_what_has_no_counterpart_is_refused(iris):
    X, y = iris
    with pytest.raises(ValueError, match="output_activation='logistic' has no"):
        to_sklearn(make(output_activation="logistic").fit(X, y))
    with pytest.raises(ValueError, match=r"two classes or more; .*7"):
        to_sklearn(make().fit(X, np.full(150, 7)))
    with pytest.raises(NotFittedError, match="not fitted yet"):
        to_sklearn(make())
    with pytest.raises(TypeError, match="got LogisticRegression"):
        to_sklearn(LogisticRegression())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("n_classes", [2, 3])
def test_onnx(iris, n_classes):
    skl2onnx = pytest.importorskip("skl2onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    X, y = iris[0].astype(np.float32), np.minimum(iris[1], n_classes - 1)
    pipe = make_pipeline(StandardScaler(), make()).fit(X, y)
    portable = make_pipeline(pipe[0], to_sklearn(pipe[-1]))
    model = skl2onnx.to_onnx(portable, X[:1], options={"zipmap": False})
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    labels, probabilities = session.run(None, {"X": X})
    assert_allclose(probabilities, pipe.predict_proba(X), rtol=0, atol=2e-6)  # float32
    assert_array_equal(labels, pipe.predict(X))
