"""What resuming a run needs from its folder: the same settings, a checkpoint, and the metrics up to it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from policygrad._support.checks import whole
from policygrad._support.state import unpack
from policygrad.errors import CheckpointError
from policygrad.metrics import current_name
from policygrad.runs import checkpoint
from policygrad.runs.growing_file import check
from policygrad.runs.locked_folder import CONFIG, MANIFEST, METRICS_FILE, as_json, holds_run, read_json
from policygrad.runs.settings import RENAMED
from policygrad.types import State

FREE_TO_CHANGE = (
    "steps",
    "stop_at",
    "eval_every",
    "eval_episodes",
    "select",
    "vectorize",
    "loop",
    "log_info",
)
"""Settings that may change when a run is resumed. Seeds may also be added to `seeds`."""

LOSS_GRAPH = "algorithm.loss_graph"


def holds_resumable_run(path: Path, config: dict[str, Any]) -> bool:
    """Return whether there is a run, or a group of runs, at `path` that these settings can resume.

    Raises:
        FileExistsError: there is something else at `path`.
        ValueError: the run was started with different settings.
        FileNotFoundError: the settings of the run are missing.
        CheckpointError: the settings of the run are damaged.
    """
    if not holds_run(path):
        return False
    if not (path / CONFIG).exists():
        if any(file.name != MANIFEST and not file.name.startswith(".") for file in path.iterdir()):
            raise FileNotFoundError(
                f"{path} has lost its {CONFIG}, so it cannot be checked whether the settings are unchanged. Restore "
                "the file, or choose another folder (--out)."
            )
        # the run was killed between its first two files
        return False
    saved, requested = _flat(read_json(path / CONFIG)), _flat(json.loads(as_json(config)))
    saved = {RENAMED.get(name, name): value for name, value in saved.items()}

    def may_resume(name: str) -> bool:
        was, now = saved.get(name), requested.get(name)
        if name == LOSS_GRAPH and name not in saved:
            # saved by a version that did not record it yet
            return True
        if name == "algorithm.loss":
            # a loss may be renamed if it computes the same
            return LOSS_GRAPH in saved
        more_seeds = name == "seeds" and was and now and set(was) <= set(now)
        return was == now or name in FREE_TO_CHANGE or bool(more_seeds)

    others = [
        f"{name} was {saved.get(name)!r} and is now {requested.get(name)!r}"
        if name != LOSS_GRAPH
        else "the loss computed something else (its graph has changed)"
        for name in dict.fromkeys([*saved, *requested])
        if not may_resume(name)
    ]
    if others:
        raise ValueError(
            f"the run at {path} was started with different settings: {'; '.join(others)}. "
            "Use the original settings, or choose another folder (--out)."
        )
    return True


@dataclass(frozen=True)
class Resumed:
    """Checkpoint of a run that is being resumed."""

    path: Path
    """Run folder."""
    run: State
    """State of the recorder: see `Recorder.state`."""
    files: State
    """Length and digest of each appended file at the checkpoint."""

    def rows(self) -> Iterator[dict[str, float]]:
        """Yield the metrics up to the checkpoint, one row per update.

        Raises:
            CheckpointError: rows are missing or damaged.
        """
        file, count = self.path / METRICS_FILE, 0
        # read as bytes, because what was appended after the checkpoint may not be valid text
        with file.open("rb") as lines:
            for line in islice(lines, self.run["rows"]):
                count += 1
                row: dict[str, float | None] = json.loads(line)
                yield {current_name(name): math.nan if x is None else x for name, x in row.items()}
        if count != self.run["rows"]:
            raise CheckpointError(
                f"{file} has {count} rows, but the checkpoint expects {self.run['rows']}. {checkpoint.REMEDY}"
            )


def checkpoint_to_resume(path: Path, config: dict[str, Any]) -> Resumed | None:
    """Return the checkpoint of the run at `path`; None if there is no run yet, or it never learned anything.

    Raises:
        FileExistsError, ValueError: as in `holds_resumable_run`.
        FileNotFoundError: the run has learned but has no checkpoint; or as in `holds_resumable_run`.
        CheckpointError: the checkpoint, the settings, or a file that the checkpoint covers is damaged.
    """
    file, metrics = path / checkpoint.FILE_NAME, path / METRICS_FILE
    if not holds_resumable_run(path, config):
        return None
    if not file.exists() and not (metrics.exists() and metrics.stat().st_size):
        return None
    state = checkpoint.load_checkpoint(file)
    with checkpoint.reporting_damage(file):
        run, files = unpack(state, "run", "files")
        for name, of_file in files.items():
            length, digest = unpack(of_file, "bytes", "sha256")
            check(path / name, whole("bytes", length, at_least=0), digest)
    return Resumed(path, run, files)


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested settings into names such as `algorithm.gamma`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
