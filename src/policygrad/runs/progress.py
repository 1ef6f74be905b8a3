"""Progress of a run: a live line on a terminal or in a notebook, and otherwise a plain line every few seconds."""

from __future__ import annotations

import math
import os
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from policygrad._support.console import LINE_INTERVAL, console, say, stderr

if TYPE_CHECKING:
    from rich.progress import TaskID


class Progress(Protocol):
    """A context within which a run reports its progress."""

    def __enter__(self) -> Progress: ...
    def __exit__(self, *_: object) -> None: ...
    def say(self, message: str) -> None:
        """Show a message that remains visible."""
        ...

    def update(self, metrics: dict[str, float]) -> None:
        """Show the latest row of the history."""
        ...


VARIABLE = "POLICYGRAD_PROGRESS"
"""Environment variable that turns progress off by default if it is 0."""


def make_progress(total: int, show: bool | None) -> Progress:
    """Return the display for a budget of `total` steps; see `shown_by_default` for None."""
    if show is None:
        show = shown_by_default()
    if not show:
        return Silent()
    if in_notebook():
        return Notebook(total)
    return Live(total) if stderr.isatty() else Lines(total)


def shown_by_default() -> bool:
    """Return True on a terminal and in a notebook, unless the environment variable `POLICYGRAD_PROGRESS` is 0."""
    return os.environ.get(VARIABLE) != "0" and (stderr.isatty() or in_notebook())


def in_notebook() -> bool:
    """Return True if this process is the kernel of a notebook."""
    ipython: Any = sys.modules.get("IPython")
    return ipython is not None and hasattr(ipython.get_ipython(), "kernel")


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, message: str) -> None:
        """Show nothing."""

    def update(self, metrics: dict[str, float]) -> None:
        """Show nothing."""


class Lines(Silent):
    """Prints a line every few seconds, for logs."""

    interval = LINE_INTERVAL

    def __init__(self, total: int) -> None:
        self._total = total
        self._last = time.perf_counter()

    def say(self, message: str) -> None:
        """Print the message."""
        say(message)

    def update(self, metrics: dict[str, float]) -> None:
        """Print the row if the last one was printed at least `interval` seconds ago."""
        if time.perf_counter() - self._last >= self.interval:
            self._last = time.perf_counter()
            self.say(f"{int(metrics['steps']):,} of {self._total:,} steps: {in_words(metrics)}")


class NotebookLine:
    """A line in the output of a notebook cell, which is replaced in place and removed at the end."""

    interval = 0.25
    """Seconds between two updates."""

    def __init__(self) -> None:
        self._handle: Any = None
        self._last = -math.inf

    def show(self, text: str) -> None:
        """Replace the line, if the last time was long enough ago."""
        if time.perf_counter() - self._last < self.interval:
            return
        self._last = time.perf_counter()
        # a kernel has IPython, which this library does not depend on
        display: Any = import_module("IPython.display").display
        # as a dict of MIME types, so that no class of IPython is needed
        bundle = {"text/plain": text}
        if self._handle is None:
            self._handle = display(bundle, raw=True, display_id=True)
        else:
            self._handle.update(bundle, raw=True)

    def remove(self) -> None:
        """Remove the line."""
        if self._handle is not None:
            self._handle.update({"text/plain": ""}, raw=True)


class Notebook(Silent):
    """Shows one line below a notebook cell. Messages are printed."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._line = NotebookLine()

    def __exit__(self, *_: object) -> None:
        self._line.remove()

    def say(self, message: str) -> None:
        """Print the message."""
        print(message)

    def update(self, metrics: dict[str, float]) -> None:
        """Replace the line."""
        self._line.show(f"{int(metrics['steps']):,} of {self._total:,} steps: {in_words(metrics)}")


class Live:
    """Shows one line that is redrawn in place."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        on = console(stderr)
        # a narrow line has a percentage, which leaves more characters for the numbers
        wide = on.width >= 110
        completed = "{task.completed:,.0f} / {task.total:,.0f}" if wide else "{task.percentage:>3.0f} %"
        columns = (
            TextColumn(completed),
            *([BarColumn(bar_width=12)] if wide else []),
            TextColumn("{task.description}"),
            *([TimeRemainingColumn(compact=True)] if on.width >= 60 else []),
        )
        self._progress = Progress(*columns, console=on)
        self._width = on.width - 7 - (2 * len(f"{total:,}") + 17 if wide else 6)
        self._total = total
        self._task: TaskID | None = None

    def __enter__(self) -> Live:
        self._progress.start()
        self._task = self._progress.add_task("the first episodes", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        """Print the message above the line."""
        self._progress.console.print(message)

    def update(self, metrics: dict[str, float]) -> None:
        """Redraw the line with this row."""
        if self._task is not None:
            completed = min(metrics["steps"], self._total)
            self._progress.update(self._task, completed=completed, description=in_words(metrics, self._width))


def in_words(metrics: dict[str, float], width: int = 10_000) -> str:
    """Return the most informative numbers, as many as fit into `width` characters."""
    rate = metrics["steps"] / max(metrics["seconds"], 1e-9)
    parts = [f"return {metrics['return_100']:.1f}", f"{rate:,.0f} steps/s"]
    for name, how in (("entropy", "entropy {:.2g}"), ("kl", "KL {:.2g}"), ("clip_share", "clipped {:.0%}")):
        if math.isfinite(value := metrics.get(name, math.nan)):
            parts.append(how.format(value))
    while len(parts) > 1 and len(", ".join(parts)) > width:
        parts.pop()
    return ", ".join(parts)
