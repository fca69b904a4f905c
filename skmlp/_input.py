"""What a user hands over, checked and encoded: rows, labels, weights."""

import inspect
import math
from contextlib import contextmanager
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from scipy.sparse import issparse
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, validate_data

from ._quietly import quietly
from ._rows import rows_of


class Data(NamedTuple):
    X: Any  # (n, n_features), C order or CSR, or Rows of such
    y: np.ndarray  # (n,) class indices
    sample_weight: np.ndarray | None  # (n,) float64, how often rows count; None for 1
    class_weight: np.ndarray | None = None  # (K,) how much classes matter; None for 1

    @property
    @quietly
    def weight(self):
        """(n,) what each row counts in the loss; None for 1."""
        if self.class_weight is None:
            return self.sample_weight
        of_rows = self.class_weight[self.y]
        return of_rows if self.sample_weight is None else of_rows * self.sample_weight

    @property
    @quietly
    def effective_weight(self):
        """What alpha is divided by, with sample weights s and class weights c of the
        rows: (sum s c)^2 / sum s c^2 (Kish), which is the sum of s without c."""
        if self.class_weight is None:
            s = self.sample_weight
            return float(self.y.size if s is None else s.sum())
        c = self.class_weight / self.class_weight.max()
        totals = np.bincount(self.y, self.sample_weight, len(c))  # (K,) sums of s
        return float((totals @ c) ** 2 / (totals @ c**2))

    @quietly
    def effective_batch(self, batch_size, is_stream):
        """The effective number of rows in a batch: batch_size (sum w)^2 / (n sum w^2)
        with weights w (Kish). A batch that is the whole training set has no noise: it
        counts its rows, and as often as sample weights repeat them."""
        n_samples = self.y.size
        if batch_size == n_samples and not is_stream:
            repeated = 0 if self.sample_weight is None else self.sample_weight.sum()
            return max(n_samples, repeated)
        if (w := self.weight) is None:
            return batch_size
        w = w / w.max()
        return batch_size * w.sum() ** 2 / (n_samples * (w @ w))

    def rows(self, chosen):
        weight = None if self.sample_weight is None else self.sample_weight[chosen]
        X = rows_of(self.X, chosen)
        return Data(X, self.y[chosen], weight, self.class_weight)


@quietly
def check_training_data(
    estimator, X, y, sample_weight, *, reset, classes=None, all_rows=False
):
    """Validated Data of the rows whose weight is > 0, or of all. With `reset` the
    estimator learns the features and the classes, else it must know them."""
    dtype = [np.float64, np.float32] if reset else fitted_dtype(estimator)
    X, y = check_rows_and_labels(estimator, X, y, reset=reset, dtype=dtype)
    check_classification_targets(y)
    sample_weight = check_weight(sample_weight, X, "sample_weight")
    if reset and classes is None:
        estimator.classes_, codes = np.unique(y, return_inverse=True)
    else:
        if reset:
            estimator.classes_ = known_classes(classes)
        codes = encode(y, estimator.classes_, "y")
    data = Data(X, codes, sample_weight, weigh_classes(estimator, codes, sample_weight))
    weight = data.weight
    if data.class_weight is not None:
        given = f"class_weight={estimator.class_weight!r}"
        check_total(weight, f"sample_weight times {given}")
    if weight is None or weight.all() or all_rows:
        return data
    return data.rows(np.flatnonzero(weight))


def check_rows_and_labels(estimator, X, y, **how):
    if y is not None:
        check_single_label(y)
    X, y = validate_data(estimator, X, y, accept_sparse="csr", order="C", **how)
    return check_csr(X), y


def check_weight(weight, X, name):
    """A weight for each row of X, (n,) float64, or None where none are given."""
    if weight is None:
        return None
    with error_context(name):
        weight = _check_sample_weight(
            weight, X, dtype=np.float64, ensure_non_negative=True
        )
    check_total(weight, name)
    return weight


SMALLEST_TOTAL, LARGEST_TOTAL = 1e-300, 1e300


def check_total(weight, name):
    """Refuse weights that add up to a number too small or too large to divide by."""
    total = float(weight.sum())
    if not weight.any():
        raise ValueError(f"{name} is zero for every sample.")
    if not SMALLEST_TOTAL <= total <= LARGEST_TOTAL:
        raise ValueError(
            f"{name} adds up to {total}, but expected a number from {SMALLEST_TOTAL} "
            f"to {LARGEST_TOTAL}."
        )


def known_classes(classes):
    """The sorted classes of partial_fit's argument: any container, or a lazy array."""
    is_array = hasattr(classes, "__array__")
    return np.unique(np.asarray(classes if is_array else list(classes)))


def fitted_dtype(estimator):
    return np.dtype(estimator._training_state["dtype"])


@quietly
def check_rows(estimator, X):
    """X as the fitted estimator predicts it."""
    how = {"accept_sparse": "csr", "dtype": fitted_dtype(estimator)}
    if (
        type(X) is np.ndarray
        and X.dtype == how["dtype"]
        and X.shape[1:] == (estimator.n_features_in_,)
        and not hasattr(estimator, "feature_names_in_")
    ):
        # All that validate_data does to such an array, in three quarters of its
        # time, most of which is spent on a single row.
        return check_array(X, input_name="X", estimator=estimator, **how)
    return check_csr(validate_data(estimator, X, reset=False, **how))


def check_csr(X):
    """X, after a check of its indices where it is sparse: compiled code trusts them."""
    if issparse(X):
        X.check_format(full_check=True)
    return X


