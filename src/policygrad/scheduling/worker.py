"""A worker: a process that trains one job after another, as `worker_process.WorkerProcess` tells it to.

It ignores Ctrl-C, because its parent receives it as well. SIGTERM asks it to save and to stop. It sends this signal to
itself if its parent asks for that, or is gone.
"""

from __future__ import annotations

import os
import signal
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from policygrad._support.child_processes import SIGNALS, leave_to_parent, pack_failure
from policygrad._support.console import relay_messages
from policygrad._support.lookup import working_directory_importable
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Silent
from policygrad.runs.run import Run
from policygrad.scheduling.job import Job
from policygrad.scheduling.sending import Parcel, packed_result, unpacked, unpacked_result

SAVE = "save"
"""Message to a worker: save, and train no further."""
ROW_INTERVAL = 0.1
"""Seconds between two rows of metrics that a worker sends to be displayed."""
PARENT_CHECK = 1.0
"""Seconds between two checks of whether the parent still exists."""
LONGEST_SAVING = 60.0
"""Seconds after which a worker that has lost its parent ends, even if it has not finished saving."""


@dataclass(frozen=True)
class Order:
    """Message to a worker: train this job. None instead of an order ends the worker."""

    experiment: str
    """Key of the experiment's `Parcel`."""
    parcel: bytes | None
    """The parcel's data, if the worker does not have the experiment yet."""
    seed: int
    out: Path | None
    episodes: int
    name: str
    again: bool = False
    """The job was begun before, and its run is resumed if it was saved."""


def main(descriptor: int) -> None:
    """Train as the parent says, which holds the other end of the connection with this file descriptor."""
    leave_to_parent(*(number for number in SIGNALS if number != signal.SIGTERM))
    connection = Connection(descriptor)
    sending = threading.Lock()

    def send(kind: str, content: Any) -> None:
        # without a parent it is dropped, because the run is being saved and ends
        with sending, suppress(OSError):
            connection.send((kind, content))

    parent = Parent(send)
    relay_messages(parent.say)
    warnings.showwarning = parent.warn
    # it has been blocked since this process was created, so that it cannot arrive before the handler that follows
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    orders: SimpleQueue[Order | None] = SimpleQueue()
    # the parent itself says that it was interrupted
    with Interruption(lambda message: None) as interruption, interruption.saving:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        threading.Thread(target=_listen, args=(connection, orders), daemon=True).start()
        known = dict[str, tuple[Experiment, Parcel]]()
        while (order := orders.get()) is not None:
            parent.send(*answer(order, known, parent, interruption))


def answer(
    order: Order, known: dict[str, tuple[Experiment, Parcel]], parent: Parent, interruption: Interruption
) -> tuple[str, Any]:
    """Train, and return the message that answers an order.

    The experiments that are `known` keep the classes of their parcels.
    """
    if order.parcel is not None:
        try:
            with working_directory_importable():
                contents, parcel = unpacked(order.parcel)
            contents.register()
        except Exception as error:
            return "unusable", f"{type(error).__name__}: {error}"
        known[order.experiment] = contents.experiment, parcel
    run = None
    try:
        if not interruption.requested:
            experiment = known[order.experiment][0]
            if order.again:
                settings = replace(experiment.settings, resume=True, overwrite=False, out=order.out)
                experiment = replace(experiment, settings=settings)
            job = Job(experiment, order.seed, order.out, order.episodes, order.name)
            with interruption.opening:
                run = job.train(parent, interruption)
    except KeyboardInterrupt:
        # before the first update
        pass
    except BaseException as error:
        return _failure(error, getattr(error, "run", None))
    try:
        return "ended", packed_result(run)
    except Exception as error:
        text = (
            f"the run with seed {order.seed} has ended, but it cannot be sent to the main process: {error}. What it "
            "saved in out (--out) is complete. Use parallel='threads' (--parallel threads)."
        )
        return _failure(TypeError(text).with_traceback(error.__traceback__), None)


def _failure(error: BaseException, run: Run | None) -> tuple[str, bytes]:
    """Return the message that a run raised an error, which is replaced by a RuntimeError if it cannot be sent."""
    return "failed", pack_failure(
        error, lambda sent, trace: packed_result((sent, run, *trace)), unpacked_result
    )


def _listen(connection: Connection, orders: SimpleQueue[Order | None]) -> None:
    """Pass on the parent's messages in a separate thread, until it ends this worker or is gone."""
    parent_id, main = os.getppid(), threading.main_thread().ident
    assert main is not None
    try:
        while True:
            # a process that the parent has forked may hold its end of the connection open
            while not connection.poll(PARENT_CHECK):
                if os.getppid() != parent_id:
                    raise EOFError
            message: Any = connection.recv()
            if message == SAVE:
                signal.pthread_kill(main, signal.SIGTERM)
                continue
            orders.put(message)
            if message is None:
                return
    except (EOFError, OSError):
        signal.pthread_kill(main, signal.SIGTERM)
        orders.put(None)
        time.sleep(LONGEST_SAVING)
        os._exit(1)


class Parent(Silent):
    """The display of the process that gave the order, to which messages, warnings and rows of metrics are sent.

    Args:
        send: sends a message, given its kind and its content. Several threads may call it.
    """

    def __init__(self, send: Callable[[str, Any], None]) -> None:
        self.send = send
        self._sent = 0.0

    def say(self, message: str) -> None:
        """Send what a run says."""
        self.send("say", message)

    def warn(
        self, message: Any, category: type[Warning], filename: str, lineno: int, *_: object, **__: object
    ) -> None:
        """Replace `warnings.showwarning`: let the parent warn, by the nearest category that every process knows."""
        known = next(kind for kind in category.__mro__ if kind.__module__ == "builtins")
        self.send("warning", (str(message), known, filename, lineno))

    def update(self, metrics: dict[str, float]) -> None:
        """Send a row of metrics, unless one was sent a moment ago."""
        now = time.monotonic()
        if now - self._sent >= ROW_INTERVAL:
            self._sent = now
            self.send("row", metrics)
