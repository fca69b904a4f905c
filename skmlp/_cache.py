"""Compiled functions, and their machine code on disk for the next process.

Compiling takes seconds, so machine code is stored: beside the package, in the user's
cache folder, or where NUMBA_CACHE_DIR says. Numba has such a cache, too; this one also
reads a folder that it cannot write, and replaces a file whose checksum is wrong.

`prepare`, which compiles or loads, is a step of its own before the call: an exception
that a signal's handler raises during either reaches the caller.
"""

import hashlib
import os
import pickle
import sys
import warnings
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from uuid import uuid4

import llvmlite
import numba.core.boxing
import numba.core.runtime.context
from numba import config, njit, typeof
from numba.core.caching import NullCache
from numba.core.compiler import CompileResult
from numba.core.registry import cpu_target
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

from ._stacklevel import stacklevel

# Numba imports some seventy modules in its first compilation. They are imported here
# because Python can repeat an import that was interrupted.
cpu_target.typing_context.refresh()
cpu_target.target_context.refresh()


class Entry:
    """A function that Python calls, compiled by njit(**options) and cached."""

    def __init__(self, function, **options):
        self.run = njit(**options)(function)
        self.prepared = set()
        if self.run is not function:  # not with NUMBA_DISABLE_JIT=1
            self.run._cache = MachineCode(function)

    def prepare(self, kind, *args, before_compiling=None):
        """Compile it for arguments like these, or load it.

        kind : hashable
            What tells the arguments' types apart, so that a second call is quick.
        before_compiling : callable() or None
            Called where nothing can be loaded, and seconds will pass.
        """
        if kind not in self.prepared:
            if hasattr(self.run, "compile"):
                self.run._cache.before_compiling = before_compiling
                self.run.compile(tuple(map(typeof, args)))
            self.prepared.add(kind)

    def __call__(self, *args):
        return self.run(*args)


class MachineCode(NullCache):
    """The compiled versions of one function on disk, a file for each.

    A file holds the SHA-256 of the rest, then the rest. Its name holds the hash of all
    that the code depends on: the source, the releases of Python and Numba, the
    processor, the types of the arguments.
    """

    has_warned = False
    before_compiling = None

    def __init__(self, function):
        self.name, self.stamp = function.__name__, stamp()

    def load_overload(self, sig, target_context):
        for path in self._paths(sig, target_context.codegen()):
            try:
                content = path.read_bytes()
            except OSError as error:
                raise_if_not_the_systems(error)
                continue
            if content[:32] == hashlib.sha256(content[32:]).digest():
                payload = pickle.loads(content[32:])
                return CompileResult._rebuild(target_context, *payload)
        if self.before_compiling is not None:
            self.before_compiling()
        return None

    def save_overload(self, sig, data):
        content = dumps(data._reduce())
        content = hashlib.sha256(content).digest() + content
        failures = []
        for path in self._paths(sig, data.codegen):
            try:
                return write(path, content)
            except OSError as error:
                raise_if_not_the_systems(error)
                failures.append(f"{path.parent}: {error.strerror}")
        if not self.has_warned:
            MachineCode.has_warned = True
            warnings.warn(
                "The compiled training could not be stored, so that each process takes "
                f"seconds to compile it ({'; '.join(failures)}). Set the environment "
                "variable NUMBA_CACHE_DIR to a folder that only you can write in.",
                stacklevel=stacklevel(),
            )

    def _paths(self, sig, codegen):
        """Where the code for these argument types may lie, best first."""
        key = repr((self.stamp, str(sig), codegen.magic_tuple()))
        name = f"{self.name}.{hashlib.sha256(key.encode()).hexdigest()[:32]}.nbc"
        return [folder / name for folder in folders()]


@cache  # for all entries
def stamp():
    """What all machine code depends on: sources, releases, compiler options."""
    modules = "_kernels", "_activations", "_blas", "_network"
    specs = [find_spec(f"{__package__}.{name}") for name in modules]
    sources = [spec.loader.get_source(spec.name) for spec in specs]
    ours = version("skmlp")  # where a frozen program has no sources
    releases = ours, numba.__version__, llvmlite.__version__, sys.version
    options = config.OPT, config.DEBUGINFO_DEFAULT, config.BOUNDSCHECK
    return repr((sources, releases, str(options)))


def folders():
    """Where machine code is looked for, and stored in the first that can be written."""
    if config.CACHE_DIR:
        return [Path(config.CACHE_DIR, "skmlp")]
    user = AppDirs(appname="numba", appauthor=False).user_cache_dir
    return [Path(__file__).parent / "__pycache__", Path(user, "skmlp")]


def raise_if_not_the_systems(error):
    """An OSError may also come from a signal's handler, as TimeoutErrors do: it is the
    caller's. (Those of the system have a number.)"""
    if error.errno is None or isinstance(error, TimeoutError):
        raise error


def write(path, content):
    """Write a file at once or not at all, whatever other processes do meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.{uuid4().hex}")
    try:
        part.write_bytes(content)
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
