"""LossCurveDisplay: the losses and scores of fits, epoch by epoch, as a picture."""

from copy import copy

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._optional_dependencies import check_matplotlib_support
from sklearn.utils.validation import check_is_fitted

from ._progress import name_of_score


class LossCurveDisplay:
    """Training and validation loss per epoch, of one fit or of several.

    The first losses are often so large, with their penalty on wide first weights, that
    beside them nothing else could be seen. So the linear axis ends where they are more
    than twice as large as all losses after the first tenth of the epochs.

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
        For each fit the validation score of each epoch, nan where there was none; or
        None.
    score_names : list of (str or None), default=None
        For each fit what its scores are, such as "accuracy", or None.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        The losses: for each fit that of training and, where there is one, that of
        validation, dashed. One fit has two colours, several have one each.
    score_lines_ : list of matplotlib Line2D
        The validation scores, dash-dotted; empty without ``scores=True``.
    best_iter_lines_ : list of matplotlib Line2D
        The vertical lines at the restored epochs, dotted.
    ax_ : matplotlib Axes
        The axes drawn on.
    score_ax_ : matplotlib Axes or None
        The axes of the scores, which share the epochs with `ax_`; None without
        ``scores=True``.
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

    # fmt: off
    def __init__(
        self, *, loss_curves, validation_loss_curves=None, best_iters=None, names=None,
        validation_scores=None, score_names=None,
    ):
        # fmt: on
        self.loss_curves = loss_curves
        self.validation_loss_curves = validation_loss_curves
        self.best_iters = best_iters
        self.names = names
        self.validation_scores = validation_scores
        self.score_names = score_names

    @classmethod
    def from_estimator(cls, estimator, *, name=None, **plot_kw):
        """Draw the loss curves of one fitted estimator.

        Call it again with `ax` to draw another estimator's losses beside them. (To
        compare scores, use :meth:`from_estimators`.)

        Parameters
        ----------
        estimator : MomentumMLPClassifier, Pipeline that ends in one, or search of it
            Fitted; of a search its `best_estimator_` is drawn. Any other estimator
            with a `loss_curve_` will do, such as
            :class:`~sklearn.neural_network.MLPClassifier`.
        name : str, default=None
            What the labels in the legend begin with.
        **plot_kw : dict
            Keywords of :meth:`plot`: `ax`, `log_scale`, `scores` and `line_kw`.

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
        ValueError
            If `scores` are asked for and it has no `validation_scores_`.
        ImportError
            If matplotlib is not installed.
        """
        return cls.from_estimators([estimator], names=[name], **plot_kw)

    @classmethod
    def from_estimators(cls, estimators, *, names, **plot_kw):
        """Draw the loss curves of several fitted estimators, to compare them.

        Parameters
        ----------
        estimators : list of MomentumMLPClassifier or of Pipeline that ends in one
            Fitted, as in :meth:`from_estimator`.
        names : list of str
            For each estimator what its labels in the legend begin with.
        **plot_kw : dict
            Keywords of :meth:`plot`: `ax`, `log_scale`, `scores` and `line_kw`.

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
            If there are not as many names as estimators, or `scores` are asked for
            and no estimator has `validation_scores_`.
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
        return cls(
            loss_curves=copies(fitted, "loss_curve_"),
            validation_loss_curves=copies(fitted, "validation_loss_curve_"),
            best_iters=copies(fitted, "best_iter_"),
            names=names,
            validation_scores=copies(fitted, "validation_scores_"),
            score_names=[name_of_score(monitored_by(mlp)) for mlp in fitted],
        ).plot(**plot_kw)

    def plot(self, ax=None, *, log_scale=False, scores=False, line_kw=None):
        """Draw the loss curves.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            The axes to draw on. None makes a new figure.
        log_scale : bool, default=False
            Whether the loss is on a logarithmic scale.
        scores : bool, default=False
            Whether to draw the validation scores too, on an axis at the right.
            `early_stopping` restores the last epoch where they are best.
        line_kw : dict, default=None
            Keywords for matplotlib's ``plot``, used for all curves.

        Returns
        -------
        self : LossCurveDisplay
            With `lines_`, `score_lines_`, `best_iter_lines_`, `ax_`, `score_ax_` and
            `figure_`.

        Raises
        ------
        ValueError
            If `scores` are asked for and there are none.
        ImportError
            If matplotlib is not installed.
        """
        check_matplotlib_support(f"{type(self).__name__}.plot")
        from matplotlib import cbook, lines, pyplot, ticker

        absent = [None] * len(self.loss_curves)
        all_scores = (scores and self.validation_scores) or absent
        if scores and all(values is None for values in all_scores):
            raise ValueError("Got scores=True, but expected fits with validation data.")
        if ax is None:
            _, ax = pyplot.subplots(layout="constrained")
        score_ax = ax.twinx() if scores else None
        style = cbook.normalize_kwargs(line_kw, lines.Line2D)
        self.lines_, self.score_lines_, self.best_iter_lines_ = [], [], []
        for losses, validation_losses, best_iter, name, fit_scores, score_name in zip(
            self.loss_curves,
            self.validation_loss_curves or absent,
            self.best_iters or absent,
            self.names or absent,
            all_scores,
            self.score_names or absent,
            strict=True,
        ):
            prefix = "" if name is None else f"{name}: "
            self.lines_ += draw(ax, losses, {"label": f"{prefix}training loss"} | style)
            color = {"color": self.lines_[-1].get_color()} if len(absent) > 1 else {}
            how = {"label": f"{prefix}validation loss", "linestyle": "--"}
            self.lines_ += draw(ax, validation_losses, how | color | style)
            how = {"label": f"{prefix}validation {score_name or 'score'}"}
            how |= {"linestyle": "-.", "color": "gray"} | color | style
            self.score_lines_ += draw(score_ax, fit_scores, how)
            if best_iter is not None:
                how = {"label": f"{prefix}restored epoch {best_iter}"}
                how |= {"linestyle": ":", "color": "gray"} | color
                self.best_iter_lines_.append(ax.axvline(best_iter, **how))
        ax.set(xlabel="epoch", ylabel="loss", xmargin=0)
        ax.xaxis.set_major_locator(ticker.MaxNLocator(integer=True, min_n_ticks=1))
        set_loss_axis(ax, log_scale)
        handles, place = ax.get_legend_handles_labels()[0] + self.score_lines_, "best"
        if scores:
            score_ax.set(ylabel="validation score", xmargin=0)
            place = "center right"  # most often free: "best" sees only the scores
        (score_ax or ax).legend(handles=handles, loc=place)  # above all curves
        self.ax_, self.score_ax_, self.figure_ = ax, score_ax, ax.figure
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


def copies(fitted, name):
    """Copies of each estimator's attribute, None where it has none."""
    return [copy(getattr(mlp, name, None)) for mlp in fitted]


def monitored_by(mlp):
    """The `scoring` of its validation scores."""
    return getattr(mlp, "_monitored_by", getattr(mlp, "scoring", "score"))


def draw(ax, values, style):
    """The line of values, one an epoch, epochs counted from 1; none without values."""
    if values is None:
        return []
    if np.isfinite(values).sum() == 1:
        style = {"marker": "o"} | style  # a line through one point does not show
    return ax.plot(range(1, len(values) + 1), values, **style)


def set_loss_axis(ax, log_scale):
    """Scale and limits of the loss, from all curves on `ax`.

    Restored epochs' lines are no curves: they have another transform.
    """
    ax.set_yscale("log" if log_scale else "linear")
    ax.autoscale(axis="y")
    curves = [y.get_ydata() for y in ax.lines if y.get_transform() == ax.transData]
    late = np.nanmax(np.concatenate([y[len(y) // 10 :] for y in curves]))
    if not log_scale and 0 < 2 * late < np.nanmax(np.concatenate(curves)):
        ax.set_ylim(-0.1 * late, 2 * late)
