"""What the user sees and does while a network trains: lines, callbacks, Ctrl-C,
threads."""

import errno
import os
import pickle
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from functools import partial
from unittest.mock import Mock

import numpy as np
import pytest
from helpers import (
    Interrupter,
    TaskRecorder,
    assert_same_fit,
    has_callbacks,
    needs_callbacks,
)
from numpy.testing import assert_array_equal
from settings import plain
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from skmlp import MomentumMLPClassifier, _classifier, _training

make = partial(plain, hidden_layer_sizes=(6,), max_iter=4, random_state=0)

# -- verbose -----------------------------------------------------------------------


def test_verbose_prints_a_line_an_epoch(iris, capsys):
    X, y = iris
    mlp = make(verbose=True).fit(X, y)
    *lines, last = capsys.readouterr().out.splitlines()
    assert [line.rsplit(",", 1)[0] for line in lines] == [
        f"Epoch {i + 1}/4: loss {loss:.5f}, rate 0.2"
        for i, loss in enumerate(mlp.loss_curve_)
    ]
    assert last == "Ended after 4 epochs: max_iter=4."
    mlp = make(verbose=3, scoring=None).fit(X, y, X_val=X, y_val=y)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("/")[0] for line in lines[:-1]] == ["Epoch 3", "Epoch 4"]
    assert lines[-2].startswith(
        f"Epoch 4/4: loss {mlp.loss_:.5f}, validation loss "
        f"{mlp.validation_loss_curve_[-1]:.5f}, accuracy {mlp.score(X, y):.5f}, rate"
    )
    assert max(map(len, lines)) < 100
    early = make(verbose=99, early_stopping=True, n_iter_no_change=1, tol=9)
    early.set_params(max_iter=100).fit(X, y)
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == (
        f"Ended after {early.n_iter_} epochs: no improvement for more than "
        f"n_iter_no_change=1 epochs; epoch {early.best_iter_} is restored."
    )
    make(verbose=2).partial_fit(X, y, [0, 1, 2]).partial_fit(X, y)
    (line,) = capsys.readouterr().out.splitlines()  # nothing has ended
    assert line.startswith("Epoch 2/2: loss ")
    make().fit(X, y)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    "error", [OSError(errno.ENOSPC, "no space left"), ValueError("closed")]
)
def test_what_goes_wrong_in_printing_costs_the_line(iris, monkeypatch, error):
    class Broken:
        closed = True

        def write(self, text):
            raise error

        flush = write

    monkeypatch.setattr("sys.stdout", Broken())
    assert make(verbose=True).fit(*iris).n_iter_ == 4


# -- callbacks ---------------------------------------------------------------------


@pytest.mark.skipif(has_callbacks, reason="scikit-learn has callbacks")
def test_older_scikit_learn_has_no_callback_api():
    assert not hasattr(make(), "set_callbacks")


class Recorder(TaskRecorder):
    """One that may stop or fail."""

    def __init__(self, stop_after=None, fail=None):
        super().__init__()
        self.stop_after, self.fail = stop_after, fail

    def on_fit_task_end(self, estimator, context, *, X=None, y=None):
        self.note_end(context)
        if self.fail == context.task_name:
            raise RuntimeError("this callback fails")
        return context.task_name == "epoch" and context.task_id + 1 == self.stop_after


class Keeper(TaskRecorder):
    """One that keeps the fitted estimators and the data that it is given."""

    def __init__(self):
        super().__init__()
        self.kept, self.data = [], []

    def on_fit_task_end(
        self, estimator, context, *, X=None, y=None, fitted_estimator=None
    ):
        self.kept.append(pickle.loads(pickle.dumps(deepcopy(fitted_estimator))))
        self.data.append((X, y))


@needs_callbacks
def test_one_subtask_an_epoch(iris, monkeypatch):
    builder = Mock(side_effect=_classifier.fitted_attributes)
    monkeypatch.setattr(_classifier, "fitted_attributes", builder)
    recorder = Recorder()
    make(max_iter=2).set_callbacks(recorder).fit(*iris)
    assert recorder.events == [
        "setup", "begin fit 0", "begin epoch 0", "end epoch 0", "begin epoch 1",
        "end epoch 1", "end fit 0", "teardown",
    ]  # fmt: skip
    # A fitted estimator is built where a callback asks for it, and at the fit's end.
    assert builder.call_count == 1
    make(max_iter=2).set_callbacks(Keeper()).fit(*iris)
    assert builder.call_count == 1 + 1 + 3


