"""Threads of our own, since compiled code holds no interpreter lock."""

import os
import threading
import weakref
from queue import SimpleQueue


class Team:
    """Threads for many calls of `map`: n_threads, the caller's included, or fewer where
    the system gives no more. They end with the `with` block, or with the team where an
    interrupt kept that from doing its work."""

    def __init__(self, n_threads):
        self.process, self.threads, self.has_failed = os.getpid(), [], False
        self.work, self.done = SimpleQueue(), SimpleQueue()
        weakref.finalize(self, self.work.put, None).atexit = False
        for _ in range(n_threads - 1):
            queues = self.work, self.done
            thread = threading.Thread(target=serve, args=queues, daemon=True)
            try:
                thread.start()
            except RuntimeError:
                if thread.ident is not None:  # it did start: a signal's handler raised
                    raise
                break
            self.threads.append(thread)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.has_failed = True  # an interrupt may have left work to do
        self.work.put(None)
        for thread in self._helpers():
            thread.join()

    def _helpers(self):
        return self.threads if os.getpid() == self.process else []  # not after a fork

    def map(self, function, items):
        """[function(item) for item in items], shared among the threads."""
        results, errors, turns = [None] * len(items), [], iter(range(len(items)))
        self.has_failed = False

        def work():
            try:
                for i in turns:  # each i goes to one thread
                    if self.has_failed:
                        break
                    results[i] = function(items[i])
            except BaseException as error:
                errors.append(error)
                self.has_failed = True  # a long function may look at it

        helpers = self._helpers()
        for _ in helpers:
            self.work.put(work)
        work()
        for _ in helpers:
            self.done.get()
        if errors:
            raise errors[0]
        return results


def serve(work, done):
    """What a thread does: without the team, which would never end otherwise."""
    while (task := work.get()) is not None:
        task()
        del task
        done.put(None)
    work.put(None)  # for the next thread
