"""MomentumMLPClassifierCV: alpha chosen by cross-validation."""

import math
import warnings
from itertools import product
from numbers import Integral
from typing import ClassVar

import numpy as np
from sklearn.base import _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import RepeatedStratifiedKFold, check_cv
from sklearn.utils import check_array, check_random_state, metadata_routing
from sklearn.utils.parallel import Parallel, delayed

from ._callbacks import SearchCallbacks, fit_of, with_callbacks
from ._classifier import AUTO, COUNT, MomentumMLPClassifier, fitted_attributes
from ._input import (
    check_scorer,
    check_total,
    check_training_data,
    check_weight,
    weigh_classes,
)
from ._prediction import mean_cross_entropy
from ._stacklevel import stacklevel

DEFAULT_ALPHA = 0.75  # MomentumMLPClassifier's: chosen where nothing else is better
FEW_ROWS = 1000  # below this many, the search takes more pains


class MomentumMLPClassifierCV(MomentumMLPClassifier):
    """CLASSDOC"""

    _parameter_constraints: ClassVar[dict] = {
        **MomentumMLPClassifier._parameter_constraints,
        "alphas": ["array-like"],
        "cv": ["cv_object", AUTO],
        "search_max_iter": [COUNT, AUTO],
        "n_jobs": [Integral, None],
    }
    del _parameter_constraints["alpha"]

    # fmt: off
    def __init__(
        self, hidden_layer_sizes=(100,), activation="logistic", *,
        alphas=(0.2, 0.75, 3.0, 12.0), cv="auto", scoring="neg_log_loss",
        search_max_iter="auto", n_jobs=None, output_activation="identity",
        standardize=True, init_scale="auto", batch_size="auto", learning_rate="cosine",
        learning_rate_init="auto", power_t=0.5, momentum=0.9, nesterovs_momentum=True,
        max_iter=100, shuffle=True, class_weight=None, early_stopping=False,
        validation_fraction=0.1, n_iter_no_change=20, tol=1e-4, warm_start=False,
        random_state=None, verbose=False,
    ):
        # fmt: on
        given = locals()
        for name in self._get_param_names():
            setattr(self, name, given[name])

    @property
    def alpha(self):
        """What the network is trained with: `alpha_`."""
        return self.alpha_

    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, **params):
        """FITDOC"""
        is_continued = self.warm_start and hasattr(self, "coefs_")
        callbacks = SearchCallbacks(self, 2 - is_continued, X, y, sample_weight)
        if is_continued:
            mlp, found, said = self._plain(alpha=self.alpha_), {}, None
            vars(mlp).update(fitted_state(self))
        else:
            seed = self._seed()
            mlp = self._plain(random_state=seed)
            how = {"ensure_2d": False, "input_name": "alphas", "dtype": np.float64}
            alphas = np.ravel(check_array(self.alphas, **how))
            data, labels = check_all_rows(mlp, X, y, sample_weight)
            folds = self._folds(X, data, labels, seed, params)
            scores = self._search(alphas, data, labels, folds, seed, callbacks)
            is_cautious = isinstance(self.cv, str) and len(folds) > 2
            found, said = choose(alphas, scores, folds, is_cautious)
            if hasattr(mlp, "feature_names_in_"):
                found["feature_names_in_"] = mlp.feature_names_in_
            X, y, sample_weight = data.X, labels, data.sample_weight
            mlp.alpha = found["alpha_"]
        try:
            with fit_of(mlp, callbacks.part("refit"), X, y):
                mlp.fit(X, y, sample_weight)
        finally:
            if hasattr(mlp, "coefs_"):  # after an interrupt, too
                self._become(fitted_state(mlp) | found)
        callbacks.end(lambda: fitted_state(self))
        if said:
            warnings.warn(said, ConvergenceWarning, stacklevel=stacklevel())
        return self

    @property
    def partial_fit(self):
        """There is none: alpha cannot be chosen from a stream."""
        raise AttributeError(
            "MomentumMLPClassifierCV has no partial_fit: alpha cannot be chosen from a "
            "stream. Pass the alpha_ of a fit to MomentumMLPClassifier, which has one."
        )

    def get_metadata_routing(self):
        """ROUTINGDOC"""
        router = metadata_routing.MetadataRouter(owner=self).add_self_request(self)
        split = metadata_routing.MethodMapping().add(caller="fit", callee="split")
        return router.add(splitter=self.cv, method_mapping=split)

    def _plain(self, **params):
        """A MomentumMLPClassifier of this estimator's parameters and `params`."""
        names = set(MomentumMLPClassifier._get_param_names()) - {"alpha"}
        return MomentumMLPClassifier(**{x: getattr(self, x) for x in names} | params)

    def _seed(self):
        """One seed for the folds and for every network, in whatever order they come."""
        if isinstance(self.random_state, Integral):
            return self.random_state
        generator = check_random_state(self.random_state)
        return int(generator.randint(np.iinfo(np.int32).max))

    def _folds(self, X, data, labels, seed, params):
        """A list of (rows to train on, rows to score), as indices."""
        metadata_routing._raise_for_params(params, self, "fit", allow=["groups"])
        if metadata_routing._routing_enabled():
            routed = metadata_routing.process_routing(self, "fit", **params)
            params = routed.splitter.split
        if not isinstance(self.cv, str):
            splitter = check_cv(self.cv, labels, classifier=True)
            rows = np.arange(len(labels))
            splits = splitter.split(X, labels, **params)
            return [(rows[train], rows[test]) for train, test in splits]
        if params.get("groups") is not None:
            raise ValueError("groups needs a cv that heeds them, such as GroupKFold().")
        return automatic_folds(data, seed)

    def _search(self, alphas, data, labels, folds, seed, callbacks):
        """The score of each alpha on each fold, (n_alphas, n_folds)."""
        epochs = self.search_max_iter
        if epochs == "auto":
            is_small = sum(map(len, folds[0])) < FEW_ROWS
            epochs = self.max_iter if is_small else math.ceil(0.4 * self.max_iter)
        tasks = list(product(alphas.tolist(), range(len(folds))))
        parts = callbacks.parts("search", "fold", len(tasks))
        with parts as parts, warnings.catch_warnings():
            # That an alpha suits badly is what the search is to find out.
            warnings.simplefilter("ignore", ConvergenceWarning)
            scores = Parallel(self.n_jobs, prefer="threads")(
                delayed(score_fold)(
                    self._plain(alpha=alpha, max_iter=epochs, random_state=seed),
                    *(data, labels, folds[i], part),
                    f"alpha={alpha:g}, fold {i + 1} of {len(folds)}",
                )
                for (alpha, i), part in zip(tasks, parts, strict=True)
            )
        return np.reshape(scores, (len(alphas), len(folds)))


