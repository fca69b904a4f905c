"""What several test files need: comparisons, spies, processes."""

import os
import subprocess
import sys

import pytest
import sklearn
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.fixes import parse_version

from skmlp import _kernels

has_callbacks = parse_version(sklearn.__version__) >= parse_version("1.9")
needs_callbacks = pytest.mark.skipif(not has_callbacks, reason="needs scikit-learn 1.9")

needs_compiler = pytest.mark.skipif(
    not hasattr(_kernels.train_rows.run, "signatures"), reason="compiling is off"
)
needs_fork = pytest.mark.skipif(
    not hasattr(os, "fork"), reason="no fork on this system"
)


class Interrupter:
    """A scorer that in its n-th call calls a function, or is interrupted."""

    def __init__(self, n, function=None):
        self.n, self.function = n, function

    def __call__(self, estimator, X, y):
        self.n -= 1
        if self.n == 0:
            if self.function is None:
                raise KeyboardInterrupt
            self.function()
        return 0.0


class TaskRecorder:
    """A callback of scikit-learn's that notes which of its hooks are called."""

    def __init__(self):
        self.events = []

    def setup(self, estimator, context):
        self.events.append("setup")

    def teardown(self, estimator, context):
        self.events.append("teardown")

    def on_fit_task_begin(self, estimator, context, *, X=None, y=None):
        self.events.append(f"begin {context.task_name} {context.task_id}")

    def note_end(self, context):
        self.events.append(f"end {context.task_name} {context.task_id}")


def assert_same_network(a, b):
    """The same coefs_ and intercepts_, bit for bit, in one precision."""
    for one, other in zip(
        a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True
    ):
        assert one.dtype == other.dtype
        assert_array_equal(one, other)


def assert_same_fit(a, b):
    """The same network by way of the same losses."""
    assert a.loss_curve_ == b.loss_curve_
    assert_same_network(a, b)


def assert_close_network(a, b, **tolerance):
    for one, other in zip(
        a.coefs_ + a.intercepts_, b.coefs_ + b.intercepts_, strict=True
    ):
        assert_allclose(one, other, **tolerance)


def assert_same_training(a, b):
    """The same network after the same epochs."""
    for name in ("n_iter_", "validation_loss_curve_", "best_iter_"):
        assert getattr(a, name) == getattr(b, name), name
    assert_same_fit(a, b)


def replace_kernel(monkeypatch, name, function):
    """Let function(original, *args) run where the kernel of this name is called."""
    original = getattr(_kernels, name)

    def kernel(*args):
        return function(original, *args)

    kernel.prepare = original.prepare
    monkeypatch.setattr(_kernels, name, kernel)


def interrupt_at(n, function, counts):
    """Call function(), with a KeyboardInterrupt before the n-th line that it runs of
    those for which counts(frame) holds. Whether there was such a line."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        if event == "line" and counts(frame):
            count += 1
            if count == n:
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    except KeyboardInterrupt:
        pass
    finally:
        sys.settrace(before)
    return count >= n


def start_python(script, *args, **environment):
    """A script in a process of its own, where SIGINT is not ignored, as it is in a
    shell's background job."""
    first = "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    return subprocess.Popen(
        [sys.executable, "-c", first + script, *map(str, args)],
        env=os.environ | {name: str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def output_of(process):
    """What it printed; nothing may go wrong, and nobody be warned."""
    try:
        out, err = process.communicate(timeout=300)
    finally:
        process.kill()
    assert (process.returncode, err) == (0, "")
    return out


def run_python(script, *args, **environment):
    return output_of(start_python(script, *args, **environment))
