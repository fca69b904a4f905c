"""to_sklearn: the same network as scikit-learn's own class, and so to ONNX."""

import numpy as np
from sklearn.neural_network import MLPClassifier
from sklearn.utils.validation import check_is_fitted

from ._classifier import MomentumMLPClassifier

SHARED_PARAMETERS = (
    "hidden_layer_sizes",
    "activation",
    "learning_rate_init",
    "power_t",
    "momentum",
    "nesterovs_momentum",
    "max_iter",
    "shuffle",
    "n_iter_no_change",
    "random_state",
)


def to_sklearn(estimator):
    """Make a fitted scikit-learn MLPClassifier that predicts the same.

    For tools that know scikit-learn's class: skl2onnx turns the result into ONNX.

    Parameters
    ----------
    estimator : MomentumMLPClassifier
        Fitted, with output_activation="identity" and at least two classes.

    Returns
    -------
    mlp : sklearn.neural_network.MLPClassifier
        Fitted; its weights are copies. Two classes become its one logistic unit.
        Its parameters are those of `estimator`, with ``solver="sgd"`` and with
        alpha as MLPClassifier divides it, by the batch's size; "cosine", which it
        does not know, becomes "constant". They describe the training; training it
        on is another algorithm's business.

    Raises
    ------
    TypeError
        If `estimator` is no MomentumMLPClassifier.
    sklearn.exceptions.NotFittedError
        If it is not fitted.
    ValueError
        If MLPClassifier has no counterpart: output_activation="logistic", or one
        class.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmlp import MomentumMLPClassifier, to_sklearn
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MomentumMLPClassifier(random_state=0).fit(X, y)
    >>> bool((to_sklearn(mlp).predict(X) == mlp.predict(X)).all())
    True
    """
    if not isinstance(estimator, MomentumMLPClassifier):
        raise TypeError(f"Expected a MomentumMLPClassifier, got {estimator!r}.")
    check_is_fitted(estimator)
    output_activation = estimator._architecture[-1]
    if output_activation != "identity":
        raise ValueError(
            f"output_activation={output_activation!r} has no counterpart in "
            "MLPClassifier, whose scores go to the softmax directly. Fit with "
            "output_activation='identity'."
        )
    classes = estimator.classes_
    if len(classes) < 2:
        raise ValueError(
            f"MLPClassifier needs two classes or more; this one knows {classes!r}."
        )
    n_samples = round(estimator._training_state["n_seen"] / estimator.n_iter_)
    wanted = estimator.batch_size
    batch_size = min(
        n_samples if wanted is None else 200 if wanted == "auto" else wanted, n_samples
    )
    schedule = estimator.learning_rate
    mlp = MLPClassifier(
        solver="sgd",
        alpha=estimator.alpha * batch_size / n_samples,
        batch_size=batch_size,
        learning_rate="constant" if schedule == "cosine" else schedule,
        tol=0.0,
        **{name: getattr(estimator, name) for name in SHARED_PARAMETERS},
    )
    # One step on nothing gives it everything that a fitted one has, in whichever
    # release; then it gets the weights.
    dtype = estimator.coefs_[0].dtype
    mlp.set_params(batch_size="auto", random_state=0)
    nothing = np.zeros((len(classes), estimator.n_features_in_), dtype)
    mlp.partial_fit(nothing, classes, classes=classes)
    mlp.set_params(batch_size=batch_size, random_state=estimator.random_state)
    mlp.coefs_ = [coef.copy() for coef in estimator.coefs_]
    mlp.intercepts_ = [intercept.copy() for intercept in estimator.intercepts_]
    if len(classes) == 2:  # softmax of two scores is the logistic of their difference
        mlp.coefs_[-1] = mlp.coefs_[-1][:, 1:] - mlp.coefs_[-1][:, :1]
        mlp.intercepts_[-1] = mlp.intercepts_[-1][1:] - mlp.intercepts_[-1][:1]
    mlp.n_iter_ = estimator.n_iter_
    mlp.loss_curve_ = list(estimator.loss_curve_)
    mlp.loss_ = estimator.loss_
    mlp.best_loss_ = min(mlp.loss_curve_)
    if hasattr(estimator, "feature_names_in_"):
        mlp.feature_names_in_ = estimator.feature_names_in_
    return mlp
