"""Other libraries' warnings that are nobody's concern, kept quiet by one thread at a time."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Generator
from contextlib import contextmanager

_filters = threading.Lock()


@contextmanager
def without_warnings() -> Generator[None]:
    """Ignore warnings within the block. The filters belong to the whole process, so a lock keeps others from theirs.

    EnvPool warns of its float64 bounds of float32 spaces, and Python 3.12 of forking beside threads.
    """
    with _filters, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
