"""Progress of many runs: the sum of the seeds of one experiment, or a study with an estimate of the time left."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from policygrad._support.console import LINE_INTERVAL, console, say, stderr
from policygrad.runs.progress import NotebookLine, Progress, Silent, in_notebook, in_words, shown_by_default
from policygrad.scheduling.job import Job, Outcome

REDRAW = 0.1
"""Seconds between two updates of the display, so that the runs are not slowed down."""


RESUMED = 0.2
"""Share of its budget that the first row of a run must have reached for the run to count as resumed."""


class CombinedProgress:
    """Shows several parallel runs in one display, with the sum of their steps and the mean of their returns."""

    def __init__(self, display: Progress, at_a_time: int) -> None:
        self._display = display
        self._at_a_time = at_a_time
        self._latest: dict[int, dict[str, float]] = {}
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._shown = time.perf_counter()

    def display_of(self, job: Job) -> Progress:
        """Return the display to which one run reports."""
        return _JobProgress(self, job)

    def say(self, message: str) -> None:
        """Show a message, but only the first time."""
        with self._lock:
            if message not in self._said:
                self._said.add(message)
                self._display.say(message)

    def update(self, job: Job, metrics: dict[str, float]) -> None:
        """Show the combined progress."""
        self._latest[job.seed] = metrics
        now = time.perf_counter()
        if now - self._shown >= REDRAW:
            self._shown = now
            rows = list(self._latest.values())
            steps, seconds, mean = (
                sum(row[name] for row in rows) for name in ("steps", "seconds", "return_100")
            )
            seconds /= min(self._at_a_time, len(rows))
            with self._lock:
                self._display.update({"steps": steps, "seconds": seconds, "return_100": mean / len(rows)})


class TimeLeft:
    """Estimates how long the rest of a study takes, from the speed at which each experiment has progressed so far.

    Args:
        jobs: the jobs that are to be trained.
        at_a_time: number of jobs that run in parallel.
    """

    def __init__(self, jobs: Sequence[Job], at_a_time: int) -> None:
        self._at_a_time = at_a_time
        self._share: dict[tuple[str, int], float] = {(job.name, job.seed): 0.0 for job in jobs}
        self._first: dict[tuple[str, int], tuple[float, float]] = {}
        self._began: dict[tuple[str, int], float] = {}
        self._ended: dict[str, tuple[float, float]] = {}

    @property
    def done(self) -> float:
        """Share of the study that is done, with every run weighted equally; from 0 to 1."""
        return sum(self._share.values()) / max(len(self._share), 1)

    def begin(self, job: Job, now: float) -> None:
        """Note that a job begins at a time in seconds."""
        self._began[job.name, job.seed] = now

    def update(self, job: Job, steps: float, now: float) -> None:
        """Note how many steps a job has reached."""
        key = (job.name, job.seed)
        self._share[key] = min(steps / job.experiment.steps, 1.0)
        # what a job does before its first row, such as starting a process, says nothing about its speed
        self._first.setdefault(key, (self._share[key], now))

    def end(self, job: Job, now: float, finished: bool = True) -> None:
        """Note that a job has ended, and whether it has finished or failed."""
        key = (job.name, job.seed)
        self._share[key] = 1.0
        if not finished:
            # a run that failed says nothing about how long one takes
            return
        resumed = self._first[key][0] if key in self._first and self._first[key][0] > RESUMED else 0.0
        seconds, share = self._ended.get(job.name, (0.0, 0.0))
        if key in self._began and resumed < 1.0:
            self._ended[job.name] = (seconds + now - self._began[key], share + 1.0 - resumed)

    def seconds(self, now: float) -> float:
        """Return the estimated seconds until all jobs have ended; NaN before anything was measured."""
        measured = dict(self._ended)
        for key, (first, since) in self._first.items():
            progressed = self._share[key] - first
            if key[0] not in measured and progressed > 0:
                measured[key[0]] = (now - since, progressed)
        if not measured:
            return math.nan
        per_run = {name: seconds / share for name, (seconds, share) in measured.items()}
        typical = sum(per_run.values()) / len(per_run)
        left = [
            (1.0 - share) * per_run.get(name, typical)
            for (name, _), share in self._share.items()
            if share < 1
        ]
        # jobs are not divided among cores, so the longest one is a lower bound
        return max(sum(left) / self._at_a_time, max(left, default=0.0))


class StudyProgress:
    """Shows how many runs of a study have ended, how many failed, the time left, and one of the current runs.

    Args:
        jobs: the jobs that are to be trained.
        at_a_time: number of jobs that run in parallel.
        show: show progress; None shows it on a terminal and in a notebook.
    """

    def __init__(self, jobs: Sequence[Job], at_a_time: int, show: bool | None) -> None:
        self._total, self._ended, self._failed = len(jobs), 0, 0
        self._left = TimeLeft(jobs, at_a_time)
        self._show = shown_by_default() if show is None else show
        self._line = NotebookLine() if self._show and in_notebook() else None
        self._live: Any = None
        self._lock = threading.Lock()
        self._said: set[str] = set()
        self._shown = time.perf_counter()

    def __enter__(self) -> StudyProgress:
        if self._show and stderr.isatty():
            from rich.progress import BarColumn, Progress, TextColumn

            bar = (TextColumn("{task.percentage:>3.0f} %"), BarColumn(bar_width=16))
            self._live = Progress(*bar, TextColumn("{task.description}"), console=console(stderr))
            self._live.start()
            self._live.add_task(f"0 of {self._total} runs", total=1.0)
        return self

    def __exit__(self, *_: object) -> None:
        if self._live is not None:
            self._live.stop()
        if self._line is not None:
            self._line.remove()

    def display_of(self, job: Job) -> Progress:
        """Return the display to which one run reports."""
        with self._lock:
            self._left.begin(job, time.perf_counter())
        return _JobProgress(self, job)

    def say(self, message: str) -> None:
        """Show a message, but only the first time."""
        with self._lock:
            if not self._show or message in self._said:
                return
            self._said.add(message)
        if self._live is not None:
            self._live.console.print(message)
        elif self._line is not None:
            print(message)
        else:
            say(message)

    def update(self, job: Job, metrics: dict[str, float]) -> None:
        """Show the progress of the study and the latest row of this run."""
        now = time.perf_counter()
        with self._lock:
            self._left.update(job, metrics["steps"], now)
            due = now - self._shown >= (LINE_INTERVAL if self._live is self._line is None else REDRAW)
            if due:
                self._shown = now
        if due:
            self._redraw(f" | {job.title}: {in_words(metrics, 40)}")

    def end(self, outcome: Outcome) -> None:
        """Note that a job has ended."""
        if outcome.run is None and outcome.error is None:
            # it was not begun, because the study was interrupted
            return
        diverged = outcome.run is not None and outcome.run.ended == "non-finite"
        failed = outcome.error is not None or diverged
        with self._lock:
            self._left.end(outcome.job, time.perf_counter(), finished=not failed)
            self._ended += 1
            self._failed += failed
        if outcome.error is not None:
            error = outcome.error
            self.say(f"{outcome.job.title} failed: {type(error).__name__}: {error}")
        elif diverged:
            self.say(f"{outcome.job.title} failed: a NaN or an infinity appeared")
        if self._live is not None or self._line is not None:
            self._redraw("")

    def _redraw(self, latest: str) -> None:
        with self._lock:
            seconds, done = self._left.seconds(time.perf_counter()), self._left.done
        failed = f", {self._failed} failed" if self._failed else ""
        left = "" if math.isnan(seconds) else f", {time_in_words(seconds)} left"
        text = f"{self._ended} of {self._total} runs{failed}{left}{latest}"
        if self._live is not None:
            with suppress(IndexError):
                self._live.update(self._live.task_ids[0], completed=done, description=text)
        elif self._line is not None:
            self._line.show(text)
        elif self._show:
            say(text)


def time_in_words(seconds: float) -> str:
    """Return a time span as people write it.

    >>> time_in_words(42.3), time_in_words(185), time_in_words(7260)
    ('42 s', '3:05 min', '2:01 h')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"
    )


class _JobProgress(Silent):
    """The display of one job. A study shows no messages of its runs, because there would be too many."""

    def __init__(self, combined: CombinedProgress | StudyProgress, job: Job) -> None:
        self._combined = combined
        self._job = job

    def say(self, message: str) -> None:
        if isinstance(self._combined, CombinedProgress):
            self._combined.say(message)

    def update(self, metrics: dict[str, float]) -> None:
        self._combined.update(self._job, metrics)
