"""Where a run stands on disk: free or taken, held by one process at a time, an earlier one aside meanwhile."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import warnings
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from policygrad._support.files import check_regular, remove_temporary, write_atomically
from policygrad.errors import CheckpointError
from policygrad.runs.manifest import manifest

CONFIG = "config.json"
MANIFEST = "manifest.json"
METRICS_FILE = "metrics.jsonl"
LOCK = ".lock"
LARGEST_JSON = 50_000_000
"""Bytes of a settings file, a manifest or a summary at most; they have some thousand."""


class LockedFolder:
    """A folder that a run is to have for itself, from `begin` until it is settled, or the context is left.

    A run that is there already is held at once: what is then read of it stays true until another begins, or it
    goes on. One that was to be replaced by a run that nobody settled is put back, unless that has learned.

    Args:
        path: must not exist, or be empty, or a run to be replaced or gone on with.
        overwrite: a run that is there may be replaced.
        resume: it is to go on, or to be replaced if it never came to learn.

    Raises:
        FileExistsError: something is there that may not be, or is no run, replaced; or somebody trains there.
    """

    def __init__(self, path: str | Path, *, overwrite: bool = False, resume: bool = False) -> None:
        # a link to a folder stays, and what it leads to is used
        self.path = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
        self._overwrite = overwrite
        self._replaced: Path | None = None
        with _naming_place(self.path):
            # of a loop of links it would be said that there is nothing
            with suppress(FileNotFoundError, NotADirectoryError):
                self.path.stat()
            self._lock = _locked(self.path) if _holds_run_to_replace(self.path, overwrite or resume) else None
        self.can_resume = resume and self._lock is not None
        """Whether `resume` found a run."""

    def __enter__(self) -> LockedFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._replaced is not None:
            # without the lock, what is there now is somebody else's
            learned = self._lock is None or any(file.stat().st_size for file in self.path.rglob(METRICS_FILE))
            kept = self.settle(discard=not learned, keep_replaced=True)
            if kept is not None:
                warnings.warn(f"the run that was at {self.path} before is now at {kept}", stacklevel=2)
        self._let_go()

    def begin(
        self,
        config: dict[str, Any],
        facts: dict[str, Any],
        *,
        resuming: bool = False,
        with_git: bool = True,
    ) -> None:
        """Write the first files of a run. One that is there goes on, or waits aside until this one is settled.

        Args:
            config: what was asked: `config.json`.
            facts: what more there is to say of the circumstances: into `manifest.json`. Of a run that goes on that
                also has what it was `before`, a list with an entry each time.
            go_on: with the run that is there.
            with_git: note the state of source control; of many runs, once is enough.

        Raises:
            FileExistsError: somebody else has begun there meanwhile.
            CheckpointError: the manifest of a run that is to go on is damaged.
        """
        circumstances = manifest(with_git=with_git) | facts
        if resuming:
            earlier = read_json(self.path / MANIFEST)
            circumstances["before"] = [*earlier.pop("before", []), earlier]
        # before anything is moved: what cannot be written must not cost an earlier run
        files = {MANIFEST: as_json(circumstances), CONFIG: as_json(config)}
        with _naming_place(self.path):
            self._take(resuming)
            remove_temporary(self.path)
            for name, text in files.items():
                # where nothing has been learned yet there is nothing to lose
                write_atomically(self.path / name, text, on_disk=resuming)

    def _take(self, resuming: bool) -> None:
        """Have the folder, locked; a run that is there and does not go on is moved aside."""
        lock = self._lock
        holds = lock is not None
        if lock is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock = _locked(self.path)
            holds = _holds_run_to_replace(self.path, self._overwrite)
        if not holds or resuming:
            return
        self._lock = None
        try:
            if os.name == "nt":
                # there a folder with an open file in it cannot be moved
                lock.release()
            self._replaced = self._move_aside("replaced")
            self.path.mkdir()
            self._lock = _locked(self.path)
        finally:
            lock.release()

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write a JSON file, whole or not at all."""
        write_atomically(self.path / name, as_json(data))

    def settle(self, *, discard: bool = False, keep_replaced: bool = False) -> Path | None:
        """See `RunFolder.close`."""
        replaced, self._replaced = self._replaced, None
        if os.name == "nt":
            self._let_go()
        try:
            if replaced is None or (keep_replaced and not discard):
                return replaced
            unwanted = replaced
            if discard:
                # out of the way at once: to remove it takes a while
                unwanted = self._move_aside("discarded")
                replaced.rename(self.path)
            shutil.rmtree(unwanted)
            return None
        finally:
            self._let_go()

    def _move_aside(self, why: str) -> Path:
        """Rename the folder; returns to what."""
        aside = self.path.with_name(f".{self.path.name}.{why}-{os.getpid()}-{time.time_ns()}")
        self.path.rename(aside)
        return aside

    def _let_go(self) -> None:
        if self._lock is not None:
            self._lock.release()


def _holds_run_to_replace(path: Path, may_replace: bool) -> bool:
    """As `holds_run`; FileExistsError also for a run that may not be replaced."""
    holds = holds_run(path)
    if holds and not may_replace:
        raise FileExistsError(
            f"{path} holds a run already: choose another place, or ask for overwrite (--overwrite)"
        )
    return holds


def holds_run(path: Path) -> bool:
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
    return file.name == LOCK or re.fullmatch(rf"\.{re.escape(MANIFEST)}\.\d+(\.tmp)?", file.name) is not None


@contextmanager
def _naming_place(path: Path) -> Generator[None]:
    """Say in words what the system has against a place: a read-only disk, a loop of links, no room."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write at {path}: {error.strerror or error}. Choose another place (--out)"
        ) from error


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
        check_regular(file, LARGEST_JSON)
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} is damaged: it holds no object")
    return found


def as_json(data: dict[str, Any]) -> bytes:
    """Indented; NumPy's numbers and arrays as plain ones, and what is neither by its repr."""

    def plain(value: Any) -> Any:
        return value.tolist() if hasattr(value, "tolist") else repr(value)

    return (json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False, default=plain) + "\n").encode()
