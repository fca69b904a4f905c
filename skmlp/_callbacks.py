"""scikit-learn's callbacks (new in 1.9, experimental), where it has them."""

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
