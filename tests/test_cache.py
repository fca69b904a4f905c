"""Compiled code on disk, and what interrupts its making: a user never meets it."""

import ctypes
import errno
import shutil
import signal
import threading
from functools import partial
from pathlib import Path

import numba
import numpy as np
import pytest
from helpers import needs_compiler, output_of, replace_kernel, run_python, start_python
from numpy.testing import assert_array_equal
from settings import plain
from threadpoolctl import threadpool_limits

import skmlp
from skmlp import _activations, _cache, _kernels
from skmlp.__main__ import main

pytestmark = needs_compiler


class OwnError(Exception):
    pass


ERRORS = [TimeoutError, RuntimeError, ValueError, OSError, OwnError]
DATA = """
import numpy as np
from skmlp import MomentumMLPClassifier, _cache, _kernels
rng = np.random.RandomState(0)
X, y = rng.normal(size=(90, 9)), np.arange(90) % 3
mlp = MomentumMLPClassifier((40, 12), max_iter=5, batch_size=32, random_state=0)
"""

# -- files ---------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    return tmp_path / "skmlp"


class Fresh:
    """A small entry point as a new process has it: nothing is loaded yet."""

    def __init__(self):
        self.entry = _cache.Entry(_kernels.add.py_func, **_activations.ENTRY)
        G, D = np.ones(3), np.arange(3.0)
        self.entry.prepare("a kind", G, D)
        self.entry(G, D)
        assert_array_equal(G, [1, 2, 3])

    @property
    def is_loaded(self):
        stats = self.entry.run.stats
        hits, misses = (sum(x.values()) for x in (stats.cache_hits, stats.cache_misses))
        assert hits + misses == 1
        return hits == 1


def flipped(content):
    return content[:999] + bytes([content[999] ^ 1]) + content[1000:]


