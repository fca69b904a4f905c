"""
Loss curves
===========

Two fits of the digits in one picture. One trains for a fixed number of epochs, the
other stops when its validation loss has got no better for ten: you will see both
training curves, both validation curves, and the epoch whose weights were restored.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skmlp import LossCurveDisplay, MomentumMLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(
    X / 16, y, test_size=0.3, stratify=y, random_state=0
)

# %%
# Both watch the same validation data; only one acts on them.

common = {"alpha": 0.0, "batch_size": 50, "max_iter": 150, "random_state": 0}
fixed = MomentumMLPClassifier(**common)
early = MomentumMLPClassifier(early_stopping=True, n_iter_no_change=10, **common)
for mlp in (fixed, early):
    mlp.fit(X_train, y_train, X_val=X_val, y_val=y_val)
    print(f"{mlp.n_iter_} epochs, validation accuracy {mlp.score(X_val, y_val):.4f}")

# %%
# Drawing on one axis compares them.

figure, ax = plt.subplots(figsize=(7, 4), layout="constrained")
LossCurveDisplay.from_estimator(fixed, ax=ax, name="150 epochs", alpha=0.6)
LossCurveDisplay.from_estimator(early, ax=ax, name="early stopping", log_scale=True)
figure.savefig("loss_curves.png", dpi=100)
print(f"Saved {Path('loss_curves.png').resolve()}.")
