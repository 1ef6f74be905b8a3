"""Writing so that nothing is ever half-written: beside, then rename."""

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
"""Bytes of a policy file or a checkpoint at most: those of a network of some 100 million weights."""
_TEMPORARY = re.compile(r"\.(.+)\.(\d+)\.tmp")


def write_atomically(path: Path, data: bytes, *, on_disk: bool = True) -> None:
    """Put `data` at `path`; whoever looks sees the old file or the new one, whole.

    `on_disk` waits for the disk before the new one takes its place, a millisecond or more, so that this is so after a
    power failure too: for what would be missed.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with beside.open("wb") as file:
            file.write(data)
            if on_disk:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def check_regular(path: Path, largest: int | None = LARGEST) -> None:
    """Raise ValueError unless a path leads to a regular file of at most so many bytes.

    To read from a pipe or a device may never end, and a file with holes takes memory that it has no disk for.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"{path} is not a regular file")
    if largest is not None and found.st_size > largest:
        raise ValueError(f"{path} has {found.st_size:,} bytes; more than {largest:,} are not read")


def remove_temporary(folder: Path) -> None:
    """Remove what `write_atomically` leaves in a folder when its process is killed. Nobody may be writing there."""
    for file in folder.glob(".*"):
        if _TEMPORARY.fullmatch(file.name):
            file.unlink(missing_ok=True)


def save_png(figure: Figure, path: Path) -> None:
    """Write a picture to `path` as a PNG, whole or not at all; no display and no state of pyplot's is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    write_atomically(path, data.getvalue())
