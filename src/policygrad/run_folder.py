"""A run on disk: what was asked, on what it ran, every metric, the policies, a picture."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from policygrad import checkpoint
from policygrad.circumstances import manifest
from policygrad.errors import CheckpointError
from policygrad.events import Events
from policygrad.files import write_atomically
from policygrad.metrics import check_registered
from policygrad.policies import Policy
from policygrad.policy_file import FILE_NAME, save
from policygrad.types import State

CONFIG = "config.json"
MANIFEST = "manifest.json"
METRICS_FILE = "metrics.jsonl"
SUMMARY = "summary.json"
LAST_POLICY = "last_policy.safetensors"
LOCK = ".lock"


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


class Place:
    """A folder that is new, or stands where an earlier run's was; that one waits aside until this is settled.

    Args:
        path, config, facts, overwrite, go_on: as of `RunFolder`. Of a run that goes on the manifest also has
            what it was `before`, a list with an entry each time.
        with_git: note the state of source control; of many runs, once is enough.

    Raises:
        FileExistsError: something is there that may not be, or is no run, replaced; or somebody trains there.
        CheckpointError: the manifest of a run that is to go on is damaged.
    """

    def __init__(
        self,
        path: str | Path,
        config: dict[str, Any],
        facts: dict[str, Any],
        *,
        overwrite: bool,
        go_on: bool = False,
        with_git: bool = True,
    ) -> None:
        self.path = Path(path)
        self._replaced: Path | None = None
        circumstances = manifest(with_git=with_git) | facts
        if go_on:
            earlier = read_json(self.path / MANIFEST)
            circumstances["before"] = [*earlier.pop("before", []), earlier]
        else:
            check_free(self.path, overwrite)
        # before anything is moved: what cannot be written must not cost an earlier run
        files = {MANIFEST: _as_json(circumstances), CONFIG: _as_json(config)}
        if not go_on and _holds_run(self.path):
            # nobody may be writing there; an open file would not let a folder be moved everywhere
            _locked(self.path).release()
            self._replaced = self.path.with_name(f".{self.path.name}.replaced-{os.getpid()}-{time.time_ns()}")
            self.path.rename(self._replaced)
        self.path.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.path)
        for name, text in files.items():
            # where nothing has been learned yet there is nothing to lose
            write_atomically(self.path / name, text, on_disk=go_on)

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        write_atomically(self.path / name, _as_json(data))

    def settle(self, *, discard: bool = False, keep_replaced: bool = False) -> Path | None:
        """See `RunFolder.close`."""
        self._lock.release()
        replaced, self._replaced = self._replaced, None
        if replaced is None:
            return None
        if discard:
            shutil.rmtree(self.path)
            replaced.rename(self.path)
        elif keep_replaced:
            return replaced
        else:
            shutil.rmtree(replaced)
        return None


def check_free(path: Path, overwrite: bool) -> None:
    """Raise FileExistsError if a new run may not be put here."""
    if _holds_run(path) and not overwrite:
        raise FileExistsError(
            f"{path} holds a run already: choose another place, or ask for overwrite (--overwrite)"
        )


FREE_TO_CHANGE = ("steps", "stop_at", "test_every", "test_episodes")
"""Settings that a run may go on with others of; of `seeds` there may also be more."""


def has_begun(path: Path, config: dict[str, Any]) -> bool:
    """Whether there is a run, or runs, at `path` to go on with.

    Raises:
        FileExistsError: what is there is no run.
        ValueError: it was begun with other settings than these.
        FileNotFoundError: its settings are gone.
        CheckpointError: they are damaged.
    """
    if not _holds_run(path):
        return False
    if not (path / CONFIG).exists():
        if any(file.name != MANIFEST and not file.name.startswith(".") for file in path.iterdir()):
            raise FileNotFoundError(
                f"{path} has lost its {CONFIG}, without which nobody can say whether the settings are those of then: "
                "put it back, or choose another place"
            )
        # ended between its first two files
        return False
    saved, asked = _flat(read_json(path / CONFIG)), _flat(json.loads(_as_json(config)))

    def may_go_on(name: str) -> bool:
        was, now = saved.get(name), asked.get(name)
        more_seeds = name == "seeds" and was and now and set(was) <= set(now)
        return was == now or name in FREE_TO_CHANGE or bool(more_seeds)

    others = [
        f"{name} was {saved.get(name)!r} and is now {asked.get(name)!r}"
        for name in dict.fromkeys([*saved, *asked])
        if not may_go_on(name)
    ]
    if others:
        raise ValueError(
            f"the run at {path} was begun with other settings: {'; '.join(others)}. "
            "Give those of then, or choose another place"
        )
    return True


def to_go_on_from(path: Path, config: dict[str, Any]) -> State | None:
    """The checkpoint of the run at `path`; None where there is no run yet, or one that never came to learn.

    Raises:
        FileExistsError, ValueError: as `has_begun`.
        FileNotFoundError: it has learned, and left no checkpoint; or as `has_begun`.
        CheckpointError: that is damaged.
    """
    file, metrics = path / checkpoint.FILE_NAME, path / METRICS_FILE
    if not has_begun(path, config):
        return None
    if not file.exists() and not (metrics.exists() and metrics.stat().st_size):
        return None
    return checkpoint.load(file)


def first_rows(path: Path, count: int) -> list[dict[str, float]]:
    """The metrics of the run at `path` up to its checkpoint's row.

    Raises:
        CheckpointError: some of them are gone, or damaged.
    """
    file = path / METRICS_FILE
    try:
        lines = file.read_text(encoding="utf-8").splitlines()[:count]
        rows = [json.loads(line) for line in lines]
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{file} is damaged, or gone: {error}") from error
    if len(rows) != count:
        raise CheckpointError(
            f"{file} has {len(rows)} rows; expected the {count} that the checkpoint counts on"
        )
    return [{name: math.nan if x is None else x for name, x in row.items()} for row in rows]


def _holds_run(path: Path) -> bool:
    """Whether there is a manifest of this library's, rather than nothing; FileExistsError for anything else."""
    if not path.exists() or (path.is_dir() and all(map(_is_left_behind, path.iterdir()))):
        return False
    try:
        ours = "policygrad" in read_json(path / MANIFEST)["packages"]
    except CheckpointError as error:
        raise FileExistsError(f"{error}. Put it back, or choose another place than {path}") from error
    except (OSError, KeyError, TypeError):
        ours = False
    if not ours:
        raise FileExistsError(f"{path} exists and is no run folder: choose another place")
    return True


