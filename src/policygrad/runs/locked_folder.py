"""A run's folder on disk, which one process at a time may lock, and the replacement of an earlier run in it."""

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
"""Maximum size in bytes of a settings file, a manifest or a summary. A typical one has a few thousand bytes."""


class LockedFolder:
    """Reserves a folder for one run, from `begin` until `close` is called or the context is left.

    If the folder contains a run, it is locked at once, so that what is read of that run stays true until a new one
    begins or the old one is resumed. If the context is left without `close`, a run that was being replaced is put
    back, unless the new one has learned something.

    Args:
        path: must not exist, be empty, or contain a run that may be replaced or resumed.
        overwrite: an earlier run may be replaced.
        resume: an earlier run is resumed, or replaced if it never learned anything.
        patience: seconds to wait for another run in the folder to end.

    Raises:
        FileExistsError: the folder contains a run that may not be replaced or something that is not a run, or
            another run is training there.
    """

    def __init__(
        self, path: str | Path, *, overwrite: bool = False, resume: bool = False, patience: float = 0.0
    ) -> None:
        # a link to a folder is kept, and the folder that it leads to is used
        self.path = Path(os.path.realpath(path)) if os.path.islink(path) else Path(path)
        self._overwrite = overwrite
        self._replaced: Path | None = None
        with _reporting_path(self.path):
            # raises for a loop of links, which `exists` would report as missing
            with suppress(FileNotFoundError, NotADirectoryError):
                self.path.stat()
            usable = _holds_usable_run(self.path, overwrite or resume)
            self._lock = _locked(self.path, patience) if usable else None
        self.can_resume = resume and self._lock is not None
        """True if `resume` found a run."""

    def __enter__(self) -> LockedFolder:
        return self

    def __exit__(self, *_: object) -> None:
        if self._replaced is not None:
            # without the lock, the folder now belongs to somebody else
            learned = self._lock is None or any(file.stat().st_size for file in self.path.rglob(METRICS_FILE))
            kept = self.close(discard=not learned, keep_replaced=True)
            if kept is not None:
                warnings.warn(f"the earlier run at {self.path} was moved to {kept}", stacklevel=2)
        self._release()

    def begin(
        self,
        config: dict[str, Any],
        facts: dict[str, Any],
        *,
        resuming: bool = False,
        with_git: bool = True,
    ) -> None:
        """Write the first files of a run. An earlier run is resumed, or moved aside until this one is closed.

        Args:
            config: the requested settings, written to `config.json`.
            facts: further facts about the run, added to `manifest.json`. When a run is resumed, its earlier manifests
                are kept there in the list `before`.
            resuming: resume the run in the folder.
            with_git: record the state of source control. For many runs, once is enough.

        Raises:
            FileExistsError: another run has begun in the folder in the meantime.
            CheckpointError: the manifest of the run to resume is damaged.
        """
        circumstances = manifest(with_git=with_git) | facts
        if resuming:
            earlier = read_json(self.path / MANIFEST)
            circumstances["before"] = [*earlier.pop("before", []), earlier]
        # encoded before anything is moved, so that an error here does not cost an earlier run
        files = {MANIFEST: as_json(circumstances), CONFIG: as_json(config)}
        with _reporting_path(self.path):
            self._take(resuming)
            remove_temporary(self.path)
            for name, text in files.items():
                # a new run has nothing to lose yet, so it need not wait for the disk
                write_atomically(self.path / name, text, on_disk=resuming)

    def _take(self, resuming: bool) -> None:
        """Lock the folder, and move aside an earlier run that is not resumed."""
        lock = self._lock
        holds = lock is not None
        if lock is None:
            self.path.mkdir(parents=True, exist_ok=True)
            self._lock = lock = _locked(self.path)
            holds = _holds_usable_run(self.path, self._overwrite)
        if not holds or resuming:
            return
        self._lock = None
        try:
            if os.name == "nt":
                # Windows cannot move a folder that contains an open file
                lock.release()
            self._replaced = self._move_aside("replaced")
            self.path.mkdir()
            self._lock = _locked(self.path)
        finally:
            lock.release()

    def write_json(self, name: str, data: dict[str, Any]) -> None:
        """Write a JSON file atomically."""
        write_atomically(self.path / name, as_json(data))

    def close(self, *, discard: bool = False, keep_replaced: bool = False) -> Path | None:
        """Release the folder, and remove or put back a replaced run: see `RunFolder.close`."""
        replaced, self._replaced = self._replaced, None
        if os.name == "nt":
            self._release()
        try:
            if replaced is None or (keep_replaced and not discard):
                return replaced
            unwanted = replaced
            if discard:
                # moved first, because removing it takes a while
                unwanted = self._move_aside("discarded")
                replaced.rename(self.path)
            shutil.rmtree(unwanted)
            return None
        finally:
            self._release()

    def _move_aside(self, why: str) -> Path:
        """Rename the folder and return its new path."""
        aside = self.path.with_name(f".{self.path.name}.{why}-{os.getpid()}-{time.time_ns()}")
        self.path.rename(aside)
        return aside

    def _release(self) -> None:
        if self._lock is not None:
            self._lock.release()