def fitted_state(estimator):
    """All that makes an estimator a fitted one."""
    return fitted_attributes(estimator) | {"_training_state": estimator._training_state}


def check_all_rows(mlp, X, y, sample_weight):
    """Data of all rows, even of those without weight, since folds are indices of rows;
    and their labels."""
    class_weight, mlp.class_weight = mlp.class_weight, None
    data = check_training_data(mlp, X, y, None, reset=True)
    mlp.class_weight = class_weight
    if sample_weight is not None:
        sample_weight = check_weight(sample_weight, data.X)
        check_total(sample_weight, "sample_weight")
    class_weight = weigh_classes(mlp, data.y, sample_weight)
    data = data._replace(sample_weight=sample_weight, class_weight=class_weight)
    return data, mlp.classes_[data.y]


def automatic_folds(data, seed):
    weight = data.sample_weight
    counted = np.flatnonzero(np.ones(len(data.y)) if weight is None else weight)
    y, n_samples = data.y[counted], len(counted)
    if np.bincount(y).max() < 2:
        raise ValueError(
            f"alpha cannot be chosen by cross-validation from n_samples={n_samples}: "
            "it needs a class of two samples or more. Use MomentumMLPClassifier."
        )
    splitter = RepeatedStratifiedKFold(
        n_splits=2, n_repeats=2 if n_samples < FEW_ROWS else 1, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of classes of one sample
        return [(counted[a], counted[b]) for a, b in splitter.split(y, y)]


def score_fold(mlp, data, labels, fold, part, name):
    """The score of `mlp` on a fold's second rows, trained on its first."""
    train, test = fold
    verbose, mlp.verbose = mlp.verbose, False
    try:
        weight = None if data.sample_weight is None else data.sample_weight[train]
        of_class = np.bincount(data.y[train], weight, data.y.max() + 1)
        if not of_class.all():
            # Rows of weight 0 make known the classes that these rows lack. How well
            # such a class is predicted tells nothing about alpha.
            lacking = np.flatnonzero(of_class == 0)
            weight = np.ones(len(train)) if weight is None else weight
            weight = np.append(weight, 0.0 * lacking)
            train = np.append(train, [np.argmax(data.y == k) for k in lacking])
            test = test[of_class[data.y[test]] > 0]
        X, y = data.X[train], labels[train]
        with fit_of(mlp, part, X, y):
            mlp.fit(X, y, weight)
        score = score_rows(mlp, data.rows(test), labels[test])
    except Exception as error:
        error.add_note(f"({name}, in the search for alpha.)")
        raise
    if verbose:
        print(f"{name}: score {score:.6f}")
    return score


def score_rows(mlp, data, labels):
    scorer, n_labels = check_scorer(mlp), len(np.unique(labels))
    is_log_loss = mlp.scoring == "neg_log_loss"
    # That of scikit-learn needs a row of each class, and two classes.
    if scorer is None or (is_log_loss and n_labels < max(2, len(mlp.classes_))):
        return -mean_cross_entropy(mlp._network, data.X, data.y, data.weight)
    weight = data.weight if is_log_loss else data.sample_weight
    return scorer(mlp, data.X, labels, weight)


def choose(alphas, scores, folds, is_cautious):
    """The attributes that tell of the search, and a warning or None.

    is_cautious : whether the alpha nearest to DEFAULT_ALPHA is taken of all that score
        less than the best by no more than one standard error, not the best itself.

    The standard error is that of the mean difference, over folds that train on many of
    the same rows [1]_.

    .. [1] C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine
       Learning 52, 2003.
    """
    means = np.nan_to_num(scores.mean(axis=1), nan=-np.inf)  # (n_alphas,)
    best, n_folds = int(np.argmax(means)), len(folds)
    errors = np.zeros(len(alphas))
    if n_folds > 1:
        overlap = np.mean([len(test) / len(train) for train, test in folds])
        deviation = np.std(scores[best] - scores, axis=1, ddof=1)
        errors = np.nan_to_num(deviation * np.sqrt(1 / n_folds + overlap))
    near = np.flatnonzero(means >= means[best] - is_cautious * errors)
    distance = np.abs(np.log(np.maximum(alphas[near], 1e-300) / DEFAULT_ALPHA))
    chosen = near[np.argmin(distance)]
    found = {"alpha_": float(alphas[chosen]), "best_score_": float(means[chosen])}
    found |= {"alphas_": alphas, "scores_": scores}
    order = np.argsort(alphas)
    for end, inner, *further in (order[:3], order[:-4:-1]) if len(order) > 1 else ():
        alpha, gain = alphas[end], means[end] - means[inner]
        before = means[inner] - means[further[0]] if further else 0.0
        is_clear = gain > 2 * errors[inner] > 0 and 2 * gain > before
        if end == chosen and alpha > 0 and is_clear:
            factor = alpha / alphas[inner] if alphas[inner] else 4.0
            grid = ", ".join(f"{x:.3g}" for x in alpha * factor ** np.arange(3))
            return found, (
                f"alpha_={alpha:g} scores best and is at the end of alphas: one beyond "
                f"it may score better. Try alphas=[{grid}]."
            )
    return found, None
