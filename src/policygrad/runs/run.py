"""What comes of a training: its history, its best policy, its files."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from policygrad.errors import NonFiniteError
from policygrad.evaluation.selection import Selection
from policygrad.policies import Policy
from policygrad.runs.history import Episodes, Updates
from policygrad.types import F64, I64

Ending = Literal["budget", "stop_at", "interrupted", "non-finite", "error"]


@dataclass
class Run:
    """What came of a training."""

    policy: Policy = field(repr=False)
    """The best: of a few candidates that scored best on fresh episodes when the run was over (see `selection`).

    The candidates are those of the best means of 100 training returns, as they were when they collected the last of
    them, and the one at the end. Where nothing was scored it is the one of the best mean, and while fewer than 100
    episodes have finished the latest that acted.
    """
    last_policy: Policy = field(repr=False)
    """The policy at the end."""
    threshold: float | None
    """The mean return that counts as solved: `stop_at`, or what the environment's authors say."""
    engine: str
    """`fused` or `autograd`."""
    environment: str
    """Its name."""
    solved_at: int | None = None
    """Steps when the mean of the last 100 returns first reached the threshold; None if it never did."""
    solved_seconds: float | None = None
    """Seconds of collecting and learning until then."""
    seed: int = 0
    """Of everything random in it."""
    ended: Ending = "budget"
    """Why the run ended."""
    best_mean: float = -math.inf
    """The best mean of 100 training returns. It is the largest of many, and so too high by luck: a fair figure is
    that of `evaluate`."""
    findings: list[str] = field(default_factory=list[str], repr=False)
    """What the run's own numbers say went wrong, in words; empty where all looks well."""
    selection: Selection | None = None
    """How the best policy was chosen; None where nothing was scored."""
    out: Path | None = None
    """The run folder, if one was asked for."""
    updates: Updates = field(default_factory=Updates, repr=False)
    """The metrics of its updates."""
    episodes: Episodes = field(default_factory=Episodes, repr=False)
    """The returns of its episodes."""

    @property
    def history(self) -> dict[str, F64]:
        """Each metric as an array with an entry per update; NaN where it was not logged.

        A run of more than 100,000 updates keeps every second of them, then every fourth, and so on, and always the
        latest. `metrics.jsonl` has them all.
        """
        return self.updates.columns()

    @property
    def episode_returns(self) -> F64:
        """[episodes] float64: the undiscounted original return of each training episode, in order.

        A run of more than a million episodes keeps every second of them, then every fourth, and so on: see
        `episodes.every`. With `save_episodes` a file in the run folder has them all.
        """
        return self.episodes.returns

    @property
    def episode_steps(self) -> I64:
        """[episodes] int64: the steps used when the update of that episode was over."""
        return self.episodes.steps

    @property
    def steps(self) -> int:
        """Samples learned from."""
        return int(self.updates.latest.get("steps", 0))

    @property
    def seconds(self) -> float:
        """Wall-clock time of collecting and learning."""
        return self.updates.latest.get("seconds", 0.0)

    def summary(self) -> dict[str, Any]:
        """What it came to, as plain JSON: `summary.json`."""
        return {
            "ended": self.ended,
            "steps": self.steps,
            "seconds": self.seconds,
            "episodes": len(self.episodes),
            "episode_returns_every": self.episodes.every,
            "updates": len(self.updates),
            "history_every": self.updates.every,
            "solved_at": self.solved_at,
            "best_mean_return": self.best_mean if math.isfinite(self.best_mean) else None,
            "findings": self.findings,
            "selection": None if self.selection is None else self.selection.summary(),
        }


class StoppedError(NonFiniteError):
    """A NaN or an infinity ended a run; what was learned until then is in `run`, and in its folder."""

    def __init__(self, run: Run, cause: str) -> None:
        learned = run.out is not None and run.updates
        saved = f" The best policy until then is in {run.out}." if learned else ""
        super().__init__(f"after {run.steps:,} steps: {cause}.{saved}")
        self.run = run