def _holds_usable_run(path: Path, may_replace: bool) -> bool:
    """Return `holds_run(path)`; also raise FileExistsError for a run that may not be replaced."""
    holds = holds_run(path)
    if holds and not may_replace:
        raise FileExistsError(
            f"{path} already contains a run. Choose another folder (--out), continue the run with resume (--resume), "
            "or replace it with overwrite (--overwrite)."
        )
    return holds


def holds_run(path: Path) -> bool:
    """Return True for a run folder of this library, and False for nothing; raise FileExistsError otherwise."""
    if not path.exists() or (path.is_dir() and all(map(_is_left_behind, path.iterdir()))):
        return False
    try:
        ours = "policygrad" in read_json(path / MANIFEST)["packages"]
    except CheckpointError as error:
        raise FileExistsError(f"{error}. Restore it, or choose another folder than {path}.") from error
    except (OSError, KeyError, TypeError):
        ours = False
    if not ours:
        raise FileExistsError(f"{path} exists and is not a run folder. Choose another folder (--out).")
    return True


def _is_left_behind(file: Path) -> bool:
    """Return whether a file was left by a run that was killed before its first file was complete."""
    return file.name == LOCK or re.fullmatch(rf"\.{re.escape(MANIFEST)}\.\d+(\.tmp)?", file.name) is not None


@contextmanager
def _reporting_path(path: Path) -> Generator[None]:
    """Add the path to errors of the operating system: a read-only disk, a loop of links, a full disk."""
    try:
        yield
    except FileExistsError:
        raise
    except OSError as error:
        raise OSError(
            error.errno, f"cannot write to {path}: {error.strerror or error}. Choose another folder (--out)."
        ) from error


def _locked(path: Path, patience: float = 0.0) -> FileLock:
    """Return the acquired lock of the run at `path`. The system releases it when this process ends for any reason.

    Args:
        path: the run folder.
        patience: seconds to wait for it.

    Raises:
        FileExistsError: another run has acquired it.
    """
    lock = FileLock(path / LOCK, timeout=patience)
    try:
        lock.acquire()
    except Timeout:
        raise FileExistsError(
            f"another run is training in {path}, in this process or another. Wait until it ends, or choose another "
            "folder (--out)."
        ) from None
    except NotImplementedError:
        # the file system does not support locks
        pass
    return lock


def read_json(file: Path) -> dict[str, Any]:
    """Return the object in a JSON file; raise CheckpointError if the file contains anything else."""
    try:
        check_regular(file, LARGEST_JSON)
        found = json.loads(file.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged: {error}") from error
    if not isinstance(found, dict):
        raise CheckpointError(f"{file} is damaged: it does not contain a JSON object")
    return found


def as_json(data: dict[str, Any]) -> bytes:
    """Return indented JSON. NumPy numbers and arrays become plain ones, and other objects become their repr."""

    def plain(value: Any) -> Any:
        return value.tolist() if hasattr(value, "tolist") else repr(value)

    return (json.dumps(data, indent=2, allow_nan=False, ensure_ascii=False, default=plain) + "\n").encode()
