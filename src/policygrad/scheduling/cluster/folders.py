"""Bringing a run's folder from the node that trains it to the one that began the study, and back to another node.

The copy is resumable whenever it is cut off. What a checkpoint covers of the appended files is written before the
checkpoint itself, and every other file is replaced atomically.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from policygrad._support.files import write_atomically
from policygrad.runs.checkpoint import FILE_NAME
from policygrad.runs.folder import EPISODES_FILE
from policygrad.runs.locked_folder import METRICS_FILE

APPENDED = (METRICS_FILE, EPISODES_FILE)
"""Files that only grow while a run is trained."""


@dataclass(frozen=True)
class Changes:
    """What has changed in a run folder."""

    tails: dict[str, tuple[int, bytes]]
    """Where each appended file has grown, and by what."""
    replaced: dict[str, bytes]
    """Files that are new or have new contents."""
    removed: list[str]


def contents(folder: Path) -> dict[str, bytes]:
    """Return what each file of a run folder contains, by name. A folder that does not exist has no files."""
    return {name: (folder / name).read_bytes() for name in _names(folder)}


def unpack_into(folder: Path, files: dict[str, bytes]) -> None:
    """Write files into a new folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)


class Watched:
    """A run folder whose changes are sent to a copy of it, which has all files that are in the folder now."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._known = _names(folder)
        self._seen = {name: _state(folder / name) for name in self._known}
        self._lengths: dict[str, int] = {}

    def changes(self, *, now: bool = False) -> Changes | None:
        """Return what has changed since the last call; None if there is no new checkpoint, unless `now` is set."""
        if not now and _state(self._folder / FILE_NAME) == self._seen.get(FILE_NAME):
            return None
        there = _names(self._folder)
        removed, self._known = sorted(self._known - there), there
        # the checkpoint is read before the appended files, so that they contain what it covers
        replaced = {name: data for name in there if (data := self._if_new(name)) is not None}
        tails = {name: tail for name in APPENDED if (tail := self._tail(name)) is not None}
        return Changes(tails, replaced, removed)

    def _if_new(self, name: str) -> bytes | None:
        state = _state(self._folder / name)
        if name in APPENDED or state is None or state == self._seen.get(name):
            return None
        try:
            data = (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
        self._seen[name] = state
        return data

    def _tail(self, name: str) -> tuple[int, bytes] | None:
        """Return where an appended file has grown. The first time, this is the whole file.

        A run that is resumed cuts off what follows its checkpoint, so the copy may differ from there on.
        """
        before = self._lengths.get(name, 0)
        try:
            with (self._folder / name).open("rb") as file:
                file.seek(before)
                data = file.read()
        except FileNotFoundError:
            return None
        self._lengths[name] = before + len(data)
        return (before, data) if data or not before else None


def apply(changes: Changes, folder: Path) -> None:
    """Repeat the changes of a run folder in its copy."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in changes.removed:
        (folder / name).unlink(missing_ok=True)
    for name, (start, data) in changes.tails.items():
        if not start:
            write_atomically(folder / name, data)
            continue
        with (folder / name).open("r+b") as file:
            file.seek(start)
            file.truncate()
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    for name, data in changes.replaced.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / name, data)


def _names(folder: Path) -> set[str]:
    """Return the files of a run folder, except locks and temporary files."""
    files = (file for file in folder.rglob("*") if not file.name.startswith(".") and file.is_file())
    return {str(file.relative_to(folder)) for file in files}


def _state(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
