"""What a user hands over, checked and encoded: rows, labels, weights."""

import hashlib
import inspect
import math
from contextlib import contextmanager
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import csr_array, issparse
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, validate_data


class Data(NamedTuple):
    X: Any  # (n, n_features), C order or CSR
    y: np.ndarray  # (n,) class indices
    sample_weight: np.ndarray | None  # (n,) float64; None for 1

    def rows(self, chosen):
        weight = None if self.sample_weight is None else self.sample_weight[chosen]
        return Data(self.X[chosen], self.y[chosen], weight)


def check_training_data(estimator, X, y, sample_weight, *, reset, classes=None):
    """Validated Data, weights None or all > 0. With `reset` the estimator learns the
    features and the classes, else it must know them."""
    if y is not None:
        check_single_label(y)
    X, y = validate_data(
        estimator,
        X,
        y,
        reset=reset,
        accept_sparse="csr",
        dtype=[np.float64, np.float32] if reset else estimator.coefs_[0].dtype,
        order="C",
    )
    check_classification_targets(y)
    if sample_weight is not None:
        sample_weight = _check_sample_weight(
            sample_weight, X, dtype=np.float64, ensure_non_negative=True
        )
    if reset and classes is None:
        estimator.classes_, codes = np.unique(y, return_inverse=True)
    else:
        if reset:
            estimator.classes_ = np.unique(classes)
        codes = encode(y, estimator.classes_, "y")
    sample_weight = weigh_classes(estimator, codes, sample_weight)
    data = Data(X, codes, sample_weight)
    if sample_weight is not None and not sample_weight.all():
        counted = np.flatnonzero(sample_weight)
        if len(counted) == 0:
            raise ValueError("sample_weight is zero for every sample.")
        data = data.rows(counted)
    return data


def check_rows(estimator, X):
    """X as the fitted estimator predicts it."""
    how = {"accept_sparse": "csr", "dtype": estimator.coefs_[0].dtype, "order": "C"}
    is_plain = isinstance(X, np.ndarray) and not hasattr(estimator, "feature_names_in_")
    if is_plain and X.shape[1:] == (getattr(estimator, "n_features_in_", None),):
        # All that validate_data does to such an array, in three quarters of its
        # time, most of which is spent on a single row.
        return check_array(X, input_name="X", estimator=estimator, **how)
    return validate_data(estimator, X, reset=False, **how)


def check_single_label(y):
    """Refuse several labels a sample, with the way to go."""
    if not issparse(y) and np.asarray(y).ndim < 2:
        return
    kind = type_of_target(y, input_name="y")
    if kind.startswith("multilabel") or kind.endswith("multioutput"):
        raise ValueError(
            f"y has several outputs a sample ({kind}), but MomentumMLPClassifier "
            "predicts one class a sample. Wrap it in "
            "sklearn.multioutput.MultiOutputClassifier."
        )


def encode(y, classes, name):
    """Indices of y's labels in classes, whatever the two dtypes are.

    Labels are looked up as Python's objects, which are equal across dtypes (1 and 1.0)
    and never cut short or wrapped around; dates in the finer of their units.
    """
    y = np.asarray(y)
    known, labels = classes.tolist(), y
    kinds = {y.dtype.kind, classes.dtype.kind}
    if kinds & set("mM"):
        unit = np.result_type(y, classes) if len(kinds) == 1 else None
        known = [] if unit is None else classes.astype(unit).view(np.int64).tolist()
        labels = y.view(np.int64) if unit is None else y.astype(unit).view(np.int64)
    place = {label: i for i, label in enumerate(known)}
    if labels.dtype.kind == "O":
        codes = np.array([place.get(label, -1) for label in labels], np.int64)
    else:
        found, inverse = np.unique(labels, return_inverse=True)
        codes = np.array([place.get(label, -1) for label in found.tolist()], np.int64)
        codes = codes[inverse.reshape(-1)]
    if (codes < 0).any():
        unknown = list(dict.fromkeys(y[codes < 0].tolist()))
        raise ValueError(
            f"{name} has the labels {unknown}, which are not among the classes_ of "
            f"the classifier: {classes.tolist()}."
        )
    return codes


