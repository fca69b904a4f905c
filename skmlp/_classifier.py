"""MomentumMLPClassifier: translates between scikit-learn and a training task."""

import copy
import functools
import inspect
import math
import warnings
from contextlib import contextmanager
from numbers import Integral, Real
from typing import ClassVar

import joblib
import numpy as np
from scipy.sparse import issparse
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import LabelEncoder
from sklearn.utils import check_array, check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import (
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from ._callbacks import CallbackSupportMixin, EpochCallbacks, with_callbacks
from ._layers import ACTIVATIONS
from ._loss import log_softmax, softmax
from ._network import Architecture, Predictor
from ._stacking import train_task
from ._training import State, Task, Validation

# What a State holds beyond the public attributes: plain arrays, numbers, strings.
PRIVATE_STATE = (
    "velocity",
    "n_seen",
    "rate_factor",
    "watched",
    "best_score",
    "best_iter",
    "n_no_improvement",
)


def unchanged_on_error(method):
    """Let a call that raises leave the estimator as it was.

    What is stored stays: an interrupted training, or one whose warning is an error.
    """

    @functools.wraps(method)
    def guarded(self, *args, **kwargs):
        before = vars(self).copy()
        try:
            return method(self, *args, **kwargs)
        except BaseException:
            if vars(self).get("_training_state") is before.get("_training_state"):
                vars(self).clear()
                vars(self).update(before)
            raise

    return guarded


class MomentumMLPClassifier(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
    """Multilayer perceptron trained by gradient descent with momentum and L2.

    Sigmoid hidden layers and a softmax with cross-entropy on top, of any depth. For
    N samples with weights s_i (1 where none are given) that add up to S, it minimises

        J = (1/S) sum_i s_i CE_i  +  alpha / (2 S) sum_l ||W_l||^2

    over weights W_l and (unpenalised) biases.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int >= 1, default=(48, 32)
        Number of units of each hidden layer. An empty sequence makes a softmax
        regression.

    activation : {"logistic", "tanh", "relu", "identity"}, default="logistic"
        Activation of the hidden layers.

    output_activation : {"identity", "logistic"}, default="identity"
        What the last layer's output passes through before the softmax. "identity"
        is the textbook softmax. "logistic" squeezes every score into (0, 1) first,
        as the tutorial network that this estimator comes from does; with K classes
        no probability can then exceed e / (e + K - 1), 0.232 for ten classes, so
        that the order of the classes may be right but the probabilities are not.

    alpha : float >= 0, default=0.3
        Strength of the L2 penalty. It is divided by the total weight of the whole
        training set, never by the batch's: what it means does not depend on
        `batch_size`. It equals ``1 / C`` of
        :class:`~sklearn.linear_model.LogisticRegression`;
        :class:`~sklearn.neural_network.MLPClassifier` needs
        ``alpha * batch_size / n_samples`` for the same penalty.

    batch_size : int >= 1, "auto" or None, default="auto"
        Samples in a step. "auto" is ``min(200, n_samples)``; an int is clipped to
        n_samples; None is the whole training set.

    learning_rate : {"constant", "invscaling", "adaptive", "cosine"}, \
            default="constant"
        How the learning rate changes. "invscaling" divides `learning_rate_init` by
        ``(samples seen + 1) ** power_t`` after each epoch. "adaptive" divides it by 5
        each time what is watched (see `early_stopping`; otherwise the training
        loss) got no better by `tol` for more than `n_iter_no_change` epochs, down
        to 1e-6. "cosine" lets it fall from `learning_rate_init` towards 0 along
        half a cosine, over the epochs done before plus `max_iter` (in
        ``partial_fit`` over `max_iter`, and it stays at the last rate after them).

    learning_rate_init : float > 0, default=0.2
        Learning rate of the first epoch.

    power_t : float >= 0, default=0.5
        Exponent of learning_rate="invscaling".

    momentum : float in [0, 1], default=0.9
        Share of the last update that goes into the next one [2]_.

    nesterovs_momentum : bool, default=False
        Whether the update looks ahead along the momentum [3]_.

    max_iter : int >= 1, default=200
        Number of epochs of a ``fit``. Exactly that many, unless `early_stopping` or
        a callback stops it.

    shuffle : bool, default=True
        Whether each epoch has its samples in a new order. Without effect where a
        batch is the whole training set.

    class_weight : dict, "balanced" or None, default=None
        Weight of each class, multiplied with `sample_weight`. "balanced" gives
        each class the same total weight (that of `sample_weight` counted).

    early_stopping : bool, default=False
        Whether to stop when `scoring` got no better by `tol` for more than
        `n_iter_no_change` epochs in a row, and to restore the weights of the best
        epoch. Watched are, in this order: `X_val` of ``fit``; a stratified share
        `validation_fraction` of the training data that is kept out of it; the
        training data themselves if that is None.

    scoring : str, callable or None, default="loss"
        What is watched: a scorer's name, a callable ``(estimator, X, y) -> float``
        (given `sample_weight` too if it takes that), None for accuracy, or "loss"
        for minus the mean cross-entropy.

    validation_fraction : float in (0, 1) or None, default=0.1
        Share of the training data kept out for `early_stopping`. None watches the
        training data.

    n_iter_no_change : int >= 1 or inf, default=10
        Epochs without an improvement that are put up with.

    tol : float >= 0, default=1e-4
        The least that counts as an improvement.

    warm_start : bool, default=False
        Whether ``fit`` goes on where the last one ended: weights, velocities,
        order, schedules, curves and epoch count. ``fit`` of a epochs and then of
        b gives what one of a + b gives, bit for bit ("cosine" apart, whose first
        part must know how far it goes).

    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights [1]_, then of the validation split and of the
        order of the samples in each epoch.

    verbose : bool, default=False
        Whether to print a line after each epoch.

    Attributes
    ----------
    classes_ : ndarray of shape (n_classes,)
        The class labels.
    n_features_in_ : int
        Number of features seen during fit.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where X had string names.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer.
    n_layers_ : int
        Number of layers, input and output included.
    n_outputs_ : int
        Number of outputs, one a class.
    out_activation_ : str
        "softmax".
    n_iter_ : int
        Epochs trained, over all calls.
    loss_ : float
        Last entry of `loss_curve_`.
    loss_curve_ : list of float
        J for each epoch: before its update where a batch is the whole training
        set, otherwise the weighted mean over its batches.
    validation_loss_curve_ : list of float or None
        Mean cross-entropy of the validation data after each epoch, plus the same
        penalty as in J; nan for an epoch without them. None where no epoch had any.
    validation_scores_ : list of float or None
        Score of the validation data, by `scoring`, after each epoch; nan for an
        epoch without them. None where no epoch had any.
    best_iter_ : int or None
        With early stopping, the epoch (from 1) whose weights were restored.
    best_validation_score_ : float or None
        With early stopping, the score of that epoch.
    stop_reason_ : str
        "max_iter", "early_stopping", "callback" or "interrupted".

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Has more solvers, and divides its penalty
        by the batch's size.

    References
    ----------
    .. [1] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep
       feedforward neural networks", AISTATS 2010.
    .. [2] B. T. Polyak, "Some methods of speeding up the convergence of iteration
       methods", USSR Comput. Math. Math. Phys. 4(5), 1964.
    .. [3] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of
       initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skmlp import MomentumMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = make_pipeline(StandardScaler(), MomentumMLPClassifier(random_state=0))
    >>> mlp.fit(X, y).score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": [
            "array-like",
            Interval(Integral, 1, None, closed="left"),
        ],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions({"identity", "logistic"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [
            StrOptions({"auto"}),
            Interval(Integral, 1, None, closed="left"),
            None,
        ],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "cosine"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "early_stopping": ["boolean"],
        "scoring": [str, callable, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "n_iter_no_change": [
            Interval(Integral, 1, None, closed="left"),
            Options(Real, {np.inf}),
        ],
        "tol": [Interval(Real, 0, None, closed="left")],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        hidden_layer_sizes=(48, 32),
        activation="logistic",
        *,
        output_activation="identity",
        alpha=0.3,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.2,
        power_t=0.5,
        momentum=0.9,
        nesterovs_momentum=False,
        max_iter=200,
        shuffle=True,
        class_weight=None,
        early_stopping=False,
        scoring="loss",
        validation_fraction=0.1,
        n_iter_no_change=10,
        tol=1e-4,
        warm_start=False,
        random_state=None,
        verbose=False,
    ):
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.output_activation = output_activation
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.class_weight = class_weight
        self.early_stopping = early_stopping
        self.scoring = scoring
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.tol = tol
        self.warm_start = warm_start
        self.random_state = random_state
        self.verbose = verbose

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    # -- training ----------------------------------------------------------------

    @unchanged_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    @with_callbacks
    def fit(
        self,
        X,
        y,
        sample_weight=None,
        *,
        X_val=None,
        y_val=None,
        sample_weight_val=None,
    ):
        """Train for `max_iter` epochs, from the start or, with `warm_start`, on.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data. float32 is trained in float32, all else in float64.
        y : array-like of shape (n_samples,)
            Class labels.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0. In the objective an integer weight equals repeating the
            row; the training is the same too where a batch is the whole training
            set and no share of it is kept out. Zero equals leaving the row out.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Validation data; `validation_loss_curve_` and `validation_scores_` are
            then recorded, with `early_stopping` or without.
        y_val : array-like of shape (n_val,), default=None
            Class labels of the validation data.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of the validation data.

        Returns
        -------
        self : MomentumMLPClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            For input that cannot be used, and where the training diverges. The
            estimator is then what it was before.
        KeyboardInterrupt
            Raised on after the last complete epoch is stored: the estimator can
            predict, and go on with `warm_start`.
        """
        callbacks = EpochCallbacks(
            self,
            self.max_iter,
            {
                "X": X,
                "y": y,
                "metadata": None
                if sample_weight is None
                else {"sample_weight": sample_weight},
            },
            self._network_attributes,
        )
        continuing = self.warm_start and hasattr(self, "coefs_")
        X, codes, sample_weight = self._check_training_data(
            X, y, sample_weight, reset=not continuing
        )
        state = self._start_state(X.dtype, continuing)
        validation = self._given_validation(X_val, y_val, sample_weight_val, X.dtype)
        if self.early_stopping and validation is None:
            X, codes, sample_weight, validation = self._own_validation(
                X, codes, sample_weight
            )
        task = self._make_task(
            X, codes, sample_weight, state, self.max_iter, state.n_iter + self.max_iter
        )
        task.validation, task.early_stopping = validation, self.early_stopping
        if callbacks.active:
            task.begin_epoch, task.end_epoch = (
                callbacks.begin_epoch,
                callbacks.end_epoch,
            )
        self._train(task)
        callbacks.end(task.state)
        if self.early_stopping and self.stop_reason_ == "max_iter":
            warnings.warn(
                f"early_stopping=True did not stop the training within max_iter="
                f"{self.max_iter} epochs. Raise max_iter, or continue with "
                "warm_start=True.",
                ConvergenceWarning,
                stacklevel=2,
            )
        return self

    @unchanged_on_error
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch, going on where the last call ended.

        k calls on the same data equal ``fit`` with ``max_iter=k``, bit for bit. On
        blocks of a larger data set, each block counts as the whole training set of
        its epoch: pass alpha times the block's share of all samples to penalise as
        one ``fit`` of all of them would.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Class labels; not every class needs to occur.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur. Needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            Weights >= 0.

        Returns
        -------
        self : MomentumMLPClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            As in ``fit``; also with ``early_stopping=True``, with
            ``class_weight="balanced"``, and without `classes` in the first call.
        """
        self._check_partial_fit(classes)
        continuing = hasattr(self, "coefs_")
        X, codes, sample_weight = self._check_training_data(
            X, y, sample_weight, reset=not continuing, classes=classes
        )
        state = self._start_state(X.dtype, continuing)
        self._train(self._make_task(X, codes, sample_weight, state, 1, self.max_iter))
        return self

    def _check_partial_fit(self, classes):
        if self.early_stopping:
            raise ValueError(
                "partial_fit does not support early_stopping=True: it trains one "
                "epoch a call, and when to stop is the caller's decision."
            )
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' is not supported for partial_fit: a batch "
                "does not tell how frequent the classes are. Compute the weights "
                "with sklearn.utils.class_weight.compute_class_weight from all of y "
                "and pass them as a dict."
            )
        fitted = hasattr(self, "coefs_")
        if not fitted and classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if (
            fitted
            and classes is not None
            and not np.array_equal(np.unique(classes), self.classes_)
        ):
            raise ValueError(
                f"classes={classes!r} is not the same as on the last call to "
                f"partial_fit, which was {self.classes_!r}."
            )

    def _check_training_data(self, X, y, sample_weight, *, reset, classes=None):
        """Validated X, class indices and weights (None or all > 0)."""
        if y is not None:
            check_single_label(y)
        X, y = validate_data(
            self,
            X,
            y,
            reset=reset,
            accept_sparse="csr",
            dtype=[np.float64, np.float32] if reset else self.coefs_[0].dtype,
            order="C",
        )
        check_classification_targets(y)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(
                sample_weight, X, dtype=np.float64, ensure_non_negative=True
            )
        if reset and classes is None:
            self.classes_, codes = np.unique(y, return_inverse=True)
        else:
            if reset:
                self.classes_ = np.unique(classes)
            codes = encode(y, self.classes_, "y")
        sample_weight = self._apply_class_weight(codes, sample_weight)
        if sample_weight is not None and not sample_weight.all():
            counted = np.flatnonzero(sample_weight)
            if len(counted) == 0:
                raise ValueError("sample_weight is zero for every sample.")
            X, codes, sample_weight = X[counted], codes[counted], sample_weight[counted]
        return X, codes, sample_weight

    def _apply_class_weight(self, codes, sample_weight):
        if self.class_weight is None:
            return sample_weight
        if self.class_weight == "balanced":
            totals = np.bincount(codes, sample_weight, len(self.classes_))
            occurring = totals > 0
            weights = np.zeros(len(totals))
            weights[occurring] = (
                totals.sum() / occurring.sum() / totals[occurring]
            )  # (K,)
        else:
            weights = compute_class_weight(
                self.class_weight, classes=self.classes_, y=self.classes_
            )
            if (weights < 0).any():
                raise ValueError(
                    f"class_weight={self.class_weight!r} has a negative weight; "
                    "expected numbers >= 0."
                )
        own = weights[codes]
        return own if sample_weight is None else own * sample_weight

    def _given_validation(self, X_val, y_val, sample_weight_val, dtype):
        if X_val is None and y_val is None:
            if sample_weight_val is not None:
                raise ValueError("sample_weight_val is given without X_val and y_val.")
            return None
        if X_val is None or y_val is None:
            given, lacking = ("y_val", "X_val") if X_val is None else ("X_val", "y_val")
            raise ValueError(f"{given} is given, but {lacking} is not.")
        how = {"accept_sparse": "csr", "dtype": dtype, "order": "C"}
        with told_of("X_val and y_val"):
            check_single_label(y_val)
            X_val, y_val = validate_data(self, X_val, y_val, reset=False, **how)
        if sample_weight_val is not None:
            with told_of("sample_weight_val"):
                sample_weight_val = _check_sample_weight(
                    sample_weight_val, X_val, dtype=np.float64, ensure_non_negative=True
                )
            if not sample_weight_val.any():
                raise ValueError("sample_weight_val is zero for every sample.")
        codes = encode(y_val, self.classes_, "y_val")
        return self._validation(X_val, codes, sample_weight_val, "of X_val")

    def _own_validation(self, X, codes, sample_weight):
        """Training data and Validation: a share of it, or all of it."""
        if self.validation_fraction is None:
            watched = self._validation(
                X, codes, sample_weight, "of the training data", record=False
            )
            return X, codes, sample_weight, watched
        n_val = math.ceil(self.validation_fraction * X.shape[0])
        try:
            train_rows, val_rows = train_test_split(
                np.arange(X.shape[0]),
                test_size=max(n_val, len(np.unique(codes))),  # a place for each class
                stratify=codes,
                random_state=self._seed,
            )
        except ValueError as error:
            raise ValueError(
                f"A stratified validation_fraction={self.validation_fraction} of "
                f"{X.shape[0]} samples cannot be kept out for early stopping: {error} "
                "Pass X_val and y_val to fit, choose another validation_fraction, or "
                "watch the training data with validation_fraction=None."
            ) from error

        def part(rows):
            weight = None if sample_weight is None else sample_weight[rows]
            return X[rows], codes[rows], weight

        kept_out = self._validation(*part(val_rows), "of a share kept out")
        return *part(train_rows), kept_out

    def _validation(self, X, codes, sample_weight, whose, record=True):
        name = self.scoring if isinstance(self.scoring, str) else "own scoring"
        name = f"{name} {whose}"
        if self.early_stopping:  # other data, another best
            arrays = (X.indptr, X.indices, X.data) if issparse(X) else X
            name += f", {joblib.hash((arrays, codes, sample_weight))}"
        if self.scoring == "loss":
            return Validation(X, codes, sample_weight, name, record=record)
        scorer = check_scoring(self, scoring=self.scoring)
        y = self.classes_[codes]
        weight = {}
        if sample_weight is not None and takes_weights(scorer):
            weight["sample_weight"] = sample_weight

        def score(params):
            fitted = copy.copy(self)
            vars(fitted).update(self._network_attributes(params))
            vars(fitted).pop("feature_names_in_", None)  # X is an array by now
            return scorer(fitted, X, y, **weight)

        return Validation(X, codes, sample_weight, name, score, record)

    def _layer_sizes(self):
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object))
        for size in hidden:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(
                    f"hidden_layer_sizes={self.hidden_layer_sizes!r} was given, but "
                    "expected an int >= 1 or a sequence of them."
                )
        return (self.n_features_in_, *map(int, hidden), len(self.classes_))

    def _start_state(self, dtype, continuing):
        """The state to go on from, and the architecture of its network."""
        sizes = self._layer_sizes()
        architecture = Architecture(sizes, self.activation, self.output_activation)
        if continuing:
            return self._stored_state(architecture)
        generator = check_random_state(self.random_state)
        params = architecture.initial_params(generator, dtype)
        self._seed = int(generator.randint(np.iinfo(np.int32).max))
        self._architecture = (sizes, self.activation, self.output_activation)
        return State(params, np.zeros_like(params), self._seed)

    def _stored_state(self, architecture):
        wanted = (
            architecture.layer_sizes,
            architecture.activation,
            architecture.output_activation,
        )
        if wanted != tuple(self._architecture):
            raise ValueError(
                "The network cannot go on training with another architecture: "
                f"(layer sizes, activation, output_activation) are {wanted}, but it "
                f"was fitted with {tuple(self._architecture)}. Restore these "
                "parameters, or start anew with clone(estimator)."
            )
        exposed = architecture.pack(self.coefs_, self.intercepts_)
        private = self._training_state
        last = private["params"]
        unwatched = [np.nan] * self.n_iter_
        return State(
            seed=self._seed,
            params=exposed if last is None else last,
            best_params=None if last is None else exposed,
            n_iter=self.n_iter_,
            loss_curve=list(self.loss_curve_),
            validation_loss_curve=list(self.validation_loss_curve_ or unwatched),
            validation_scores=list(self.validation_scores_ or unwatched),
            **{name: private[name] for name in PRIVATE_STATE},
        )

    def _make_task(self, X, codes, sample_weight, state, n_epochs, horizon):
        n_samples = X.shape[0]
        if self.batch_size is None:
            batch_size = n_samples
        else:
            wanted = 200 if self.batch_size == "auto" else self.batch_size
            batch_size = min(int(wanted), n_samples)
        return Task(
            architecture=Architecture(*self._architecture),
            X=X,
            y=codes,
            sample_weight=sample_weight,
            state=state,
            n_epochs=n_epochs,
            horizon=horizon,
            batch_size=batch_size,
            alpha=self.alpha,
            learning_rate=self.learning_rate,
            learning_rate_init=self.learning_rate_init,
            power_t=self.power_t,
            momentum=self.momentum,
            nesterovs_momentum=self.nesterovs_momentum,
            shuffle=self.shuffle,
            n_iter_no_change=self.n_iter_no_change,
            tol=self.tol,
            verbose=bool(self.verbose),
        )

    def _train(self, task):
        before = task.state.n_iter
        try:
            train_task(task)
        except KeyboardInterrupt:
            if task.state.n_iter > before:
                task.state.stop_reason = "interrupted"
                self._store(task.state)
            raise
        if task.error is not None:
            raise task.error
        self._store(task.state)

    def _network_attributes(self, params):
        """The fitted attributes that make an estimator predict with params."""
        architecture = Architecture(*self._architecture)
        coefs, intercepts = architecture.unpack(params)
        return {
            "coefs_": [coef.copy() for coef in coefs],
            "intercepts_": [intercept.copy() for intercept in intercepts],
            "n_layers_": len(architecture.layer_sizes),
            "n_outputs_": architecture.layer_sizes[-1],
            "out_activation_": "softmax",
        }

    def _store(self, state):
        restored = state.best_params is not None
        vars(self).update(
            self._network_attributes(state.best_params if restored else state.params)
        )
        self.n_iter_ = state.n_iter
        self.loss_curve_ = state.loss_curve
        self.loss_ = state.loss_curve[-1]
        watched = not np.isnan(state.validation_loss_curve).all()
        self.validation_loss_curve_ = state.validation_loss_curve if watched else None
        self.validation_scores_ = state.validation_scores if watched else None
        self.best_iter_ = state.best_iter if restored else None
        self.best_validation_score_ = state.best_score if restored else None
        self.stop_reason_ = state.stop_reason
        self._training_state = {
            **{name: getattr(state, name) for name in PRIVATE_STATE},
            "params": state.params if restored else None,
        }

    # -- prediction --------------------------------------------------------------

    def predict(self, X):
        """Predict the class of each sample.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        y : ndarray of shape (n_samples,)
            The labels of the largest scores.
        """
        codes = self._by_block(
            X, lambda scores: scores.argmax(axis=0), np.intp, one_column=True
        )
        return self.classes_[codes]

    def predict_proba(self, X):
        """Predict the probability of each class.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        probabilities : ndarray of shape (n_samples, n_classes)
            Rows add up to 1; columns in the order of `classes_`.
        """
        return self._by_block(X, lambda scores: softmax(scores).T)

    def predict_log_proba(self, X):
        """Predict the logarithm of each class's probability.

        Computed from the scores: finite also where the probability underflows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        log_probabilities : ndarray of shape (n_samples, n_classes)
            Columns in the order of `classes_`.
        """
        return self._by_block(X, lambda scores: log_softmax(scores).T)

    def decision_function(self, X):
        """Compute the scores before the softmax.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The samples.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_classes) or (n_samples,)
            For two classes one column: the second's score less the first's.
        """
        if len(getattr(self, "classes_", ())) == 2:
            return self._by_block(
                X, lambda scores: scores[1] - scores[0], one_column=True
            )
        return self._by_block(X, lambda scores: scores.T)

    def _by_block(self, X, transform, dtype=None, *, one_column=False):
        """transform(scores (K, B)) of all rows, block by block, as one array."""
        if not hasattr(self, "coefs_"):  # check_is_fitted alone takes ten times as long
            check_is_fitted(self)
        own_dtype = self.coefs_[0].dtype
        X = self._check_rows(X, accept_sparse="csr", dtype=own_dtype)
        shape = X.shape[:1] if one_column else (X.shape[0], len(self.classes_))
        out = np.empty(shape, dtype or own_dtype)

        def fill(rows, scores):
            out[rows] = transform(scores)

        architecture = Architecture(*self._architecture)
        Predictor(architecture, self.coefs_, self.intercepts_).map(fill, X)
        return out

    def _check_rows(self, X, **how):
        is_plain = isinstance(X, np.ndarray) and not hasattr(self, "feature_names_in_")
        if is_plain and X.shape[1:] == (getattr(self, "n_features_in_", None),):
            # All that validate_data does to such an array, in three quarters of its
            # time, most of which is spent on a single row.
            return check_array(X, input_name="X", estimator=self, **how)
        return validate_data(self, X, reset=False, **how)


@contextmanager
def told_of(names):
    """Say which data an error is about, where scikit-learn would call them X and y."""
    try:
        yield
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"{names}: {error}") from error


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
    """Indices of y's labels in classes."""
    try:
        return LabelEncoder().fit(classes).transform(y).astype(np.intp, copy=False)
    except (TypeError, ValueError) as error:
        known = classes.tolist()
        unknown = [k for k in dict.fromkeys(np.asarray(y).tolist()) if k not in known]
        raise ValueError(
            f"{name} has the labels {unknown}, which are not among the classes_ of "
            f"the classifier: {known}."
        ) from error


def takes_weights(scorer):
    """Whether a scorer can be called with sample_weight; scikit-learn's can."""
    parameters = inspect.signature(scorer).parameters.values()
    return any(p.name == "sample_weight" or p.kind == p.VAR_KEYWORD for p in parameters)
