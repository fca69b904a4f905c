"""Labels of y against the known classes, whatever the dtypes of the two are."""

from contextlib import nullcontext
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from settings import plain

from skmlp._input import encode

X = np.random.RandomState(0).normal(size=(40, 3))
CODES = np.arange(40) % 2


make = partial(plain, (2,), max_iter=1)
DAYS = np.array(["2020-01-01", "2021-05-05", "1999-12-31"], "datetime64[D]")
LABELS = {  # kind: three labels; those of two kinds are equal or not as Python has it
    "short text": np.array(["a", "b", "ab"]),
    "long text": np.array(["a", "category", "b"]),
    "object text": np.array(["a", "dog", "b"], object),
    "int64": np.array([0, 1, 257]),
    "int8": np.array([0, 1, 7], np.int8),
    "uint64": np.array([0, 1, 2**63], np.uint64),
    "bool": np.array([False, True, True]),
    "float": np.array([0.0, 1.0, 7.0]),
    "object int": np.array([0, 1, 257], object),
    "big-endian": np.array([0, 1, 257], ">i8"),
    "days": DAYS,
    "nanoseconds": DAYS.astype("datetime64[ns]"),
    "a moment later": DAYS.astype("datetime64[s]") + np.timedelta64(1, "s"),
}


def are_equal(one, other):
    """Whether two labels are the same, one at a time."""
    if isinstance(one, np.datetime64) != isinstance(other, np.datetime64):
        return False
    return bool(one == other) and isinstance(one, str) == isinstance(other, str)


@settings(max_examples=150, deadline=None)
@given(
    known=st.sampled_from(sorted(set(LABELS) - {"object int"})),
    given_=st.sampled_from(sorted(LABELS)),
    how=st.sampled_from(["partial_fit", "warm start", "y_val"]),
    which=st.permutations([0, 1, 2]),
)
def test_a_label_is_accepted_where_it_is_equal_to_a_known_one(
    known, given_, how, which
):
    y = LABELS[known][list(which[:2])][CODES]
    other = LABELS[given_][list(which[1:])][CODES]
    classes = np.unique(y)
    if len(classes) < 2:
        return
    # scikit-learn takes no numbers in an object array for y; y_val is ours.
    fits = given_ != "object int" or how == "y_val"
    fits &= all(any(are_equal(b, a) for a in classes) for b in np.unique(other))
    said = r"y(_val)? has the labels \[|Unknown label"
    with nullcontext() if fits else pytest.raises(ValueError, match=said):
        if how == "y_val":
            make().fit(X, y, X_val=X, y_val=other)
        elif how == "warm start":
            make(warm_start=True).fit(X, y).fit(X, other)
        else:
            make().partial_fit(X, y, classes=classes).partial_fit(X, other)


YEARS = np.array(["2020", "2021"], "datetime64[Y]")
CLOSE = np.array(["1970-01-01T00:00:00.000000001", "1970-01-02"], "datetime64[ns]")


@pytest.mark.parametrize(
    ("known", "same"),
    [
        ([0, 1], [0.0, 1.0]),
        ([0, 1], [False, True]),
        ([False, True], np.array([0, 1], np.uint8)),
        ([0.0, 2.0**53], [0, 2**53]),
        (["a", "b"], np.array(["a", "b"], object)),
        (np.array(["a", "b"], object), ["a", "b"]),
        (DAYS[:2], DAYS[:2]),
        (YEARS, YEARS.astype("datetime64[ns]")),
        (YEARS.astype("datetime64[ns]"), YEARS),
        (YEARS - YEARS[0], (YEARS - YEARS[0]).astype("timedelta64[M]")),
        (CLOSE, CLOSE),
    ],
)
def test_a_label_of_another_dtype_is_the_class_it_equals(known, same):
    known, same = np.asarray(known), np.asarray(same)
    codes = encode(same[[1, 0, 1]], known, "y")
    assert_array_equal(codes, [1, 0, 1])


@pytest.mark.parametrize(
    ("known", "given_"),
    [
        (["cat", "dog"], ["category", "dogfish"]),
        ([0, 1], [0.6, 1.6]),
        ([0, 1], ["0", "1"]),
        (np.array([0, 1], np.int8), [256, 257]),
        ([2, 3], [False, True]),
        (["a", "b"], DAYS[:2]),
        (DAYS[:2], LABELS["a moment later"][:2]),
        (LABELS["a moment later"][:2], DAYS[:2]),
        (DAYS[:2], DAYS[:2].astype(np.int64)),
        (DAYS[:2].astype(np.int64), DAYS[:2]),
        (CLOSE, CLOSE.astype(np.int64)),
        (CLOSE.astype(np.int64), CLOSE),
        (DAYS[:2] - DAYS[0], DAYS[:2]),
        ([0, 1], np.array(["text", 1], object)),  # which cannot be sorted
    ],
)
def test_no_label_is_cut_short_wrapped_or_rounded_into_a_known_one(known, given_):
    y, other = np.asarray(known)[CODES], np.asarray(given_)[CODES]
    with pytest.raises(ValueError, match=r"y has the labels \["):
        encode(other, np.unique(y), "y")
    if y.dtype.kind != "m":
        with pytest.raises(ValueError, match=r"y_val has the labels \["):
            make().fit(X, y, X_val=X, y_val=other)


def test_class_weight_knows_labels_by_value():
    y = np.array(["cat", "dog"])[CODES]
    with pytest.raises(ValueError, match=r"class_weight=.* has the labels \['category"):
        make(class_weight={"category": 2}).fit(X, y)
    a = make(class_weight={0.0: 3.0}, random_state=0).fit(X, CODES)
    b = make(class_weight={0: 3.0}, random_state=0).fit(X, CODES)
    assert_array_equal(a.coefs_[0], b.coefs_[0])


def lazy(classes):
    dask_array = pytest.importorskip("dask.array")
    return dask_array.unique(dask_array.from_array(CODES, chunks=7))


@pytest.mark.parametrize("container", [set, frozenset, tuple, lambda x: range(2), lazy])
def test_classes_in_any_container(container):
    classes = container([1, 0])
    mlp = make().partial_fit(X, CODES, classes=classes)
    assert_array_equal(mlp.partial_fit(X, CODES, classes=classes).classes_, [0, 1])
