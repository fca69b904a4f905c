"""scikit-learn's callbacks (new in 1.9, experimental), where it has them."""

from contextlib import contextmanager, nullcontext

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Adds nothing: this scikit-learn has no callbacks."""

        def _init_callback_context(self, **kwargs):
            return None

    def with_callbacks(method):
        return method


class NoCallbacks:
    """In place of scikit-learn's CallbackContext where an estimator has no callbacks:
    tells nobody, and nobody asks to stop."""

    def subcontext(self, *args):
        return self

    def call_on_fit_task_begin(self, **told):
        pass

    def call_on_fit_task_end(self, **told):
        return False

    def propagate_callback_context(self, estimator):
        return nullcontext()


class FitCallbacks:
    """Tells an estimator's callbacks of its fit, and of the parts of that: epochs, or
    the fits of other estimators.

    Parameters
    ----------
    estimator : the estimator that fits.
    n_parts : int, how many parts its fit has at most.
    X, y, sample_weight : as the user gave them.
    """

    def __init__(self, estimator, n_parts, X, y, sample_weight):
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.told = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.fit = estimator._init_callback_context(max_subtasks=n_parts)
        if getattr(estimator, "_skl_callbacks", None) is None:
            self.fit = NoCallbacks()
        self.fit.call_on_fit_task_begin(**self.told)

    # `attributes` of the two ends: a callable, which gives what makes a copy of the
    # estimator predict; called only for a callback that asks for it.

    def end(self, attributes):
        self.fit.call_on_fit_task_end(reconstruction_attributes=attributes, **self.told)

    def begin_epoch(self):
        self.epoch = self.fit.subcontext("epoch")
        self.epoch.call_on_fit_task_begin(**self.told)

    def end_epoch(self, attributes):
        return self.epoch.call_on_fit_task_end(
            reconstruction_attributes=attributes, **self.told
        )

    @contextmanager
    def search(self, n_fits):
        """Around a part of many fits, in any order: a list, each for `fit_of`."""
        search = self.fit.subcontext("search", None, n_fits, False)
        search.call_on_fit_task_begin(**self.told)
        estimator = self.told["estimator"]
        yield [(estimator, search.subcontext("fold", i)) for i in range(n_fits)]
        search.call_on_fit_task_end(**self.told)

    def refit(self):
        """A part that is one fit, for `fit_of`."""
        return self.told["estimator"], self.fit.subcontext("refit")


@contextmanager
def fit_of(other, part, X, y):
    """Around the fit of another estimator, which is a part of a search."""
    estimator, context = part
    with context.propagate_callback_context(other):
        context.call_on_fit_task_begin(estimator=estimator, X=X, y=y)
        yield
    context.call_on_fit_task_end(estimator=estimator, X=X, y=y)
