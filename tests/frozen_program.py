"""What .ci/run freezes: a program that trains, and says how well."""

import numpy as np

from skmlp import MomentumMLPClassifier

X = np.random.RandomState(0).normal(size=(60, 3))
y = X[:, 0] > 0
score = MomentumMLPClassifier(random_state=0).fit(X, y).score(X, y)
print("a frozen program trains:", score)
raise SystemExit(score < 0.9)
