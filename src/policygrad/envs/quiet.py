"""Suppresses harmless warnings of other libraries, in one thread at a time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager

_filters = threading.Lock()


@contextmanager
def without_warnings() -> Generator[None]:
    """Ignore warnings within the block.

    EnvPool warns about float64 bounds of its float32 spaces, and Python 3.12 about forking a process that has threads.
    Warning filters belong to the whole process, so a lock admits one thread at a time.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
