"""
One training for a whole grid search
====================================

The same searches, plain and with ``joblib.parallel_config(backend="skmlp")``. You will
see that they give the same scores to the last bit, and a picture of the time that each
takes against the number of candidates.
"""

import argparse
import time
from pathlib import Path

import joblib
import matplotlib.pyplot as plt
import numpy as np
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skmlp import MomentumMLPClassifier


def search(n_candidates, max_iter):
    mlp = MomentumMLPClassifier(batch_size=32, max_iter=max_iter, random_state=0)
    return GridSearchCV(
        make_pipeline(StandardScaler(), mlp),
        {"momentummlpclassifier__alpha": np.logspace(-2, 2, n_candidates)},
        cv=5,
        n_jobs=-1,
        refit=False,
    )


def timed(fit, X, y):
    start = time.perf_counter()
    fitted = fit(X, y)
    return fitted.cv_results_["mean_test_score"], time.perf_counter() - start


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--candidates", default="2,5,10,20,40")
    parser.add_argument("--epochs", type=int, default=10)
    args = parser.parse_args()
    counts = [int(count) for count in args.candidates.split(",")]
    X, y = load_digits(return_X_y=True)

    # Both start their processes once; that is not what is compared.
    search(8, args.epochs).fit(X, y)
    with joblib.parallel_config(backend="skmlp"):
        search(8, args.epochs).fit(X, y)

    seconds = []
    for count in counts:
        plain, plain_time = timed(search(count, args.epochs).fit, X, y)
        with joblib.parallel_config(backend="skmlp"):
            stacked, stacked_time = timed(search(count, args.epochs).fit, X, y)
        assert np.array_equal(plain, stacked)
        seconds.append((plain_time, stacked_time))
        print(
            f"{count:3} candidates, 5 folds: plain {plain_time:5.2f} s, stacked "
            f"{stacked_time:5.2f} s, {plain_time / stacked_time:.1f} times as fast, "
            "same scores",
            flush=True,
        )

    figure, ax = plt.subplots(figsize=(6, 4), layout="constrained")
    for label, column in zip(("plain", "stacked"), np.array(seconds).T, strict=True):
        ax.plot(counts, column, "o-", label=label)
    ax.set(xlabel="candidates (5 folds each)", ylabel="seconds", ylim=0)
    ax.legend()
    figure.savefig("stacked_search.png", dpi=100)
    print(f"Saved {Path('stacked_search.png').resolve()}.")


if __name__ == "__main__":
    main()
