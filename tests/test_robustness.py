"""Extremes, stored state, generators, checkpoints: sound numbers or a clear word."""

import copy
import os
import pickle
import re
import signal
import time
import warnings
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import assert_same_fit, interrupt_at, start_python
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.sparse import csr_array
from settings import plain

from skmlp import MomentumMLPClassifier
from skmlp._quietly import quietly

X = np.random.RandomState(0).normal(size=(40, 3))
Y = np.arange(40) % 3


@settings(max_examples=200, deadline=None)
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
        warnings.filterwarnings("ignore", "The network has learned little")
        try:
            mlp.fit(rows, Y, sample_weight=weights)
            proba, scores = mlp.predict_proba(rows), mlp.decision_function(rows)
        except ValueError as error:
            advice = "Try|cale|smaller|expected|too large|infinity"
            assert re.search(advice, str(error)), error  # noqa: PT017
            return
        log_proba, labels = mlp.predict_log_proba(rows), mlp.predict(rows)
    assert np.isfinite(log_proba).all()
    assert ((proba >= 0) & (proba <= 1)).all()
    assert np.allclose(proba.sum(axis=1), 1, atol=1e-6)
    assert_array_equal(labels, proba.argmax(axis=1))
    assert_array_equal(labels, scores.argmax(axis=1))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("unit", [1e-290, 1e-30, 1e20, 1e200])
def test_weights_may_have_any_unit(unit, dtype):
    """Alpha in the same unit, all is the same: the features' scales, too."""
    weight, rows = np.linspace(0.5, 2, 40), X.astype(dtype)
    a = MomentumMLPClassifier((3,), random_state=0, max_iter=3).fit(rows, Y, weight)
    b = MomentumMLPClassifier((3,), random_state=0, max_iter=3, alpha=0.75 * unit)
    b.fit(rows, Y, weight * unit)
    rtol = 1e-9 if dtype == np.float64 else 1e-4
    assert_allclose(b.feature_mean_, a.feature_mean_, rtol=rtol)
    assert_allclose(b.feature_scale_, a.feature_scale_, rtol=rtol)
    assert_allclose(b.predict_proba(rows), a.predict_proba(rows), rtol=rtol)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_predict_is_the_argmax_also_at_ties(dtype):
    """Scores so close that their probabilities are equal after rounding."""
    mlp = plain((), max_iter=1).fit(X.astype(dtype), Y)
    mlp.coefs_[0][...] = 0
    eps = np.finfo(dtype).eps
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0], [0, 0, 1], [1, 1, 1], [0, 2, 2]):
        for scale in (eps / 8, eps / 2, eps, 2 * eps, -eps, 1 + eps):
            mlp.intercepts_[0][...] = np.array(order) * scale
            for method in ("predict_proba", "predict_log_proba", "decision_function"):
                values = getattr(mlp, method)(X)
                assert_array_equal(mlp.predict(X), values.argmax(axis=1))


# -- stored state ----------------------------------------------------------------------


@pytest.mark.parametrize("early_stopping", [False, True])
def test_edits_of_the_weights_count(early_stopping):
    mlp = plain(
        (3,), max_iter=4, early_stopping=early_stopping, validation_fraction=None,
        learning_rate_init=1.5, n_iter_no_change=50, random_state=0, warm_start=True,
    ).fit(X, Y)  # fmt: skip
    same, edited, replaced = (copy.deepcopy(mlp) for _ in range(3))
    edited.coefs_[0][0, 0] += 1.0
    replaced.coefs_ = [coef + (i == 0) * 1.0 for i, coef in enumerate(mlp.coefs_)]
    mlp, *others = (m.fit(X, Y).loss_curve_ for m in (mlp, same, edited, replaced))
    assert [other == mlp for other in others] == [True, False, False]


@pytest.mark.filterwarnings("ignore:The network has learned little")
@pytest.mark.parametrize(
    "edit",
    [
        lambda coefs: [coefs[0].T, *coefs[1:]],
        lambda coefs: [coef[::-1] for coef in coefs],
        lambda coefs: [(coef * 9).astype(int) for coef in coefs],
        lambda coefs: tuple(coef.astype(np.float32).tolist() for coef in coefs),
    ],
)
def test_weights_in_any_form_are_read_as_they_are(edit):
    mlp = plain((3, 3), max_iter=2, random_state=0, warm_start=True).fit(X, Y)
    other = copy.deepcopy(mlp)
    mlp.coefs_ = edit(mlp.coefs_)
    other.coefs_ = [np.array(coef, np.float64) for coef in mlp.coefs_]
    assert mlp.predict_proba(X).dtype == np.float64
    assert_array_equal(mlp.predict_proba(X), other.predict_proba(X))
    assert_array_equal(mlp.fit(X, Y).coefs_[0], other.fit(X, Y).coefs_[0])


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_weights_that_cannot_be_used_are_refused_by_name(name):
    mlp = plain((3,), max_iter=2, warm_start=True).fit(X, Y)
    right = getattr(mlp, name)
    setattr(mlp, name, [part.T[:2] for part in right])
    for method in ("fit", "predict"):
        with pytest.raises(ValueError, match=f"{name} has the shapes .* expected"):
            getattr(mlp, method)(*(X, Y)[: 1 + (method == "fit")])
    setattr(mlp, name, [right[0] * np.nan, right[1]])
    with pytest.raises(ValueError, match="coefs_ or intercepts_ hold numbers that are"):
        mlp.predict(X)


