"""
The notebook's experiment, the scikit-learn way
===============================================

A 64-48-32-10 sigmoid network on scikit-learn's digits, its penalty chosen on a
validation set. You will see progress while it trains, one table that sets the
notebook's figures beside ours, and two pictures: accuracy against alpha, and the
losses per epoch.

Two networks are searched. The *notebook's* squeezes its output through a sigmoid
before the softmax and is judged as trained. The *textbook's* gives its scores to the
softmax directly and is refit on training + validation data, as GridSearchCV does. A
last row is MomentumMLPClassifierCV as it comes, which chooses alpha by itself.
"""

import argparse
import time
import warnings
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import (
    GridSearchCV,
    PredefinedSplit,
    ValidationCurveDisplay,
    train_test_split,
)

from skmlp import (
    LossCurveDisplay,
    MomentumMLPClassifier,
    MomentumMLPClassifierCV,
)

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=1000, help="epochs of each fit")
parser.add_argument("--seeds", type=int, default=3, help="seeds averaged over")
parser.add_argument("--output", type=Path, default=Path(), help="folder for figures")
args = parser.parse_args()

# %%
# The notebook's three parts. GridSearchCV gets the first two, and a PredefinedSplit
# tells it which rows validate: -1 marks a row that only trains.

X, y = load_digits(return_X_y=True)
X_dev, X_test, y_dev, y_test = train_test_split(X, y, test_size=0.33, random_state=111)
rows_train, rows_val = train_test_split(
    np.arange(len(X_dev)), test_size=0.40, random_state=123
)
fold = np.full(len(X_dev), -1)
fold[rows_val] = 0
X_train, y_train = X_dev[rows_train], y_dev[rows_train]
X_val, y_val = X_dev[rows_val], y_dev[rows_val]

# %%
# Ten values of alpha, the notebook's lambda, for each network and seed.

ALPHAS = np.logspace(-2, 2, 10)
# With the largest nothing is learned, which is the point of trying them.
warnings.filterwarnings("ignore", "The network has learned little")
NETWORKS = {"notebook": "logistic", "textbook": "identity"}


def network(output_activation, seed, **params):
    return MomentumMLPClassifier(
        hidden_layer_sizes=(48, 32),
        output_activation=output_activation,
        standardize=False,  # the notebook trains on the pixels as they are
        init_scale=1,
        learning_rate="constant",
        learning_rate_init=0.2,
        momentum=0.9,
        nesterovs_momentum=False,
        batch_size=None,
        max_iter=args.epochs,
        random_state=seed,
        **params,
    )


start = time.perf_counter()
searches = {name: [] for name in NETWORKS}
for name, output_activation in NETWORKS.items():
    for seed in range(args.seeds):
        search = GridSearchCV(
            network(output_activation, seed),
            {"alpha": ALPHAS},
            cv=PredefinedSplit(fold),
            refit=name == "textbook",
            return_train_score=True,
            n_jobs=-1,
        )
        with joblib.parallel_config("threading"):  # training holds no interpreter lock
            search.fit(X_dev, y_dev)
        searches[name].append(search)
        print(
            f"{time.perf_counter() - start:5.1f} s  {name}, seed {seed + 1} of "
            f"{args.seeds}: {len(ALPHAS)} networks trained, best alpha "
            f"{search.best_params_['alpha']:.6f}, validation {search.best_score_:.6f}",
            flush=True,
        )

# %%
# The final networks. The notebook's learns from the training part alone; its loss on
# the validation data is recorded and changes nothing.

finals = [
    network("logistic", seed, alpha=search.best_params_["alpha"]).fit(
        X_train, y_train, X_val=X_val, y_val=y_val
    )
    for seed, search in enumerate(searches["notebook"])
]
test_accuracy = {
    "notebook": [final.score(X_test, y_test) for final in finals],
    "textbook": [search.score(X_test, y_test) for search in searches["textbook"]],
}

# %%
# One line instead: defaults, alpha chosen by two folds of training + validation data.

start = time.perf_counter()
automatic = [
    MomentumMLPClassifierCV(random_state=seed).fit(X_dev, y_dev)
    for seed in range(args.seeds)
]
seconds = (time.perf_counter() - start) / args.seeds
print(f"MomentumMLPClassifierCV as it comes: {seconds:.2f} s a fit")


def spread(values):
    return f"{np.mean(values):.6f} +- {np.std(values):.6f}"


def row(name, alpha, validation, test):
    print(f"{name:<38}{alpha:<24}{validation:<24}{test}")


print(f"\nMean and standard deviation over {args.seeds} seeds:")
row("", "best alpha", "validation accuracy", "test accuracy")
row("the notebook's own figures", "0.599484", "0.964730", "0.959596")
for name, label in [
    ("notebook", "skmlp, notebook's network"),
    ("textbook", "skmlp, textbook softmax, refit"),
]:
    row(
        label,
        ", ".join(f"{s.best_params_['alpha']:.3g}" for s in searches[name]),
        spread([s.best_score_ for s in searches[name]]),
        spread(test_accuracy[name]),
    )
row(
    "skmlp, MomentumMLPClassifierCV",
    ", ".join(f"{mlp.alpha_:.3g}" for mlp in automatic),
    "",
    spread([mlp.score(X_test, y_test) for mlp in automatic]),
)

# %%
# Accuracy against alpha: scikit-learn's own display, seeds in place of folds. On the
# right, what MomentumMLPClassifierCV chose by: the log loss of its folds.

figure, axes = plt.subplots(1, 3, figsize=(14, 4), layout="constrained")
for ax, name in zip(axes, NETWORKS, strict=False):
    scores = {
        part: np.column_stack([s.cv_results_[f"mean_{part}_score"] for s in runs])
        for runs in [searches[name]]
        for part in ("train", "test")
    }
    ValidationCurveDisplay(
        param_name="alpha",
        param_range=ALPHAS,
        train_scores=scores["train"],
        test_scores=scores["test"],
        score_name="accuracy",
    ).plot(ax=ax)
    ax.set(title=f"The {name}'s network", xscale="log", ylim=(0, 1.01))
    ax.legend(ax.lines, ["training", "validation"], loc="lower left")
chosen, ax = automatic[0], axes[-1]
ValidationCurveDisplay(
    param_name="alpha",
    param_range=chosen.alphas_,
    train_scores=chosen.scores_,
    test_scores=chosen.scores_,
    score_name="log loss",
).plot(ax=ax, score_type="test", negate_score=True)
ax.axvline(chosen.alpha_, linestyle=":", color="black")
ax.set(title="MomentumMLPClassifierCV", xscale="log")
ax.legend(ax.lines, ["two folds", f"chosen: {chosen.alpha_:g}"])
figure.savefig(args.output / "digits_accuracy_by_alpha.png", dpi=100)

# %%
# Loss per epoch of the first final network, penalty included in both curves.

figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
LossCurveDisplay.from_estimator(finals[0], ax=ax)
ax.set_title("The notebook's network")
figure.savefig(args.output / "digits_loss_by_epoch.png", dpi=100)
print(f"\nSaved two figures in {args.output.resolve()}.")
