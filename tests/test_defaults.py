"""What the defaults reach on the toy data that everybody tries."""

import numpy as np
import pytest
from sklearn.datasets import make_circles, make_moons
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import MomentumMLPClassifier


def circles(seed):
    return make_circles(300, noise=0.1, factor=0.4, random_state=seed)


def moons(seed):
    return make_moons(300, noise=0.1, random_state=seed)


def xor(seed):
    X = np.random.RandomState(seed).uniform(-1, 1, (300, 2))
    return X, (X[:, 0] * X[:, 1] > 0).astype(int)


@pytest.mark.parametrize(
    ("make_data", "least"), [(circles, 0.98), (moons, 0.88), (xor, 0.92)]
)
def test_toy_data(make_data, least):
    """The penalty weighs heavily on sigmoids that must bend for few samples: weights
    drawn too narrow are shrunken before they have learned (circles: .48)."""
    scores = []
    for seed in range(4):
        X, y = make_data(seed)
        X_train, X_test, y_train, y_test = train_test_split(
            X, y, test_size=0.5, random_state=seed
        )
        mlp = make_pipeline(StandardScaler(), MomentumMLPClassifier(random_state=seed))
        scores.append(mlp.fit(X_train, y_train).score(X_test, y_test))
    assert np.mean(scores) >= least
