"""Runs on disk: `open_run` reads a run folder, also of a run that is still training."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from policygrad._support.lookup import named
from policygrad.errors import CheckpointError
from policygrad.metrics import current_name
from policygrad.policies import Policy
from policygrad.policies.policy_file import load
from policygrad.runs.folder import EPISODES_FILE, LAST_POLICY, SCORES, SUMMARY
from policygrad.runs.history import Updates
from policygrad.runs.locked_folder import CONFIG, MANIFEST, METRICS_FILE, read_json
from policygrad.runs.view import RunView
from policygrad.types import F64, I64

ROWS_AT_ONCE = 1000


def open_run(path: str | Path) -> SavedRun:
    """Read the run in a folder. What is large is read when it is first used.

    Raises:
        FileNotFoundError: there is no run at `path`.
        CheckpointError: a file is damaged.
    """
    path = Path(path).expanduser()
    if not (path / CONFIG).is_file() or not (path / METRICS_FILE).is_file():
        several = f". Open one of its seeds, such as {path}/seed-0" if list(path.glob("seed-*")) else ""
        raise FileNotFoundError(
            f"there is no run at {path}: expected a folder with {CONFIG} and {METRICS_FILE}{several}"
        )
    return SavedRun(path)


@dataclass(frozen=True, repr=False)
class SavedRun(RunView):
    """A run on disk, with the attributes of `Run`. A run that is still training is seen as it was when first read."""

    path: Path
    """Run folder."""

    @property
    def out(self) -> Path:
        """Run folder."""
        return self.path

    @cached_property
    def config(self) -> dict[str, Any]:
        """The requested settings, with presets and defaults filled in (`config.json`)."""
        return read_json(self.path / CONFIG)

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, machine and circumstances (`manifest.json`)."""
        return read_json(self.path / MANIFEST)

    @cached_property
    def summary(self) -> dict[str, Any]:
        """What `Run.summary` returned at the end of the run; empty if the run has not ended."""
        file = self.path / SUMMARY
        return read_json(file) if file.exists() else {}

    @cached_property
    def scores(self) -> dict[str, Any]:
        """Scores of the best policy on fresh episodes, by way of acting; empty if a study did not score it."""
        file = self.path / SCORES
        return read_json(file) if file.exists() else {}

    @property
    def environment(self) -> str:
        """Name of the environment."""
        return self.config["environment"]

    @property
    def algorithm(self) -> str:
        """Name of the algorithm."""
        return self.config["algorithm"]["name"]

    @property
    def seed(self) -> int:
        """Seed of all randomness in the run."""
        return self.config["seed"]

    @property
    def ended(self) -> str:
        """Why the run ended: see `Run.ended`; `unfinished` if it has not ended or was killed."""
        return self.summary.get("ended", "unfinished")

    @property
    def threshold(self) -> float | None:
        """Mean return that counts as solved."""
        return self.summary.get("threshold", self.config.get("stop_at"))

    @property
    def solved_at(self) -> int | None:
        """Steps at which the run was solved; None if it was not."""
        return self.summary.get("solved_at")

    @property
    def solved_seconds(self) -> float | None:
        """Seconds of collecting and learning by then; None if it was not solved."""
        return self.summary.get("solved_seconds")

    @property
    def findings(self) -> list[str]:
        """Problems that the run's metrics point to, in words."""
        return self.summary.get("findings", [])

    @property
    def steps(self) -> int:
        """Number of samples learned from."""
        return int(self.updates.latest.get("steps", 0))

    @property
    def seconds(self) -> float:
        """Wall-clock seconds spent collecting and learning."""
        return self.updates.latest.get("seconds", 0.0)

    @cached_property
    def updates(self) -> Updates:
        """Metrics of the updates, read from `metrics.jsonl`."""
        return read_updates(self.path / METRICS_FILE)

    @cached_property
    def history(self) -> dict[str, F64]:
        """Each metric as an array with one entry per update: see `Run.history`."""
        return self.updates.columns()

    @cached_property
    def _episodes(self) -> F64:
        file = self.path / EPISODES_FILE
        if not file.exists():
            return np.zeros((0, 2))
        return np.loadtxt(file, delimiter=",", skiprows=1, ndmin=2).reshape(-1, 2)

    @property
    def episode_returns(self) -> F64:
        """[episodes] float64: return of each training episode; empty without `save_episodes`."""
        return self._episodes[:, 1]

    @property
    def episode_steps(self) -> I64:
        """[episodes] int64: steps used by the end of the update in which each episode ended."""
        return self._episodes[:, 0].astype(np.int64)

    @cached_property
    def policy(self) -> Policy:
        """Best policy of the run.

        Raises:
            PolicyFileError: the network is your own. `policygrad.load(path, policy)` loads its weights.
        """
        return load(self.path)

    @cached_property
    def last_policy(self) -> Policy:
        """Policy at the end of the run; the errors are those of `policy`."""
        return load(self.path / LAST_POLICY)

    def __repr__(self) -> str:
        return (
            f"SavedRun({str(self.path)!r}: {self.environment}, {self.algorithm}, seed {self.seed}, "
            f"{self.steps:,} steps, ended by {self.ended})"
        )


def own_network(config: Mapping[str, Any]) -> Any:
    """Return the user's class or function that made a run's network; None if the policy file is enough to load it.

    Args:
        config: the contents of the run's `config.json`.

    Raises:
        ValueError: it cannot be imported.
    """
    name = config.get("policy")
    if name is None or name.startswith(("policygrad.", "torch.")):
        return None
    return named("the run's policy", name)


def read_updates(file: Path) -> Updates:
    """Return the rows of a `metrics.jsonl`. A last line that is still being written is left out.

    Raises:
        CheckpointError: a line is damaged.
    """
    updates = Updates()
    names: tuple[str, ...] = ()
    table = list[list[float]]()

    def flush() -> None:
        if table:
            updates.extend(tuple(map(current_name, names)), np.array(table, np.float64))
            table.clear()

    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.endswith(b"\n"):
                break
            try:
                row: dict[str, float | None] = json.loads(line)
                values = [math.nan if value is None else float(value) for value in row.values()]
            except (ValueError, AttributeError, TypeError) as error:
                raise CheckpointError(f"line {number} of {file} is damaged: {error}") from error
            if tuple(row) != names or len(table) == ROWS_AT_ONCE:
                flush()
                names = tuple(row)
            table.append(values)
    flush()
    return updates
