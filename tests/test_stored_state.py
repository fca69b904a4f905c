"""Whatever a stored estimator or a sparse matrix was changed to, compiled code stays
within its arrays: there is an error, or a result, but no crash."""

from helpers import run_python

EDITED = """
import copy, traceback, warnings
import numpy as np
from hypothesis import given, settings, strategies as st
from scipy.sparse import csr_array
from skmlp import MomentumMLPClassifier

warnings.simplefilter("ignore")
rng = np.random.RandomState(0)
X, y = csr_array(rng.poisson(0.5, (40, 5)).astype(float)), np.arange(40) % 3
fitted = {
    is_sparse: MomentumMLPClassifier((4, 3), max_iter=2, warm_start=True).fit(rows, y)
    for is_sparse, rows in [(True, X), (False, X.toarray())]
}
EDITS = [
    lambda x: np.asarray(x).ravel()[:1], lambda x: np.repeat(x, 2), lambda x: None,
    lambda x: [], lambda x: "text", lambda x: np.asarray(x) * -1, lambda x: 2**40,
    lambda x: np.asarray(x) + 1000, lambda x: np.asarray(x) * np.nan, lambda x: -1,
    lambda x: np.asarray(x, dtype=object), lambda x: np.asarray(x)[..., ::-1],
]
STATE = sorted(fitted[True]._training_state)
OWN = ["coefs_", "intercepts_", "feature_mean_", "feature_scale_", "classes_",
       "n_features_in_", "loss_curve_", "n_iter_", "learning_rate_init_"]
CALLS = [
    lambda m, X: m.predict_proba(X), lambda m, X: m.fit(X, y),
    lambda m, X: m.partial_fit(X, y), lambda m, X: m.fit(X, y, X_val=X, y_val=y),
]

def run(call, mlp, rows, must_fail=False):
    try:
        call(mlp, rows)
        assert not must_fail, "a network of another size was taken"
    except AssertionError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        assert not where.filename.endswith("_cache.py"), "an index in compiled code"

@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    st.booleans(), st.sampled_from(STATE + OWN), st.sampled_from(EDITS),
    st.sampled_from(CALLS), st.integers(0, 2),
)
def stored_fields(is_sparse, name, edit, call, at):
    mlp, must_fail = copy.deepcopy(fitted[is_sparse]), False
    place = mlp._training_state if name in STATE else vars(mlp)
    try:
        if name in ("coefs_", "intercepts_"):
            before = place[name][at]
            place[name][at] = edit(before)
            must_fail = np.shape(place[name][at]) != before.shape
        else:
            place[name] = edit(place[name])
    except (IndexError, TypeError, ValueError):
        return  # nothing can be changed so
    run(call, mlp, X if is_sparse else X.toarray(), must_fail)

@settings(max_examples=150, deadline=None, database=None, derandomize=True)
@given(
    st.sampled_from(["data", "indices", "indptr"]), st.integers(0, 10**6),
    st.sampled_from([-1, 5, 6, 2**30, -(2**31)]), st.sampled_from(CALLS),
)
def sparse_arrays(name, at, value, call):
    rows = X.copy()
    array = getattr(rows, name)
    array[at % len(array)] = value
    run(call, copy.deepcopy(fitted[True]), rows)

stored_fields()
sparse_arrays()
print("done")
"""


def test_nothing_that_is_stored_or_sparse_makes_compiled_code_crash():
    assert run_python(EDITED, NUMBA_BOUNDSCHECK=1) == "done\n"
