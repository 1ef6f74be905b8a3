"""What became of each seed of a cell: its state, the facts about its run, and what is written about it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

from policygrad.reports.wording import counted, number, seconds_in_words
from policygrad.runs.run import FINISHED
from policygrad.runs.saved_run import SavedRun
from policygrad.studies.saved_cell import SavedCell, seed_folder

State: TypeAlias = Literal[
    "solved", "not solved", "finished", "failed", "interrupted", "unfinished", "not begun"
]
"""`finished` is the state of runs without a threshold; `unfinished` runs are training or were killed."""


@dataclass(frozen=True)
class SeedRecord:
    """One seed of a cell."""

    cell: SavedCell
    id: str
    """Folder of the run below that of the study, which links on the page use."""
    seed: int
    state: State
    run: SavedRun | None
    """The run; None if it left no metrics."""
    failure: dict[str, str] | None
    """Error and traceback, if an exception ended the run."""

    @property
    def findings(self) -> list[str]:
        """Problems that the run's metrics point to."""
        return [] if self.run is None else self.run.findings

    @property
    def score(self) -> float:
        """Score of the run: fresh greedy episodes, else the last 100 training episodes; NaN if there is none."""
        if self.run is None:
            return math.nan
        scores = self.run.scores
        return scores["greedy"]["mean"] if scores else self.run.updates.latest.get("return_100", math.nan)

    @property
    def sentence(self) -> str:
        """What became of the run, in a sentence."""
        steps = counted(self.run.steps, "step") if self.run is not None else ""
        if self.run is None:
            return "The run failed before its first update." if self.failure else "The run has not begun."
        if self.state == "solved":
            return (
                f"The run solved the environment after {number(self.run.solved_at)} steps, in "
                f"{seconds_in_words(self.run.solved_seconds)}."
            )
        if self.state == "not solved":
            reached = number(self.run.updates.latest.get("return_100"))
            return (
                f"The run did not solve the environment within {steps}. The mean return of its last 100 training "
                f"episodes is {reached}; {number(self.run.threshold)} counts as solved."
            )
        if self.state == "finished":
            return f"The run finished after {steps}. The environment has no threshold, so it cannot count as solved."
        if self.state == "failed":
            why = "a NaN or an infinity" if self.run.ended == "non-finite" else "an error"
            return f"The run was ended by {why} after {steps}."
        if self.state == "interrupted":
            return f"The run was interrupted after {steps}, and can be resumed."
        return f"The run has not finished: it is still training, or was killed after {steps}."

    @property
    def facts(self) -> list[tuple[str, str]]:
        """Names and values of what the run reached."""
        run = self.run
        if run is None:
            return []
        facts = list[tuple[str, str]]()
        for way, score in run.scores.items():
            facts.append((f"return, {way} actions", _score(score)))
        facts.append(("last 100 training returns", number(run.updates.latest.get("return_100"))))
        if run.threshold is not None:
            facts.append(("counts as solved", f"≥ {number(run.threshold)}"))
        if run.solved_at is not None:
            facts.append(("solved after", f"{run.solved_at:,} steps, {seconds_in_words(run.solved_seconds)}"))
        facts.append(("trained for", f"{run.steps:,} steps, {seconds_in_words(run.seconds)}"))
        if run.seconds > 0:
            facts.append(("speed", f"{number(round(run.steps / run.seconds))} steps/s"))
        facts.append(("updates", f"{len(run.updates):,}"))
        return facts


def _score(score: dict[str, Any]) -> str:
    episodes = counted(score["episodes"], "episode")
    words = f"{number(score['mean'])} ± {number(score['std'])} (standard deviation of {episodes})"
    if score.get("failures") is not None:
        words += f"; {score['failures']} below the threshold"
    if score.get("cut"):
        words += f"; {score['cut']} did not end"
    return words


def seed_records(cell: SavedCell, below: Path) -> list[SeedRecord]:
    """Return what became of each seed of a cell, in their order.

    Args:
        cell: the cell.
        below: folder of the study.
    """
    runs, folder = {run.seed: run for run in cell.runs}, cell.path.relative_to(below)
    return [
        SeedRecord(
            cell,
            seed_folder(folder, seed).as_posix(),
            seed,
            _state(runs.get(seed), seed in cell.failures),
            runs.get(seed),
            cell.failures.get(seed),
        )
        for seed in cell.seeds
    ]


def _state(run: SavedRun | None, has_failure: bool) -> State:
    if run is None:
        return "failed" if has_failure else "not begun"
    if run.ended in FINISHED:
        if run.threshold is None:
            return "finished"
        return "not solved" if run.solved_at is None else "solved"
    if has_failure or run.ended in ("error", "non-finite"):
        return "failed"
    return "interrupted" if run.ended == "interrupted" else "unfinished"