def weigh_classes(estimator, codes, sample_weight):
    """sample_weight times the weight of each sample's class."""
    class_weight, classes = estimator.class_weight, estimator.classes_
    if class_weight is None:
        return sample_weight
    if isinstance(class_weight, str):  # "balanced"
        totals = np.bincount(codes, sample_weight, len(classes))
        occurring = totals > 0
        weights = np.zeros(len(totals))
        weights[occurring] = totals.sum() / occurring.sum() / totals[occurring]  # (K,)
    else:
        weights = compute_class_weight(class_weight, classes=classes, y=classes)
        if (weights < 0).any():
            raise ValueError(
                f"class_weight={class_weight!r} has a negative weight; "
                "expected numbers >= 0."
            )
    own = weights[codes]
    return own if sample_weight is None else own * sample_weight


def check_validation_data(estimator, X_val, y_val, sample_weight_val, dtype):
    """Validated Data in the training's dtype, or None where none are given."""
    if X_val is None and y_val is None:
        if sample_weight_val is not None:
            raise ValueError("sample_weight_val is given without X_val and y_val.")
        return None
    if X_val is None or y_val is None:
        given, lacking = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
        raise ValueError(f"{given} is given, but {lacking} is not.")
    with told_of("X_val and y_val"):
        check_single_label(y_val)
        X_val, y_val = validate_data(
            estimator,
            X_val,
            y_val,
            reset=False,
            accept_sparse="csr",
            dtype=dtype,
            order="C",
        )
    if sample_weight_val is not None:
        with told_of("sample_weight_val"):
            sample_weight_val = _check_sample_weight(
                sample_weight_val, X_val, dtype=np.float64, ensure_non_negative=True
            )
        if not sample_weight_val.any():
            raise ValueError("sample_weight_val is zero for every sample.")
    return Data(X_val, encode(y_val, estimator.classes_, "y_val"), sample_weight_val)


def keep_out(data, fraction, seed):
    """Data without a stratified fraction of it, and that fraction."""
    n_rows = data.X.shape[0]
    n_val = max(math.ceil(fraction * n_rows), len(np.unique(data.y)))
    try:
        train_rows, val_rows = train_test_split(
            np.arange(n_rows),
            test_size=n_val,  # a place for each class
            stratify=data.y,
            random_state=seed,
        )
    except ValueError as error:
        raise ValueError(
            f"A stratified validation_fraction={fraction} of {n_rows} samples cannot "
            f"be kept out for early stopping: {error} Pass X_val and y_val to fit, "
            "choose another validation_fraction, or watch the training data with "
            "validation_fraction=None."
        ) from error
    return data.rows(train_rows), data.rows(val_rows)


def check_scorer(estimator):
    """callable(estimator, X, y, sample_weight) of `scoring`, or None for "loss"."""
    if estimator.scoring == "loss":
        return None
    scorer = check_scoring(estimator, scoring=estimator.scoring)
    takes_weights = any(  # scikit-learn's scorers do
        p.name == "sample_weight" or p.kind == p.VAR_KEYWORD
        for p in inspect.signature(scorer).parameters.values()
    )

    def score(fitted, X, y, sample_weight):
        if sample_weight is None or not takes_weights:
            return scorer(fitted, X, y)
        return scorer(fitted, X, y, sample_weight=sample_weight)

    return score


def fingerprint(data):
    """A text that is the same for equal Data, whatever holds them, and hardly ever for
    others."""
    digest = hashlib.sha256()
    for start in range(0, data.X.shape[0], 1024):
        block = csr_array(data.X[start : start + 1024], copy=True)
        block.sum_duplicates()
        block.eliminate_zeros()
        for array in (block.data, block.indices, block.indptr):
            kind = np.float64 if array is block.data else np.int64
            digest.update(array.astype(kind).tobytes())
    digest.update(data.y.astype(np.int64).tobytes())
    if data.sample_weight is not None and (data.sample_weight != 1).any():
        digest.update(data.sample_weight.tobytes())
    return digest.hexdigest()


@contextmanager
def told_of(names):
    """Say which data an error is about, where scikit-learn would call them X and y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{names}: {error}") from error


@contextmanager
def undrawn_on_error(estimator):
    """Let a fit that fails draw nothing from a generator that is the user's. (One that
    is interrupted, and keeps what is trained so far, has drawn.)"""
    generator, stored = None, vars(estimator).get("_training_state")
    if not isinstance(estimator.random_state, Integral):
        generator = check_random_state(estimator.random_state)
        before = generator.get_state(legacy=False)
    try:
        yield
    except BaseException:
        if generator is not None and vars(estimator).get("_training_state") is stored:
            generator.set_state(before)
        raise