def _is_left_behind(file: Path) -> bool:
    """Whether it is of a run that was killed before its first file was whole."""
    return file.name == LOCK or re.fullmatch(rf"\.{re.escape(MANIFEST)}\.\d+", file.name) is not None


def _locked(path: Path) -> FileLock:
    """The lock of the run at `path`, held; the system lets go of it when this process ends, however it does.

    Raises:
        FileExistsError: somebody else holds it.
    """
    lock = FileLock(path / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise FileExistsError(
            f"somebody is training at {path}, in this process or another: let that end, or choose another place"
        ) from None
    except NotImplementedError:
        # a file system without locks
        pass
    return lock


def read_json(file: Path) -> dict[str, Any]:
    """An object from a file; CheckpointError where there is another thing in it."""
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} is damaged: it holds no object")
    return found


def _flat(settings: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings within settings by names such as `algorithm.gamma`."""
    flat: dict[str, Any] = {}
    for name, value in settings.items():
        flat |= _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else {prefix + name: value}
    return flat


def _as_json(data: dict[str, Any]) -> bytes:
    """Indented; NumPy's numbers and arrays as plain ones, and what is neither by its repr."""

    def plain(value: Any) -> Any:
        return value.tolist() if hasattr(value, "tolist") else repr(value)

    return (json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False, default=plain) + "\n").encode()
