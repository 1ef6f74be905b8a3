"""Child processes: which signals they leave to their parent, and how their ends and errors are reported."""

from __future__ import annotations

import signal
import traceback
from collections.abc import Callable
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that a terminal or a scheduler sends to a whole group of processes, so that each of them ends."""


def leave_to_parent(*signals: signal.Signals) -> None:
    """Ignore these signals in this process. The parent receives them too, saves, and ends this process."""
    for number in signals:
        signal.signal(number, signal.SIG_IGN)


def exit_in_words(code: int) -> str:
    """Return an exit code with the name of the signal that caused it, as in `exit code -9, SIGKILL`."""
    try:
        name = f", {signal.Signals(-code).name}" if code < 0 else ""
    except ValueError:
        name = ""
    return f"exit code {code}{name}"


class RemoteTraceback(Exception):  # noqa: N818  # it is shown as the cause of an error, but never raised itself
    """The traceback of an error in another process, as the `__cause__` of the error in this one.

    Args:
        text: the traceback as Python prints it.
        filenames: the file of each of its frames, outermost first.
    """

    def __init__(self, text: str, filenames: list[str]) -> None:
        super().__init__(f'\n"""\n{text}"""')
        self.filenames = filenames


def pack_failure(
    error: BaseException,
    pack: Callable[[BaseException, tuple[str, list[str]]], bytes],
    unpack: Callable[[bytes], Any],
) -> bytes:
    """Return an error and its `traceback_of` as bytes; a RuntimeError takes the place of one that cannot be sent.

    Args:
        error: the error.
        pack: returns both as bytes.
        unpack: reads what `pack` returns, as the other process does.
    """
    trace = traceback_of(error)
    try:
        packed = pack(error, trace)
        unpack(packed)
    except Exception:
        packed = pack(RuntimeError(f"{type(error).__name__}: {error}"), trace)
    return packed


def traceback_of(error: BaseException) -> tuple[str, list[str]]:
    """Return the arguments of the `RemoteTraceback` of an error."""
    frames = traceback.extract_tb(error.__traceback__)
    return "".join(traceback.format_exception(error)), [frame.filename for frame in frames]
