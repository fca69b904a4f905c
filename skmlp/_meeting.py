"""Where training tasks of many threads meet, and what is then trained together.

A thread that has a task to train brings it here and waits. Tasks of one shape become
stacks; stacks go to processes as these get free, or are trained by the thread of their
first task. No task can tell: each network gets the very numbers it would get alone.
"""

import threading
import warnings
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor
from joblib.parallel import ParallelBackendBase
from scipy.sparse import issparse

from ._batches import rows_at_once
from ._threads import FLOPS_FOR_THREADS
from ._training import Task, train

# What a step of a stack touches, the data apart, should stay near the processor: a
# stack that spills is slower than its members one after the other (measured at 1,437
# samples a step; from 1 to 6 MiB made no difference that could be measured).
STACK_BYTES = 3 * 2**20
# Work (operations) below which another process costs more than it brings.
PROCESS_FLOPS = 1e9


@dataclass(eq=False)
class Waiting:
    """A task at the meeting, and how its thread is woken: trained, or to train."""

    task: Task
    wake: threading.Event = field(default_factory=threading.Event)
    leads: list | None = None  # all that are to be trained, for the one that leads


class Meeting:
    """Where the tasks in flight wait for each other.

    Training begins when no task runs any more: all in flight wait, or train. None is
    left that could still bring something, fail, or end without training. (Starting
    full stacks before was tried twice: no gain that could be measured.)

    width : how many tasks may be in flight.
    n_processes : how many processes train.
    """

    def __init__(self, width, n_processes):
        self.width, self.n_processes = width, n_processes
        self.turn = Turn()
        self.lock = threading.RLock()  # of everything below
        self.n_expected = 0  # tasks handed over that have not ended
        self.waiting, self.training = [], []
        self.away = {}  # future of a stack: the processes that train it
        self.is_open = self.aborted = False

    # -- what the backend tells ---------------------------------------------------

    def expect_one(self):
        with self.lock:
            self.n_expected += 1

    def leave(self):
        with self.lock:
            self.n_expected -= 1
            self.begin()

    def open(self):
        """No more tasks are handed over unless others end."""
        with self.lock:
            self.is_open = True
            self.begin()

    def abort(self):
        with self.lock:
            self.aborted = True
            for pool in set(self.away.values()):
                discard(pool)
                pool.shutdown(wait=False, kill_workers=True)
            for member in self.waiting + self.training:
                member.wake.set()

    # -- what a task's thread does ------------------------------------------------

    def train(self, task):
        """Wait until `task` is trained."""
        own = Waiting(task)
        with self.lock:
            self.check()
            share_data(task, [other.task for other in self.waiting + self.training])
            self.waiting.append(own)
            self.begin()
        with self.turn.given_up():
            own.wake.wait()
        if own.leads is not None:
            self.train_here(own.leads)
        self.check()

    def train_here(self, stack):
        tasks = [member.task for member in stack]
        try:
            train_stack(tasks, self.check)
        except BaseException as error:  # such as KeyboardInterrupt
            for task in tasks:
                task.error = task.error or error
        finally:
            self.release(stack)

    def check(self):
        if self.aborted:
            raise KeyboardInterrupt

    # -- scheduling, with the lock held -------------------------------------------

    def begin(self):
        """Train all that wait, if no task runs any more."""
        in_flight = min(self.n_expected, self.width)
        n_running = in_flight - len(self.waiting) - len(self.training)
        if self.aborted or not self.is_open or n_running > 0:
            return
        groups = group_by_shape(self.waiting)
        self.training += self.waiting
        self.waiting = []
        for group in groups:
            leaves = self.n_processes > 1 and may_leave(group)
            for stack in split(group, self.n_processes if leaves else 1):
                if leaves:
                    self.send(stack)
                else:
                    self.lead(stack)

    def lead(self, stack):
        """Have the thread of a stack's first task train it."""
        stack[0].leads = stack
        stack[0].wake.set()

    def send(self, stack):
        """Have another process train a stack."""
        pool = processes(self.n_processes)
        try:
            future = pool.submit(outcomes, [member.task for member in stack])
        except RuntimeError:  # the processes were lost before
            discard(pool)
            self.lead(stack)
            return
        self.away[future] = pool
        future.add_done_callback(partial(self.collect, stack))

    def collect(self, stack, future):
        with self.lock:
            pool = self.away.pop(future)
            if self.aborted:
                return
            if future.exception() is not None:
                # The process was lost, but nothing of its tasks: they are here.
                discard(pool)
                self.lead(stack)
            else:
                for member, outcome in zip(stack, future.result(), strict=True):
                    member.task.state, member.task.error = outcome
                self.release(stack)
            self.begin()

    def release(self, stack):
        with self.lock:
            self.training = [m for m in self.training if m not in stack]
        for member in stack:
            member.wake.set()


