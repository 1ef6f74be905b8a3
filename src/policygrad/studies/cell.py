"""A cell of a study: the runs of one configuration on one environment, which share a folder."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policygrad._support.files import write_atomically
from policygrad.runs.experiment import Experiment
from policygrad.runs.folder import SCORES, SUMMARY
from policygrad.runs.locked_folder import CONFIG, METRICS_FILE, LockedFolder, as_json, read_json
from policygrad.runs.resume import FREE_TO_CHANGE, holds_resumable_run
from policygrad.runs.run import FINISHED
from policygrad.scheduling import Job, Outcome
from policygrad.studies.saved_cell import FAILURES, seed_folder
from policygrad.studies.seeds import config_of_seeds, summary


@dataclass
class Cell:
    """The runs of one configuration on one environment, while a study trains them."""

    experiment: Experiment
    environment: str
    configuration: str
    folder: Path
    seeds: list[int]
    episodes: int
    """Fresh episodes per way of acting with which each run is scored."""
    failures: dict[str, dict[str, str]] = field(default_factory=dict[str, dict[str, str]])
    """Error and traceback of each seed that failed."""
    config: dict[str, Any] = field(init=False)
    """Contents of `config.json`."""
    _locked: LockedFolder | None = None
    _every_seed: list[int] = field(default_factory=list[int])
    _resuming: bool = False
    _begun: bool = False

    def __post_init__(self) -> None:
        self.config = config_of_seeds(self.experiment, self.seeds)

    @property
    def name(self) -> str:
        """Name of the cell in messages."""
        return f"{self.environment} {self.configuration}"

    def reserve(self) -> None:
        """Lock the folder, and check that the runs in it can be resumed. Nothing is written.

        Raises:
            ValueError: there are runs with other settings.
        """
        self._locked = LockedFolder(self.folder, resume=True)
        before = read_json(self.folder / CONFIG) if (self.folder / CONFIG).exists() else {}
        # seeds of an earlier, larger study are kept
        self._every_seed = sorted({*before.get("seeds", []), *self.seeds})
        names = {"environment": self.environment, "configuration": self.configuration}
        self.config |= {
            "seeds": self._every_seed,
            "seed": before.get("seed", self.config["seed"]),
            "study": names,
        }
        self._resuming = self._locked.can_resume and holds_resumable_run(self.folder, self.config)
        if self._resuming and before["steps"] > self.config["steps"]:
            raise ValueError(
                f"the runs in {self.folder} have a budget of {before['steps']:,} steps, and cannot be resumed with the "
                f"smaller one of {self.config['steps']:,}. Use at least that many steps, or choose another folder."
            )

    def begin(self, how: str) -> None:
        """Write the first files, and read which runs have failed."""
        if self._locked is None:
            self.reserve()
        assert self._locked is not None
        self._locked.begin(self.config, {"parallel": how}, resuming=self._resuming, with_git=False)
        self._begun = True
        failures = self.folder / FAILURES
        self.failures = read_json(failures) if failures.exists() else {}

    def jobs(self) -> list[Job]:
        """Return the runs that are still to be trained or resumed."""
        return [
            Job(self.experiment, seed, seed_folder(self.folder, seed), self.episodes, self.name)
            for seed in self.seeds
            if not self._has_finished(seed)
        ]

    def _has_finished(self, seed: int) -> bool:
        """Return True if nothing is left to do for a seed. A run that failed is tried again, except after a NaN."""
        folder = seed_folder(self.folder, seed)
        if not all((folder / name).exists() for name in (SUMMARY, CONFIG, METRICS_FILE)):
            return False
        config, ended = read_json(folder / CONFIG), read_json(folder / SUMMARY)["ended"]
        wanted = self.experiment.settings.config()
        free = [name for name in FREE_TO_CHANGE if name not in ("vectorize", "loop", "log_info")]
        if any(config.get(name) != wanted[name] for name in free):
            return False
        if ended == "non-finite":
            return True
        if ended not in FINISHED:
            return False
        if not self.episodes:
            return True
        scores = folder / SCORES
        return scores.exists() and read_json(scores)["greedy"]["episodes"] == self.episodes

    def note(self, outcome: Outcome) -> None:
        """Record what came of a job: a failure with its traceback, or that an earlier failure is mended."""
        seed, error = str(outcome.job.seed), outcome.error
        if error is not None:
            self.failures[seed] = {
                "error": f"{type(error).__name__}: {error}",
                "traceback": "".join(traceback.format_exception(error)),
            }
        elif outcome.run is None or self.failures.pop(seed, None) is None:
            return
        write_atomically(self.folder / FAILURES, as_json(self.failures))

    def close(self) -> None:
        """Write the summary of all runs that have ended, and release the folder."""
        if self._locked is None:
            return
        if not self._begun:
            self._locked.close()
            return
        summaries: dict[int, dict[str, Any]] = {
            seed: read_json(file)
            for seed in self._every_seed
            if (file := seed_folder(self.folder, seed) / SUMMARY).exists()
        }
        self._locked.write_json(SUMMARY, summary(summaries))
        self._locked.close()
        self._locked = None
