"""A file that is only appended to. A checkpoint contains a digest of its contents up to then."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

from policygrad._support.files import check_regular
from policygrad._support.state import unpack
from policygrad.errors import CheckpointError
from policygrad.runs.checkpoint import REMEDY
from policygrad.types import State


class AppendedFile:
    """Appends to a file, and reports its length and digest.

    Args:
        path: the file. An existing one is overwritten, unless it is continued.
        continued: state of the file at a checkpoint; what was appended later is dropped.

    Raises:
        CheckpointError: the file is shorter than it was at the checkpoint, or differs.
    """

    def __init__(self, path: Path, continued: State | None = None) -> None:
        self._digest = hashlib.sha256()
        self._length = 0
        if continued is not None:
            self._length, digest = unpack(continued, "bytes", "sha256")
            self._digest = check(path, self._length, digest)
            os.truncate(path, self._length)
        self._file = path.open("wb" if continued is None else "ab")

    def write(self, text: str) -> None:
        """Append text and flush it, so that other processes see it."""
        data = text.encode()
        self._file.write(data)
        self._file.flush()
        self._digest.update(data)
        self._length += len(data)

    def state(self) -> State:
        """Return the length and the digest, after what they cover has reached the disk."""
        os.fsync(self._file.fileno())
        return {"bytes": self._length, "sha256": self._digest.hexdigest()}

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def check(path: Path, length: int, digest: str) -> Any:
    """Return the running SHA-256 of the first `length` bytes of a file; raise CheckpointError unless it is `digest`."""
    found, left = hashlib.sha256(), length
    try:
        check_regular(path, largest=None)
        with path.open("rb") as file:
            while left and (block := file.read(min(left, 1 << 20))):
                found.update(block)
                left -= len(block)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is damaged or missing: {error}. {REMEDY}") from error
    if left:
        raise CheckpointError(
            f"{path} is damaged: it is {left:,} bytes shorter than at the checkpoint. {REMEDY}"
        )
    if found.hexdigest() != digest:
        raise CheckpointError(
            f"{path} is damaged: its checksum differs from that in the checkpoint. {REMEDY}"
        )
    return found
