"""Writing so that nothing is ever half-written: beside, then rename."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def write_atomically(path: Path, data: bytes, *, on_disk: bool = True) -> None:
    """Put `data` at `path`; whoever looks sees the old file or the new one, whole.

    `on_disk` waits for the disk before the new one takes its place, a millisecond or more, so that this is so after a
    power failure too: for what would be missed.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("wb") as file:
            file.write(data)
            if on_disk:
                file.flush()
                os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def save_png(figure: Figure, path: Path) -> None:
    """Write a picture to `path` as a PNG, whole or not at all; no display and no state of pyplot's is touched."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    data = io.BytesIO()
    FigureCanvasAgg(figure).print_png(data)
    write_atomically(path, data.getvalue())
