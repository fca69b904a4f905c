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

from ._advice import grid_advice
from ._callbacks import FitCallbacks, fit_of, with_callbacks
from ._classifier import AUTO, COUNT, MomentumMLPClassifier, fitted_attributes
from ._input import check_scorer, check_training_data, error_context
from ._prediction import NotFinite, mean_cross_entropy
from ._progress import say
from ._quietly import quietly
from ._stacklevel import stacklevel

DEFAULT_ALPHA = 0.75  # MomentumMLPClassifier's: chosen where nothing else is better
FEW_ROWS = 400  # below this many, the search takes more pains


class MomentumMLPClassifierCV(MomentumMLPClassifier):
    """Multilayer perceptron whose L2 penalty is chosen by cross-validation.

    ``fit`` trains a :class:`MomentumMLPClassifier` for each alpha on each fold, for
    fewer epochs, and scores it on the rows that the fold leaves out. With the alpha
    that scores best it then trains on all rows, and is a fitted classifier like any
    other: equal, bit for bit, to MomentumMLPClassifier with ``alpha=alpha_``, where
    `random_state` is an int.

    From 400 rows on, the default search visits 0.8 times as many rows as a plain fit,
    and ``fit`` as a whole takes two to three times as long as one. With fewer rows,
    scores are uncertain but fits are quick: the search then consists of 16 fits to half
    of the rows each, and needs evidence to leave ``alpha=0.75`` (see `cv`).

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int >= 1, default=(100,)
        Number of units of each hidden layer. This and all parameters without more
        explanation here are those of :class:`MomentumMLPClassifier`.

    activation : {"logistic", "tanh", "relu", "identity"}, default="logistic"
        Activation of the hidden layers.

    alphas : array-like of float >= 0, default=(0.2, 0.75, 3.0, 12.0)
        The values of `alpha` to choose from. A ConvergenceWarning says so where the
        best is the smallest or the largest and one beyond would do better still.

    cv : "auto", int, splitter, iterable or None, default="auto"
        The folds.

        - "auto": two stratified folds, shuffled by `random_state`. With fewer than
          400 rows they are drawn twice, and choosing follows the standard-error rule
          [1]_: `alpha_` is not the best of `alphas`, but, of those that score less by
          no more than 1.5 standard errors of the difference (corrected for folds that
          share rows [2]_), the one nearest to 0.75 by its logarithm. Rows whose weight
          is 0 are in no fold.
        - All else as in scikit-learn: an int or None (5) is a number of stratified
          folds, not shuffled; a splitter, such as PredefinedSplit or GroupKFold; or an
          iterable of (rows to train on, rows to score), as arrays of indices. `alpha_`
          is then the best of `alphas`.

        Where scores are equal, the alpha nearest to 0.75 is chosen.

    scoring : str, callable or None, default="neg_log_loss"
        What alpha is judged by, and what `early_stopping` monitors: a scorer's name, a
        callable ``(estimator, X, y) -> float``, None for accuracy, or "neg_log_loss"
        or "loss" for minus the mean cross-entropy (to which `early_stopping` adds the
        penalty). Scores are weighted by `sample_weight` where the scorer takes weights;
        the cross-entropy by `class_weight` as well. Rows of a class that a fold does
        not train on are not scored.

    search_max_iter : int >= 1 or "auto", default="auto"
        Number of epochs of each fit of the search. "auto" is 20 % of `max_iter`, or
        50 % with fewer than 400 rows.

    n_jobs : int or None, default=None
        Number of fits of the search that run at the same time. They are threads, since
        training holds no interpreter lock, unless a :func:`joblib.parallel_config`
        says otherwise. None is 1, or what that says; -1 is one a processor. The result
        is the same for any number.

    output_activation : {"identity", "logistic"}, default="identity"
        What the last layer's output passes through before the softmax.

    standardize : bool, default=True
        Whether features are standardised. In the search, their means and scales are
        those of the rows that a fold trains on.

    init_scale : float in (0, 100] or "auto", default="auto"
        Factor on the range of the first weights.

    batch_size : int >= 1, "auto" or None, default="auto"
        Samples in a step.

    learning_rate : {"constant", "invscaling", "adaptive", "cosine"}, \
            default="cosine"
        How the learning rate changes.

    learning_rate_init : float > 0 or "auto", default="auto"
        Learning rate of the first epoch.

    power_t : float >= 0, default=0.5
        Exponent of learning_rate="invscaling".

    momentum : float in [0, 1], default=0.9
        Share of the last update that goes into the next one.

    nesterovs_momentum : bool, default=True
        Whether the update looks ahead along the momentum.

    max_iter : int >= 1, default=100
        Number of epochs of the final fit.

    shuffle : bool, default=True
        Whether each epoch has its samples in a new order.

    class_weight : dict, "balanced" or None, default=None
        How much each class matters.

    early_stopping : bool, default=False
        Whether to stop when `scoring` does not improve, in the search as well: each fit
        holds out its own `validation_fraction`.

    validation_fraction : float in (0, 1) or None, default=0.1
        Fraction of the training data held out for `early_stopping`.

    n_iter_no_change : int >= 1 or inf, default=20
        Epochs without improvement before stopping.

    tol : float >= 0, default=1e-4
        The least that counts as an improvement.

    warm_start : bool, default=False
        Whether ``fit`` goes on where the last one ended: with its `alpha_`, without
        another search.

    random_state : int, RandomState instance or None, default=None
        Seed of the folds and of every network. Pass an int for the same result in each
        call.

    verbose : bool, default=False
        Whether to print a line after each fit of the search, then after each epoch of
        the final fit.

    Attributes
    ----------
    alpha_ : float
        The alpha chosen.
    alphas_ : ndarray of shape (n_alphas,)
        `alphas`, in the same order.
    scores_ : ndarray of shape (n_alphas, n_folds)
        The score of each alpha on each fold; higher is better, and -inf where the
        training diverged.
    best_score_ : float
        Mean score of `alpha_` over the folds, or over those where no score is nan.
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string names.
    coefs_, intercepts_, loss_curve_ and others
        All attributes of :class:`MomentumMLPClassifier`, of the final fit.

    See Also
    --------
    MomentumMLPClassifier : The same with an alpha that you choose.
    sklearn.model_selection.GridSearchCV : Searches several parameters at a time. With
        the same folds and epochs it finds the same scores.
    sklearn.linear_model.LogisticRegressionCV : Its counterpart without hidden layers.

    Notes
    -----
    There is no ``partial_fit``, as alpha cannot be chosen from a stream: pass `alpha_`
    to MomentumMLPClassifier, which has one.

    References
    ----------
    .. [1] L. Breiman, J. Friedman, R. Olshen, C. Stone, "Classification and regression
       trees", Wadsworth, 1984.
    .. [2] C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine
       Learning 52, 2003.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skmlp import MomentumMLPClassifierCV
    >>> X, y = load_wine(return_X_y=True)
    >>> mlp = MomentumMLPClassifierCV(random_state=0).fit(X, y)
    >>> mlp.score(X, y) > 0.9
    True

    The scores of all alphas as a picture:

    >>> from sklearn.model_selection import ValidationCurveDisplay
    >>> display = ValidationCurveDisplay(
    ...     param_name="alpha",
    ...     param_range=mlp.alphas_,
    ...     train_scores=mlp.scores_,
    ...     test_scores=mlp.scores_,
    ...     score_name="log loss",
    ... ).plot(score_type="test", negate_score=True)
    """

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
        self._store_parameters(locals())

    @property
    def alpha(self):
        """What the network is trained with: `alpha_`."""
        return self.alpha_

    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(self, X, y, sample_weight=None, **params):
        """Choose alpha, then train with it on all rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data. float32 is trained in float32, all else in float64.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, >= 0, in training and in the scores.
        **params : dict
            ``groups``, array-like of shape (n_samples,), goes to the ``split`` of
            `cv`; with scikit-learn's metadata routing enabled, whatever that asks for.

        Returns
        -------
        self : MomentumMLPClassifierCV
            The fitted estimator.

        Raises
        ------
        ValueError
            As in ``fit`` of :class:`MomentumMLPClassifier`; also without a class of two
            rows, and for `groups` with cv="auto". After an error in the search, whose
            notes say which alpha and which fold it was, or in the final fit, the
            estimator is what it was before.
        KeyboardInterrupt
            Re-raised: in the search the estimator is left as it was, in the final fit
            with the epochs trained so far.
        """
        is_continued = self.warm_start and hasattr(self, "coefs_")
        callbacks = FitCallbacks(self, 2 - is_continued, X, y, sample_weight)
        if is_continued:
            mlp, found, message = self._plain(alpha=self.alpha_), {}, None
            vars(mlp).update(fitted_attributes(self))
        else:
            seed = self.random_state  # one for the folds and for every network
            if not isinstance(seed, Integral):
                seed = int(check_random_state(seed).randint(np.iinfo(np.int32).max))
            mlp = self._plain(random_state=seed)
            how = {"dtype": float, "ensure_2d": False, "ensure_non_negative": True}
            with error_context("alphas"):
                alphas = np.ravel(check_array(self.alphas, input_name="alphas", **how))
            data = check_training_data(
                mlp, X, y, sample_weight, reset=True, all_rows=True
            )
            labels = mlp.classes_[data.y]
            folds = self._folds(X, data, labels, seed, params)
            scores = self._search(alphas, data, labels, folds, seed, callbacks)
            found, message = choose(alphas, scores, folds, isinstance(self.cv, str))
            mlp.alpha = found["alpha_"]
            if self.verbose:
                say(f"alpha={mlp.alpha:g} is chosen; now all rows are trained on.")
        try:
            with fit_of(mlp, callbacks.refit(), X, y):
                mlp.fit(X, y, sample_weight)
        finally:
            if hasattr(mlp, "coefs_"):  # after an interrupt, too
                self._become(fitted_attributes(mlp) | found)
        callbacks.end(lambda: fitted_attributes(self))
        if message:
            warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel())
        return self

    @property
    def partial_fit(self):
        """There is none: alpha cannot be chosen from a stream."""
        raise AttributeError(
            "No partial_fit: fit chooses alpha_, MomentumMLPClassifier goes on with it."
        )

    def get_metadata_routing(self):
        """Tell scikit-learn's metadata routing that ``fit`` passes on to `cv`.

        Returns
        -------
        routing : MetadataRouter
            What is passed on.
        """
        router = metadata_routing.MetadataRouter(owner=self).add_self_request(self)
        split = metadata_routing.MethodMapping().add(caller="fit", callee="split")
        return router.add(splitter=self.cv, method_mapping=split)

    def _plain(self, **params):
        """A MomentumMLPClassifier of this estimator's parameters and `params`."""
        names = set(MomentumMLPClassifier._get_param_names()) - {"alpha"}
        params = {name: getattr(self, name) for name in names} | params
        return MomentumMLPClassifier(**params | {"scoring": self._monitored_by})

    @property
    def _monitored_by(self):
        """The `scoring` of each network: "loss" is quicker, and of any classes."""
        return "loss" if self.scoring == "neg_log_loss" else self.scoring

    def _folds(self, X, data, labels, seed, params):
        """A list of (rows to train on, rows to score), as indices."""
        others = {name: params[name] for name in params if name != "groups"}
        metadata_routing._raise_for_params(others, self, "fit")
        if metadata_routing._routing_enabled():
            routed = metadata_routing.process_routing(self, "fit", **params)
            params = routed.splitter.split
        if isinstance(self.cv, str):
            if params.get("groups") is not None:
                raise ValueError("groups needs a cv for groups, such as GroupKFold().")
            return automatic_folds(data, seed)
        splits = check_cv(self.cv, labels, classifier=True).split(X, labels, **params)
        rows = np.arange(len(labels))
        folds = [(rows[train], rows[test]) for train, test in splits]
        if not folds:
            raise ValueError(f"cv={self.cv!r} makes no folds.")
        return folds

    def _search(self, alphas, data, labels, folds, seed, callbacks):
        """The score of each alpha on each fold, (n_alphas, n_folds)."""
        epochs = self.search_max_iter
        if epochs == "auto":
            share = 0.5 if sum(map(len, folds[0])) < FEW_ROWS else 0.2
            epochs = math.ceil(share * self.max_iter)
        tasks = list(product(alphas.tolist(), range(len(folds))))
        with callbacks.search(len(tasks)) as parts:
            results = Parallel(self.n_jobs, prefer="threads")(
                delayed(score_fold)(
                    self._plain(alpha=alpha, max_iter=epochs, random_state=seed),
                    *(data, labels, *folds[i], part),
                    f"alpha={alpha:g}, fold {i + 1} of {len(folds)}",
                )
                for (alpha, i), part in zip(tasks, parts, strict=True)
            )
        scores = np.reshape([s for s, _ in results], (len(alphas), len(folds)))
        failures = [failure for _, failure in results if failure is not None]
        if failures and np.isneginf(scores).any(axis=1).all():
            raise failures[0]
        return scores


