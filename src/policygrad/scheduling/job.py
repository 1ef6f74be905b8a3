"""A job: one run to train, with its seed and its folder, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Progress
from policygrad.runs.run import FINISHED, Run, StoppedError
from policygrad.runs.running import run_experiment
from policygrad.runs.scoring import score


@dataclass(frozen=True)
class Job:
    """One of many runs to train."""

    experiment: Experiment
    seed: int
    out: Path | None = None
    """Run folder; None if the run is not saved."""
    episodes: int = 0
    """Fresh episodes per way of acting (greedy and sampled) to score the best policy with after training."""
    name: str = ""
    """What people call the experiment, if there are several: "CartPole-v1 ppo"."""

    @property
    def title(self) -> str:
        """Name of the run in messages."""
        return f"{self.name}, seed {self.seed}" if self.name else f"seed {self.seed}"

    def train(self, display: Progress, interruption: Interruption) -> Run:
        """Train in this thread. A run that a NaN ended is returned too; other errors are those of `train`."""
        try:
            run = run_experiment(self.experiment, self.seed, display, interruption, out=self.out, alone=False)
        except StoppedError as error:
            display.say(f"{self.title}: {error}")
            return error.run
        if self.episodes and run.ended in FINISHED:
            with interruption.opening:
                score(self.experiment, run, self.episodes)
        return run


def what_is_left(out: Path | None) -> str:
    """Return what is left of a run whose process has ended, in words, given its folder."""
    if out is None:
        return "Nothing of its run is left, because out (--out) was not set"
    return f"What its run had saved is in {out}; repeat the call with resume=True (--resume) to continue"


@dataclass(frozen=True)
class Outcome:
    """What came of a job."""

    job: Job
    run: Run | None
    """The run; None if it was not begun, or failed before its first update."""
    error: BaseException | None = None
    """What ended the run, if it failed."""
