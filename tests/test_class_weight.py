"""Class weights: factors of the sample weights."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from settings import plain


@pytest.fixture
def uneven(iris):
    X, y = iris
    kept = np.r_[0:50, 50:80, 100:110]
    return X[kept], y[kept]


def make(**params):
    return plain((5,), batch_size=32, max_iter=10, random_state=0, **params)


def assert_same(a, b):
    assert a.loss_curve_ == b.loss_curve_
    for one, other in zip(a.coefs_, b.coefs_, strict=True):
        assert_array_equal(one, other)


def test_a_dict_multiplies_sample_weight(uneven):
    X, y = uneven
    own = np.linspace(0.5, 2, len(y))
    factors = {0: 1.0, 1: 2.0, 2: 4.0}
    expected = own * np.array([1.0, 2.0, 4.0])[y]
    a = make(class_weight=factors).fit(X, y, sample_weight=own)
    assert_same(a, make().fit(X, y, sample_weight=expected))
    assert a.loss_curve_ != make().fit(X, y, sample_weight=own).loss_curve_


def test_a_dict_of_strings(uneven):
    X, y = uneven
    names = np.array(["a", "b", "c"])
    a = make(class_weight={"a": 1, "b": 2, "c": 3}).fit(X, names[y])
    assert_same(a, make(class_weight={0: 1, 1: 2, 2: 3}).fit(X, y))


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_a_dict_of_dates(uneven, unit):
    X, y = uneven
    dates = np.array(["2024-01-01", "2025-01-01", "2026-01-01"], f"M8[{unit}]")
    weights = dict(zip(dates, (1, 2, 3), strict=True))
    a = make(class_weight=weights).fit(X, dates[y])
    assert_same(a, make(class_weight={0: 1, 1: 2, 2: 3}).fit(X, y))
    if unit == "D":
        weights = {date.item(): weight for date, weight in weights.items()}
        assert_same(a, make(class_weight=weights).fit(X, dates[y]))
    wrong = {dates[0] - dates.dtype.type(1, unit).astype("m8"): 1}
    with pytest.raises(ValueError, match="2024-01-01"):
        make(class_weight=wrong).fit(X, dates[y])


def test_balanced_gives_each_class_the_same_total(uneven):
    X, y = uneven  # 50, 30 and 10 samples
    a = make(class_weight="balanced").fit(X, y)
    assert_same(a, make(class_weight={0: 30 / 50, 1: 1.0, 2: 3.0}).fit(X, y))


def test_balanced_counts_sample_weights(uneven):
    X, y = uneven
    own = 1.0 + (np.arange(len(y)) % 4)
    totals = np.bincount(y, own)
    a = make(class_weight="balanced").fit(X, y, sample_weight=own)
    b = make().fit(X, y, sample_weight=own * (totals.sum() / 3 / totals)[y])
    assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-12)


def test_balanced_lifts_the_rare_class(rng):
    X = np.r_[rng.normal(size=(300, 2)), rng.normal(1.0, 1.0, size=(15, 2))]
    y = np.r_[np.zeros(300), np.ones(15)]
    mlp = plain((5,), max_iter=100, random_state=0)
    unweighted = np.mean(mlp.fit(X, y).predict(X[300:]))
    balanced = np.mean(
        mlp.set_params(class_weight="balanced").fit(X, y).predict(X[300:])
    )
    assert balanced > 0.5 > unweighted


def test_partial_fit_refuses_balanced(uneven):
    X, y = uneven
    with pytest.raises(
        ValueError, match=r"'balanced' is not supported for partial_fit"
    ):
        make(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    by_hand = make(class_weight={0: 2, 1: 1, 2: 1}).partial_fit(X, y, [0, 1, 2])
    assert (
        by_hand.loss_ == make(class_weight={0: 2, 1: 1, 2: 1}).fit(X, y).loss_curve_[0]
    )


def test_bad_class_weights_are_refused(uneven):
    X, y = uneven
    with pytest.raises(ValueError, match=r"class_weight=.* has the labels \[7\]"):
        make(class_weight={0: 1, 1: 1, 7: 3}).fit(X, y)
    with pytest.raises(ValueError, match=r"has the labels \[\(0, 1\)\]"):
        make(class_weight={(0, 1): 2}).fit(X, y)
    with pytest.raises(ValueError, match=r"class_weight=.*weight -2 for the class 1"):
        make(class_weight={0: 1, 1: -2, 2: 1}).fit(X, y)
    with pytest.raises(ValueError, match=r"class_weight={.*} is zero for every"):
        make(class_weight=dict.fromkeys(range(3), 0)).fit(X, y)
    with pytest.raises(ValueError, match="Got 'even'"):
        make(class_weight="even").fit(X, y)
