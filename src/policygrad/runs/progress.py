"""What is seen while a run goes on: a live line on a terminal, a plain line now and then elsewhere."""

from __future__ import annotations

import math
import threading
import time
from typing import TYPE_CHECKING, Protocol

from policygrad._support.console import console, say, stderr

if TYPE_CHECKING:
    from rich.progress import TaskID


class Progress(Protocol):
    """A context within which a run reports how far it is."""

    def __enter__(self) -> Progress: ...
    def __exit__(self, *_: object) -> None: ...
    def say(self, message: str) -> None:
        """A line that stays."""
        ...

    def update(self, metrics: dict[str, float]) -> None:
        """The latest row of the history."""
        ...


def make_progress(total: int, show: bool | None) -> Progress:
    """The display for a budget of `total` steps; `show` None shows one where stderr is a terminal."""
    if show is None:
        show = stderr.isatty()
    if not show:
        return Silent()
    return Live(total) if stderr.isatty() else Lines(total)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> Silent:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def say(self, message: str) -> None:
        """Nothing."""

    def update(self, metrics: dict[str, float]) -> None:
        """Nothing."""


class Lines(Silent):
    """A line every few seconds, for logs."""

    interval = 2.0

    def __init__(self, total: int) -> None:
        self._total = total
        self._last = time.perf_counter()

    def say(self, message: str) -> None:
        """Print it."""
        say(message)

    def update(self, metrics: dict[str, float]) -> None:
        """Print the row if the last one is some seconds ago."""
        if time.perf_counter() - self._last >= self.interval:
            self._last = time.perf_counter()
            self.say(f"{int(metrics['steps']):,} of {self._total:,} steps: {_summary(metrics)}")


class Live:
    """One line that is redrawn in place."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        on = console(stderr)
        # where the numbers need the room, the share says how far it is
        wide = on.width >= 110
        far = "{task.completed:,.0f} / {task.total:,.0f}" if wide else "{task.percentage:>3.0f} %"
        columns = (
            TextColumn(far),
            *([BarColumn(bar_width=12)] if wide else []),
            TextColumn("{task.description}"),
            *([TimeRemainingColumn(compact=True)] if on.width >= 60 else []),
        )
        self._progress = Progress(*columns, console=on)
        self._room = on.width - 7 - (2 * len(f"{total:,}") + 17 if wide else 6)
        self._total = total
        self._task: TaskID | None = None

    def __enter__(self) -> Live:
        self._progress.start()
        self._task = self._progress.add_task("the first episodes", total=self._total)
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def say(self, message: str) -> None:
        """Print it above the line."""
        self._progress.console.print(message)

    def update(self, metrics: dict[str, float]) -> None:
        """Redraw with this row."""
        if self._task is not None:
            completed = min(metrics["steps"], self._total)
            self._progress.update(self._task, completed=completed, description=_summary(metrics, self._room))


class CombinedProgress:
    """One display for several runs at a time: their steps added, their returns averaged."""

    def __init__(self, display: Progress, at_a_time: int) -> None:
        self._display = display
        self._at_a_time = at_a_time
        self._latest: dict[int, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._shown = time.perf_counter()

    def one(self, seed: int) -> Progress:
        """The share of one run in it."""
        return _SeedProgress(self, seed)

    def say(self, message: str) -> None:
        """Pass it on, once."""
        with self._lock:
            if message not in self._said:
                self._said.add(message)
                self._display.say(message)

    def update(self, seed: int, metrics: dict[str, float]) -> None:
        """Show the sum, ten times a second at most: the runs have better things to do."""
        self._latest[seed] = metrics
        now = time.perf_counter()
        if now - self._shown >= 0.1:
            self._shown = now
            rows = list(self._latest.values())
            steps, seconds, mean = (
                sum(row[name] for row in rows) for name in ("steps", "seconds", "return_100")
            )
            seconds /= min(self._at_a_time, len(rows))
            with self._lock:
                self._display.update({"steps": steps, "seconds": seconds, "return_100": mean / len(rows)})


class _SeedProgress(Silent):
    def __init__(self, together: CombinedProgress, seed: int) -> None:
        self._together = together
        self._seed = seed

    def say(self, message: str) -> None:
        self._together.say(message)

    def update(self, metrics: dict[str, float]) -> None:
        self._together.update(self._seed, metrics)


def _summary(metrics: dict[str, float], room: int = 10_000) -> str:
    """The numbers that say most, as many of them as there is room for."""
    rate = metrics["steps"] / max(metrics["seconds"], 1e-9)
    parts = [f"return {metrics['return_100']:.1f}", f"{rate:,.0f} steps/s"]
    for name, how in (("entropy", "entropy {:.2g}"), ("kl", "KL {:.2g}"), ("clip_share", "clipped {:.0%}")):
        if math.isfinite(value := metrics.get(name, math.nan)):
            parts.append(how.format(value))
    while len(parts) > 1 and len(", ".join(parts)) > room:
        parts.pop()
    return ", ".join(parts)
