"""scikit-learn's callbacks (new in 1.9, experimental), where it has them."""

from contextlib import contextmanager

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Adds nothing: this scikit-learn has no callbacks."""

        def _init_callback_context(self, **kwargs):
            return None

    def with_callbacks(method):
        return method


class EpochCallbacks:
    """Tells an estimator's callbacks of its fit and, one subtask each, its epochs.

    Parameters
    ----------
    estimator : the estimator that fits.
    max_epochs : int.
    X, y, sample_weight : as the user gave them.
    """

    def __init__(self, estimator, max_epochs, X, y, sample_weight):
        self.estimator = estimator
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.data = {"X": X, "y": y, "metadata": metadata}
        self.context = estimator._init_callback_context(max_subtasks=max_epochs)
        self.active = getattr(estimator, "_skl_callbacks", None) is not None
        if self.active:
            self.context.call_on_fit_task_begin(estimator=estimator, **self.data)

    def begin_epoch(self):
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self, attributes):
        return self._end(self.epoch, attributes)

    def end(self, attributes):
        self._end(self.context, attributes)

    def _end(self, context, attributes):
        """attributes : callable() -> dict of what makes a copy of the estimator
        predict; called only for a callback that asks for it."""
        return context.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=attributes,
            **self.data,
        )


class SearchCallbacks:
    """Tells an estimator's callbacks of its fit, and of the fits of other estimators
    that it consists of; does nothing where no callbacks are set.

    Parameters
    ----------
    estimator : the estimator that fits.
    n_parts : int, how many parts its fit has.
    X, y, sample_weight : as the user gave them.
    """

    def __init__(self, estimator, n_parts, X, y, sample_weight):
        self.estimator = estimator
        self.data = {"X": X, "y": y}
        if sample_weight is not None:
            self.data["metadata"] = {"sample_weight": sample_weight}
        self.context = estimator._init_callback_context(max_subtasks=n_parts)
        if getattr(estimator, "_skl_callbacks", None) is None:
            self.context = None
        else:
            self.context.call_on_fit_task_begin(estimator=estimator, **self.data)

    def part(self, name):
        """A part that is one fit of another estimator: for `fit_of`."""
        return self.context and (self.estimator, self.context.subcontext(name))

    @contextmanager
    def parts(self, name, sub_name, n_parts):
        """A part of many, in any order: a list, each for `fit_of`."""
        if self.context is None:
            yield [None] * n_parts
            return
        context = self.context.subcontext(name, None, n_parts, False)
        context.call_on_fit_task_begin(estimator=self.estimator, **self.data)
        yield [
            (self.estimator, context.subcontext(sub_name, i)) for i in range(n_parts)
        ]
        context.call_on_fit_task_end(estimator=self.estimator, **self.data)

    def end(self, attributes):
        """attributes : as in EpochCallbacks."""
        if self.context is not None:
            self.context.call_on_fit_task_end(
                estimator=self.estimator,
                reconstruction_attributes=attributes,
                **self.data,
            )


@contextmanager
def fit_of(other, part, X, y):
    """Around a fit of another estimator, which is a part of a search."""
    if part is None:
        yield
        return
    estimator, context = part
    with context.propagate_callback_context(other):
        context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
        yield
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y)
