"""What the defaults come to, and what they reach on data that nobody prepared."""

from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
from sklearn import datasets
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.model_selection import (
    RepeatedStratifiedKFold,
    cross_val_score,
    train_test_split,
)

from skmlp import MomentumMLPClassifier
from skmlp._network import ACTIVATIONS
from skmlp._training import train


def xor(n, noise, random_state):
    X = np.random.RandomState(random_state).uniform(-1, 1, (n, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


circles, moons = partial(datasets.make_circles, factor=0.4), datasets.make_moons


@pytest.mark.parametrize(
    ("make_data", "least"), [(circles, 0.98), (moons, 0.88), (xor, 0.92)]
)
def test_toy_data(make_data, least):
    """The penalty weighs heavily on sigmoids that must bend for few samples: weights
    drawn too narrow are shrunken before they have learned (circles: .48)."""
    scores = []
    for seed in range(12):
        X, y = make_data(300, noise=0.1, random_state=seed)
        X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, random_state=seed)
        mlp = MomentumMLPClassifier(random_state=seed).fit(X, y)
        scores.append(mlp.score(X_test, y_test))
    assert np.mean(scores) >= least


@pytest.mark.parametrize(
    ("name", "repeats", "least"),
    [
        ("digits", 1, 0.95),
        ("wine", 4, 0.96),
        ("breast_cancer", 2, 0.96),
        ("iris", 6, 0.94),
    ],
)
def test_raw_data(name, repeats, least):
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    folds = RepeatedStratifiedKFold(n_splits=5, n_repeats=repeats, random_state=0)
    mlp = MomentumMLPClassifier(random_state=0)
    assert cross_val_score(mlp, X, y, cv=folds).mean() >= least


@pytest.mark.parametrize("scoring", ["loss", "accuracy"])
@pytest.mark.parametrize("name", ["wine", "iris"])
def test_a_dozen_validation_rows_choose_no_epoch_by_chance(name, scoring):
    """By a loss without penalty, and the first of equal scores, log losses were .32 and
    .42, .45 and .90."""
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    losses = []
    for seed in range(8):
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, stratify=y, random_state=seed, test_size=0.33
        )
        mlp = MomentumMLPClassifier(
            early_stopping=True, scoring=scoring, random_state=seed
        )
        proba = mlp.fit(X_train, y_train).predict_proba(X_test)
        losses.append(log_loss(y_test, proba))
    assert np.mean(losses) < 0.25


@pytest.mark.parametrize("batch_size", [1, 32, None])
@pytest.mark.parametrize("n_hidden", range(6))
@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_any_activation_depth_and_batch_size(activation, n_hidden, batch_size):
    """One parameter changed at a time, raw features in mixed units (in 0.2.0 nearly all
    of these failed)."""
    X, y = datasets.load_wine(return_X_y=True)
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.5, random_state=0, stratify=y
    )
    mlp = MomentumMLPClassifier((50,) * n_hidden, activation, batch_size=batch_size)
    assert mlp.set_params(random_state=0).fit(X, y).score(X_test, y_test) >= 0.93


@pytest.mark.parametrize(
    ("params", "n_samples", "rate", "batch_size"),
    [
        ({}, 2500, 1.0, 50),
        ({}, 10, 10 / 32, 10),
        ({}, 300, 1.0, 32),
        ({}, 300_000, 1.0, 512),
        ({"hidden_layer_sizes": (5, 5)}, 300, 1.0, 32),
        ({"hidden_layer_sizes": (5, 5, 5)}, 300, 0.3, 32),
        ({"hidden_layer_sizes": ()}, 300, 0.3, 32),
        ({"hidden_layer_sizes": (), "activation": "relu"}, 300, 0.3, 32),
        ({"activation": "tanh"}, 300, 0.1, 32),
        ({"activation": "relu"}, 300, 0.03, 32),
        ({"activation": "identity", "hidden_layer_sizes": (5, 5)}, 300, 0.015, 32),
        ({"batch_size": 8}, 300, 0.25, 8),
        ({"batch_size": None}, 300, 1.0, 300),
        ({"batch_size": 1000}, 300, 1.0, 300),
        ({"momentum": 0.5}, 300, 1.0, 32),
        ({"momentum": 0.99}, 300, 0.1, 32),
        ({"learning_rate": "constant"}, 300, 0.2, 32),
        ({"learning_rate": "adaptive"}, 300, 0.2, 32),
        ({"learning_rate_init": 0.7, "learning_rate": "adaptive"}, 300, 0.7, 32),
    ],
)
def test_what_auto_comes_to(params, n_samples, rate, batch_size, monkeypatch):
    """The formulas of the docstring; the batch size as the engine is given it."""
    spy = Mock(side_effect=train)
    monkeypatch.setattr("skmlp._classifier.train", spy)
    X = np.arange(2.0 * n_samples).reshape(n_samples, 2)
    mlp = MomentumMLPClassifier(max_iter=1, **params).fit(X, np.arange(n_samples) % 2)
    assert mlp.learning_rate_init_ == pytest.approx(rate, rel=1e-12)
    task = spy.call_args.args[0]
    assert task.learning_rate_init == mlp.learning_rate_init_
    assert task.batch_size == batch_size


def test_heavy_rows_take_smaller_steps(iris):
    """Kish's effective size of a batch: 32 rows of which a tenth weigh ten times as
    much as the others are worth 32 * 1.9^2 / 10.9."""
    X, y = iris
    weight = np.where(np.arange(150) % 10 == 0, 10.0, 1.0)
    mlp = MomentumMLPClassifier(max_iter=1).fit(X, y, sample_weight=weight)
    assert mlp.learning_rate_init_ == pytest.approx(1.9**2 / 10.9, rel=1e-12)
    mlp.fit(X, y, sample_weight=weight * 1e-3)
    assert mlp.learning_rate_init_ == pytest.approx(1.9**2 / 10.9, rel=1e-12)
    mlp.set_params(batch_size=None).fit(X, y, sample_weight=weight)
    assert mlp.learning_rate_init_ == 1.0


@pytest.mark.parametrize("share", [0.02, 0.005])
def test_a_rare_class_weighted_to_balance(share):
    """It gave a constant in 0.2.0 at half a percent."""
    areas = []
    for seed in range(2):
        X, y = datasets.make_classification(
            8000, 20, n_informative=5, weights=[1 - share], random_state=seed
        )
        mlp = MomentumMLPClassifier(class_weight="balanced", random_state=seed)
        mlp.fit(X[::2], y[::2])
        areas.append(roc_auc_score(y[1::2], mlp.predict_proba(X[1::2])[:, 1]))
    assert np.mean(areas) > (0.80 if share > 0.01 else 0.62)


def test_four_layers_of_sigmoids_without_penalty_learn(digits):
    """Two of twelve seeds learned nothing, without a word, at the rate of 0.2.0."""
    X, y = digits
    for seed in range(4):
        mlp = MomentumMLPClassifier((50,) * 4, alpha=0, random_state=seed)
        assert mlp.fit(X[:900], y[:900]).score(X[900:], y[900:]) > 0.85
