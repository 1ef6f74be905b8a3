"""The parent's side of `worker`: starting the processes that train, and answering what they send."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from contextlib import suppress
from multiprocessing import Pipe
from typing import Any

from policygrad._support.child_processes import SIGNALS, RemoteTraceback, exit_in_words
from policygrad.errors import RunProcessError
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Progress
from policygrad.runs.run import Run
from policygrad.scheduling.job import Job, what_is_left
from policygrad.scheduling.sending import Parcel, SendingError, unpacked_result
from policygrad.scheduling.worker import SAVE, Order

CHECK = 0.1
"""Seconds between two checks of whether training should end, or a process has ended."""
FAREWELL = 10.0
"""Seconds that a process has to end by itself when nothing is left to do."""
ONE_THREAD = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM")}
START = """
import sys
sys.path[:] = {path}
from policygrad._support.garbage_pause import collection_paused
with collection_paused():
    from policygrad.scheduling.worker import main
main({descriptor})
"""


def shown(kind: str, content: Any, display: Progress) -> bool:
    """Show what a worker reports while it trains; return False for the message that answers the order."""
    if kind == "say":
        display.say(content)
    elif kind == "row":
        display.update(content)
    elif kind == "warning":
        text, category, filename, line = content
        warnings.warn_explicit(text, category, filename, line)
    else:
        return False
    return True


def run_in(kind: str, content: Any, display: Progress) -> Run | None:
    """Return the run in the message that answers an order, or raise the error in it: see `WorkerProcesses.run`."""
    if kind == "unusable":
        raise SendingError(f"what was sent to another process could not be restored there: {content}")
    if kind == "failed":
        error, run, *trace = unpacked_result(content)
        with suppress(AttributeError):
            error.run = run
        raise error from RemoteTraceback(*trace)
    run = unpacked_result(content)
    if run is not None and run.updates:
        display.update(run.updates.latest)
    return run


class WorkerProcesses:
    """Trains jobs in processes, each of which trains one job at a time.

    A process is started when a job finds none that is idle. All of them end with this context.
    """

    def __init__(self) -> None:
        self._all: list[_WorkerProcess] = []
        self._idle: list[_WorkerProcess] = []
        self._unusable: dict[str, SendingError] = {}

    def __enter__(self) -> WorkerProcesses:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._all:
            process.release()
        for process in self._all:
            process.join()

    def kill(self) -> None:
        """Kill all processes."""
        for process in self._all:
            process.kill()

    def run(self, job: Job, parcel: Parcel, display: Progress, interruption: Interruption) -> Run | None:
        """Train a job, and wait until its run ends. Several threads may call this at a time.

        Args:
            job: the job.
            parcel: its experiment, as `packed` returns it.
            display: shows what the process reports.
            interruption: says when the process should save and end.

        Returns:
            The run, or None if training was to end before it began.

        Raises:
            SendingError: the process could not restore the experiment.
            RunProcessError: the process ended.
            Exception: whatever ended the run, with `RemoteTraceback` as its cause.
        """
        if parcel.key in self._unusable:
            raise self._unusable[parcel.key]
        try:
            process = self._idle.pop()
        except IndexError:
            process = _WorkerProcess()
            self._all.append(process)
        try:
            run = process.run(job, parcel, display, interruption)
        except SendingError as error:
            self._unusable[parcel.key] = error
            raise
        finally:
            # after an error it is as good as before, unless it has ended
            if process.alive:
                self._idle.append(process)
        return run


class _WorkerProcess:
    """A process that executes `worker.main`, in a new interpreter that does not import the caller's `__main__`."""

    def __init__(self) -> None:
        self._connection, theirs = Pipe()
        code = START.format(path=[str(path) for path in sys.path], descriptor=theirs.fileno())
        # the process inherits which signals are blocked, so that none can end it while it starts
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", code],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env=os.environ | ONE_THREAD,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        self._known: set[str] = set()

    def run(self, job: Job, parcel: Parcel, display: Progress, interruption: Interruption) -> Run | None:
        data = None if parcel.key in self._known else parcel.data
        self._known.add(parcel.key)
        order = Order(parcel.key, data, job.seed, job.out, job.episodes, job.name)
        self._send(order)
        saves = False
        while True:
            if interruption.requested and not saves:
                saves = True
                self._send(SAVE)
            message = self._next_message(order)
            if message is None:
                continue
            if not shown(*message, display):
                return run_in(*message, display)

    def _next_message(self, order: Order) -> tuple[str, Any] | None:
        """Return the next message, or None if there is none yet; raise RunProcessError if the process has ended."""
        with suppress(EOFError, OSError):
            if self._connection.poll(CHECK):
                return self._connection.recv()
            # a process that the worker has forked may hold the worker's end of the connection open
            if self._process.poll() is None or self._connection.poll():
                return None
        code = self._process.wait()
        why = " This is often due to a lack of memory." if code == -signal.SIGKILL else ""
        raise RunProcessError(
            f"the process that trained seed {order.seed} ended unexpectedly ({exit_in_words(code)}).{why} "
            f"{what_is_left(order.out)}."
        )

    def _send(self, message: Any) -> None:
        """Send a message. If the process has ended, the next attempt to receive one says so."""
        with suppress(OSError):
            self._connection.send(message)

    @property
    def alive(self) -> bool:
        """True if the process has not ended."""
        return self._process.poll() is None

    def release(self) -> None:
        """Let the process end."""
        self._send(None)
        self._connection.close()

    def join(self) -> None:
        """Wait until the process ends; kill it if it does not."""
        try:
            self._process.wait(FAREWELL)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def kill(self) -> None:
        self._process.kill()
