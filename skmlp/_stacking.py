"""The joblib backend "skmlp": fits that are in flight together train as stacks.

joblib hands each of its tasks (a fit and its scoring, say) to a thread of its own. A
task whose ``fit`` has something to train leaves it at a meeting and waits. When every
task in flight waits, whatever can be trained side by side is stacked, the stacks are
spread over processes, and all tasks go on with their results. No task can tell: each
network gets the very numbers it would get alone.
"""

import threading
import traceback
import warnings
from collections import defaultdict
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache

import joblib
import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from joblib.parallel import ParallelBackendBase, SequentialBackend
from scipy.sparse import issparse

from ._threads import FLOPS_FOR_THREADS
from ._training import Task, train

# A stack's activations should stay near the processor: a stack that spills is slower
# than its members one after the other (measured at 1,437 samples a step).
STACK_BYTES = 2**21
# Work (operations) below which another process costs more than it brings.
PROCESS_FLOPS = 2e9

_task_of_thread = threading.local()


def train_task(task):
    """Train a task: with others where the backend runs this thread, else alone."""
    meeting = getattr(_task_of_thread, "meeting", None)
    if meeting is None:
        train([task])
    else:
        meeting.train(task)


class StackingBackend(ParallelBackendBase):
    """joblib backend that trains the MomentumMLPClassifiers in flight as stacks.

    Selected with ``joblib.parallel_config(backend="skmlp")``.

    Parameters
    ----------
    width : int >= 1, default=64
        How many tasks may be in flight. Each holds its part of the data, so this
        bounds the memory.

    Notes
    -----
    ``n_jobs`` is the number of processes that train, by default all processors.
    """

    supports_retrieve_callback = True
    supports_sharedmem = True
    uses_threads = True
    default_n_jobs = -1

    def __init__(self, nesting_level=None, width=64, **kwargs):
        super().__init__(nesting_level=nesting_level, **kwargs)
        if not isinstance(width, int) or width < 1:
            raise ValueError(f"width={width!r} was given, but expected an int >= 1.")
        self.width = width
        self._meeting = self._threads = None

    def effective_n_jobs(self, n_jobs):
        """The slots that joblib may fill, whatever the number of processes."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return self.width

    def configure(self, n_jobs=1, parallel=None, **kwargs):
        n_slots = super().configure(n_jobs, parallel)
        if n_jobs is None or n_jobs < 0:
            n_jobs = max(joblib.cpu_count() + 1 + (n_jobs or -1), 1)
        self.n_processes = n_jobs
        return n_slots

    def start_call(self):
        # scikit-learn's tasks set and restore the warnings filters, which threads
        # share: what they leave behind is undone when all of them are through.
        self._warnings = warnings.catch_warnings()
        self._warnings.__enter__()
        self._meeting = Meeting(self.width, self.n_processes)
        self._threads = ThreadPoolExecutor(self.width, "skmlp")

    def stop_call(self):
        try:
            self._threads.shutdown(wait=True, cancel_futures=True)
        finally:
            self._warnings.__exit__(None, None, None)

    def submit(self, func, callback=None):
        future = Future()
        self._meeting.expect_one()
        self._threads.submit(run_task, self._meeting, func, future, callback)
        return future

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out):
        return out.result()

    @contextmanager
    def retrieval_context(self):
        # joblib has handed over all that it will without results to wait for.
        self._meeting.open()
        yield

    def abort_everything(self, ensure_ready=True):
        self._meeting.abort()

    def get_nested_backend(self):
        # What a task does in parallel itself it does in its own thread.
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


def run_task(meeting, func, future, callback):
    """Run one joblib task in this thread, as a member of the meeting."""
    _task_of_thread.meeting = meeting
    try:
        if meeting.aborted:
            return
        try:
            future.set_result(func())
        except BaseException as error:
            # joblib drops the traceback of an error that it passes on.
            text = "".join(traceback.format_tb(error.__traceback__))
            error.add_note(f"It was raised in a task of backend 'skmlp':\n{text}")
            future.set_exception(error)
        callback(future)  # may submit the next task, before this one has left
    finally:
        _task_of_thread.meeting = None
        meeting.leave()


@dataclass
class Waiting:
    """A task at the meeting, and how its thread is woken: trained, or to lead."""

    task: Task
    wake: threading.Event = field(default_factory=threading.Event)
    leads: list | None = None  # all that are to be trained, for the one that leads


class Meeting:
    """Where the tasks in flight wait for each other.

    Training begins when as many tasks wait as can be in flight: none is left that
    could still bring something, fail, or end without ever training. The thread of
    the first that came then trains them all.
    """

    def __init__(self, width, n_processes):
        self.width, self.n_processes = width, n_processes
        self.lock = threading.Lock()
        self.n_expected = 0  # tasks handed over that have not ended
        self.waiting = []
        self.is_open = self.aborted = False

    def expect_one(self):
        with self.lock:
            self.n_expected += 1

    def leave(self):
        with self.lock:
            self.n_expected -= 1
            self.begin_if_complete()

    def open(self):
        with self.lock:
            self.is_open = True
            self.begin_if_complete()

    def abort(self):
        with self.lock:
            self.aborted = True
            for member in self.waiting:
                member.wake.set()

    def begin_if_complete(self):
        in_flight = min(self.n_expected, self.width)
        if self.is_open and self.waiting and len(self.waiting) == in_flight:
            first, members = self.waiting[0], self.waiting
            self.waiting, first.leads = [], members
            first.wake.set()

    def train(self, task):
        """Wait until `task` is trained."""
        own = Waiting(task)
        with self.lock:
            self.check()
            share_data(task, [member.task for member in self.waiting])
            self.waiting.append(own)
            self.begin_if_complete()
        own.wake.wait()
        if own.leads is not None:
            self.train_all([member.task for member in own.leads])
            for member in own.leads:  # train_all never raises: all are woken
                member.wake.set()
        self.check()

    def train_all(self, tasks):
        """Train tasks that arrived together; what goes wrong is their error."""
        try:
            stacks = [
                stack
                for group in group_by_shape(tasks)
                for stack in split(group, self.n_processes)
            ]
            here, elsewhere = stacks, []
            if self.n_processes > 1 and len(stacks) > 1:
                elsewhere = [stack for stack in stacks if may_leave(stack)]
                here = [stack for stack in stacks if not may_leave(stack)]
            if sum(map(work, elsewhere)) < PROCESS_FLOPS:
                here, elsewhere = stacks, []
            self.train_in_processes(elsewhere, here)
        except BaseException as error:
            for task in tasks:
                task.error = task.error or error

    def train_in_processes(self, elsewhere, here):
        """Train some stacks in other processes and the rest in this thread."""
        futures = {}
        for stack in elsewhere:
            try:
                futures[processes(self.n_processes).submit(train_stack, stack)] = stack
            except RuntimeError:  # the processes were lost before, or shut down
                processes.cache_clear()
                here = [*here, stack]
        try:
            for stack in here:
                train(stack, self.check)
            while wait(futures, timeout=0.1).not_done:
                self.check()
        except KeyboardInterrupt:
            if futures:
                processes(self.n_processes).shutdown(wait=False, kill_workers=True)
                processes.cache_clear()
            raise
        for future, stack in futures.items():
            if future.exception() is None:
                for task, outcome in zip(stack, future.result(), strict=True):
                    task.state, task.error = outcome
            else:  # its process was lost, but nothing of its tasks: they are here
                processes.cache_clear()
                train(stack, self.check)

    def check(self):
        if self.aborted:
            raise KeyboardInterrupt


@cache
def processes(number):
    """The processes that train, one BLAS thread each; they end when idle for long.

    Not loky's reusable executor: that one is joblib's own, for backend="loky".
    """
    threads = dict.fromkeys(ParallelBackendBase.MAX_NUM_THREADS_VARS, "1")
    return ProcessPoolExecutor(number, timeout=300, env=threads)


def train_stack(stack):
    """In another process: the state and error of each task."""
    train(stack)
    return [(task.state, task.error) for task in stack]


def share_data(task, others):
    """Hold equal training data once: replace `task`'s by an equal one of `others`."""
    for name in ("X", "y", "sample_weight"):
        own = getattr(task, name)
        for other in others:
            theirs = getattr(other, name)
            if theirs is own or same(own, theirs):
                setattr(task, name, theirs)
                break


def same(a, b):
    if a is None or b is None or type(a) is not type(b):
        return False
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if issparse(a):
        return all(
            same(getattr(a, p), getattr(b, p)) for p in ("indptr", "indices", "data")
        )
    # Most that differ do so early.
    return np.array_equal(a[:8], b[:8]) and np.array_equal(a, b)


def group_by_shape(tasks):
    """Lists of the tasks that one stack can hold."""
    groups = defaultdict(list)
    for task in tasks:
        key = (
            task.architecture,
            task.X.shape[0],
            task.X.dtype,
            issparse(task.X),
            task.batch_size,
            task.nesterovs_momentum,
            may_leave([task]),
        )
        groups[key].append(task)
    return groups.values()


def split(group, n_processes):
    """Stacks of one group's tasks: near the processor, and some for each process."""
    task = group[0]
    n_units = sum(task.architecture.layer_sizes[1:])
    step_bytes = 2 * task.batch_size * n_units * task.X.dtype.itemsize
    width = max(STACK_BYTES // step_bytes, 1)
    n_stacks = max(-(-len(group) // width), min(n_processes, len(group)))
    group = sorted(group, key=lambda task: id(task.X))  # equal data side by side
    return [list(part) for part in np.array_split(np.array(group, object), n_stacks)]


def may_leave(stack):
    """Whether other processes can train a stack: it calls nobody back here, and BLAS
    would not use several threads for it here, whose results could differ."""
    return all(
        task.begin_epoch is None
        and task.end_epoch is None
        and not task.verbose
        and (task.validation is None or task.validation.score is None)
        and task.architecture.flops(task.batch_size) < FLOPS_FOR_THREADS
        for task in stack
    )


def work(stack):
    """Operations that a stack's products take."""
    return sum(
        6.0 * task.architecture.n_weights * task.X.shape[0] * task.n_epochs
        for task in stack
    )


joblib.register_parallel_backend("skmlp", StackingBackend)
