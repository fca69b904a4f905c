"""MomentumMLPClassifier: translates between scikit-learn and a training task."""

import warnings
from copy import copy
from dataclasses import fields
from itertools import pairwise
from numbers import Integral, Real
from typing import ClassVar

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin, _fit_context
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import check_is_fitted

from ._advice import advice
from ._callbacks import CallbackSupportMixin, FitCallbacks, with_callbacks
from ._export import Exportable
from ._input import (
    check_rows,
    check_scorer,
    check_training_data,
    check_validation_data,
    hold_out,
    known_classes,
)
from ._network import ACTIVATIONS, architecture_of
from ._prediction import Network, map_blocks, needs_dense_rows
from ._quietly import quietly
from ._scaling import Statistics, hidden_features, measure, other_units, update
from ._schedules import automatic_init_scale, automatic_rate, batch_size_of
from ._stacklevel import stacklevel
from ._training import State, Task, Validation, train

MOST_WEIGHTS = 10**10  # 80 GB, of which a training needs five to seven times as much
FORMAT = 3  # of what is stored: 0.3.0's
CURVES = ("loss_curve", "validation_loss_curve", "validation_scores")
# What is stored of a State, plain arrays and numbers: all but the public attributes and
# what concerns one call alone.
NOT_STORED = {"params", *CURVES, "n_new", "data_loss", "best", "stop_reason"}
STORED = [field.name for field in fields(State) if field.name not in NOT_STORED]
POSITIVE = Interval(Real, 0, None, closed="neither")
NOT_NEGATIVE = Interval(Real, 0, None, closed="left")
COUNT = Interval(Integral, 1, None, closed="left")
AUTO = StrOptions({"auto"})