def automatic_folds(data, seed):
    weight = data.sample_weight
    counted = np.flatnonzero(np.ones(len(data.y)) if weight is None else weight)
    y, n_samples = data.y[counted], len(counted)
    of_class = np.bincount(y)
    if of_class.max() < 2:
        raise ValueError(f"n_samples={n_samples}: choosing alpha needs two of a class.")
    is_single = of_class[y] < 2  # rows that cannot be on both sides: all train on them
    rows, single = counted[~is_single], counted[is_single]
    repeats = 2 if n_samples < FEW_ROWS else 1
    splitter = RepeatedStratifiedKFold(n_splits=2, n_repeats=repeats, random_state=seed)
    splits = splitter.split(rows, y[~is_single])
    return [(np.append(rows[train], single), rows[test]) for train, test in splits]


def score_fold(mlp, data, labels, train, test, part, name):
    """The score on the rows `test` of `mlp`, trained on the rows `train`, and None; or
    -inf and the error, where that diverges."""
    verbose, mlp.verbose = mlp.verbose, False
    note, failure = f"({name}, in the search for alpha.)", None
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
        rows, scorer = data.rows(test), check_scorer(mlp)
        weighs = rows.weight if scorer is None else rows.sample_weight
        if not (len(test) if weighs is None else weighs.any()):
            raise ValueError(
                "None of the rows to score has a weight > 0 and a class that occurs "
                "among the rows to train on: shuffle or stratify the folds."
            )
        X, y = data.X[train], labels[train]
        with fit_of(mlp, part, X, y):
            try:
                mlp._fit(X, y, weight)  # that an alpha suits badly is no news here
                score = -mean_cross_entropy(mlp._network, rows.X, rows.y, weighs)
            except NotFinite as error:
                failure, score = NotFinite(str(error)), -np.inf  # without its frames
                failure.add_note(note)
        if scorer is not None and failure is None:
            score = scorer(mlp, rows.X[:], labels[test], weighs)
    except Exception as error:
        error.add_note(note)
        raise
    if verbose:
        say(f"{name}: score {score:.6g}")
    return score, failure


