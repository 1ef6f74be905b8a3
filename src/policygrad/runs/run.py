"""The result of a training run: its history, its policies and a summary."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from policygrad.errors import NonFiniteError
from policygrad.evaluation.selection import Selection
from policygrad.policies import Policy
from policygrad.runs.history import Episodes, Updates
from policygrad.runs.view import RunView
from policygrad.types import F64, I64

Ending = Literal["budget", "stop_at", "callback", "interrupted", "non-finite", "error"]
FINISHED: tuple[Ending, ...] = ("budget", "stop_at", "callback")
"""Endings of runs that are complete."""


@dataclass
class Run(RunView):
    """The result of a training run."""

    policy: Policy = field(repr=False)
    """Best policy of the run.

    It is the candidate that scored best on fresh episodes at the end of the run (see `selection`). The candidates are
    the policies with the best means of 100 training returns, as they were when they collected the last of these
    returns, and the policy at the end. If nothing was scored, it is the policy with the best mean or, while fewer
    than 100 episodes have finished, the latest policy that acted.
    """
    last_policy: Policy = field(repr=False)
    """Policy at the end of the run."""
    threshold: float | None
    """Mean return that counts as solved: `stop_at`, or the threshold that the environment's authors specify."""
    engine: str
    """Engine that was used: `fused` or `autograd`."""
    environment: str
    """Name of the environment."""
    solved_at: int | None = None
    """Steps at which the mean of the last 100 returns first reached the threshold; None if it never did."""
    solved_seconds: float | None = None
    """Seconds spent collecting and learning by then; None if the threshold was never reached."""
    seed: int = 0
    """Seed of all randomness in the run."""
    config: dict[str, Any] = field(default_factory=dict[str, Any], repr=False)
    """Settings of the run with presets and defaults filled in, as in `config.json`."""
    ended: Ending = "budget"
    """Why the run ended."""
    best_mean: float = -math.inf
    """Best mean of 100 training returns. As the largest of many means it is biased upward; `evaluate` gives a fair
    estimate."""
    findings: list[str] = field(default_factory=list[str], repr=False)
    """Problems that the run's metrics point to, in words, the most important first; empty if there are none. See
    `diagnose`, which also plays with the policy."""
    selection: Selection | None = None
    """How the best policy was chosen; None if nothing was scored."""
    out: Path | None = None
    """Run folder; None if the run was not saved."""
    updates: Updates = field(default_factory=Updates, repr=False)
    """Metrics of the updates."""
    episodes: Episodes = field(default_factory=Episodes, repr=False)
    """Returns of the training episodes."""

    @property
    def history(self) -> dict[str, F64]:
        """Each metric as an array with one entry per update; NaN where it was not logged.

        A run of more than 100,000 updates keeps every second update, then every fourth, and so on, and always the
        latest. `metrics.jsonl` contains all of them.
        """
        return self.updates.columns()

    @property
    def episode_returns(self) -> F64:
        """[episodes] float64: undiscounted original return of each training episode, in order.

        A run of more than a million episodes keeps every second return, then every fourth, and so on: see
        `episodes.every`. With `save_episodes`, a file in the run folder contains all of them.
        """
        return self.episodes.returns

    @property
    def episode_steps(self) -> I64:
        """[episodes] int64: steps used by the end of the update in which each episode ended."""
        return self.episodes.steps

    @property
    def steps(self) -> int:
        """Number of samples learned from."""
        return int(self.updates.latest.get("steps", 0))

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent collecting and learning."""
        return self.updates.latest.get("seconds", 0.0)

    def summary(self) -> dict[str, Any]:
        """Return the contents of `summary.json` as plain JSON values."""
        return {
            "ended": self.ended,
            "steps": self.steps,
            "seconds": self.seconds,
            "episodes": len(self.episodes),
            "episode_returns_every": self.episodes.every,
            "updates": len(self.updates),
            "history_every": self.updates.every,
            "threshold": self.threshold,
            "solved_at": self.solved_at,
            "solved_seconds": self.solved_seconds,
            "best_mean_return": self.best_mean if math.isfinite(self.best_mean) else None,
            "findings": self.findings,
            "selection": None if self.selection is None else self.selection.summary(),
        }


class StoppedError(NonFiniteError):
    """A NaN or an infinity ended a run. What was learned until then is in `run` and in its folder."""

    def __init__(self, run: Run, cause: str) -> None:
        learned = run.out is not None and run.updates
        saved = f" The best policy until then is saved in {run.out}." if learned else ""
        super().__init__(f"training stopped after {run.steps:,} steps: {cause.removesuffix('.')}.{saved}")
        self.run = run
