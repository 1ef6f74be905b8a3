"""Threads: libraries are held to one each, for more get in each other's way here; what is split is split by us."""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from itertools import pairwise
from typing import TypeVar

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


T = TypeVar("T")

# of Linux alone, as is setting where a thread may run
_current_core = getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


class Workers:
    """Cores to split work between: fixed shares, results in order, so that nothing depends on who is quicker.

    Compiled code lets go of the interpreter lock, so that threads are enough.
    """

    def __init__(self, cores: int = 1) -> None:
        self.cores = cores
        self._threads: list[int] = []
        self._pool = ThreadPoolExecutor(cores - 1, initializer=self._note_thread) if cores > 1 else None
        self._here: int | None = None

    def _note_thread(self) -> None:
        self._threads.append(threading.get_native_id())

    def parts(self, n: int, at_least: int = 1) -> list[tuple[int, int]]:
        """Bounds [first, last) of up to `cores` equal shares of n, of `at_least` so many each but for one alone."""
        count = max(1, min(self.cores, n // at_least))
        edges = [n * i // count for i in range(count + 1)]
        return list(pairwise(edges))

    def map(self, function: Callable[[int], T], n: int) -> list[T]:
        """function(0), ..., function(n - 1) at the same time, the first of them here."""
        if n == 1 or self._pool is None:
            return [function(i) for i in range(n)]
        self._keep_apart()
        others = [self._pool.submit(function, i) for i in range(1, n)]
        try:
            first = function(0)
        finally:
            wait(others)
        return [first, *(other.result() for other in others)]

    def _keep_apart(self) -> None:
        """Let the other threads run on any core but this one's.

        Linux wakes a thread on the core of whoever wakes it, idle ones or not, and looks for a better place
        only milliseconds later, when a share of ours is done: two threads were no quicker than one.
        """
        if _current_core is None or self._here == (here := _current_core()):
            return
        if elsewhere := os.sched_getaffinity(0) - {here}:
            for thread in self._threads:
                os.sched_setaffinity(thread, elsewhere)
        # a thread not yet started starts where there is room
        self._here = here if len(self._threads) == self.cores - 1 else None

    def close(self) -> None:
        """End the threads."""
        if self._pool is not None:
            self._pool.shutdown()
