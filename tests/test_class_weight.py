"""Class weights: what a class matters, in the loss and in what alpha is divided by."""

import numpy as np
import pytest
from helpers import assert_same_training
from numpy.testing import assert_allclose
from settings import plain
from sklearn.metrics import log_loss


@pytest.fixture
def uneven(iris):
    X, y = iris
    kept = np.r_[0:50, 50:80, 100:110]
    return X[kept], y[kept]


def make(**params):
    settings = {"batch_size": 32, "max_iter": 10, "random_state": 0}
    return plain((5,), **(settings | params))


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
    for one, other in zip(a.coefs_, b.coefs_, strict=True):
        assert_allclose(one, other, rtol=1e-10, atol=1e-13)
    if batch_size is None:  # J before an epoch is that of the weights before it
        before = make(batch_size=None, class_weight=FACTORS, alpha=5.0, max_iter=9)
        loss = log_loss(y, before.fit(X, y, own).predict_proba(X), sample_weight=s * c)
        squares = sum(np.sum(coef**2) for coef in before.coefs_)
        assert_allclose(a.loss_, loss + 5.0 / (2 * effective) * squares, rtol=1e-12)


def test_a_dict_of_strings(uneven):
    X, y = uneven
    names = np.array(["a", "b", "c"])
    a = make(class_weight={"a": 1, "b": 2, "c": 3}).fit(X, names[y])
    assert_same_training(a, make(class_weight={0: 1, 1: 2, 2: 3}).fit(X, y))


@pytest.mark.parametrize("unit", ["D", "ns"])
def test_a_dict_of_dates(uneven, unit):
    X, y = uneven
    dates = np.array(["2024-01-01", "2025-01-01", "2026-01-01"], f"M8[{unit}]")
    weights = dict(zip(dates, (1, 2, 3), strict=True))
    a = make(class_weight=weights).fit(X, dates[y])
    assert_same_training(a, make(class_weight={0: 1, 1: 2, 2: 3}).fit(X, y))
    if unit == "D":
        weights = {date.item(): weight for date, weight in weights.items()}
        assert_same_training(a, make(class_weight=weights).fit(X, dates[y]))
    wrong = {dates[0] - dates.dtype.type(1, unit).astype("m8"): 1}
    with pytest.raises(ValueError, match="2024-01-01"):
        make(class_weight=wrong).fit(X, dates[y])


def test_balanced_gives_each_class_the_same_total(uneven):
    X, y = uneven  # 50, 30 and 10 samples
    a = make(class_weight="balanced").fit(X, y)
    assert_same_training(a, make(class_weight={0: 30 / 50, 1: 1.0, 2: 3.0}).fit(X, y))


def test_balanced_counts_sample_weights(uneven):
    X, y = uneven
    own = 1.0 + (np.arange(len(y)) % 4)
    totals = np.bincount(y, own)
    by_hand = dict(enumerate(totals.sum() / 3 / totals))
    a = make(class_weight="balanced").fit(X, y, sample_weight=own)
    b = make(class_weight=by_hand).fit(X, y, sample_weight=own)
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
    by_hand = make(class_weight=FACTORS)
    loss = by_hand.partial_fit(X, y, classes=[0, 1, 2]).loss_
    assert loss == make(class_weight=FACTORS).fit(X, y).loss_curve_[0]


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