@pytest.mark.parametrize(("number", "version"), [(1, "0.1.0"), (2, "0.2.0")])
def test_a_state_of_another_version_is_refused(number, version):
    state = plain((3,), max_iter=1).fit(X, Y).__getstate__()
    old = {"format": number} if number > 1 else {}  # as 0.1.0 stored it
    with pytest.raises(ValueError, match=rf"in format {number}; .*{version}"):
        MomentumMLPClassifier().__setstate__(state | {"_training_state": old})


def test_a_copy_that_goes_on_leaves_the_other_its_curves():
    data = {"X_val": X, "y_val": Y}
    mlp = plain((3,), max_iter=3, warm_start=True).fit(X, Y, **data)
    assert len(copy.copy(mlp).fit(X, Y, **data).loss_curve_) == 6
    assert len(copy.copy(mlp).partial_fit(X, Y).loss_curve_) == 4
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
    """The README's checkpoints: 4 kills here; 50 where SKMLP_KILLS says so."""
    path, rng = tmp_path / "mlp.pickle", np.random.RandomState(0)
    for _ in range(int(os.environ.get("SKMLP_KILLS", 4))):
        process = start_python(TRAINS_AND_SAVES, path, 10**9)
        before = path.stat().st_mtime_ns if path.exists() else 0
        while not path.exists() or path.stat().st_mtime_ns <= before:
            assert process.poll() is None
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.05))
        assert process.poll() is None
        process.kill()
        process.communicate()
    with open(path, "rb") as file:
        mlp = pickle.load(file)
    whole = MomentumMLPClassifier((3,), random_state=0, batch_size=8)
    for _ in range(mlp.n_iter_):
        whole.partial_fit(X, Y, classes=[0, 1, 2])
    assert_same_fit(mlp, whole)


# -- what is edited after a fit, or lies about itself ----------------------------------


@pytest.mark.parametrize(
    ("name", "at", "value"),
    [("indices", 5, 9999), ("indices", 0, -1), ("indptr", 7, 10**6), ("indptr", 7, 0)],
)
@pytest.mark.parametrize(
    "use",
    [
        lambda mlp, X, y: mlp.fit(X, y),
        lambda mlp, X, y: mlp.partial_fit(X, y),
        lambda mlp, X, y: mlp.predict(X),
        lambda mlp, X, y: mlp.fit(np.eye(100, 64), y, X_val=X, y_val=y),
    ],
)
def test_csr_arrays_that_lie_are_refused(digits, name, at, value, use):
    X, y = csr_array(digits[0][:100]), digits[1][:100]
    mlp = MomentumMLPClassifier((5,), max_iter=1).fit(X, y)
    getattr(X, name)[at] = value
    with pytest.raises(ValueError, match=r"ind(ex|ices|ptr)"):
        use(mlp, X, y)


@pytest.mark.parametrize("container", [np.asarray, csr_array])
@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m._training_state.update(velocity=np.zeros(1)),
        lambda m: setattr(m, "feature_mean_", m.feature_mean_[:3]),
        lambda m: setattr(m, "feature_scale_", np.ones(65)),
        lambda m: setattr(m, "n_features_in_", 3),
        lambda m: setattr(m, "coefs_", m.coefs_[:1]),
        lambda m: m.coefs_.__setitem__(0, m.coefs_[0][:-1]),
    ],
)
def test_what_no_longer_fits_together_is_refused(digits, edit, container):
    """Compiled code would read, or write, beyond it."""
    X, y = container(digits[0][:100]), digits[1][:100]
    mlp = MomentumMLPClassifier((5,), max_iter=1).fit(X, y)
    edit(mlp)
    narrow = X[:, : mlp.n_features_in_]
    with pytest.raises(ValueError, match="expected"):
        mlp.predict(narrow).size and mlp.partial_fit(narrow, y)


def test_an_interrupt_at_any_line_leaves_numpys_error_state_as_it_was():
    def counts(frame):
        return frame.f_code.co_filename.endswith(("_quietly.py", "ufunc_config.py"))

    before, n = np.geterr(), 1
    while interrupt_at(n, quietly(int), counts):
        assert np.geterr() == before
        n += 1
    assert n > 6


def test_an_interrupted_partial_fit_leaves_the_curve_as_it_was(monkeypatch):
    """The new state is taken over in one step."""
    mlp = plain().partial_fit(X, Y, [0, 1, 2])

    interrupt = Mock(side_effect=KeyboardInterrupt)
    monkeypatch.setattr(MomentumMLPClassifier, "_become", interrupt)
    with pytest.raises(KeyboardInterrupt):
        mlp.partial_fit(X, Y)
    assert len(mlp.loss_curve_) == mlp.n_iter_ == 1


@pytest.mark.parametrize("class_weight", [None, "balanced", {0: 1e-200, 1: 1, 2: 1e99}])
def test_weights_far_apart_overflow_in_nobodys_sight(class_weight):
    weight = np.where(np.arange(40) % 2, 1e-200, 1e150)
    mlp = MomentumMLPClassifier(class_weight=class_weight, max_iter=2, random_state=0)
    with np.errstate(all="raise"):
        mlp.fit(X, Y, weight)
        assert_allclose(mlp.predict_proba(X).sum(axis=1), 1)
