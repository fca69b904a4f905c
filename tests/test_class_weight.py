"""Class weights: what a class matters, in the loss and in what alpha is divided by."""

from functools import partial

import numpy as np
import pytest
from helpers import assert_close_network, assert_same_training
from numpy.testing import assert_allclose
from settings import plain
from sklearn.metrics import log_loss


@pytest.fixture
def uneven(iris):
    X, y = iris
    kept = np.r_[0:50, 50:80, 100:110]
    return X[kept], y[kept]


make = partial(plain, (5,), batch_size=32, max_iter=10, random_state=0)
FACTORS = {0: 1.0, 1: 2.0, 2: 4.0}


@pytest.mark.parametrize("batch_size", [None, 32])
@pytest.mark.parametrize("own", [None, np.linspace(0.5, 2, 90)])
def test_alpha_is_divided_by_the_effective_number_of_samples(uneven, batch_size, own):
    X, y = uneven
    s, c = np.ones(90) if own is None else own, np.array([1.0, 2.0, 4.0])[y]
    effective = (s @ c) ** 2 / (s @ c**2)
    assert effective < 0.8 * s.sum()
    a = make(batch_size=batch_size, class_weight=FACTORS, alpha=5.0).fit(X, y, own)
    b = make(batch_size=batch_size, alpha=5.0 * (s @ c) / effective).fit(X, y, s * c)
    assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-12)
    assert_close_network(a, b, rtol=1e-10, atol=1e-13)
    if batch_size is None:  # J before an epoch is that of the weights before it
        before = make(batch_size=None, class_weight=FACTORS, alpha=5.0, max_iter=9)
        loss = log_loss(y, before.fit(X, y, own).predict_proba(X), sample_weight=s * c)
        squares = sum(np.sum(coef**2) for coef in before.coefs_)
        assert_allclose(a.loss_, loss + 5.0 / (2 * effective) * squares, rtol=1e-12)


DAYS = np.array(["2024-01-01", "2025-01-01", "2026-01-01"], "M8[D]")


@pytest.mark.parametrize("names", [np.array(list("abc")), DAYS, DAYS.astype("M8[ns]")])
def test_a_dict_of_any_labels(uneven, names):
    X, y = uneven
    expected = make(class_weight={0: 1, 1: 2, 2: 3}).fit(X, y)
    weights = dict(zip(names, (1, 2, 3), strict=True))
    assert_same_training(make(class_weight=weights).fit(X, names[y]), expected)
    if names is DAYS:
        weights = {date.item(): weight for date, weight in weights.items()}
        assert_same_training(make(class_weight=weights).fit(X, names[y]), expected)


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_a_dict_of_other_dates_is_refused(uneven, unit):
    days = DAYS.astype(f"M8[{unit}]")
    mlp = make(class_weight={days[0] - np.timedelta64(1, unit): 1})
    with pytest.raises(ValueError, match="2024-01-01"):
        mlp.fit(uneven[0], days[uneven[1]])


def test_balanced_gives_each_class_the_same_total(uneven):
    X, y = uneven  # 50, 30 and 10 samples
    a = make(class_weight="balanced").fit(X, y)
    assert_same_training(a, make(class_weight={0: 30 / 50, 1: 1.0, 2: 3.0}).fit(X, y))
    own = 1.0 + (np.arange(len(y)) % 4)
    totals = np.bincount(y, own)
    by_hand = dict(enumerate(totals.sum() / 3 / totals))
    a, b = (make(class_weight=each).fit(X, y, own) for each in ("balanced", by_hand))
    assert_allclose(a.loss_curve_, b.loss_curve_, rtol=1e-12)


@pytest.mark.parametrize("how", ["weight 0", "warm start"])
def test_balanced_leaves_out_a_class_that_does_not_occur(uneven, how):
    """The classes that do occur have the same total, whichever others are known."""
    X, y = uneven  # 50, 30 and 10 samples
    occurs = y < 2
    by_hand = make(class_weight={0: 40 / 50, 1: 40 / 30}, warm_start=True)
    balanced = make(class_weight="balanced", warm_start=True)
    for mlp in by_hand, balanced:
        if how == "weight 0":
            mlp.fit(X, y, sample_weight=occurs)
        else:
            params = mlp.get_params()
            mlp.set_params(class_weight=None).fit(X, y)
            mlp.set_params(**params).fit(X[occurs], y[occurs])
    assert_allclose(balanced.loss_curve_, by_hand.loss_curve_, rtol=1e-12)
    assert_close_network(balanced, by_hand, rtol=1e-10, atol=1e-13)


def test_partial_fit_refuses_balanced(uneven):
    X, y = uneven
    with pytest.raises(ValueError, match="'balanced' is not supported for partial_fit"):
        make(class_weight="balanced").partial_fit(X, y, classes=[0, 1, 2])
    by_hand = make(class_weight=FACTORS)
    loss = by_hand.partial_fit(X, y, classes=[0, 1, 2]).loss_
    assert loss == make(class_weight=FACTORS).fit(X, y).loss_curve_[0]


@pytest.mark.parametrize(
    ("class_weight", "said"),
    [
        ({0: 1, 1: 1, 7: 3}, r"class_weight=.* has the labels \[7\]"),
        ({(0, 1): 2}, r"has the labels \[\(0, 1\)\]"),
        ({0: 1, 1: -2, 2: 1}, r"class_weight=.*weight -2 for the class 1"),
        ({0: None}, "has the weight None for the class 0"),
        ({0: 0, 1: 0, 2: 0}, r"class_weight={.*} is zero for every"),
        ("even", "Got 'even'"),
    ],
)
def test_bad_class_weights_are_refused(uneven, class_weight, said):
    with pytest.raises(ValueError, match=said):
        make(class_weight=class_weight).fit(*uneven)
