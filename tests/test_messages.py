"""Errors name the value, the argument by the user's own name, and what to do."""

import math
import re
from functools import partial
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from settings import plain

from skmlp import _classifier

X = np.random.RandomState(0).normal(size=(40, 3))
Y = np.arange(40) % 2


make = partial(plain, hidden_layer_sizes=(3,), max_iter=2, random_state=0)


def nothing(estimator, X, y):
    return None


RARE = np.where(np.arange(40) == 7, "rare", np.array(["a", "b"])[Y])
CASES = {
    "one-hot y": (lambda: make().fit(X, np.eye(2)[Y]), "y.argmax(axis=1)"),
    "an unsplittable class": (
        lambda: make(early_stopping=True).fit(X, RARE),
        "Pass X_val and y_val to fit, choose another validation_fraction, or ",
    ),
    "class weight nan": (
        lambda: make(class_weight={0: np.nan}).fit(X, Y),
        "class_weight={0: nan} has the weight nan for the class 0",
    ),
    "class weights too large": (
        lambda: make(class_weight={0: 1e307}).fit(X, Y, np.full(40, 1e2)),
        "class_weight={0: 1e+307} adds up to inf",
    ),
    "weights too small": (
        lambda: make().fit(X, Y, np.full(40, 1e-305)), "adds up to 4e-304"
    ),
    "scoring": (lambda: make(scoring="bogus").fit(X, Y), "'bogus'"),
    "a scorer of None": (
        lambda: make(scoring=nothing).fit(X, Y, X_val=X, y_val=Y),
        "returned None, but expected a number",
    ),
    "a class missing in y_val": (
        lambda: make(scoring="neg_log_loss").fit(X, Y, X_val=X[::2], y_val=Y[::2]),
        "scoring='neg_log_loss' of the validation data",
    ),
    "alpha beyond float32": (
        lambda: make(alpha=1e50).fit(X.astype(np.float32), Y),
        "alpha=1e+50 divided by the effective number of samples, 40, is too large",
    ),
    "too many units": (
        lambda: make(hidden_layer_sizes=10**12).fit(X, Y),
        "hidden_layer_sizes=1000000000000 was given",
    ),
    "weights that add up to too much": (
        lambda: make().fit(X, Y, np.full(len(Y), 1e299)),
        "adds up to 4e+300, but expected a number from 1e-300 to 1e+300",
    ),
    "scores that overflow": (
        lambda: make(activation="relu").fit(X, Y).predict(np.sign(X) * 1.7e308),
        "are not finite in float64",
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The network has learned little")
@pytest.mark.parametrize("case", CASES)
def test_what_is_said(case):
    call, said = CASES[case]
    with pytest.raises(ValueError, match=re.escape(said)) as caught:
        call()
    assert str(caught.value).rstrip().endswith((".", "`", "]", ")", ">", "true"))


WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5),
    st.complex_numbers(), st.binary(max_size=3), st.just(object()),
    st.lists(st.integers(-2, 5), max_size=2), st.just(np.array(3)),
    st.dictionaries(st.integers(0, 2), st.floats(), max_size=2),
    st.sampled_from([np.float32(2), np.int8(3), np.nan, -0.0, 1e-320, 1e300, 5e4]),
)  # fmt: skip
NAMES = sorted(set(plain().get_params()) - {"verbose", "max_iter"})


def quoted(value, text):
    """Whether an error shows the value, or as much as an array of it would show."""
    shown = [repr(value), str(value)]
    if isinstance(value, list | np.ndarray):
        shown += [str(item) for item in np.ravel(value)]
    if isinstance(value, dict):
        shown += [repr(item) for item in value.values()] + ["'dict' has"]
    return any(part[:40] in text for part in shown)


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=150, deadline=None)
@given(name=st.sampled_from(NAMES), value=WRONG)
@example(name="init_scale", value=1e153)
@example(name="hidden_layer_sizes", value=10**8)
def test_any_value_of_a_parameter_fits_or_is_quoted(name, value):
    mlp = make(**{name: value})
    try:
        with patch.object(_classifier, "MOST_WEIGHTS", 10**6):  # for the memory here
            mlp.fit(X, Y, X_val=X, y_val=Y)
    except (ValueError, TypeError) as error:
        text = str(error)
        assert name in text or "scor" in text, text
        assert quoted(value, text) or "diverged" in text, text
        assert not hasattr(mlp, "coefs_")
    else:
        proba = mlp.predict_proba(X)
        assert math.isclose(proba.sum(), 40, rel_tol=1e-9)


ARGUMENTS = ["sample_weight", "X_val", "y_val", "sample_weight_val"]


@pytest.mark.filterwarnings("ignore")
@settings(max_examples=100, deadline=None)
@given(name=st.sampled_from(ARGUMENTS), value=WRONG)
def test_any_value_of_an_argument_of_fit_fits_or_is_named(name, value):
    data = {"X_val": X, "y_val": Y, name: value}
    mlp = make()
    try:
        mlp.fit(X, Y, **data)
    except (ValueError, TypeError) as error:
        assert name in str(error) or "diverged" in str(error)  # noqa: PT017
        assert not hasattr(mlp, "coefs_")
