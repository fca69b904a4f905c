"""Extremes, stored state, generators, checkpoints: sound numbers or a clear word."""

import copy
import os
import pickle
import re
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
import pytest
import skops.io
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from settings import plain

from skmlp import MomentumMLPClassifier

X = np.random.RandomState(0).normal(size=(40, 3))
Y = np.arange(40) % 3


@settings(max_examples=300, deadline=None)
@given(
    exponent=st.floats(-300, 300),
    dtype=st.sampled_from([np.float64, np.float32]),
    activation=st.sampled_from(["logistic", "tanh", "relu", "identity"]),
    output_activation=st.sampled_from(["identity", "logistic"]),
    alpha=st.sampled_from([0.0, 1e-300, 0.5, 1e30, 1e300]),
    weight=st.sampled_from([None, 1e-300, 1e-200, 1.0, 1e200, 1e300]),
    batch_size=st.sampled_from([None, 7]),
)
def test_extremes_give_an_error_with_advice_a_warning_or_sound_numbers(
    exponent, dtype, activation, output_activation, alpha, weight, batch_size
):
    with np.errstate(all="ignore"):
        rows = (X * 10.0**exponent).astype(dtype)
    mlp = MomentumMLPClassifier(
        (4,), activation, output_activation=output_activation, alpha=alpha,
        batch_size=batch_size, max_iter=3, random_state=0,
    )  # fmt: skip
    weights = None if weight is None else np.full(40, weight)
    with warnings.catch_warnings(), np.errstate(all="raise"):
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", "The network (has|may have) learned l")
        try:
            mlp.fit(rows, Y, sample_weight=weights)
            proba, scores = mlp.predict_proba(rows), mlp.decision_function(rows)
        except ValueError as error:
            advice = "Try|Scale|expected|too large|infinity"
            assert re.search(advice, str(error)), error  # noqa: PT017
            return
        log_proba, labels = mlp.predict_log_proba(rows), mlp.predict(rows)
    assert np.isfinite(log_proba).all()
    assert ((proba >= 0) & (proba <= 1)).all()
    assert np.allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert_array_equal(labels, proba.argmax(axis=1))
    assert_array_equal(labels, scores.argmax(axis=1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_predict_is_the_argmax_also_at_ties(dtype):
    """Scores so close that their probabilities are equal after rounding."""
    mlp = plain((), max_iter=1).fit(X.astype(dtype), Y)
    mlp.coefs_[0][...] = 0
    eps = np.finfo(dtype).eps
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 0, 1], [1, 1, 1], [0, 2, 2]):
        for scale in (eps / 8, eps / 2, eps, 2 * eps, -eps, 1 + eps):
            mlp.intercepts_[0][...] = np.array(order) * scale
            proba = mlp.predict_proba(X)
            assert_array_equal(mlp.predict(X), proba.argmax(axis=1))
            logs = mlp.predict_log_proba(X)
            assert_array_equal(mlp.predict(X), logs.argmax(axis=1))
            assert_array_equal(mlp.predict(X), mlp.decision_function(X).argmax(axis=1))
            assert np.allclose(proba.sum(axis=1), 1)


# -- generators ------------------------------------------------------------------------


@pytest.mark.parametrize("wrong", ["labels", "diverges", "split", "X_val"])
def test_a_refused_fit_has_drawn_nothing(wrong):
    generator = np.random.RandomState(3)
    mlp = plain((3,), max_iter=3, random_state=generator)
    data, params = {}, {}
    y = Y
    if wrong == "labels":
        y = Y + 0.5
    elif wrong == "diverges":
        params = {"activation": "identity", "learning_rate_init": 1e200, "max_iter": 9}
    elif wrong == "split":
        y, params = np.r_[Y[:-1], 7], {"early_stopping": True}
    else:
        data = {"X_val": X[:, :2], "y_val": Y}
    mlp.set_params(**params)
    with pytest.raises(ValueError, match=r"."):
        mlp.fit(X, y, **data)
    expected = plain((3,), max_iter=3, random_state=np.random.RandomState(3)).fit(X, Y)
    mlp.set_params(
        activation="logistic", learning_rate_init=0.2, max_iter=3, early_stopping=False
    )
    assert mlp.fit(X, Y).loss_ == expected.loss_


