"""Threads: libraries are limited to one thread, because more interfere with each other, and we split the work."""

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
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController


@contextmanager
def single_thread() -> Generator[None]:
    """Limit libraries to one thread within the block, and restore the earlier limits afterwards.

    Blocks may be nested in one thread and overlap in several. BLAS has one number of threads for the whole process,
    which the last block to end restores. OpenMP and torch have one for each thread that calls them.
    """
    if _here.holds:
        yield
        return
    usual = _process.take()
    openmp = _set_threads("openmp", None)
    torch.set_num_threads(1)
    _here.holds = True
    try:
        yield
    finally:
        _here.holds = False
        _process.release()
        _set_threads("openmp", openmp)
        torch.set_num_threads(usual)


class _Process:
    """The limits that the blocks of all threads share."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._holders = 0
        self._usual = 1
        self._blas: list[int] = []

    def take(self) -> int:
        """Limit BLAS. Return torch's usual number of threads, to be restored in this thread when its block ends."""
        with self._lock:
            here = torch.get_num_threads()
            if self._holders == 0:
                self._usual, self._blas = here, _set_threads("blas", None)
            self._holders += 1
            # a thread that calls torch for the first time starts with the 1 that another thread has set
            return self._usual if here == 1 else here

    def release(self) -> None:
        """Restore BLAS if this was the last block."""
        with self._lock:
            self._holders -= 1
            if self._holders == 0:
                _set_threads("blas", self._blas)


class _Here(threading.local):
    """Per-thread state: `holds` is True while the thread is within a block."""

    holds = False


_process, _here = _Process(), _Here()


def _set_threads(kind: str, numbers: list[int] | None) -> list[int]:
    """Set the number of threads of each library of a kind, 1 for None; return the earlier numbers."""
    libraries = _libraries(kind)
    before = [library.get_num_threads() for library in libraries]
    for library, number in zip(libraries, [1] * len(libraries) if numbers is None else numbers, strict=True):
        # threadpoolctl obeys only the first thread that sets a limit, but the last block may be in another one
        forget = getattr(library, "clear_controlling_thread", lambda force: None)
        forget(force=True)
        library.set_num_threads(number)
        forget(force=True)
    return before


@cache
def _libraries(kind: str) -> list[Any]:
    """Return the libraries of this kind that use threads, looked up once because it takes a millisecond or more."""
    return ThreadpoolController().select(user_api=kind).lib_controllers


T = TypeVar("T")

# only Linux has this, and can set the cores on which a thread may run
_current_core = getattr(ctypes.CDLL(None), "sched_getcpu", None) if sys.platform == "linux" else None


class Workers:
    """Splits work among cores, in fixed shares and with results in order, so that nothing depends on timing.

    Compiled code releases the interpreter lock, so threads are sufficient.
    """

    def __init__(self, cores: int = 1) -> None:
        self.cores = cores
        self._threads: list[int] = []
        self._pool = ThreadPoolExecutor(cores - 1, initializer=self._note_thread) if cores > 1 else None
        self._here: int | None = None

    def _note_thread(self) -> None:
        self._threads.append(threading.get_native_id())

    def parts(self, n: int, at_least: int = 1) -> list[tuple[int, int]]:
        """Return bounds [first, last) of up to `cores` equal shares of n, each `at_least` that large unless alone."""
        count = max(1, min(self.cores, n // at_least))
        edges = [n * i // count for i in range(count + 1)]
        return list(pairwise(edges))

    def map(self, function: Callable[[int], T], n: int) -> list[T]:
        """Return function(0), ..., function(n - 1), computed in parallel, the first of them in this thread."""
        if n == 1 or self._pool is None:
            return [function(i) for i in range(n)]
        self._leave_this_core()
        others = [self._pool.submit(function, i) for i in range(1, n)]
        try:
            first = function(0)
        finally:
            wait(others)
        return [first, *(other.result() for other in others)]

    def _leave_this_core(self) -> None:
        """Let the other threads run on any core except the one of this thread.

        Linux wakes a thread on the core of the thread that wakes it, even if other cores are idle, and moves it only
        milliseconds later, when one of our shares is already done. Two threads were then no faster than one.
        """
        if _current_core is None or self._here == (here := _current_core()):
            return
        if elsewhere := os.sched_getaffinity(0) - {here}:
            for thread in self._threads:
                os.sched_setaffinity(thread, elsewhere)
        # a thread that has not started yet will start on a free core
        self._here = here if len(self._threads) == self.cores - 1 else None

    def close(self) -> None:
        """Shut down the threads."""
        if self._pool is not None:
            self._pool.shutdown()
