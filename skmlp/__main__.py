"""python -m skmlp: compile all that is compiled, so that no later process has to."""

import time

import numpy as np
from scipy.sparse import csr_array

from . import MomentumMLPClassifier
from ._cache import folders


def main():
    X, y = np.arange(8.0).reshape(4, 2), np.array([0, 1, 0, 1])
    start = time.perf_counter()
    for dtype in (np.float64, np.float32):
        for container in (np.asarray, csr_array):
            rows = container(X.astype(dtype))
            MomentumMLPClassifier(2, max_iter=1).fit(rows, y).predict(rows)
    seconds = time.perf_counter() - start
    stored = [folder for folder in folders() if any(folder.glob("*.nbc"))]
    where = f"and stored in {stored[0]}" if stored else "but stored nowhere"
    print(f"All of skmlp is compiled, in {seconds:.1f} s, {where}")


if __name__ == "__main__":
    main()