# -- stored state ----------------------------------------------------------------------


def continued(mlp):
    return copy.deepcopy(mlp).set_params(warm_start=True).fit(X, Y).loss_curve_


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
@pytest.mark.parametrize("early_stopping", [False, True])
def test_edits_of_the_weights_count(early_stopping):
    mlp = plain(
        (3,), max_iter=4, early_stopping=early_stopping, validation_fraction=None,
        learning_rate_init=1.5, n_iter_no_change=50, random_state=0,
    ).fit(X, Y)  # fmt: skip
    as_it_was = continued(mlp)
    edited = copy.deepcopy(mlp)
    edited.coefs_[0][0, 0] += 1.0
    replaced = copy.deepcopy(mlp)
    replaced.coefs_ = [coef + (i == 0) * 1.0 for i, coef in enumerate(mlp.coefs_)]
    assert continued(edited) != as_it_was
    assert continued(replaced) != as_it_was
    assert continued(mlp) == as_it_was


@pytest.mark.parametrize("method", ["predict_proba", "fit"])
@pytest.mark.parametrize(
    "edit",
    [
        lambda coefs: [coefs[0].T, *coefs[1:]],
        lambda coefs: [coefs[1], coefs[0], coefs[2]],
        lambda coefs: [coefs[0], coefs[0], coefs[2]],
        lambda coefs: [coef[::-1] for coef in coefs],
        lambda coefs: [
            coefs[0].base[1:].ravel()[: coefs[0].size].reshape(coefs[0].shape),
            *coefs[1:],
        ],
        lambda coefs: [(coef * 9).astype(int) for coef in coefs],
        lambda coefs: [coef.astype(np.float32) for coef in coefs],
        lambda coefs: [coef.tolist() for coef in coefs],
        lambda coefs: [coefs[0], *(coef.tolist() for coef in coefs[1:])],
        tuple,
    ],
)
def test_weights_in_any_form_are_read_as_they_are(edit, method):
    mlp = plain((3, 3), max_iter=2, random_state=0, warm_start=True).fit(X, Y)
    other = copy.deepcopy(mlp)
    mlp.coefs_ = edit(mlp.coefs_)
    other.coefs_ = [np.array(coef, np.float64) for coef in edit(other.coefs_)]
    if method == "fit":
        assert_array_equal(mlp.fit(X, Y).coefs_[0], other.fit(X, Y).coefs_[0])
    assert_array_equal(mlp.predict_proba(X), other.predict_proba(X))
    assert mlp.predict_proba(X).dtype == np.float64


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_weights_of_wrong_shapes_are_refused_by_name(name):
    mlp = plain((3,), max_iter=2, warm_start=True).fit(X, Y)
    setattr(mlp, name, [part.T[:2] for part in getattr(mlp, name)])
    for method in ("fit", "predict"):
        with pytest.raises(ValueError, match=f"{name} has the shapes .* expected"):
            getattr(mlp, method)(*(X, Y)[: 1 + (method == "fit")])


@pytest.mark.filterwarnings("ignore:early_stopping=True did not stop")
def test_equal_validation_data_are_the_same_whatever_holds_them(tmp_path):
    rows = np.where(np.abs(X) < 0.7, 0, X)
    np.save(tmp_path / "rows.npy", rows)
    wide = csr_array(rows)
    wide.indices, wide.indptr = wide.indices.astype("i8"), wide.indptr.astype("i8")
    with_zeros = csr_array(rows)
    with_zeros.data = with_zeros.data.copy()
    mlp = plain(
        (3,), max_iter=3, early_stopping=True, warm_start=True, learning_rate_init=2.0,
        n_iter_no_change=50, random_state=0,
    ).fit(X, Y, X_val=rows, y_val=Y)  # fmt: skip
    watched = mlp._training_state["watched"]
    for same in (
        {"X_val": csr_array(rows)},
        {"X_val": wide},
        {"X_val": np.load(tmp_path / "rows.npy", mmap_mode="r")},
        {"X_val": np.asfortranarray(rows)},
        {"X_val": rows, "sample_weight_val": np.ones(40)},
    ):
        again = copy.deepcopy(mlp).fit(X, Y, y_val=Y, **same)
        assert again._training_state["watched"] == watched
    other = copy.deepcopy(mlp).fit(X, Y, X_val=rows + 1e-9, y_val=Y)
    assert other._training_state["watched"] != watched


