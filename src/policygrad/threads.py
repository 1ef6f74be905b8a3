"""BLAS, OpenMP and torch held to one thread: for networks of this size more of them only get in each other's way."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from functools import cache

import scipy.linalg.cython_blas  # noqa: F401  # what compiled code calls; it must be loaded to be found
import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def single_thread() -> Generator[None]:
    """One thread within the block; what was set before is restored after it."""
    before = torch.get_num_threads()
    with _libraries().limit(limits=1):
        torch.set_num_threads(1)
        try:
            yield
        finally:
            torch.set_num_threads(before)


@cache
def _libraries() -> ThreadpoolController:
    """The libraries with threads of their own, looked up once: that takes a millisecond or more."""
    return ThreadpoolController()
