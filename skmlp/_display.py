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
    validation_scores : list of (sequence of float or None), default=None
        For each fit the score of the validation data after each epoch, or None.
    score_name : str, default="score"
        What the scores are called.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The curves: for each fit the training loss and, where there is one, the
        validation loss, dashed; a fit that has a name has one colour.
    score_lines_ : list of matplotlib Line2D
        The scores, where they are drawn.
    best_iter_lines_ : list of matplotlib Line2D
        The vertical lines at the restored epochs.
    ax_ : matplotlib Axes
        The axes drawn on.
    score_ax_ : matplotlib Axes or None
        The axes of the scores, on the right, where they are drawn.
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
        self,
        *,
        loss_curves,
        validation_loss_curves=None,
        best_iters=None,
        names=None,
        validation_scores=None,
        score_name="score",
    ):
        self.loss_curves = loss_curves
        self.validation_loss_curves = validation_loss_curves
        self.best_iters = best_iters
        self.names = names
        self.validation_scores = validation_scores
        self.score_name = score_name

    @classmethod
    def from_estimator(cls, estimator, *, name=None, **how):
        """Draw the loss curves of one fitted estimator.

        Call it again with `ax` to draw another estimator's beside them.

        Parameters
        ----------
        estimator : MomentumMLPClassifier, Pipeline that ends in one, or search of it
            Fitted; of a search its `best_estimator_` is drawn. Any other estimator
            with a `loss_curve_` will do, such as
            :class:`~sklearn.neural_network.MLPClassifier`.
        name : str, default=None
            What the labels in the legend begin with.
        **how : dict
            Parameters of :meth:`plot`: ax, log_scale, scores and line_kw.

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
        return cls.from_estimators([estimator], names=[name], **how)

    @classmethod
    def from_estimators(cls, estimators, *, names, **how):
        """Draw the loss curves of several fitted estimators, to compare them.

        Parameters
        ----------
        estimators : list of MomentumMLPClassifier or of Pipeline that ends in one
            Fitted, as in :meth:`from_estimator`.
        names : list of str
            For each estimator what its labels in the legend begin with.
        **how : dict
            Parameters of :meth:`plot`: ax, log_scale, scores and line_kw.

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
            validation_scores=[
                copy(getattr(mlp, "validation_scores_", None)) for mlp in fitted
            ],
            score_name=score_name_of(fitted),
        )
        return display.plot(**how)

    def plot(self, ax=None, *, log_scale=False, scores=False, line_kw=None):
        """Draw the loss curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        log_scale : bool, default=False
            Whether the loss is on a logarithmic scale. Otherwise the axis ends where
            the first epochs, whose losses are often many times as high, would leave
            no room for the rest.
        scores : bool, default=False
            Whether to draw the scores of the validation data, too, on an axis to the
            right.
        line_kw : dict, default=None
            Keywords for all curves, as matplotlib's ``plot`` takes them.

        Returns
        -------
        self : LossCurveDisplay
            With `lines_`, `score_lines_`, `best_iter_lines_`, `ax_`, `score_ax_` and
            `figure_`.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        import matplotlib.pyplot as plt
        from matplotlib.ticker import MaxNLocator

        if ax is None:
            _, ax = plt.subplots(layout="constrained")
        self.score_ax_ = ax.twinx() if scores else None
        absent = [None] * len(self.loss_curves)
        fits = zip(
            self.loss_curves,
            self.validation_loss_curves or absent,
            self.validation_scores or absent,
            self.best_iters or absent,
            self.names or absent,
            strict=True,
        )
        self.lines_, self.score_lines_, self.best_iter_lines_ = [], [], []
        for losses, validation_losses, fit_scores, best_iter, name in fits:
            style, prefix = dict(line_kw or {}), "" if name is None else f"{name}: "
            self.lines_.append(draw(ax, losses, label=f"{prefix}training", **style))
            if name is not None:  # one of several: a colour for each
                style["color"] = self.lines_[-1].get_color()
            if validation_losses is not None:
                style = {"linestyle": "--", **style}
                label = f"{prefix}validation"
                self.lines_.append(draw(ax, validation_losses, label=label, **style))
            if best_iter is not None:
                color = self.lines_[-1].get_color()
                label = f"{prefix}restored epoch {best_iter}"
                line = ax.axvline(best_iter, color=color, linestyle=":", label=label)
                self.best_iter_lines_.append(line)
            if scores and fit_scores is not None:
                style = {"color": "C2", **style, "linestyle": "-."}
                label = f"{prefix}{self.score_name}"
                line = draw(self.score_ax_, fit_scores, label=label, **style)
                self.score_lines_.append(line)
        ax.set(xlabel="epoch", ylabel="loss")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        if max(map(len, self.loss_curves)) > 1:
            ax.set_xlim(left=1)
        if log_scale:
            ax.set_yscale("log")
        else:
            show_later_epochs(ax)
        if scores:
            self.score_ax_.set_ylabel(self.score_name)
        ax.legend(handles=[*ax.get_lines(), *self.score_lines_])
        self.ax_, self.figure_ = ax, ax.figure
        return self


def show_later_epochs(ax):
    """End the axis of losses at three times the highest of the later nine tenths."""
    lines = [line for line in ax.get_lines() if len(line.get_xdata()) > 2]
    curves = [np.asarray(line.get_ydata()) for line in lines]
    top = 3 * max((np.nanmax(y[len(y) // 10 :]) for y in curves), default=np.inf)
    if ax.get_ylim()[1] > top:
        lowest = min(map(np.nanmin, curves))
        ax.set_ylim(lowest - 0.05 * (top - lowest), top)


def score_name_of(fitted):
    """What the scores of fitted networks are, where it is the same and has a name."""
    names = {getattr(mlp, "scoring", None) or "accuracy" for mlp in fitted}
    name = names.pop()
    return name if isinstance(name, str) and not names else "score"


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
