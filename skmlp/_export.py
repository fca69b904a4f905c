"""to_sklearn: the same network as scikit-learn's own class, and so as ONNX."""

import copy

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from ._schedules import batch_size_of


class Exportable:
    """What to_sklearn takes, and skl2onnx by it: MomentumMLPClassifier."""

    def onnx_shape_calculator(self):
        """Called by skl2onnx, which asks this of a class that it does not know.

        The model gives labels and one array of probabilities. Options of skl2onnx's for
        classifiers, such as "zipmap", have no effect. It does not ask within a search
        or an ensemble: of a search, give it `best_estimator_`.

        Returns
        -------
        calculate : callable(operator)
            Puts what :func:`to_sklearn` makes in this estimator's place.
        """
        from skl2onnx.common._registration import get_shape_calculator

        def calculate(operator):
            operator.type = "SklearnMLPClassifier"
            operator.raw_operator = to_sklearn(self)
            get_shape_calculator(operator.type)(operator)

        return calculate


def to_sklearn(estimator):
    """Make a fitted scikit-learn MLPClassifier that predicts the same.

    For what knows scikit-learn's class alone. (skl2onnx makes it itself of an estimator
    that it converts, alone or in a Pipeline.)

    Parameters
    ----------
    estimator : MomentumMLPClassifier or Pipeline that ends in one
        Fitted with output_activation="identity", on two classes or more.

    Returns
    -------
    mlp : sklearn.neural_network.MLPClassifier or Pipeline
        Fitted; of a Pipeline, that with its last step replaced. Labels and
        probabilities are those of `estimator` for the same X, to 1e-12 in float64 and
        1e-6 in float32 where the features' means are within some standard deviations of
        0, and as many times more as they are further off. Its arrays are copies, in the
        same precision.

    Raises
    ------
    TypeError
        If `estimator` is neither.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If MLPClassifier has no such network: with output_activation="logistic",
        and with one class, for which it would give two columns of probabilities.

    Notes
    -----
    The softmax of two scores is the logistic of their difference: for two classes
    the difference of the last layer's two units is MLPClassifier's one. What
    standardises the features is folded into the first layer, whose weights are then
    those of the features as they are.

    MLPClassifier divides its penalty by the batch's size, so its alpha is ``alpha *
    batch_size / S_eff``, S_eff being the effective number of samples that it was
    divided by here. Its `batch_size` is what "auto" and None came to, for as many
    samples as an epoch had on average.

    Parameters describe the training that was, as far as MLPClassifier can say it:
    learning_rate="cosine" becomes "constant", early stopping that monitors the
    training data becomes early_stopping=False, and class_weight and scoring have no
    place. `validation_scores_` and `best_validation_score_` are in the estimator's
    own `scoring`. A new ``fit`` of the result is MLPClassifier's own: it starts from
    other weights and stops when the training loss stays on a plateau. That and
    ``partial_fit`` want features that are scaled; here they are as they were.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmlp import MomentumMLPClassifier, to_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MomentumMLPClassifier(random_state=0).fit(X, y)
    >>> bool((to_sklearn(mlp).predict(X) == mlp.predict(X)).all())
    True
    """
    if isinstance(estimator, Pipeline):
        *steps, (name, last) = estimator.steps
        exported = copy.copy(estimator)
        exported.steps = [*steps, (name, to_sklearn(last))]
        return exported
    if not isinstance(estimator, Exportable):
        raise TypeError(
            f"Got {estimator!r}, but expected a MomentumMLPClassifier or a Pipeline "
            "that ends in one."
        )
    check_is_fitted(estimator)
    network = estimator._network
    sizes, activation, output_activation = network.architecture.key
    classes = estimator.classes_
    if output_activation != "identity":
        raise ValueError(
            f"The estimator was fitted with output_activation={output_activation!r}, "
            "but expected 'identity': MLPClassifier gives its scores to the softmax "
            "as they are."
        )
    if len(classes) < 2:
        raise ValueError(
            f"The estimator knows the classes {classes.tolist()!r}, but expected two "
            "or more: MLPClassifier always gives two columns of probabilities or more."
        )
    # What was fitted counts: the parameters may have been set anew since.
    mlp = MLPClassifier(tuple(sizes[1:-1]), activation, solver="sgd", random_state=0)
    # One epoch on nothing gives it all that a fitted one has, in any release.
    coefs, intercepts = network.architecture.unpack(network.params.copy())
    if network.scale is not None:
        first = coefs[0] / network.scale[:, np.newaxis]  # in float64
        intercepts[0] -= network.mean @ first
        coefs[0] = first.astype(coefs[0].dtype)
    nothing = np.zeros((len(classes), sizes[0]), dtype=coefs[0].dtype)
    mlp.partial_fit(nothing, classes, classes=classes)
    vars(mlp).pop("_optimizer", None)  # with velocities of that epoch
    names = set(mlp.get_params()) - {"hidden_layer_sizes", "activation"}
    mlp.set_params(**training_parameters(estimator, names))
    if len(classes) == 2:
        coefs[-1], intercepts[-1] = np.diff(coefs[-1]), np.diff(intercepts[-1])
    mlp.coefs_, mlp.intercepts_ = coefs, intercepts
    mlp.n_iter_ = estimator.n_iter_
    mlp.t_ = estimator._training_state["rows_seen"]
    mlp.loss_ = estimator.loss_
    mlp.loss_curve_ = list(estimator.loss_curve_)
    mlp.best_loss_ = None if mlp.early_stopping else min(mlp.loss_curve_)
    mlp.validation_scores_ = copy.copy(estimator.validation_scores_)  # or None
    mlp.best_validation_score_ = estimator.best_validation_score_
    if hasattr(estimator, "feature_names_in_"):
        mlp.feature_names_in_ = estimator.feature_names_in_.copy()
    return mlp


def training_parameters(estimator, names):
    """How the estimator was trained, in MLPClassifier's parameters of these names."""
    params = {x: getattr(estimator, x) for x in names if hasattr(estimator, x)}
    stored = estimator._training_state
    n_samples = round(stored["rows_seen"] / stored["n_iter"])  # epochs up to the best
    batch_size = batch_size_of(estimator.batch_size, n_samples)
    params["batch_size"] = batch_size
    params["alpha"] = estimator.alpha * batch_size / stored["alpha_weight"]
    params["learning_rate_init"] = float(estimator.learning_rate_init_)
    if estimator.learning_rate == "cosine":
        params["learning_rate"] = "constant"
    if estimator.validation_fraction is None:
        params |= {"early_stopping": False, "validation_fraction": 0.1}
    return params
