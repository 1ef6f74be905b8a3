"""Output to the user, on streams that may be closed, full, missing, or unable to show a character."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from rich.console import Console


LINE_INTERVAL = 2.0
"""Seconds between two lines of progress if stderr is not a terminal."""


class Output(io.TextIOBase):
    """Writes to `sys.stdout` or `sys.stderr`, as they are at the moment of writing, and never raises.

    Characters that the stream cannot encode are replaced. Text that cannot be written at all is dropped, and `failure`
    says why.
    """

    def __init__(self, name: Literal["stdout", "stderr"]) -> None:
        self._name = name
        self.failure: OSError | None = None
        """Why something could not be written; None if everything was."""

    @property
    def _stream(self) -> Any:
        # a live display of Rich, which writes here, replaces the stream by itself
        stream = getattr(sys, self._name)
        return getattr(stream, "rich_proxied_file", stream)

    @property
    def live(self) -> Any:
        """The live display that has replaced the stream and prints lines above itself; None if there is none."""
        stream = getattr(sys, self._name)
        return stream if hasattr(stream, "rich_proxied_file") else None

    @property
    def encoding(self) -> str:  # pyright: ignore[reportIncompatibleVariableOverride]
        """Encoding of the stream, which decides how tables draw their lines."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return whether the stream is a terminal."""
        try:
            return bool(self._stream.isatty())
        except (AttributeError, ValueError, OSError):
            return False

    def write(self, text: str) -> int:
        """Write the text as far as that is possible."""
        stream = self._stream
        try:
            stream.write(text)
        except UnicodeEncodeError:
            with suppress(ValueError, OSError):
                stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        except OSError as error:
            self.failure = error
        except (ValueError, AttributeError):
            # the stream is closed, or None
            pass
        return len(text)

    def flush(self) -> None:
        """Flush the stream if that is possible."""
        try:
            self._stream.flush()
        except OSError as error:
            self.failure = error
        except (ValueError, AttributeError):
            pass

    def give_up(self) -> None:
        """Discard what is still buffered, so that Python does not try again when the process ends."""
        with suppress(OSError, ValueError, AttributeError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


stdout, stderr = Output("stdout"), Output("stderr")


_relay: list[Callable[[str], None]] = []


def relay_messages(to: Callable[[str], None]) -> None:
    """Pass what `say` would write to stderr to this function instead. A child process shows it in its parent."""
    _relay[:] = [to]


def say(message: str, stream: Output = stderr) -> None:
    """Write a line and flush it."""
    if _relay and stream is stderr:
        _relay[0](message)
        return
    (stream.live or stream).write(f"{message}\n")
    stream.flush()


def console(stream: Output) -> Console:
    """Return a Rich console that shows text unchanged, without markup, emoji or highlighting."""
    from rich.console import Console

    return Console(file=stream, markup=False, emoji=False, highlight=False)  # pyright: ignore[reportArgumentType]
