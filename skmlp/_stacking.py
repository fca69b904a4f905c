"""The joblib backend "skmlp": fits that are in flight together train as stacks.

joblib hands each of its tasks (a fit and its scoring, say) to a thread of its own. A
task whose ``fit`` has something to train takes it to the meeting of all of them, and
goes on when it is trained.
"""

import threading
import traceback
from collections import deque
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial

import joblib
from joblib.parallel import FallbackToBackend, ParallelBackendBase, SequentialBackend

from ._meeting import Meeting
from ._training import train

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
    Everything else that the tasks do is done in this process, one task at a time.
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
        self.parallel = None

    def effective_n_jobs(self, n_jobs):
        """The slots that joblib may fill, whatever the number of processes."""
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        return self.width

    def configure(self, n_jobs=1, parallel=None, **kwargs):
        if self.parallel not in (None, parallel):
            # All Parallel objects of a context are given the same backend object;
            # but two of them may be alive at once.
            raise FallbackToBackend(type(self)(self.nesting_level, self.width))
        n_slots = super().configure(n_jobs, parallel)
        if n_jobs is None or n_jobs < 0:
            n_jobs = max(joblib.cpu_count() + 1 + (n_jobs or -1), 1)
        self.n_processes = n_jobs
        return n_slots

    def start_call(self):
        self.meeting = Meeting(self.width, self.n_processes)
        self.threads = Threads(self.width)

    def stop_call(self):
        self.threads.join()

    def submit(self, func, callback=None):
        future = Future()
        self.meeting.expect_one()
        self.threads.run(partial(run_task, self.meeting, func, future, callback))
        return future

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, out):
        return out.result()

    @contextmanager
    def retrieval_context(self):
        # joblib has handed over all that it will without results to wait for.
        self.meeting.open()
        yield

    def abort_everything(self, ensure_ready=True):
        self.meeting.abort()

    def get_nested_backend(self):
        # What a task does in parallel itself it does in its own thread.
        return SequentialBackend(nesting_level=(self.nesting_level or 0) + 1), None


def run_task(meeting, func, future, callback):
    """Run one joblib task in this thread, as a member of the meeting."""
    _task_of_thread.meeting = meeting
    try:
        with meeting.turn.taken():
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


class Threads:
    """At most `width` threads that run what comes.

    Unlike those of concurrent.futures, they do not keep the interpreter from ending:
    a task waits for ever where nobody asks joblib for the results.
    """

    def __init__(self, width):
        self.width, self.n_busy = width, 0
        self.lock = threading.Lock()
        self.jobs, self.started = deque(), []

    def run(self, job):
        with self.lock:
            self.jobs.append(job)
            if self.n_busy < self.width:
                self.n_busy += 1
                thread = threading.Thread(target=self.work, name="skmlp", daemon=True)
                self.started.append(thread)
                thread.start()

    def work(self):
        while True:
            with self.lock:
                if not self.jobs:
                    self.n_busy -= 1
                    return
                job = self.jobs.popleft()
            job()

    def join(self):
        for thread in self.started:
            thread.join()


joblib.register_parallel_backend("skmlp", StackingBackend)
