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
    data : dict with X, y and metadata, as the user gave them.
    fitted_attributes : callable(params) -> dict of what makes a copy of the
        estimator predict; called only for a callback that asks for it.
    """

    def __init__(self, estimator, max_epochs, data, fitted_attributes):
        self.estimator, self.data = estimator, data
        self.fitted_attributes = fitted_attributes
        self.context = estimator._init_callback_context(max_subtasks=max_epochs)
        self.active = getattr(estimator, "_skl_callbacks", None) is not None
        if self.active:
            self.context.call_on_fit_task_begin(estimator=estimator, **data)

    def begin_epoch(self):
        self.epoch = self.context.subcontext(task_name="epoch")
        self.epoch.call_on_fit_task_begin(estimator=self.estimator, **self.data)

    def end_epoch(self, state):
        return self.epoch.call_on_fit_task_end(
            estimator=self.estimator,
            reconstruction_attributes=lambda: self.fitted_attributes(state.params),
            **self.data,
        )

    def end(self, state):
        if self.active:
            params = state.params if state.best_params is None else state.best_params
            self.context.call_on_fit_task_end(
                estimator=self.estimator,
                reconstruction_attributes=lambda: self.fitted_attributes(params),
                **self.data,
            )
