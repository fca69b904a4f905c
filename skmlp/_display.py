"""LossCurveDisplay: the losses of fits, epoch by epoch, as a picture."""

from copy import copy

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """Training and validation loss per epoch, of one fit or of several.

    It is recommended to use :meth:`from_estimator` or :meth:`from_estimators` to
    make one. All parameters are stored as attributes.

    Parameters
    ----------
    loss_curves : list of (sequence of float)
        For each fit the training loss of each epoch.
    validation_loss_curves : list of (sequence of float or None), default=None
        For each fit the validation loss of each epoch, nan where there was none; or
        None.
    best_iters : list of (int or None), default=None
        For each fit the epoch, counted from 1, whose weights early stopping
        restored, or None.
    names : list of (str or None), default=None
        For each fit what its labels in the legend begin with, or None.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curves: for each fit the training loss and, where there is one, the
        validation loss, dashed in the same colour.
    best_iter_lines_ : list of matplotlib Line2D
        The vertical lines at the restored epochs.
    ax_ : matplotlib Axes
        The axes drawn on.
    figure_ : matplotlib Figure
        The figure that `ax_` belongs to.

    See Also
    --------
    sklearn.model_selection.ValidationCurveDisplay : Draws scores against a
        parameter, such as alpha.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmlp import LossCurveDisplay, MomentumMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MomentumMLPClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(mlp, log_scale=True)
    >>> display.ax_.get_yscale()
    'log'
    """

    def __init__(
        self, *, loss_curves, validation_loss_curves=None, best_iters=None, names=None
    ):
        self.loss_curves = loss_curves
        self.validation_loss_curves = validation_loss_curves
        self.best_iters = best_iters
        self.names = names

    @classmethod
    def from_estimator(cls, estimator, *, ax=None, name=None, log_scale=False):
        """Draw the loss curves of one fitted estimator.

        Call it again with `ax` to draw another estimator's beside them.

        Parameters
        ----------
        estimator : MomentumMLPClassifier, Pipeline that ends in one, or search of it
            Fitted; of a search its `best_estimator_` is drawn. Any other estimator
            with a `loss_curve_` will do, such as
            :class:`~sklearn.neural_network.MLPClassifier`.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        name : str, default=None
            What the labels in the legend begin with.
        log_scale : bool, default=False
            Whether the loss is on a logarithmic scale.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no `loss_curve_`.
        ImportError
            If matplotlib is not installed.
        """
        return cls.from_estimators(
            [estimator], names=[name], ax=ax, log_scale=log_scale
        )

    @classmethod
    def from_estimators(cls, estimators, *, names, ax=None, log_scale=False):
        """Draw the loss curves of several fitted estimators, to compare them.

        Parameters
        ----------
        estimators : list of MomentumMLPClassifier or of Pipeline that ends in one
            Fitted, as in :meth:`from_estimator`.
        names : list of str
            For each estimator what its labels in the legend begin with.
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        log_scale : bool, default=False
            Whether the loss is on a logarithmic scale.

        Returns
        -------
        display : LossCurveDisplay
            The display, drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If an estimator is not fitted.
        TypeError
            If an estimator has no `loss_curve_`.
        ValueError
            If there are not as many names as estimators.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{cls.__name__}.from_estimators")
        fitted = [fitted_network(estimator) for estimator in estimators]
        if len(names) != len(fitted):
            raise ValueError(
                f"Got names={names!r}, but expected one for each of the "
                f"{len(fitted)} estimators."
            )
        display = cls(
            loss_curves=[copy(mlp.loss_curve_) for mlp in fitted],
            validation_loss_curves=[
                copy(getattr(mlp, "validation_loss_curve_", None)) for mlp in fitted
            ],
            best_iters=[getattr(mlp, "best_iter_", None) for mlp in fitted],
            names=names,
        )
        return display.plot(ax=ax, log_scale=log_scale)

    def plot(self, ax=None, *, log_scale=False):
        """Draw the loss curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        log_scale : bool, default=False
            Whether the loss is on a logarithmic scale.

        Returns
        -------
        self : LossCurveDisplay
            With `lines_`, `best_iter_lines_`, `ax_` and `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        if ax is None:
            _, ax = plt.subplots()
        absent = [None] * len(self.loss_curves)
        fits = zip(
            self.loss_curves,
            self.validation_loss_curves or absent,
            self.best_iters or absent,
            self.names or absent,
            strict=True,
        )
        self.lines_, self.best_iter_lines_ = [], []
        for losses, validation_losses, best_iter, name in fits:
            prefix = "" if name is None else f"{name}: "
            line = draw(ax, losses, label=f"{prefix}training")
            self.lines_.append(line)
            color = line.get_color()
            if validation_losses is not None:
                style = {"color": color, "linestyle": "--"}
                label = f"{prefix}validation"
                self.lines_.append(draw(ax, validation_losses, label=label, **style))
            if best_iter is not None:
                label = f"{prefix}restored epoch {best_iter}"
                self.best_iter_lines_.append(
                    ax.axvline(best_iter, color=color, linestyle=":", label=label)
                )
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if log_scale:
            ax.set_yscale("log")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def fitted_network(estimator):
    """The estimator that has the curves: itself, a pipeline's last step, or what a
    search found best."""
    mlp = estimator
    while isinstance(mlp, Pipeline) or hasattr(mlp, "best_estimator_"):
        mlp = mlp.steps[-1][1] if isinstance(mlp, Pipeline) else mlp.best_estimator_
    check_is_fitted(mlp)
    if not hasattr(mlp, "loss_curve_"):
        raise TypeError(
            f"Got {estimator!r}, which has no loss_curve_, but expected a fitted "
            "MomentumMLPClassifier, a Pipeline that ends in one, or a search of one."
        )
    return mlp


def draw(ax, losses, **style):
    """The line of losses, one an epoch, epochs counted from 1."""
    if np.isfinite(losses).sum() == 1:
        style["marker"] = "o"  # a line through one point does not show
    (line,) = ax.plot(range(1, len(losses) + 1), losses, **style)
    return line
