"""Opening what a report is about: a study, the seeds of `train`, or a single run, which is read as a study of one."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from policygrad.runs.locked_folder import CONFIG, read_json
from policygrad.runs.saved_run import SavedRun, open_run
from policygrad.studies.saved_cell import SavedCell
from policygrad.studies.saved_study import KIND, SavedStudy, open_study


@dataclass(frozen=True)
class LoneRun(SavedCell):
    """A single run, in the form of a cell with one seed."""

    @cached_property
    def config(self) -> dict[str, Any]:
        """Settings of the run."""
        config = self.runs[0].config
        return config | {"seeds": [config["seed"]]}

    @cached_property
    def runs(self) -> list[SavedRun]:
        """The run."""
        return [SavedRun(self.path)]


def open_any(path: str | Path) -> SavedStudy:
    """Read the study, the seeds of `train` or the run in a folder.

    Raises:
        FileNotFoundError: there is neither a study nor a run at `path`.
        CheckpointError: a file is damaged.
    """
    path = Path(path).expanduser().absolute()
    if not (path / CONFIG).is_file():
        raise FileNotFoundError(
            f"there is neither a study nor a run at {path}: expected a folder with {CONFIG}, as policygrad study and "
            "policygrad train --out write it"
        )
    config = read_json(path / CONFIG)
    if config.get("kind") == KIND or "seeds" in config:
        return open_study(path)
    run = open_run(path)
    return SavedStudy(path, (LoneRun(run.environment, run.algorithm, path),))
