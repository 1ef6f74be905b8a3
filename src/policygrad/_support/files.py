"""Files: writing them whole or not at all, and refusing to read what is not a regular file or is too large."""

from __future__ import annotations

import io
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LARGEST = 2 * 10**9
"""Maximum size in bytes of a policy file or a checkpoint: about that of a network of 100 million weights."""
_TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.tmp")


def write_atomically(path: Path, data: bytes, *, on_disk: bool = True) -> None:
    """Write `data` to `path` so that every reader sees either the complete old file or the complete new one.

    With `on_disk`, the new file reaches the disk before it replaces the old one, so that this is true after a power
    failure too. It takes a millisecond or more, and is meant for files that would be missed.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            if on_disk:
                file.flush()
                os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def check_regular(path: Path, largest: int | None = LARGEST) -> None:
    """Raise ValueError unless a path leads to a regular file of at most `largest` bytes.

    Reading from a pipe or a device may never end, and a sparse file may need far more memory than it takes on disk.
    """
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise ValueError(f"{path} is not a regular file")
    if largest is not None and status.st_size > largest:
        raise ValueError(
            f"{path} has {status.st_size:,} bytes, which is more than the maximum of {largest:,}"
        )


def remove_temporary(folder: Path) -> None:
    """Remove temporary files that a killed process has left in a folder. Nothing else may be writing there."""
    for file in folder.glob(".*"):
        if _TEMPORARY.fullmatch(file.name):
            file.unlink(missing_ok=True)


def save_png(figure: Figure, path: Path) -> None:
    """Write a figure to `path` as a PNG file atomically, without a display and without using the state of pyplot."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    write_atomically(path, data.getvalue())
