"""A run's files on disk: its settings, its machine, every metric, the policies and a plot."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from policygrad.metrics import check_registered
from policygrad.policies import Policy
from policygrad.policies.policy_file import FILE_NAME, save
from policygrad.runs import checkpoint
from policygrad.runs.growing_file import AppendedFile
from policygrad.runs.locked_folder import METRICS_FILE, LockedFolder
from policygrad.runs.resume import Resumed
from policygrad.runs.tensorboard import Events
from policygrad.runs.weights_and_biases import Tracker
from policygrad.training import Iteration
from policygrad.types import State

SUMMARY = "summary.json"
SCORES = "scores.json"
EPISODES_FILE = "episodes.csv"
QUICK = 0.1
"""Seconds in which a checkpoint is usually written. If one takes longer, they are written that much less often."""
LAST_POLICY = "last_policy.safetensors"


class RunFolder:
    """Writes a run's files during training. Metrics and events are appended; other files are replaced atomically.

    Args:
        folder: the folder that is reserved for the run.
        config, facts: as in `LockedFolder.begin`.
        resumed: checkpoint from which the run in the folder is resumed (see `checkpoint_to_resume`); None starts a
            new run.
        steps: number of samples learned from up to that checkpoint.
        alone: also write TensorBoard events and, at the end, a learning curve; one run of many has neither.
        save_episodes: also write each episode's return to a file.
        wandb: project of Weights & Biases to which the metrics are also sent; None sends nothing.

    Raises:
        FileExistsError, CheckpointError: as in `LockedFolder.begin`.
        ValueError: Weights & Biases cannot start.
    """

    first_save, save_interval = 0.5, 5.0
    """Seconds until the best policy and a checkpoint are first written, and between later writes."""

    def __init__(
        self,
        folder: LockedFolder,
        config: dict[str, Any],
        facts: dict[str, Any],
        *,
        resumed: Resumed | None = None,
        steps: int = 0,
        alone: bool = True,
        save_episodes: bool = False,
        wandb: str | None = None,
    ) -> None:
        if resumed is not None:
            # they are those of the earlier end, and would make a run that is killed now look finished
            for name in (SUMMARY, SCORES):
                (folder.path / name).unlink(missing_ok=True)
        folder.begin(config, facts, resuming=resumed is not None, with_git=alone)
        self._folder, self.path, self.alone = folder, folder.path, alone
        group = None if alone else self.path.parent.name
        self._tracker = None if wandb is None else Tracker(wandb, self.path, config, group=group)
        names = [METRICS_FILE, *([EPISODES_FILE] if save_episodes else [])]
        self._files = {
            name: AppendedFile(self.path / name, None if resumed is None else resumed.files.get(name))
            for name in names
        }
        if save_episodes and resumed is None:
            self._files[EPISODES_FILE].write("steps,return\n")
        self._events = Events(self.path, after=None if resumed is None else steps) if alone else None
        self._save_at = self._checkpoint_at = time.monotonic() + min(self.first_save, self.save_interval)

    def __enter__(self) -> RunFolder:
        return self

    def __exit__(self, *_: object) -> None:
        """Close the appended files and the trackers."""
        for file in self._files.values():
            file.close()
        events, self._events = self._events, None
        if events is not None:
            events.close()
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            tracker.close()

    def log(self, iteration: Iteration) -> None:
        """Append rows of metrics, which must all be registered, and the returns of their episodes."""
        check_registered(iteration.names)
        rows = [dict(zip(iteration.names, row, strict=True)) for row in iteration.table.tolist()]
        self._files[METRICS_FILE].write("".join(map(_line, rows)))
        if EPISODES_FILE in self._files and len(iteration.returns):
            steps = np.repeat(iteration.column("steps").astype(np.int64), iteration.episodes).tolist()
            lines = (f"{n},{x!r}\n" for n, x in zip(steps, iteration.returns.tolist(), strict=True))
            self._files[EPISODES_FILE].write("".join(lines))
        for tracker in (self._events, self._tracker):
            if tracker is not None:
                for row in rows:
                    tracker.log(row)

    def save_best(self, best: Callable[[], Policy]) -> None:
        """Write the best policy so far, unless it was written in the last few seconds."""
        if time.monotonic() >= self._save_at:
            save(best(), self.path / FILE_NAME)
            self._save_at = time.monotonic() + self.save_interval

    def save_checkpoint(self, state: Callable[[], State], *, now: bool = False) -> None:
        """Write a checkpoint, unless one was written in the last few seconds; with `now`, always write it."""
        began = time.monotonic()
        due = began >= self._checkpoint_at
        if not (now or due):
            return
        files = {name: file.state() for name, file in self._files.items()}
        checkpoint.save_checkpoint({"run": state(), "files": files}, self.path / checkpoint.FILE_NAME)
        if due:
            ended = time.monotonic()
            self._checkpoint_at = ended + self.save_interval * max(1.0, (ended - began) / QUICK)

    def save_policies(self, best: Policy, last: Policy) -> None:
        """Write both policies now, even if the folder was moved or removed in the meantime."""
        self.path.mkdir(parents=True, exist_ok=True)
        save(best, self.path / FILE_NAME)
        save(last, self.path / LAST_POLICY)

    def close(self, *, discard: bool = False, keep_replaced: bool = False) -> Path | None:
        """Close all files, and remove the run that this one replaces.

        Args:
            discard: nothing was learned, so put back the run that this one was to replace. If there was none, this
                one is kept, so that it can be resumed.
            keep_replaced: leave the replaced run in the folder that it was moved to.

        Returns:
            Folder of the replaced run, if it was neither removed nor put back.
        """
        self.__exit__()
        return self._folder.close(discard=discard, keep_replaced=keep_replaced)

    def save_summary(self, summary: dict[str, Any]) -> None:
        """Write the summary of the run, which has ended."""
        self._folder.write_json(SUMMARY, summary)
        if self._tracker is not None:
            self._tracker.summarize(summary)


def _line(row: dict[str, float]) -> str:
    # JSON has no NaN, so undefined values become null
    plain = {name: value if math.isfinite(value) else None for name, value in row.items()}
    return json.dumps(plain, allow_nan=False) + "\n"