class Turn:
    """The right to run, which one thread has at a time.

    Threads that run Python at once hinder each other: half of a search's time outside
    training went into their passing the interpreter to and fro. And the warnings
    filters, which a task may change, belong to the process: whose turn it is finds its
    own.
    """

    FILTERS = ("filters", "showwarning", "_showwarnmsg_impl")

    def __init__(self):
        self.lock = threading.Lock()
        self.outside = self.filters()

    @contextmanager
    def taken(self):
        with self.lock:
            yield

    @contextmanager
    def given_up(self):
        own = self.filters()
        self.set_filters(self.outside)
        self.lock.release()
        try:
            yield
        finally:
            self.lock.acquire()
            self.set_filters(own)

    def filters(self):
        return {name: getattr(warnings, name, None) for name in self.FILTERS}

    def set_filters(self, filters):
        vars(warnings).update(filters)
        with warnings.catch_warnings():
            pass  # as its side effect, warnings forgets what it remembers of filters


_pools: dict = {}


def processes(number):
    """The processes that train, one BLAS thread each; they end when idle for long.

    Not loky's reusable executor: that one is joblib's own, for backend="loky".
    """
    if number not in _pools:
        threads = dict.fromkeys(ParallelBackendBase.MAX_NUM_THREADS_VARS, "1")
        _pools[number] = ProcessPoolExecutor(number, timeout=300, env=threads)
    return _pools[number]


def discard(pool):
    """Let the next stack have new processes."""
    for number in [number for number, other in _pools.items() if other is pool]:
        del _pools[number]


def train_stack(tasks, check=None):
    """Train tasks together. If that fails as a whole, each alone: what is wrong with
    one of them is its error, and no other's."""
    try:
        train(tasks, check)
    except Exception as error:
        if len(tasks) == 1:
            tasks[0].error = tasks[0].error or error
            return
        for task in tasks:
            train_stack([task], check)


def outcomes(tasks):
    """In another process: train, and return the state and error of each task."""
    train_stack(tasks)
    return [(task.state, task.error) for task in tasks]


def share_data(task, others):
    """Hold equal training data once: replace `task`'s by an equal one of `others`."""
    for name in ("X", "y", "sample_weight"):
        own = getattr(task, name)
        for theirs in {id(getattr(o, name)): getattr(o, name) for o in others}.values():
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


def group_by_shape(members):
    """Lists of the members whose tasks one stack can hold."""
    groups = defaultdict(list)
    for member in members:
        task = member.task
        key = (
            task.architecture,
            task.X.shape[0],
            task.X.dtype,
            issparse(task.X),
            task.batch_size,
            task.nesterovs_momentum,
            is_portable(task),
        )
        groups[key].append(member)
    return list(groups.values())


def stack_width(task):
    """How many networks like this task's fit near the processor."""
    n_units = sum(task.architecture.layer_sizes[1:])
    # Activations and their gradients; parameters, gradients, velocities, decay.
    numbers = 2 * rows_at_once(task.batch_size) * n_units
    numbers += 4 * task.architecture.n_params
    return max(STACK_BYTES // (numbers * task.X.dtype.itemsize), 1)


def split(group, n_processes):
    """Stacks of one group: near the processor, and where there are enough networks as
    many for each process."""
    n_stacks = -(-len(group) // stack_width(group[0].task))
    n_stacks = min(-(-n_stacks // n_processes) * n_processes, len(group))
    group = sorted(group, key=lambda m: id(m.task.X))  # equal data side by side
    return [list(part) for part in np.array_split(np.array(group, object), n_stacks)]


def is_portable(task):
    """Whether another process can train a task: it calls nobody back here, and BLAS
    would not use several threads for it here, whose results could differ."""
    return (
        task.begin_epoch is None
        and task.end_epoch is None
        and not task.verbose
        and (task.validation is None or task.validation.score is None)
        and task.flops < FLOPS_FOR_THREADS
    )


def may_leave(group):
    """Whether other processes can train a group, and it is worth their while."""
    operations = sum(
        6.0 * task.architecture.n_weights * task.X.shape[0] * task.n_epochs
        for task in (member.task for member in group)
    )
    return is_portable(group[0].task) and operations >= PROCESS_FLOPS
