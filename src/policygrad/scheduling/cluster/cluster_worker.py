"""The actor that trains jobs on a node of a cluster. `crew.Crew` calls its methods."""

from __future__ import annotations

import tempfile
import threading
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from policygrad._support.console import relay_messages
from policygrad._support.lookup import import_also_from
from policygrad._support.threads import single_thread
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.scheduling.cluster.folders import Watched, unpack_into
from policygrad.scheduling.sending import Parcel
from policygrad.scheduling.worker import Order, Parent, answer

INTERVAL = 0.3
"""Seconds after which messages are returned while a job is trained."""
CHANGES = "changes"
"""Kind of the messages that contain changes of a run folder."""


@dataclass(frozen=True)
class Assignment:
    """A job for a worker."""

    number: int
    """Unique number, so that a call that arrives twice has no effect."""
    order: Order
    files: dict[str, bytes] | None
    """Files of the run folder if its changes are to be brought back; None if this node sees the folder itself."""


class ClusterWorker:
    """Trains one job at a time in a thread, while its methods report on it. It is a Ray actor.

    Args:
        path: folders from which the main process imports modules.
    """

    def __init__(self, path: list[str]) -> None:
        import_also_from(path)
        self._known = dict[str, tuple[Experiment, Parcel]]()
        self._assignment: Assignment | None = None
        self._interruption = Interruption(lambda message: None)
        self._changed = threading.Condition()
        # two threads look for changes
        self._looking = threading.Lock()
        self._messages: list[tuple[str, Any]] = []
        self._first = 0
        self._ended = False
        self._watched: Watched | None = None

    def sees(self, token: Path | None) -> bool:
        """Return True if a file of the main process is visible on this node, so that folders need not be brought."""
        return token is not None and token.exists()

    def begin(self, assignment: Assignment) -> None:
        """Begin to train a job."""
        if self._assignment is not None and self._assignment.number == assignment.number:
            return
        self._assignment = assignment
        self._interruption = Interruption(lambda message: None)
        self._messages, self._first, self._ended, self._watched = [], 0, False, None
        threading.Thread(target=self._train, args=(assignment,), daemon=True).start()

    def messages(self, after: int, save: bool) -> list[tuple[str, Any]]:
        """Return what has been reported since the first `after` messages, at once when the job ends.

        Args:
            after: number of messages that were received. A call that was lost is repeated with the same number.
            save: the job should save and end.
        """
        if save:
            self._interruption.request()
        with self._changed:
            self._changed.wait_for(lambda: self._ended, timeout=INTERVAL)
            ended = self._ended
        if not ended:
            self._report_changes()
        with self._changed:
            del self._messages[: after - self._first]
            self._first = after
            return list(self._messages)

    def _report_changes(self, *, last: bool = False) -> None:
        """Report changes of the run folder; the `last` ones are reported at once, before it is removed."""
        with self._looking:
            if self._watched is not None:
                changes = self._watched.changes(now=last)
                if changes is not None:
                    self._report(CHANGES, changes)
            if last:
                self._watched = None

    def _report(self, kind: str, content: Any) -> None:
        with self._changed:
            self._messages.append((kind, content))

    def _train(self, assignment: Assignment) -> None:
        order = assignment.order
        parent = Parent(self._report)
        relay_messages(parent.say)
        warnings.showwarning = parent.warn
        with ExitStack() as opened:
            if assignment.files is not None:
                out = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="policygrad-"))) / "run"
                unpack_into(out, assignment.files)
                self._watched = Watched(out)
                order = replace(order, out=out)
            with single_thread():
                message = answer(order, self._known, parent, self._interruption)
            self._report_changes(last=True)
        with self._changed:
            self._messages.append(message)
            self._ended = True
            self._changed.notify_all()
