"""A run on disk: what was asked, on what it ran, every metric, the policies, a picture."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from policygrad import checkpoint
from policygrad.files import write_atomically
from policygrad.metrics import check_registered
from policygrad.policies import Policy
from policygrad.policy_file import FILE_NAME, save
from policygrad.run_folder.events import Events
from policygrad.run_folder.place import Place
from policygrad.types import State

METRICS_FILE = "metrics.jsonl"
SUMMARY = "summary.json"
LAST_POLICY = "last_policy.safetensors"


class RunFolder:
    """Writes a run's files as it goes: metrics and events grow, all others are whole at every moment.

    Args:
        path: must not exist, or be empty, or `overwrite` must be asked for.
        config: what was asked: `config.json`.
        facts: what more there is to say of the circumstances: into `manifest.json`.
        overwrite: replace an earlier run. It stands aside until the new one has been closed.
        go_on_after: the run at `path` goes on after so many rows of its metrics, all later ones being dropped; None
            begins one. See `to_go_on_from` and `first_rows`.
        alone: also write TensorBoard's events, and later a learning curve; one run of many does without.

    Raises:
        FileExistsError: something is there that may not be, or is no run, replaced; or somebody trains there.
    """

    save_interval = 5.0
    """Seconds between two writes of the best policy, and of a checkpoint, while the run goes on."""

    def __init__(
        self,
        path: str | Path,
        config: dict[str, Any],
        facts: dict[str, Any],
        *,
        overwrite: bool = False,
        go_on_after: int | None = None,
        alone: bool = True,
    ) -> None:
        go_on = go_on_after is not None
        self._place = Place(path, config, facts, overwrite=overwrite, go_on=go_on, with_git=alone)
        self.path, self.alone = self._place.path, alone
        metrics, steps = self.path / METRICS_FILE, None
        if go_on_after is not None:
            rows = metrics.read_text(encoding="utf-8").splitlines()[:go_on_after]
            write_atomically(metrics, "".join(row + "\n" for row in rows).encode())
            steps = int(json.loads(rows[-1])["steps"]) if rows else 0
        self._metrics = metrics.open("a" if go_on else "w", encoding="utf-8")
        self._events = Events(self.path, after=steps) if alone else None
        self._saved = self._checkpointed = time.monotonic()

    def log(self, row: dict[str, float]) -> None:
        """Append a row of metrics, all of them in the registry."""
        check_registered(row)
        # JSON has no NaN: what is undefined is null
        plain = {name: value if math.isfinite(value) else None for name, value in row.items()}
        self._metrics.write(json.dumps(plain, allow_nan=False) + "\n")
        self._metrics.flush()
        if self._events is not None:
            self._events.log(row)

    def save_best(self, best: Callable[[], Policy]) -> None:
        """Write the best policy so far, unless that was done within the last seconds."""
        if time.monotonic() - self._saved >= self.save_interval:
            save(best(), self.path / FILE_NAME)
            self._saved = time.monotonic()

    def save_checkpoint(self, state: Callable[[], State], *, now: bool = False) -> None:
        """Write where everything stands, unless that was done within the last seconds; `now` in any case."""
        if now or time.monotonic() - self._checkpointed >= self.save_interval:
            # it counts on the rows until then
            os.fsync(self._metrics.fileno())
            checkpoint.save(state(), self.path / checkpoint.FILE_NAME)
            self._checkpointed = time.monotonic()

    def save_policies(self, best: Policy, last: Policy) -> None:
        """Write both policies now."""
        save(best, self.path / FILE_NAME)
        save(last, self.path / LAST_POLICY)

    def close(self, *, discard: bool = False, keep_replaced: bool = False) -> Path | None:
        """Flush everything; a run that this one replaces is removed.

        Args:
            discard: nothing was learned: remove this one, and put back one that it was to replace.
            keep_replaced: leave that one where it stands aside.

        Returns:
            Where a replaced run still is, if it is not gone or back.
        """
        self._metrics.close()
        if self._events is not None:
            self._events.close()
        return self._place.settle(discard=discard, keep_replaced=keep_replaced)

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write a JSON file of the folder, whole or not at all."""
        self._place.write_json(name, data)