@needs_callbacks
def test_callbacks_get_each_epochs_network(iris):
    keeper = Keeper()
    mlp = make(max_iter=2, warm_start=True).set_callbacks(keeper)
    mlp.fit(*iris).fit(*iris)
    assert [kept.n_iter_ for kept in keeper.kept] == [1, 2, 2, 3, 4, 4]
    for kept in keeper.kept:
        assert_same_fit(kept, make(max_iter=kept.n_iter_).fit(*iris))
    assert_same_fit(keeper.kept[-1], mlp)
    assert keeper.data[0][0] is iris[0]


def second_is_best(estimator, X, y):
    return [1.0, 3.0, 2.0][estimator.n_iter_ - 1]


@needs_callbacks
def test_with_early_stopping_callbacks_get_the_best_network_at_last(iris):
    keeper = Keeper()
    mlp = make(max_iter=3, early_stopping=True, scoring=second_is_best)
    mlp.set_callbacks(keeper).fit(*iris, X_val=iris[0], y_val=iris[1])
    for n_iter, kept in enumerate(keeper.kept[:-1], start=1):
        assert_same_fit(kept, make(max_iter=n_iter).fit(*iris))
    assert mlp.best_iter_ == keeper.kept[-1].best_iter_ == 2
    assert_same_fit(keeper.kept[-1], mlp)


@needs_callbacks
def test_a_callback_can_stop_the_training(iris):
    mlp = make(warm_start=True, batch_size=32).set_callbacks(Recorder(stop_after=3))
    mlp.set_params(max_iter=100).fit(*iris)
    assert (mlp.n_iter_, mlp.stop_reason_) == (3, "callback")
    assert_same_fit(mlp, make(max_iter=3, batch_size=32).fit(*iris))
    mlp.set_callbacks().set_params(max_iter=2).fit(*iris)
    assert_same_fit(mlp, make(max_iter=5, batch_size=32).fit(*iris))


@needs_callbacks
@pytest.mark.parametrize("where", ["epoch", "fit"])
def test_a_callback_that_fails_fails_the_fit(iris, where):
    recorder = Recorder(fail=where)
    mlp = make().set_callbacks(recorder)
    before = vars(mlp).copy()
    with pytest.raises(RuntimeError, match="this callback fails"):
        mlp.fit(*iris)
    assert recorder.events[-1] == "teardown"
    assert vars(mlp) == before


@needs_callbacks
@pytest.mark.parametrize("n_fits", [1, 5])
def test_scikit_learns_callbacks(iris, n_fits, capfd):
    pytest.importorskip("rich")  # what ProgressBar draws with
    from sklearn.callback import ProgressBar, ScoringMonitor

    monitor = ScoringMonitor(scoring="accuracy")
    mlp = make()
    if n_fits == 1:
        mlp.set_callbacks(ProgressBar(), monitor).fit(*iris)
    else:
        search = GridSearchCV(mlp.set_callbacks(monitor), {"alpha": [0.1, 1.0]}, cv=2)
        search.set_callbacks(ProgressBar()).fit(*iris)
    assert "MomentumMLPClassifier" in capfd.readouterr().out
    logs = monitor.get_logs(select="all")
    epochs = [row for log in logs for row in log.data if row["task_name"] == "epoch"]
    assert len(epochs) == 4 * n_fits
    if n_fits == 1:
        assert epochs[-1]["accuracy"] == mlp.score(*iris)


# -- Ctrl-C ------------------------------------------------------------------------


@pytest.mark.parametrize("batch_size", [None, 20])
def test_ctrl_c_keeps_what_is_trained_and_is_raised_on(iris, batch_size):
    X, y = iris
    mlp = make(max_iter=10, warm_start=True, batch_size=batch_size)
    mlp.set_params(scoring=Interrupter(4))
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(X, y, X_val=X, y_val=y)
    assert (mlp.n_iter_, mlp.stop_reason_) == (3, "interrupted")
    assert len(mlp.loss_curve_) == len(mlp.validation_scores_) == 3
    assert_same_fit(mlp, make(max_iter=3, batch_size=batch_size).fit(X, y))
    mlp.set_params(max_iter=7, scoring="loss").fit(X, y)
    assert_same_fit(mlp, make(max_iter=10, batch_size=batch_size).fit(X, y))
    # Before the first epoch it leaves the estimator as it was.
    mlp.set_params(scoring=Interrupter(1))
    before = vars(mlp).copy()
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(X, y, X_val=X, y_val=y)
    assert vars(mlp) == before


