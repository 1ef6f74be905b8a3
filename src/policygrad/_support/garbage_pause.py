"""Pausing Python's garbage collector during imports."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Generator[None]:
    """Pause garbage collection within the block.

    Importing torch and numba creates a million objects that all stay alive. Scanning them again and again as their
    number grows takes a third of the import time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