def test_a_state_of_another_version_is_refused():
    mlp = plain((3,), max_iter=1).fit(X, Y)
    state = mlp.__getstate__()
    old = state["_training_state"].copy()
    del old["format"]  # as 0.1.0 stored it
    with pytest.raises(ValueError, match=r"saved by another version .* 0\.1\.0"):
        MomentumMLPClassifier().__setstate__(state | {"_training_state": old})


def test_class_weights_of_bools_survive_skops(tmp_path):
    params = {"class_weight": {False: 0.5, True: 1.5}, "max_iter": 2}
    mlp = plain((3,), random_state=0, **params).fit(X, Y > 0)
    skops.io.dump(mlp, tmp_path / "mlp.skops")
    kind = "skmlp._classifier.MomentumMLPClassifier"
    loaded = skops.io.load(tmp_path / "mlp.skops", trusted=[kind])
    assert loaded.class_weight == params["class_weight"]
    assert loaded.get_params() == mlp.get_params()
    assert pickle.loads(pickle.dumps(mlp)).class_weight == params["class_weight"]
    a, b = mlp.partial_fit(X, Y > 0), loaded.partial_fit(X, Y > 0)
    assert_array_equal(a.coefs_[0], b.coefs_[0])


def test_a_call_costs_what_its_rows_cost():
    """Curves grow in place: nothing is copied, however long the life."""
    mlp = plain((3,)).partial_fit(X, Y, classes=[0, 1, 2])
    curve = mlp.loss_curve_
    for _ in range(5):
        mlp.partial_fit(X, Y)
    assert mlp.loss_curve_ is curve
    assert len(curve) == mlp.n_iter_ == 6
    twin = copy.copy(mlp)
    twin.partial_fit(X, Y)
    assert (len(twin.loss_curve_), len(mlp.loss_curve_)) == (7, 6)


def test_a_copy_that_goes_on_leaves_the_other_its_curves():
    data = {"X_val": X, "y_val": Y}
    mlp = plain((3,), max_iter=3, warm_start=True).fit(X, Y, **data)
    copy.copy(mlp).fit(X, Y, **data)
    for curve in (mlp.loss_curve_, mlp.validation_loss_curve_, mlp.validation_scores_):
        assert len(curve) == 3


# -- checkpoints -----------------------------------------------------------------------

TRAINS_AND_SAVES = """
import os, pickle, sys
import numpy as np
from skmlp import MomentumMLPClassifier

X, y = np.random.RandomState(0).normal(size=(40, 3)), np.arange(40) % 3
path = sys.argv[1]
if os.path.exists(path):
    with open(path, "rb") as file:
        mlp = pickle.load(file)
else:
    mlp = MomentumMLPClassifier((3,), random_state=0, batch_size=8)
while mlp.__dict__.get("n_iter_", 0) < int(sys.argv[2]):
    mlp.partial_fit(X, y, classes=[0, 1, 2])
    with open(path + ".part", "wb") as file:
        pickle.dump(mlp, file)
    os.replace(path + ".part", path)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="no SIGKILL")
def test_a_process_that_is_killed_resumes_bit_for_bit(tmp_path):
    """The README's checkpoints: 8 kills here; 50 where SKMLP_KILLS says so."""
    path, rng = tmp_path / "mlp.pickle", np.random.RandomState(0)
    for _ in range(int(os.environ.get("SKMLP_KILLS", 8))):
        process = subprocess.Popen(
            [sys.executable, "-c", TRAINS_AND_SAVES, str(path), str(10**9)]
        )
        before = path.stat().st_mtime_ns if path.exists() else 0
        while process.poll() is None:
            if path.exists() and path.stat().st_mtime_ns > before:
                break
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        process.kill()
        process.wait()
    with open(path, "rb") as file:
        mlp = pickle.load(file)
    whole = MomentumMLPClassifier((3,), random_state=0, batch_size=8)
    for _ in range(mlp.n_iter_):
        whole.partial_fit(X, Y, classes=[0, 1, 2])
    assert mlp.loss_curve_ == whole.loss_curve_
    assert_array_equal(mlp.coefs_[0], whole.coefs_[0])
