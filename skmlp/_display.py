"""LossCurveDisplay: the losses of a fit, epoch by epoch, as a picture."""

from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted


class LossCurveDisplay:
    """Training and validation loss per epoch.

    Best made with :meth:`from_estimator`. Several on one axis compare fits.

    Parameters
    ----------
    loss_curve : sequence of float
        Training loss of each epoch.
    validation_loss_curve : sequence of float or None, default=None
        Validation loss of the last ``len(validation_loss_curve)`` epochs.
    best_iter : int or None, default=None
        The epoch, counted from 1, whose weights early stopping restored.
    estimator_name : str or None, default=None
        Put before the curves' names in the legend.

    Attributes
    ----------
    lines_ : list of matplotlib Artist
        Training curve, validation curve where there is one, and the line at the
        restored epoch where there is one.
    ax_ : matplotlib Axes
        The axis drawn on.
    figure_ : matplotlib Figure
        Its figure.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skmlp import LossCurveDisplay, MomentumMLPClassifier
    >>> X, y = load_iris(return_X_y=True)
    >>> mlp = MomentumMLPClassifier(max_iter=20, random_state=0).fit(X, y)
    >>> display = LossCurveDisplay.from_estimator(mlp)  # doctest: +SKIP
    """

    def __init__(
        self,
        *,
        loss_curve,
        validation_loss_curve=None,
        best_iter=None,
        estimator_name=None,
    ):
        self.loss_curve = loss_curve
        self.validation_loss_curve = validation_loss_curve
        self.best_iter = best_iter
        self.estimator_name = estimator_name

    @classmethod
    def from_estimator(
        cls, estimator, *, ax=None, name=None, log_scale=False, **kwargs
    ):
        """Draw the curves of a fitted estimator.

        Parameters
        ----------
        estimator : MomentumMLPClassifier, or Pipeline that ends in one
            Fitted.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Put before the curves' names in the legend.
        log_scale : bool, default=False
            Whether the loss has a logarithmic axis.
        **kwargs : dict
            Passed on to matplotlib's ``plot`` for the curves.

        Returns
        -------
        display : LossCurveDisplay
            The display that was drawn.

        Raises
        ------
        sklearn.exceptions.NotFittedError
            If the estimator is not fitted.
        TypeError
            If it has no loss curve.
        """
        if isinstance(estimator, Pipeline):
            estimator = estimator[-1]
        check_is_fitted(estimator)
        if not hasattr(estimator, "loss_curve_"):
            raise TypeError(
                f"Got {estimator!r}, which has no loss_curve_; expected a fitted "
                "MomentumMLPClassifier or a Pipeline that ends in one."
            )
        display = cls(
            loss_curve=estimator.loss_curve_,
            validation_loss_curve=getattr(estimator, "validation_loss_curve_", None),
            best_iter=getattr(estimator, "best_iter_", None),
            estimator_name=name,
        )
        return display.plot(ax=ax, log_scale=log_scale, **kwargs)

    def plot(self, ax=None, *, log_scale=False, **kwargs):
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        log_scale : bool, default=False
            Whether the loss has a logarithmic axis.
        **kwargs : dict
            Passed on to matplotlib's ``plot`` for the curves.

        Returns
        -------
        self : LossCurveDisplay
            With `lines_`, `ax_` and `figure_`.
        """
        check_matplotlib_support("LossCurveDisplay.plot")
        import matplotlib.pyplot as plt

        if ax is None:
            ax = plt.subplots()[1]
        prefix = f"{self.estimator_name}: " if self.estimator_name else ""
        n_epochs = len(self.loss_curve)
        self.lines_ = ax.plot(
            range(1, n_epochs + 1),
            self.loss_curve,
            **{"label": f"{prefix}training", **kwargs},
        )
        color = self.lines_[0].get_color()
        if self.validation_loss_curve:
            first = n_epochs - len(self.validation_loss_curve) + 1
            style = {"label": f"{prefix}validation", "linestyle": "--", **kwargs}
            self.lines_ += ax.plot(
                range(first, n_epochs + 1),
                self.validation_loss_curve,
                **{"color": color, **style},
            )
        if self.best_iter is not None:
            label = f"{prefix}restored epoch {self.best_iter}"
            self.lines_.append(
                ax.axvline(self.best_iter, color=color, linestyle=":", label=label)
            )
        ax.set(xlabel="epoch", ylabel="loss")
        if log_scale:
            ax.set_yscale("log")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self
