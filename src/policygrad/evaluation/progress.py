"""Progress of an evaluation: a live bar on a terminal, and otherwise a plain line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from contextlib import contextmanager

from policygrad._support.console import LINE_INTERVAL, console, say, stderr


@contextmanager
def show_episodes(total: int, show: bool | None) -> Generator[Callable[[int, int], None]]:
    """Show the progress of an evaluation, which the block reports through the function that it receives.

    Args:
        total: number of episodes.
        show: whether to show it; None shows it if stderr is a terminal.

    Yields:
        A function to call with the number of episodes that have ended and the number of steps taken.
    """
    terminal = stderr.isatty()
    if not (terminal if show is None else show):
        yield lambda episodes, steps: None
    elif terminal:
        from rich.progress import BarColumn, Progress, TextColumn

        columns = (TextColumn("evaluating"), BarColumn(bar_width=12), TextColumn("{task.description}"))
        with Progress(*columns, console=console(stderr), transient=True) as bar:
            task = bar.add_task("the first episodes", total=total)
            shown = 0.0

            def redraw(episodes: int, steps: int) -> None:
                nonlocal shown
                if time.perf_counter() - shown >= 0.1:
                    shown = time.perf_counter()
                    text = f"{episodes:,} of {total:,} episodes, {steps:,} steps"
                    bar.update(task, completed=episodes, description=text)

            yield redraw
    else:
        last = time.perf_counter()

        def line(episodes: int, steps: int) -> None:
            nonlocal last
            if time.perf_counter() - last >= LINE_INTERVAL:
                last = time.perf_counter()
                say(f"evaluating: {episodes:,} of {total:,} episodes, {steps:,} steps")

        yield line
