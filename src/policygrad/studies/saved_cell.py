"""A cell of a study on disk: the runs of one configuration on one environment."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from policygrad._support.checks import check_choice
from policygrad.runs.locked_folder import CONFIG, METRICS_FILE, read_json
from policygrad.runs.run import FINISHED
from policygrad.runs.saved_run import SavedRun
from policygrad.types import F64, Bool

FAILURES = "failures.json"
"""File of a cell with the errors and tracebacks of the runs that failed."""

ScoreName = Literal["greedy", "sampled", "last_100"]
"""What a run is scored by: the mean return of its best policy over fresh episodes, with greedy or sampled actions, or
the mean of the last 100 training returns."""


@dataclass(frozen=True)
class SavedCell:
    """The runs of one configuration on one environment."""

    environment: str
    configuration: str
    path: Path

    @property
    def name(self) -> str:
        """Name of the cell: its environment and its configuration."""
        return f"{self.environment} {self.configuration}"

    @cached_property
    def config(self) -> dict[str, Any]:
        """Settings of the runs, with presets and defaults filled in; empty if the cell has not been started."""
        file = self.path / CONFIG
        return read_json(file) if file.exists() else {}

    @property
    def seeds(self) -> list[int]:
        """Seeds that were requested, in order."""
        return self.config.get("seeds", [])

    @cached_property
    def failures(self) -> dict[int, dict[str, str]]:
        """Error and traceback of each seed that failed."""
        file = self.path / FAILURES
        return {int(seed): failure for seed, failure in read_json(file).items()} if file.exists() else {}

    @cached_property
    def runs(self) -> list[SavedRun]:
        """The runs that have begun, in the order of their seeds."""
        folders = [seed_folder(self.path, seed) for seed in self.seeds]
        return [SavedRun(folder) for folder in folders if (folder / METRICS_FILE).exists()]

    @cached_property
    def finished(self) -> list[SavedRun]:
        """The runs that reached the end of their budget or were solved, in the order of their seeds."""
        return [run for run in self.runs if run.ended in FINISHED and run.seed not in self.failures]

    @property
    def failed(self) -> list[int]:
        """Seeds of the runs that ended by an error or a NaN."""
        diverged = {run.seed for run in self.runs if run.ended in ("error", "non-finite")}
        return sorted(diverged | set(self.failures))

    @property
    def threshold(self) -> float | None:
        """Mean return that counts as solved; None if there is none."""
        return next((run.threshold for run in self.finished), None)

    @property
    def score_name(self) -> ScoreName:
        """The default score: greedy actions if the study scored its runs, else the last training episodes."""
        return "greedy" if self.finished and all(run.scores for run in self.finished) else "last_100"

    def scores(self, by: ScoreName | None = None) -> dict[int, float]:
        """Return the score of each finished run by its seed. A run without a finite score is left out.

        Args:
            by: what to score by; by default `score_name`.
        """
        by = self.score_name if by is None else by
        check_choice("by", by, ScoreName)
        if by == "last_100":
            found = {run.seed: run.updates.latest["return_100"] for run in self.finished}
        else:
            found = {run.seed: run.scores[by]["mean"] for run in self.finished if run.scores}
        return {seed: score for seed, score in found.items() if math.isfinite(score)}

    def times_to_solved(self, what: Literal["steps", "seconds"] = "steps") -> tuple[F64, Bool]:
        """Return the steps or seconds until each finished run was solved, or was ended unsolved.

        Returns:
            Times [runs] float64, and whether the run was solved then [runs] bool (otherwise the time is censored).
        """
        attribute = {"steps": "solved_at", "seconds": "solved_seconds"}[what]
        solved = [getattr(run, attribute) for run in self.finished]
        ends = [getattr(run, what) for run in self.finished]
        times = [end if time is None else time for time, end in zip(solved, ends, strict=True)]
        return np.array(times, np.float64), np.array([time is not None for time in solved])

    def curves(self, metric: str = "return_100", points: int = 200) -> tuple[F64, F64]:
        """Return a metric of all finished runs at common steps, where every run has values.

        Returns:
            Steps [points], and the metric of each run at these steps by linear interpolation [runs, points]. Both are
            empty if no run has values, or if there are no such steps.
        """
        lines = list[tuple[F64, F64]]()
        for run in self.finished:
            values = run.history.get(metric, np.zeros(0))
            known = np.isfinite(values)
            if known.any():
                lines.append((run.history["steps"][known], values[known]))
        if not lines:
            return np.zeros(0), np.zeros((0, 0))
        first, last = max(steps[0] for steps, _ in lines), min(steps[-1] for steps, _ in lines)
        if first > last:
            return np.zeros(0), np.zeros((0, 0))
        grid = np.linspace(first, last, points)
        return grid, np.stack([np.interp(grid, steps, values) for steps, values in lines])


def seed_folder(path: Path, seed: int) -> Path:
    """Return the folder of the run with this seed within the common folder of its cell."""
    return path / f"seed-{seed}"