class MomentumMLPClassifier(
    Exportable, CallbackSupportMixin, ClassifierMixin, BaseEstimator
):
    """Multilayer perceptron trained by gradient descent with momentum and L2.

    Any number of hidden layers, sigmoid by default, below a softmax with cross-entropy.
    The features are standardised; learning rate, batch size and first weights suit the
    data and the network, unless they are given. For N samples with weights s_i (1 where
    none are given) that add up to S, it minimises

        J = (1/S) sum_i s_i CE_i  +  alpha / (2 S) sum_l ||W_l||^2

    over weights W_l and (unpenalised) biases. With class weights c_i, the first term is
    the mean of CE_i with weights s_i c_i, and the second is divided by the effective
    number of samples [1]_, S_eff = (sum s_i c_i)^2 / sum s_i c_i^2, where S stands.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int >= 1, default=(100,)
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

    standardize : bool, default=True
        Whether the network sees ``(X - feature_mean_) / feature_scale_``. Of dense X,
        these are each feature's mean and standard deviation in the training data,
        weighted by `sample_weight` (1 where a feature is constant); with more than 64
        features that vary, all scales are enlarged by one factor, so that rows have a
        root mean square length of 8. Of sparse X they are 0 and one number for all, so
        that rows have that length: zeros stay zeros. (A sparse feature that is ten
        times larger or smaller than usual where it occurs is brought to the usual
        size.) A ``fit`` that continues keeps them, ``partial_fit`` brings them up to
        date. X is not copied.

    init_scale : float in (0, 100] or "auto", default="auto"
        Factor on the limit ``sqrt(6 / (n_in + n_out))`` within which each layer's
        first weights are drawn, uniformly [2]_. "auto" is 5 for "logistic", whose
        derivative is a quarter of what 1 was made for, else 1.

    alpha : float >= 0, default=0.75
        Strength of the L2 penalty. It is divided by the effective number of samples of
        the whole training set (see J), in ``partial_fit`` of all samples seen, never by
        the batch's: what it means does not depend on `batch_size`. Without a hidden
        layer and with ``standardize=False`` it equals ``1 / C`` of
        :class:`~sklearn.linear_model.LogisticRegression` for three classes or more
        and ``2 / C`` for two, of which each has weights here.
        :class:`~sklearn.neural_network.MLPClassifier` needs
        ``alpha * batch_size / n_samples`` for the same penalty. With weights that
        add up to 1, as AdaBoostClassifier's do, divide it by n_samples.

    batch_size : int >= 1, "auto" or None, default="auto"
        Samples in a step. "auto" is the square root of n_samples, but from 32 to 512;
        each is clipped to n_samples; None is the whole training set. Every sample
        counts alike: a smaller last batch makes a smaller step.

    learning_rate : {"constant", "invscaling", "adaptive", "cosine"}, \
            default="cosine"
        How the learning rate changes. "invscaling" divides `learning_rate_init` by
        ``(weight of the samples seen + 1) ** power_t`` after each epoch. "adaptive"
        divides it by 5 each time what is monitored (see `early_stopping`; otherwise the
        training loss) did not improve by `tol` for more than `n_iter_no_change` epochs,
        until it is below 1e-6. "cosine" lets it fall from `learning_rate_init` towards
        0 along half a cosine, over the epochs done before plus `max_iter`.
        ``partial_fit``, which cannot know how far it goes, keeps `learning_rate_init`
        with it.

    learning_rate_init : float > 0 or "auto", default="auto"
        Learning rate of the first epoch. "auto" is 1 for one or two hidden layers of
        "logistic" and 0.3 for more, 0.1 for "tanh", 0.03 for "relu" and 0.03 /
        n_hidden_layers for "identity", 0.3 without hidden layers; times ``min(1, b /
        32)``, b being the effective number of samples in a batch (the linear scaling
        rule [3]_; where a batch is the whole training set, their number); times
        ``min(1, (1 - momentum) / 0.1)``, at least 0.01; and times 0.2 where the rate
        does not fall to 0, as in ``partial_fit`` and without "cosine". What it came to
        is `learning_rate_init_`.

    power_t : float >= 0, default=0.5
        Exponent of learning_rate="invscaling".

    momentum : float in [0, 1], default=0.9
        Share of the last update that goes into the next one [4]_.

    nesterovs_momentum : bool, default=True
        Whether the update looks ahead along the momentum [5]_.

    max_iter : int >= 1, default=100
        Number of epochs of a ``fit``. Exactly that many, unless `early_stopping` or
        a callback stops it.

    shuffle : bool, default=True
        Whether each epoch has its samples in a new order. Without effect where a
        batch is the whole training set.

    class_weight : dict, "balanced" or None, default=None
        How much each class matters; "balanced" gives each class the same total weight.
        In the loss it multiplies `sample_weight`, which says how often a row counts.
        The penalty is divided by the effective number of samples (see J): the more
        unequal the weights, the smaller it is.

    early_stopping : bool, default=False
        Whether to stop when `scoring` did not improve by `tol` for more than
        `n_iter_no_change` epochs in a row, and to restore the best epoch, the last of
        equals. Monitored are, in this order: `X_val` of ``fit``; a held-out, stratified
        `validation_fraction` of the training data; the training data themselves if
        that is None.

    scoring : str, callable or None, default="loss"
        What is monitored: a scorer's name, a callable ``(estimator, X, y) -> float``
        (given `sample_weight` too if it takes that), None for accuracy, or "loss" for
        minus the mean cross-entropy and the penalty of J. By "neg_log_loss", which
        lacks the penalty, the wide first weights may be the best by chance where the
        validation data are few.

    validation_fraction : float in (0, 1) or None, default=0.1
        Fraction of the training data held out for `early_stopping`. None monitors the
        training data.

    n_iter_no_change : int >= 1 or inf, default=20
        Epochs without improvement before stopping. Early stopping counts them from
        when the training loss, without its penalty, was once 5 % better than that of
        the class frequencies: sigmoid networks begin with a plateau.

    tol : float >= 0, default=1e-4
        The least that counts as an improvement.

    warm_start : bool, default=False
        Whether ``fit`` goes on where the last one ended: weights, velocities,
        order, schedules, curves and epoch count. ``fit`` of a epochs and then of
        b gives what one of a + b gives, bit for bit, but for "cosine": its rate falls
        over what is left, so that only an interrupted fit that is asked for the rest
        goes on exactly. Weights are taken as they are in `coefs_` and `intercepts_`.
        After early stopping it goes on from the best epoch, which was restored, and
        counts patience anew.

    random_state : int, RandomState instance or None, default=None
        Seed of the initial weights [2]_, then of the validation split and of the
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
    feature_mean_, feature_scale_ : ndarray of shape (n_features_in_,) or None
        What is subtracted from each feature, and what it is then divided by, float64.
        None without `standardize`.
    coefs_ : list of ndarray of shape (n_in, n_out)
        Weights of each layer; the first layer's are those of the standardised features.
    intercepts_ : list of ndarray of shape (n_out,)
        Biases of each layer.
    n_layers_ : int
        Number of layers, input and output included.
    n_outputs_ : int
        Number of outputs, one a class.
    out_activation_ : str
        "softmax".
    learning_rate_init_ : float
        What `learning_rate_init` came to.
    n_iter_ : int
        Epochs trained, over all calls.
    loss_ : float
        Last entry of `loss_curve_`.
    loss_curve_ : list of float
        J for each epoch: before its update where a batch is the whole training
        set, otherwise the mean over its rows of what each step saw.
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
        "max_iter", "early_stopping", "callback" or "interrupted". "" in what scorers
        and callbacks get during a fit.

    See Also
    --------
    sklearn.neural_network.MLPClassifier : Has more solvers, and divides its penalty
        by the batch's size.

    References
    ----------
    .. [1] L. Kish, "Survey sampling", Wiley, 1965.
    .. [2] X. Glorot, Y. Bengio, "Understanding the difficulty of training deep
       feedforward neural networks", AISTATS 2010.
    .. [3] P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1
       hour", arXiv:1706.02677, 2017.
    .. [4] B. T. Polyak, "Some methods of speeding up the convergence of iteration
       methods", USSR Comput. Math. Math. Phys. 4(5), 1964.
    .. [5] I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of
       initialization and momentum in deep learning", ICML 2013.

    Examples
    --------
    >>> from sklearn.datasets import load_wine
    >>> from skmlp import MomentumMLPClassifier
    >>> X, y = load_wine(return_X_y=True)
    >>> MomentumMLPClassifier(random_state=0).fit(X, y).score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", COUNT],
        "activation": [StrOptions(set(ACTIVATIONS))],
        "output_activation": [StrOptions({"identity", "logistic"})],
        "standardize": ["boolean"],
        "init_scale": [AUTO, Interval(Real, 0, 100, closed="right")],
        "alpha": [NOT_NEGATIVE],
        "batch_size": [AUTO, COUNT, None],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive", "cosine"})],
        "learning_rate_init": [AUTO, POSITIVE],
        "power_t": [NOT_NEGATIVE],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "max_iter": [COUNT],
        "shuffle": ["boolean"],
        "class_weight": [StrOptions({"balanced"}), dict, None],
        "early_stopping": ["boolean"],
        "scoring": [str, callable, None],
        "validation_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "n_iter_no_change": [COUNT, Options(Real, {np.inf})],
        "tol": [NOT_NEGATIVE],
        "warm_start": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # fmt: off
    def __init__(
        self, hidden_layer_sizes=(100,), activation="logistic", *,
        output_activation="identity", standardize=True, init_scale="auto", alpha=0.75,
        batch_size="auto", learning_rate="cosine", learning_rate_init="auto",
        power_t=0.5, momentum=0.9, nesterovs_momentum=True, max_iter=100, shuffle=True,
        class_weight=None, early_stopping=False, scoring="loss",
        validation_fraction=0.1, n_iter_no_change=20, tol=1e-4, warm_start=False,
        random_state=None, verbose=False,
    ):
        # fmt: on
        self._store_parameters(locals())

    def _store_parameters(self, given):
        for name, value in given.items():
            if name != "self":
                setattr(self, name, value)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __setstate__(self, state):
        stored = state.get("_training_state")
        if stored is not None and stored.get("format", 1) != FORMAT:
            raise ValueError(
                "This MomentumMLPClassifier was saved by another version of skmlp (in "
                f"format {stored.get('format', 1)!r}; this version reads {FORMAT}). "
                "Fit it again, or load it with the version that saved it (format 1: "
                "0.1.0, format 2: 0.2.0)."
            )
        super().__setstate__(state)

    # -- training ----------------------------------------------------------------

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
            How often each row counts, >= 0. In the objective and in the features'
            means and scales an integer weight equals repeating the row; the training is
            the same too where a batch is the whole training set and nothing is held
            out. Zero equals leaving the row out, but for `classes_`, which keeps its
            class. What they add up to divides `alpha`.
        X_val : {array-like, sparse matrix} of shape (n_val, n_features), default=None
            Validation data, in the units of X; `validation_loss_curve_` and
            `validation_scores_` are then recorded, with `early_stopping` or without.
        y_val : array-like of shape (n_val,), default=None
            Class labels of the validation data.
        sample_weight_val : array-like of shape (n_val,), default=None
            Weights of the validation data. `class_weight` counts in the held-out part
            of the training data, but not in `X_val`.

        Returns
        -------
        self : MomentumMLPClassifier
            The fitted estimator.

        Raises
        ------
        ValueError
            For input that cannot be used, and where the training diverges. The
            estimator is then what it was before, as after an error in a scorer or a
            callback.
        KeyboardInterrupt
            Re-raised; the epochs trained so far are kept: the estimator can predict,
            and go on with `warm_start`.
        """
        message = self._fit(X, y, sample_weight, X_val, y_val, sample_weight_val)
        if message:
            warnings.warn(message, ConvergenceWarning, stacklevel=stacklevel())
        return self

    def _fit(self, X, y, sample_weight, X_val=None, y_val=None, sample_weight_val=None):
        """fit, once its parameters are checked; returns a ConvergenceWarning's text, or
        ""."""
        callbacks = FitCallbacks(self, self.max_iter, X, y, sample_weight)
        check_scorer(self)
        continuing = self.warm_start and hasattr(self, "coefs_")
        draft = shallow_copy(self)
        data = check_training_data(draft, X, y, sample_weight, reset=not continuing)
        dtype = data.X.dtype
        given = check_validation_data(draft, X_val, y_val, sample_weight_val, dtype)
        architecture, state = draft._start(dtype, continuing)
        data, validation = draft._monitored(data, given, state.seed)
        hidden = None
        if self.standardize and not continuing:
            state.statistics = measure(data.X, data.sample_weight)
            hidden = hidden_features(data.X, state.statistics)
        if given is not None and (message := other_units(state.statistics, given.X)):
            warnings.warn(message, stacklevel=stacklevel())
        state.alpha_weight = data.effective_weight
        task = draft._make_task(architecture, data, validation, state, is_stream=False)
        del state  # the task's alone: its memory is freed when the next replaces it
        return " ".join(filter(None, (hidden, self._train(draft, task, callbacks))))

    # False: so that scikit-learn's skip_parameter_validation stays as the user set it.
    @_fit_context(prefer_skip_nested_validation=False)
    def partial_fit(self, X, y, classes=None, sample_weight=None):
        """Train for one epoch, going on where the last call ended.

        Blocks of any size will do, single rows too. The data term of J is each block's
        own mean; `alpha` is divided by the weight of all rows seen: those of the last
        ``fit``, if any, and of each block since. So with ``alpha=0`` k calls on the
        same data equal ``fit`` with ``max_iter=k`` (and learning_rate="constant" for
        "cosine"), bit for bit.

        Means and scales of features are those of all rows seen. (A feature that has
        been constant counts from the block in which it first varies.)

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            Training data.
        y : array-like of shape (n_samples,)
            Class labels; not every class needs to occur.
        classes : array-like of shape (n_classes,), default=None
            All classes that will ever occur. Needed in the first call.
        sample_weight : array-like of shape (n_samples,), default=None
            How often each row counts, >= 0.

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
        draft, continuing = shallow_copy(self), hasattr(self, "coefs_")
        data = check_training_data(
            draft, X, y, sample_weight, reset=not continuing, classes=classes
        )
        architecture, state = draft._start(data.X.dtype, continuing)
        if state.statistics is not None:
            state.statistics = update(state.statistics, data.X, data.sample_weight)
        elif self.standardize:  # the first block
            state.statistics = measure(data.X, data.sample_weight)
        state.alpha_weight += data.effective_weight
        task = draft._make_task(architecture, data, None, state, is_stream=True)
        del state
        self._train(draft, task)
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
            and not np.array_equal(known_classes(classes), self.classes_)
        ):
            raise ValueError(
                f"classes={classes!r} is not the same as on the last call to "
                f"partial_fit, which was {self.classes_!r}."
            )

    def _monitored(self, data, given, seed):
        """The Data to train on, and the Validation: of the given data, or with early
        stopping of held-out rows or all of them; or None."""
        held_out, fraction = given, self.validation_fraction
        if self.early_stopping and given is None:
            held_out = data
            if fraction is not None:
                data, held_out = hold_out(data, fraction, seed, self.classes_)
        if held_out is None:
            return data, None
        scorer, score = check_scorer(self), None
        if scorer is not None:
            X_val, y = held_out.X[:], self.classes_[held_out.y]

            def score(task, state):
                fitted = self._copy_at(task, state.latest)
                vars(fitted).pop("feature_names_in_", None)  # X is an array by now
                return scorer(fitted, X_val, y, held_out.weight)

        record = held_out is not data
        return data, Validation(held_out.X, held_out.y, held_out.weight, score, record)

    def _start(self, dtype, continuing):
        """The Architecture, and the State to train it from."""
        architecture = self._architecture_now()
        if continuing:
            return architecture, self._stored_state(architecture)
        generator, scale = check_random_state(self.random_state), self.init_scale
        if scale == "auto":
            scale = automatic_init_scale(self.activation)
        params = architecture.initial_params(generator, dtype, float(scale))
        seed = int(generator.randint(np.iinfo(np.int32).max))
        return architecture, State(params, np.zeros_like(params), seed)

    def _architecture_now(self):
        """The Architecture that the parameters ask for."""
        hidden = np.atleast_1d(np.asarray(self.hidden_layer_sizes, dtype=object))
        for size in hidden:
            if not isinstance(size, Integral) or size < 1:
                raise ValueError(
                    f"hidden_layer_sizes={self.hidden_layer_sizes!r} was given, but "
                    "expected an int >= 1 or a sequence of them."
                )
        sizes = (self.n_features_in_, *map(int, hidden), len(self.classes_))
        if sum(a * b for a, b in pairwise(sizes)) > MOST_WEIGHTS:
            raise ValueError(
                f"hidden_layer_sizes={self.hidden_layer_sizes!r} was given, but "
                f"expected a network of at most {MOST_WEIGHTS:.0e} weights; with "
                f"{sizes[0]} features and {sizes[-1]} classes it has more."
            )
        return architecture_of(sizes, self.activation, self.output_activation)

    def _stored_state(self, architecture):
        """The state that the last call ended with, its weights as they are now."""
        fitted = self._network
        if architecture.key != fitted.architecture.key:
            raise ValueError(
                "The network cannot go on training with another architecture: (layer "
                f"sizes, activation, output_activation) are {architecture.key}, but it "
                f"was fitted with {fitted.architecture.key}. Restore these parameters, "
                "or start anew with clone(estimator)."
            )
        stored = {name: self._training_state[name] for name in STORED}
        stored["velocity"] = np.ravel(stored["velocity"]).astype(fitted.params.dtype)
        if stored["velocity"].shape != fitted.params.shape:
            raise ValueError(
                f"The stored training has {stored['velocity'].size} velocities, but "
                f"expected {fitted.params.size}, one for each weight and bias."
            )
        if self.standardize != (stored["statistics"] is not None):
            raise ValueError(
                f"standardize={self.standardize!r} belongs to the first fit of a "
                "training. Restore it, or start anew with clone(estimator)."
            )
        if self.standardize:
            stored["statistics"] = Statistics(*stored["statistics"])
        return State(fitted.params, **stored)

    def _make_task(self, architecture, data, validation, state, *, is_stream):
        """What to train; `is_stream` in partial_fit."""
        n_epochs, schedule = self.max_iter, self.learning_rate
        if is_stream:
            n_epochs = 1
            if schedule == "cosine":  # how far it would fall is not known
                schedule = "constant"
        self.feature_mean_ = self.feature_scale_ = None
        if state.statistics is not None:
            self.feature_mean_, self.feature_scale_ = state.statistics.mean_and_scale()
        network = Network(architecture, None, self.feature_mean_, self.feature_scale_)
        if needs_dense_rows(data.X, network):  # it began with dense rows
            data = data._replace(X=data.X.toarray())
        n_samples = data.X.shape[0]
        batch_size = batch_size_of(self.batch_size, n_samples)
        automatic = automatic_rate(
            self.activation,
            len(architecture.layer_sizes) - 2,
            momentum=self.momentum,
            is_falling=schedule == "cosine",
            effective_batch=data.effective_batch(batch_size, is_stream),
        )
        given = self.learning_rate_init
        self.learning_rate_init_ = float(automatic if given == "auto" else given)
        return Task(
            settings=self,
            network=network,
            X=data.X,
            y=data.y,
            sample_weight=data.weight,
            validation=validation,
            state=state,
            n_epochs=n_epochs,
            batch_size=batch_size,
            learning_rate=schedule,
            learning_rate_init=self.learning_rate_init_,
            automatic_rate=automatic,
        )

    def _train(self, draft, task, callbacks=None):
        """Train, take over the draft's fitted attributes, and return the text of a
        ConvergenceWarning, or None. An error leaves self as it was, an interrupt with
        the epochs that are complete."""

        def attributes_at(state):
            return vars(draft._copy_at(task, state))

        def end_epoch(state):
            return callbacks.end_epoch(lambda: attributes_at(state.latest))

        message = None
        try:
            if callbacks is None:  # in partial_fit
                train(task)
            else:
                train(task, callbacks.begin_epoch, end_epoch)
                callbacks.end(lambda: attributes_at(task.state))
                message = advice(task)
            self._become(draft._attributes_at(task, task.state))
            return message
        except KeyboardInterrupt:
            if task.state.n_new > 0:
                task.state.stop_reason = task.state.stop_reason or "interrupted"
                self._become(draft._attributes_at(task, task.state))
            raise

    def _become(self, fitted):
        vars(self).update(fitted)  # all at once: other threads predict meanwhile
        if "feature_names_in_" not in fitted:
            vars(self).pop("feature_names_in_", None)

    def _copy_at(self, task, state):
        """An independent fitted copy at this epoch, for code of the user's, which may
        keep, change, store or go on training it."""
        other = shallow_copy(self)
        vars(other).update(other._attributes_at(task, state))
        other.coefs_ = [coef.copy() for coef in other.coefs_]
        other.intercepts_ = [intercept.copy() for intercept in other.intercepts_]
        other._training_state["velocity"] = other._training_state["velocity"].copy()
        other.feature_mean_ = copy(self.feature_mean_)  # or None
        other.feature_scale_ = copy(self.feature_scale_)
        return other

    def _attributes_at(self, task, state):
        """The fitted attributes of this draft, with those of a training that ends in
        `state`."""
        architecture = task.network.architecture
        selected, best = state.selected, state.best
        stored = {name: getattr(selected, name) for name in STORED}
        if task.settings.early_stopping:  # what comes next counts anew
            stored |= {"best_score": -np.inf, "n_no_improvement": 0}
        if selected.statistics is not None:
            stored["statistics"] = tuple(selected.statistics)
        coefs, intercepts = architecture.unpack(selected.params)
        before = state.n_iter - state.n_new
        curves = {f"{name}_": self._curve(name, state, before) for name in CURVES}
        return {
            **fitted_attributes(self),
            **curves,
            "coefs_": coefs,
            "intercepts_": intercepts,
            "n_layers_": len(architecture.layer_sizes),
            "n_outputs_": architecture.layer_sizes[-1],
            "out_activation_": "softmax",
            "n_iter_": state.n_iter,
            "loss_": curves["loss_curve_"][-1],
            "best_iter_": None if best is None else best.n_iter,
            "best_validation_score_": None if best is None else state.best_score,
            "stop_reason_": state.stop_reason,
            "_training_state": {
                "format": FORMAT,
                "architecture": architecture.key,
                "dtype": task.X.dtype.name,
                **stored,
            },
        }

    def _curve(self, name, state, before):
        """What earlier calls recorded and then this one, nan where they did not."""
        old = getattr(self, f"{name}_", None) if before else []
        new = getattr(state, name)[: state.n_new]
        if not new and not old:
            return None
        if old is None:
            old = [np.nan] * before
        elif len(old) > before:  # cut at the best epoch
            old = old[:before]
        new = new or [np.nan] * state.n_new
        return old + new if old else new  # no second copy of a long one

    @property
    def _network(self):
        """What is predicted with: the public attributes as they are now."""
        architecture = architecture_of(*self._training_state["architecture"])
        dtype = np.dtype(self._training_state["dtype"])
        params = architecture.pack(self.coefs_, self.intercepts_, dtype)
        return Network(architecture, params, self.feature_mean_, self.feature_scale_)

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
        fitted = self._snapshot()
        codes = fitted._by_block(X, "scores", lambda s: s.argmax(axis=1), np.intp)
        return fitted.classes_[codes]

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
        return self._snapshot()._by_block(X, "probabilities")

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
        return self._snapshot()._by_block(X, "log_probabilities")

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
        fitted = self._snapshot()
        if len(fitted.classes_) == 2:
            return fitted._by_block(X, "scores", difference)
        return fitted._by_block(X, "scores")

    def _snapshot(self):
        """This estimator as it is now: a fit in another thread does not change it."""
        if not hasattr(self, "coefs_"):  # check_is_fitted alone takes ten times as long
            check_is_fitted(self)
        return shallow_copy(self)

    def _by_block(self, X, kind, finish=None, dtype=None):
        """Scores or probabilities (`kind`) of each row, (n, n_classes); or, (n,), what
        `finish` makes of them."""
        X = check_rows(self, X)
        shape = (X.shape[0],) if finish else (X.shape[0], len(self.classes_))
        out = np.empty(shape, dtype or X.dtype)

        def fill(rows, values):
            out[rows] = finish(values) if finish else values

        map_blocks(fill, kind, X, self._network)
        return out


@quietly  # it may overflow
def difference(scores):
    return scores[:, 1] - scores[:, 0]


def shallow_copy(estimator):
    """A shallow copy: what is set on either leaves the other alone."""
    other = object.__new__(type(estimator))
    vars(other).update(vars(estimator))
    return other


def fitted_attributes(estimator):
    """All that makes an estimator a fitted one."""
    return {
        name: value
        for name, value in vars(estimator).items()
        if name == "_training_state" or (name[-1] == "_" and name[0] != "_")
    }
