"""What a run needs of its folder to be gone on with: the same settings, a checkpoint, the rows until then."""

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
from policygrad.runs import checkpoint
from policygrad.runs.growing_file import check
from policygrad.runs.locked_folder import CONFIG, MANIFEST, METRICS_FILE, as_json, holds_run, read_json
from policygrad.types import State

FREE_TO_CHANGE = ("steps", "stop_at", "eval_every", "eval_episodes", "select", "vectorize")
"""Settings that a run may go on with others of; of `seeds` there may also be more."""

RENAMED = {
    "test_every": "eval_every",
    "test_episodes": "eval_episodes",
    "test_return": "eval_return",
    "test_cut": "eval_cut",
}
"""Settings and metrics that earlier versions saved under other names."""
LOSS_GRAPH = "algorithm.loss_graph"


def holds_resumable_run(path: Path, config: dict[str, Any]) -> bool:
    """Whether there is a run, or runs, at `path` to go on with.

    Raises:
        FileExistsError: what is there is no run.
        ValueError: it was begun with other settings than these.
        FileNotFoundError: its settings are gone.
        CheckpointError: they are damaged.
    """
    if not holds_run(path):
        return False
    if not (path / CONFIG).exists():
        if any(file.name != MANIFEST and not file.name.startswith(".") for file in path.iterdir()):
            raise FileNotFoundError(
                f"{path} has lost its {CONFIG}, without which nobody can say whether the settings are those of then: "
                "put it back, or choose another place"
            )
        # ended between its first two files
        return False
    saved, asked = _flat(read_json(path / CONFIG)), _flat(json.loads(as_json(config)))
    saved = {RENAMED.get(name, name): value for name, value in saved.items()}

    def may_go_on(name: str) -> bool:
        was, now = saved.get(name), asked.get(name)
        if name == LOSS_GRAPH and name not in saved:
            # of a version that did not keep it yet
            return True
        if name == "algorithm.loss":
            # a loss may have another name, if it computes the same
            return LOSS_GRAPH in saved
        more_seeds = name == "seeds" and was and now and set(was) <= set(now)
        return was == now or name in FREE_TO_CHANGE or bool(more_seeds)

    others = [
        f"{name} was {saved.get(name)!r} and is now {asked.get(name)!r}"
        if name != LOSS_GRAPH
        else "the loss computed something else (its graph is another one)"
        for name in dict.fromkeys([*saved, *asked])
        if not may_go_on(name)
    ]
    if others:
        raise ValueError(
            f"the run at {path} was begun with other settings: {'; '.join(others)}. "
            "Give those of then, or choose another place"
        )
    return True


@dataclass(frozen=True)
class Resumed:
    """The checkpoint of a run that is resumed."""

    path: Path
    """The run folder."""
    run: State
    """State of the recorder: see `Recorder.state`."""
    files: State
    """Of each file that grows, its length and digest at the checkpoint."""

    def rows(self) -> Iterator[dict[str, float]]:
        """The metrics up to the checkpoint, a row per update.

        Raises:
            CheckpointError: some of them are gone, or damaged.
        """
        file, count = self.path / METRICS_FILE, 0
        # as bytes: what was appended after the checkpoint may be no text
        with file.open("rb") as lines:
            for line in islice(lines, self.run["rows"]):
                count += 1
                row: dict[str, float | None] = json.loads(line)
                yield {RENAMED.get(name, name): math.nan if x is None else x for name, x in row.items()}
        if count != self.run["rows"]:
            raise CheckpointError(
                f"{file} has {count} rows; expected the {self.run['rows']} of the checkpoint"
            )


def checkpoint_to_resume(path: Path, config: dict[str, Any]) -> Resumed | None:
    """The checkpoint of the run at `path`; None where there is no run yet, or one that never came to learn.

    Raises:
        FileExistsError, ValueError: as `holds_resumable_run`.
        FileNotFoundError: it has learned, and left no checkpoint; or as `holds_resumable_run`.
        CheckpointError: that is damaged.
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
    """Settings within settings by names such as `algorithm.gamma`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat
