"""
Loss curves
===========

Three fits of the digits, drawn by LossCurveDisplay. The left picture shows one that
early stopping ended: its training loss keeps falling long after its validation loss
has gone flat, and a dotted line marks the epoch whose weights were restored. The
right one compares two penalties on one pair of axes: with the larger alpha, training
and validation loss lie together, but higher. Part of that height is the penalty
itself, so the accuracies are printed too.

Both have a logarithmic scale. Saves ``loss_curves.png``; takes a few seconds.
"""

from pathlib import Path

import matplotlib.pyplot as plt
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from skmlp import LossCurveDisplay, MomentumMLPClassifier

X, y = load_digits(return_X_y=True)
X_train, X_val, y_train, y_val = train_test_split(
    X, y, test_size=0.3, stratify=y, random_state=0
)

# %%
# One fit. It holds a tenth of the data out and monitors their loss.

early = MomentumMLPClassifier(alpha=0, early_stopping=True, random_state=0)
early.fit(X_train, y_train)
print(
    f"stopped after epoch {early.n_iter_}, restored epoch {early.best_iter_}, "
    f"accuracy on unseen data {early.score(X_val, y_val):.4f}"
)

# %%
# Two fits. With X_val and y_val in fit the validation loss is recorded although
# nothing stops early. Both curves contain the penalty.

alphas = [0.3, 3]
fits = [
    MomentumMLPClassifier(alpha=alpha, random_state=0).fit(
        X_train, y_train, X_val=X_val, y_val=y_val
    )
    for alpha in alphas
]
for alpha, mlp in zip(alphas, fits, strict=True):
    print(
        f"alpha={alpha}: {mlp.n_iter_} epochs, "
        f"accuracy on unseen data {mlp.score(X_val, y_val):.4f}"
    )

# %%
# The pictures. Each call draws on the axes it is given, or on new ones.

figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4), layout="constrained")
LossCurveDisplay.from_estimator(early, ax=left)
left.set_title("Early stopping")
LossCurveDisplay.from_estimators(
    fits, names=[f"alpha={alpha}" for alpha in alphas], ax=right
)
right.set_title("Two penalties")
figure.savefig("loss_curves.png", dpi=100)
print(f"Saved {Path('loss_curves.png').resolve()}.")