@quietly
def choose(alphas, scores, folds, is_automatic):
    """The attributes that tell of the search, and a warning or None.

    is_automatic : whether automatic_folds made the folds. If there are few rows, and so
        more than two folds, the alpha nearest to DEFAULT_ALPHA is then taken of those
        that score less than the best by no more than 1.5 standard errors: that keeps
        the accuracy of 150 rows, which the best alone lowers by .009.

    The standard error is that of the mean difference, over folds that train on many of
    the same rows [1]_.

    .. [1] C. Nadeau, Y. Bengio, "Inference for the generalization error", Machine
       Learning 52, 2003.
    """
    has_nan = np.isnan(scores).any(axis=0)  # (n_folds,)
    of_folds = scores[:, ~has_nan | has_nan.all()]
    means = of_folds.mean(axis=1)  # (n_alphas,)
    means[np.isnan(means) | np.isneginf(scores).any(axis=1)] = -np.inf
    best, n_folds = int(np.argmax(means)), of_folds.shape[1]
    errors = np.zeros(len(alphas))
    if n_folds > 1:
        overlap = np.mean([len(test) / len(train) for train, test in folds])
        deviation = np.std(of_folds[best] - of_folds, axis=1, ddof=1)
        errors = np.nan_to_num(deviation * np.sqrt(1 / n_folds + overlap), posinf=0)
    allowed = 1.5 if is_automatic and n_folds > 2 else 0.0  # standard errors
    near = np.flatnonzero(means >= means[best] - allowed * errors)
    distance = np.abs(np.log(np.maximum(alphas[near], 1e-300) / DEFAULT_ALPHA))
    chosen = near[np.argmin(distance)]
    found = {"alpha_": float(alphas[chosen]), "best_score_": float(means[chosen])}
    found |= {"alphas_": alphas, "scores_": scores}
    message = grid_advice(alphas, means, errors, chosen)
    if has_nan.any():
        message = (
            f"Scores are nan in {np.count_nonzero(has_nan)} of {len(folds)} folds, "
            "which do not count, unless there is no other."
        )
    return found, message