def check_single_label(y):
    """Refuse several labels a sample, and say what to do."""
    if not issparse(y) and np.asarray(y).ndim < 2:
        return
    kind = type_of_target(y, input_name="y")
    if kind.startswith("multilabel") or kind.endswith("multioutput"):
        way = "Wrap it in sklearn.multioutput.MultiOutputClassifier."
        if np.shape(y)[0] == 1:
            way = "Its only row looks like all samples: pass y.ravel()."
        elif kind == "multilabel-indicator" and np.all(np.sum(y, axis=1) == 1):
            way = "It looks one-hot: pass y.argmax(axis=1)."
        raise ValueError(
            f"y has several outputs a sample ({kind}, of shape {np.shape(y)}), but "
            f"MomentumMLPClassifier predicts one class a sample. {way}"
        )


def encode(y, classes, name):
    """Indices of y's labels in classes, whatever the two dtypes are.

    Labels are looked up as Python's objects, which are equal across dtypes (1 and 1.0)
    and never cut short or wrapped around; dates in the finer of their units.
    """
    known, labels = classes, np.asarray(y)
    if known.dtype.kind in "mM" and known.dtype.kind == labels.dtype.kind:
        unit = np.result_type(known, labels)
        known, labels = (x.astype(unit).view(np.int64) for x in (known, labels))
    elif {known.dtype.kind, labels.dtype.kind} & set("mM"):
        known = known[:0]  # no number is a date, though nanoseconds are counted
    place = {label: i for i, label in enumerate(known.tolist())}
    codes = np.array([place.get(label, -1) for label in labels.tolist()], np.int64)
    if (codes < 0).any():
        unknown = list(dict.fromkeys(shown(np.asarray(y)[codes < 0])))
        raise ValueError(
            f"{name} has the labels {unknown}, which are not among the classes_ of "
            f"the classifier: {shown(classes)}."
        )
    return codes


def shown(labels):
    """Labels as a user reads them: dates are not numbers."""
    return (labels.astype(str) if labels.dtype.kind in "mM" else labels).tolist()


def weigh_classes(estimator, codes, sample_weight):
    """The weight of each class, (K,), or None."""
    class_weight, classes = estimator.class_weight, estimator.classes_
    if class_weight is None:
        return None
    if isinstance(class_weight, str):  # "balanced"
        totals = np.bincount(codes, sample_weight, len(classes))
        n_occurring = np.count_nonzero(totals)
        weights = totals.sum() / n_occurring / np.where(totals > 0, totals, np.inf)
        return weights  # (K,)
    known = classes.tolist(), list(classes)  # dates are of two kinds
    place = {label: i for labels in known for i, label in enumerate(labels)}
    unknown = [label for label in class_weight if label not in place]
    # An unknown label may be a class that this fold lacks, if all others have a weight;
    # otherwise it is misspelt.
    if unknown and len(class_weight) - len(unknown) < len(classes):
        raise ValueError(
            f"class_weight={class_weight!r} has the labels {unknown}, which are "
            f"not among the classes_ of the classifier: {shown(classes)}."
        )
    weights = np.ones(len(classes))  # (K,)
    for label, weight in class_weight.items():
        if not isinstance(weight, Real) or not 0 <= weight < np.inf:
            raise ValueError(
                f"class_weight={class_weight!r} has the weight {weight!r} for the "
                f"class {label!r}, but expected a finite number >= 0."
            )
        if label not in unknown:
            weights[place[label]] = weight
    return weights


@quietly
def check_validation_data(estimator, X_val, y_val, sample_weight_val, dtype):
    """Validated Data in the training's dtype, or None where none are given."""
    if X_val is None and y_val is None and sample_weight_val is None:
        return None
    if X_val is None or y_val is None:
        lacking = "X_val" if X_val is None else "y_val"
        raise ValueError(
            f"{lacking} is not given: X_val and y_val belong together, and "
            "sample_weight_val to them."
        )
    with error_context("X_val and y_val"):
        X_val, y_val = check_rows_and_labels(
            estimator, X_val, y_val, reset=False, dtype=dtype
        )
    weight = check_weight(sample_weight_val, X_val, "sample_weight_val")
    return Data(X_val, encode(y_val, estimator.classes_, "y_val"), weight)


def hold_out(data, fraction, seed, classes):
    """Data without a stratified fraction of it, and that fraction."""
    n_rows = data.X.shape[0]
    n_val = max(math.ceil(fraction * n_rows), len(np.unique(data.y)))
    try:
        train_rows, val_rows = train_test_split(
            np.arange(n_rows),
            test_size=n_val,  # a place for each class
            stratify=classes[data.y],
            random_state=seed,
        )
    except ValueError as error:
        raise ValueError(
            f"A stratified validation_fraction={fraction} of {n_rows} samples cannot "
            f"be held out for early stopping: {str(error).rstrip('.')}. Pass X_val and "
            "y_val to fit, choose another validation_fraction, or monitor the training "
            "data with validation_fraction=None."
        ) from error
    # The split rounds the share of a rare class to none: give it a row.
    for k in np.setdiff1d(data.y, data.y[val_rows]):
        row = train_rows[data.y[train_rows] == k][:1]
        train_rows = np.setdiff1d(train_rows, row, assume_unique=True)
        val_rows = np.append(val_rows, row)
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
        weight = {}
        if sample_weight is not None and takes_weights:
            weight["sample_weight"] = sample_weight
        try:
            value = np.asarray(scorer(fitted, X, y, **weight))
        except Exception as error:
            error.add_note(f"(scoring={estimator.scoring!r} of the validation data)")
            raise
        if value.ndim or value.dtype.kind not in "biuf":
            raise ValueError(
                f"scoring={estimator.scoring!r} returned {value}, but expected a "
                "number."
            )
        return float(value)

    return score


@contextmanager
def error_context(names):
    """Say which data an error is about, where scikit-learn would call them X and y."""
    try:
        yield
    except (TypeError, ValueError, OverflowError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{names}: {error}") from error
