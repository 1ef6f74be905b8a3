"""Ending a training run early: on Ctrl-C, and on the signals of a system that shuts down."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue
from types import FrameType, TracebackType
from typing import Any, Literal

INTERRUPTED = 130
"""Exit status of a command that Ctrl-C ends, by shell convention."""
GRACE = 5.0
"""Seconds that the current update has to finish after a signal, before it is interrupted."""
NOTICE = 0.5
"""Seconds after a signal until the user is told that training is waiting for the current update."""
LAST = 3
"""Number of signals after which training no longer waits for anything, not even for files."""
ONE_PRESS = 0.3
"""Seconds within which signals count as one, because a terminal and a parent process often both send one."""

Phase = Literal["opening", "learning", "saving"]


class Interruption:
    """Turns Ctrl-C, SIGTERM and SIGHUP into an orderly end of training.

    The effect of a signal depends on the phase:

    - "opening" (environments are created, policies are scored): the signal raises KeyboardInterrupt.
    - "learning": training is asked to end after the current update, so that its checkpoint is current. If a second
      signal arrives or `GRACE` seconds pass, KeyboardInterrupt is raised.
    - "saving": the first two signals are recorded but raise nothing, so that all files are written. The third ends a
      run that hangs: Ctrl-C raises KeyboardInterrupt, and the other signals end the process.

    The context installs handlers in the main thread only, and only for signals that still have their default
    handlers. A signal that is ignored, such as SIGHUP under nohup, stays ignored.

    Args:
        say: shows a message to the user.

    Raises:
        SystemExit: replaces KeyboardInterrupt when the context is left, if the signal was SIGTERM or SIGHUP. Its
            status is 128 plus the number of the signal.
    """

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._requested = False
        self._signal: int | None = None
        self._last = -ONE_PRESS
        self._count = 0
        self._where = _Where()
        self._before: dict[int, Any] = {}
        # a signal handler may call its `put` at any time, because that is reentrant
        self._signals: SimpleQueue[bool] = SimpleQueue()
        self._watcher = threading.Thread(target=self._watch, daemon=True)
        self.opening = _Phase(self._where, "opening")
        self.learning = _Phase(self._where, "learning")
        self.saving = _Phase(self._where, "saving")

    @property
    def requested(self) -> bool:
        """True if training should end after the current update."""
        return self._requested

    @property
    def signaled(self) -> bool:
        """True if a signal has arrived."""
        return self._signal is not None

    def request(self) -> None:
        """Ask training to end after the current update."""
        self._requested = True

    @property
    def status(self) -> int | None:
        """Exit status of a process that SIGTERM (143) or SIGHUP (129) ends; None if neither has arrived."""
        return None if self._signal in (None, signal.SIGINT) else 128 + self._signal

    def __enter__(self) -> Interruption:
        if threading.current_thread() is not threading.main_thread():
            return self
        self._where.thread, self._where.phase = threading.get_ident(), "saving"
        default = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
        if hasattr(signal, "SIGHUP"):
            default[signal.SIGHUP] = signal.SIG_DFL
        for number, handler in default.items():
            if signal.getsignal(number) is handler:
                self._before[number] = signal.signal(number, self._handle)
        if self._before:
            self._watcher.start()
        self._where.phase = "opening"
        return self

    def closing(self) -> None:
        """Record signals from now on, as while saving, so that what was learned is returned."""
        if self._where.thread == threading.get_ident():
            self._where.phase = "saving"

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._where.phase = "saving"
        if self._before:
            # before the handlers are restored, because a signal that it sends must reach ours
            self._signals.put(False)
            self._watcher.join()
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if isinstance(error, KeyboardInterrupt) and self.status is not None:
            raise SystemExit(self.status) from None

    def _handle(self, number: int, frame: FrameType | None) -> None:
        now, first = time.monotonic(), self._signal is None
        if now - self._last < ONE_PRESS:
            return
        self._last = now
        self._count += 1
        if first:
            self._requested, self._signal = True, number
        if first and self._where.phase != "opening":
            self._signals.put(True)
        elif self._where.phase != "saving" or (self._count >= LAST and number == signal.SIGINT):
            raise KeyboardInterrupt
        elif self._count >= LAST:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)

    def _watch(self) -> None:
        """Wait for a signal in a separate thread, and send it again if the update does not end."""
        waits = [(None, lambda: None), (NOTICE, self._notify), (GRACE - NOTICE, self._insist)]
        for seconds, act in waits:
            try:
                if not self._signals.get(timeout=seconds):
                    return
            except Empty:
                act()

    def _notify(self) -> None:
        if self._where.phase != "opening":
            self._say("interrupted: finishing the current update, then saving")

    def _insist(self) -> None:
        assert self._signal is not None
        if self._where.phase == "learning" and self._where.thread is not None:
            # sent to the main thread, so that a call that blocks it is interrupted too
            send = getattr(signal, "pthread_kill", None)
            with suppress(ProcessLookupError):
                send(self._where.thread, self._signal) if send else signal.raise_signal(self._signal)


class _Where:
    """The current phase of training, and the thread whose signals are handled, if any."""

    def __init__(self) -> None:
        self.thread: int | None = None
        self.phase: Phase = "opening"


class _Phase:
    """A context that sets and restores the phase, if it is entered in the thread whose signals are handled."""

    def __init__(self, where: _Where, phase: Phase) -> None:
        self._where = where
        self._phase: Phase = phase
        self._before: list[Phase] = []

    def __enter__(self) -> None:
        where = self._where
        if where.thread == threading.get_ident():
            self._before.append(where.phase)
            where.phase = self._phase

    def __exit__(self, *_: object) -> None:
        if self._where.thread == threading.get_ident():
            self._where.phase = self._before.pop()