@pytest.mark.parametrize("batch_size", [None, 20])
def test_a_real_ctrl_c_anywhere_in_a_long_fit(iris, batch_size):
    X, y = iris
    # Also where SIGINT is ignored, as in a shell's job in the background.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGINT))
    mlp = make(max_iter=10**7, warm_start=True, batch_size=batch_size)
    mlp.set_params(scoring=Interrupter(6, timer.start))
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(X, y, X_val=X, y_val=y)
    timer.join()
    signal.signal(signal.SIGINT, before)
    assert len(mlp.loss_curve_) == mlp.n_iter_ >= 5
    whole = make(max_iter=mlp.n_iter_ + 3, batch_size=batch_size).fit(X, y)
    mlp.set_params(max_iter=3, scoring="loss").fit(X, y)
    assert_same_fit(mlp, whole)


@pytest.mark.parametrize("n_interrupts", [1, 2])
def test_ctrl_c_while_the_result_is_stored_keeps_it(iris, monkeypatch, n_interrupts):
    original, interrupts = MomentumMLPClassifier._become, iter(range(n_interrupts))

    def interrupted(self, fitted):
        original(self, fitted)
        if next(interrupts, None) is not None:
            raise KeyboardInterrupt

    mlp = make(warm_start=True)
    with monkeypatch.context() as patch:
        patch.setattr(MomentumMLPClassifier, "_become", interrupted)
        with pytest.raises(KeyboardInterrupt):
            mlp.fit(*iris)
    assert (mlp.n_iter_, mlp.stop_reason_) == (4, "max_iter")
    assert_same_fit(mlp, make().fit(*iris))
    assert_same_fit(mlp.fit(*iris), make(max_iter=8).fit(*iris))


def test_ctrl_c_after_the_last_epoch_knows_that_it_was_the_last(iris, monkeypatch):
    def interrupted(task, *args, **how):
        if task.state.n_iter == task.last_epoch:
            raise KeyboardInterrupt

    monkeypatch.setattr(_training, "print_lines", interrupted)
    mlp = make(verbose=True)
    with pytest.raises(KeyboardInterrupt):
        mlp.fit(*iris)
    assert (mlp.n_iter_, mlp.stop_reason_) == (4, "max_iter")


# -- threads -----------------------------------------------------------------------


def test_predictions_beside_fits_see_one_network_or_the_other(iris):
    """Never a mixture: what is stored replaces the old at once."""
    X, y = iris
    wide, narrow = np.hstack([X, X]), X
    mlp = make(max_iter=1).fit(narrow, y)
    stop, wrong = threading.Event(), []

    def keep_predicting():
        while not stop.is_set():
            for rows in (wide, narrow):
                try:
                    proba = mlp.predict_proba(rows)
                    if not np.allclose(proba.sum(axis=1), 1):
                        wrong.append(proba)
                except Exception as error:
                    if type(error) is not ValueError or "features" not in str(error):
                        wrong.append(error)

    threads = [threading.Thread(target=keep_predicting) for _ in range(3)]
    for thread in threads:
        thread.start()
    for i in range(200):
        mlp.fit(wide if i % 2 else narrow, y)
    stop.set()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_many_threads_give_what_one_gives(digits):
    X, y = digits[0][:400] / 16, digits[1][:400]
    limits = [lib["num_threads"] for lib in threadpool_info()]
    shared = make().fit(X, y)

    def work(seed):
        mlp = make(max_iter=15, random_state=seed, batch_size=[None, 50][seed % 2])
        mlp.fit(X, y)
        return mlp, mlp.predict_proba(X), shared.predict_proba(X[seed:])

    alone = [work(seed) for seed in range(12)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(work, range(12)))
    for (a, *probas), (b, *others) in zip(alone, together, strict=True):
        assert_same_fit(a, b)
        for proba, other in zip(probas, others, strict=True):
            assert_array_equal(proba, other)
    assert [lib["num_threads"] for lib in threadpool_info()] == limits
