"""Python's garbage collector, kept from looking through what is no garbage."""

from __future__ import annotations

import gc
from collections.abc import Generator
from contextlib import contextmanager


@contextmanager
def collection_paused() -> Generator[None]:
    """No collection within the block: importing torch and numba makes a million objects that all stay.

    Looking through them again and again as they become more takes a third of the time of importing.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