@pytest.mark.parametrize(
    "damage", [lambda x: x[: len(x) // 2], flipped, lambda x: b"", lambda x: x[:31]]
)
def test_a_damaged_file_is_replaced_silently(folder, damage):
    assert not Fresh().is_loaded
    (path,) = folder.iterdir()
    whole = path.read_bytes()
    assert Fresh().is_loaded
    path.write_bytes(damage(whole))
    assert not Fresh().is_loaded
    assert list(folder.iterdir()) == [path]
    assert Fresh().is_loaded


def fails_to_write(path, content):
    raise PermissionError(errno.EACCES, "Permission denied")


def let_none_be_stored(monkeypatch, kernel):
    """A kernel is new, nothing can be loaded or stored, and nobody was told."""
    function = getattr(_kernels, kernel).run.py_func
    entry = _cache.Entry(function, **_activations.ENTRY)
    monkeypatch.setattr(_kernels, kernel, entry)
    monkeypatch.setattr(_cache, "write", fails_to_write)
    monkeypatch.setattr(_cache.MachineCode, "load_overload", lambda *args: None)
    monkeypatch.setattr(_cache.MachineCode, "has_warned", False)


def test_a_folder_that_cannot_be_written_is_read(folder, monkeypatch):
    Fresh()
    monkeypatch.setattr(_cache, "write", fails_to_write)
    assert Fresh().is_loaded


def test_where_the_first_folder_cannot_be_made_the_second_is_used(
    tmp_path, monkeypatch
):
    (tmp_path / "file").touch()
    folders = [tmp_path / "file" / "within", tmp_path / "second"]
    monkeypatch.setattr(_cache, "folders", lambda: folders)
    assert not Fresh().is_loaded
    assert Fresh().is_loaded
    assert len(list(folders[1].iterdir())) == 1


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fails(*args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(_cache.os, "replace", fails)
    with pytest.raises(OSError, match="No space left"):
        _cache.write(tmp_path / "new" / "file", b"content")
    assert list((tmp_path / "new").iterdir()) == []


PROGRAM = (
    DATA
    + """
import sys, warnings
warnings.simplefilter("error")
before = set(sys.modules)
mlp.fit(X, y).fit(X, y).predict(X)
print(sorted(set(sys.modules) - before))
for entry in (_kernels.train_rows, _kernels.predict_rows):
    print(sum(entry.run.stats.cache_hits.values()))
print(mlp.predict_proba(X).tolist(), mlp.loss_)
"""
)


def test_processes_share_what_one_has_compiled(tmp_path):
    """Two compile at once from nothing; another finds what they left; what is damaged
    is made again. No bit of the result differs, no module is loaded late (which an
    interrupt might leave half imported), and nobody hears of it."""
    environment = {"NUMBA_CACHE_DIR": tmp_path}
    both = [start_python(PROGRAM, **environment) for _ in range(2)]
    results = [output_of(process).splitlines() for process in both]
    files = sorted(tmp_path.rglob("*.*"))
    assert [path.suffix for path in files] == [".nbc", ".nbc"]
    for is_damaged in (False, True, False):
        for path in files if is_damaged else []:
            path.write_bytes(path.read_bytes()[:999])
        results.append(run_python(PROGRAM, **environment).splitlines())
    assert sorted(tmp_path.rglob("*.*")) == files
    modules, of_training, of_prediction, numbers = zip(*results, strict=True)
    assert of_training[2:] == of_prediction[2:] == ("1", "0", "1")
    assert set(numbers) == {numbers[0]}
    assert set(modules) == {"[]"}


UNSTORED = (
    DATA
    + """
import warnings
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    mlp.fit(X, y).fit(X, y).predict(X)
    mlp.partial_fit(X, y)
for warning in said:
    print(warning.filename, str(warning.message)[:42])
"""
)


def test_where_nothing_can_be_stored_it_is_said_once(tmp_path):
    """As in a read-only installation without a home that can be written."""
    package = tmp_path / "skmlp"
    package.mkdir()
    for file in Path(skmlp.__file__).parent.glob("*.py"):
        shutil.copy(file, package)
    (package / "__pycache__").write_text("a file where a folder would have to be")
    environment = {"PYTHONPATH": tmp_path, "PYTHONSAFEPATH": 1, "NUMBA_CACHE_DIR": ""}
    environment |= dict.fromkeys(["HOME", "XDG_CACHE_HOME"], "/dev/null")
    out = run_python(UNSTORED, **environment)
    assert out == "<string> The compiled training could not be stored,\n"


# In the first epoch, or after it, where validation data are scored.
@pytest.mark.parametrize("kernel", ["train_rows", "predict_rows"])
def test_where_warnings_are_errors_the_call_that_cannot_store_fails_whole(
    iris, monkeypatch, kernel
):
    data = {"X_val": iris[0], "y_val": iris[1]}
    mlp = plain((6,), max_iter=3, warm_start=True).fit(*iris, **data)
    before = vars(mlp).copy()
    let_none_be_stored(monkeypatch, kernel)
    with pytest.raises(UserWarning, match="could not be stored"):
        mlp.fit(*iris, **data)
    assert vars(mlp) == before
    assert len(mlp.loss_curve_) == mlp.n_iter_
    assert mlp.fit(*iris, **data).n_iter_ == 6


def test_the_warning_points_at_who_predicts_in_threads(digits, monkeypatch):
    """Where a process only predicts, and BLAS may use several threads."""
    mlp, X = plain(max_iter=1).fit(*digits), np.vstack([digits[0]] * 3)
    let_none_be_stored(monkeypatch, "predict_rows")
    with (
        threadpool_limits(2, user_api="blas"),
        pytest.warns(UserWarning, match="could not be stored") as said,
    ):
        mlp.predict(X)
    assert [warning.filename for warning in said] == [__file__]


# -- interrupts ----------------------------------------------------------------------


def signalled(error):
    """What happens where a signal arrives whose handler raises `error`."""

    def raises(*args):
        raise error

    before = signal.signal(signal.SIGALRM, raises)
    try:
        signal.raise_signal(signal.SIGALRM)
    finally:
        signal.signal(signal.SIGALRM, before)


def thrown(error):
    """What happens where another thread throws an exception into this one."""
    kind = ctypes.py_object(type(error))
    me = ctypes.c_ulong(threading.get_ident())
    assert ctypes.pythonapi.PyThreadState_SetAsyncExc(me, kind) == 1
    for _ in range(10**6):
        pass


WAYS = [thrown, *([signalled] if hasattr(signal, "SIGALRM") else [])]
learns_little = partial(plain, (6,), max_iter=5, learning_rate_init=1e-9)
CALLS = {
    "fit": lambda mlp, X, y: mlp.fit(X, y),
    "validated fit": lambda mlp, X, y: mlp.fit(X, y, X_val=X, y_val=y),
    "partial_fit": lambda mlp, X, y: mlp.partial_fit(X, y),
    "predict_proba": lambda mlp, X, y: mlp.predict_proba(X),
    # A training that learned little is looked at, in a compiled call.
    "judged fit": lambda mlp, X, y: learns_little().fit(X, y),
}


@pytest.mark.parametrize("is_in_call", [True, False])
@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("error", ERRORS)
@pytest.mark.parametrize("arrive", WAYS)
def test_what_arrives_during_a_call_reaches_the_caller(
    iris, monkeypatch, arrive, error, name, is_in_call
):
    """While it runs, or while it is prepared: unchanged, nothing is run twice, and the
    estimator is what it was."""
    mlp = plain((6,), max_iter=3, warm_start=True).fit(*iris)
    before, calls, error = vars(mlp).copy(), [], error("it is late")

    def interrupted(run, *args):
        calls.append(run)
        result = run(*args)
        arrive(error)
        return result

    is_training = name in ("fit", "partial_fit")
    kernel = "train_rows" if is_training else "predict_rows"
    if is_in_call:
        replace_kernel(monkeypatch, kernel, interrupted)
    else:
        entry = getattr(_kernels, kernel)
        preparing = partial(interrupted, entry.prepare)
        monkeypatch.setattr(entry, "prepare", lambda *x, **_: preparing(*x))
    with pytest.raises(type(error)) as caught:
        CALLS[name](mlp, *iris)
    assert caught.type is type(error)
    assert arrive is thrown or caught.value is error
    assert len(calls) == 1
    assert vars(mlp) == before


@pytest.mark.parametrize("where", ["read", "load", "write"])
@pytest.mark.parametrize("error", ERRORS)
def test_what_arrives_while_files_are_used_reaches_the_caller(
    folder, monkeypatch, error, where
):
    error = error("it is late")
    if where != "write":
        Fresh()
    with monkeypatch.context() as patch:
        owner, name = {
            "read": (Path, "read_bytes"),
            "load": (_cache.pickle, "loads"),
            "write": (Path, "write_bytes"),
        }[where]
        patch.setattr(owner, name, lambda *args: signalled(error))
        with pytest.raises(type(error)) as caught:
            Fresh()
    assert caught.value is error
    assert Fresh().is_loaded == (where != "write")
    assert len(list(folder.iterdir())) == 1


COMPILING = (
    DATA
    + """
import signal
from numba.core import event

class OwnError(Exception):
    pass

class Interrupter(event.Listener):
    def on_start(self, at_pass):  # one of the compiler's; it takes 1,188 of them
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(signal.SIGALRM)

    def on_end(self, at_pass):
        pass

def late(*args):
    raise error

def check(call, step):
    global error
    before = vars(mlp).copy()
    for i, kind in enumerate(KINDS):
        error, caught, interrupter.left = kind("late"), None, 1 + step * i
        try:
            call()
        except BaseException as reached:
            caught = reached
        assert caught is error and interrupter.left == 0 and vars(mlp) == before
    interrupter.left = np.inf

KINDS = TimeoutError, RuntimeError, ValueError, OSError, OwnError, KeyboardInterrupt
signal.signal(signal.SIGALRM, late)
interrupter = Interrupter()
event.register("numba:run_pass", interrupter)
check(lambda: mlp.fit(X, y), 17)
check(lambda: mlp.partial_fit(X, y, classes=range(3)), 17)
mlp.fit(X, y)
_kernels.predict_rows.run.overloads.clear()
_kernels.predict_rows.prepared.clear()
_cache.MachineCode.load_overload = lambda *args: None
check(lambda: mlp.predict_proba(X), 1)
print(mlp.predict_proba(X).tolist(), mlp.loss_)
"""
)


@pytest.mark.skipif(not hasattr(signal, "SIGALRM"), reason="no such signal")
def test_what_arrives_while_a_first_call_compiles_reaches_the_caller(tmp_path):
    """And then the call can be made again, as if nothing had been."""
    out = run_python(COMPILING, NUMBA_CACHE_DIR=tmp_path)
    quiet = DATA + "mlp.fit(X, y)\nprint(mlp.predict_proba(X).tolist(), mlp.loss_)\n"
    assert out == run_python(quiet, NUMBA_CACHE_DIR=tmp_path)


# -- the end of a process ------------------------------------------------------------

LAST = (
    DATA
    + """
import atexit, threading
from threadpoolctl import threadpool_limits

def last():
    if threading.current_thread() is not threading.main_thread():
        threading.main_thread().join()
    mlp.set_params(verbose=True).fit(X, y)
    print(mlp.predict_proba(np.tile(X, (500, 1))).shape)  # several blocks

threadpool_limits(2, user_api="blas")
"""
)


def test_a_first_call_where_the_script_has_ended(tmp_path):
    """It says that it compiles; later ones load, in a thread or atexit."""
    lines = 2 * ["threading.Thread(target=last).start()"] + ["atexit.register(last)"]
    scripts = [LAST + line for line in lines]
    first, *later = (run_python(each, NUMBA_CACHE_DIR=tmp_path) for each in scripts)
    assert first.startswith("Compiling the training step")
    for out in (first, *later):
        assert out.endswith("(45000, 3)\n")
        assert ("Compiling" in out) == (out is first)


def test_everything_is_compiled_by_one_command(capsys):
    for entry in (_kernels.train_rows, _kernels.predict_rows):
        entry.prepared.clear()
    main()
    out = capsys.readouterr().out
    assert any(str(folder) in out for folder in _cache.folders())
    for entry in (_kernels.train_rows, _kernels.predict_rows):
        assert len(entry.prepared) == 2 * 2  # precisions, kinds of storage
