"""How this library compiles: ahead of the first call, cached on disk, without the interpreter lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.core.typing.templates import Signature

from policygrad._support.code_cache import CodeCache
from policygrad._support.console import say

F = TypeVar("F", bound=Callable[..., Any])

FASTMATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
"""Everything that lets loops vectorise, without `nnan` and `ninf`: those would compile NaN checks away."""


COUNTED: dict[str, Any] = {"_nrt": True}
UNCOUNTED: dict[str, Any] = {"_nrt": False}
"""Whether references to arrays are counted. Numba does so at each view of one, and a loop of small steps spent a
third of its time on that; a function that makes and returns no arrays has no need of it, for whoever calls it holds
them all. (An array that it returned, a view even, its caller would give back without anybody having taken it.)
Said of each function, or it would be as its caller has it."""


def compiled(*signatures: object, makes_arrays: bool = False) -> Callable[[F], F]:
    """Compile a function for exactly these Numba signatures, at once, or take it from the cache on disk.

    Explicit signatures are what makes the cache hit also for functions that take other compiled functions
    as arguments (as `numba.types.FunctionType`). A function that makes arrays, or returns one, has to say so by
    `makes_arrays`.

    Raises:
        TypeError: it returns an array and does not say so.
    """
    for signature in () if makes_arrays else signatures:
        if isinstance(signature, Signature) and isinstance(signature.return_type, types.Array):
            raise TypeError(f"{signature} returns an array: say makes_arrays=True")
    options = COUNTED if makes_arrays else UNCOUNTED
    decorate: Any = partial(
        compile_cached, signatures=signatures, nogil=True, fastmath=FASTMATH, error_model="numpy", **options
    )
    return cast(Callable[[F], F], decorate)


def compiled_when_called(function: F) -> F:
    """Compile a function at its first call, for the types it is called with; from the cache on disk thereafter."""
    return cast(F, compile_cached(function, nogil=True, error_model="numpy"))


def compile_cached(function: Callable[..., Any], signatures: Sequence[object] = (), **options: Any) -> Any:
    """Make Numba's dispatcher of a function, with a cache on disk.

    Args:
        function: written for Numba's nopython mode.
        signatures: what it is compiled for now, and nothing else later; without any, at each call of new types.
        options: of `numba.njit`.
    """
    njit: Any = numba.njit
    dispatcher = njit(**options)(function)
    # what `cache=True` does, with our cache instead of Numba's
    dispatcher._cache = CodeCache(function, options)
    for signature in signatures:
        dispatcher.compile(signature)
    if signatures:
        dispatcher.disable_compile()
    return dispatcher


def inner(function: F) -> F:
    """A function that only compiled code calls: compiled with its callers, and in the cache as part of them.

    It has no entry of its own there, so a warm start has less to load. It makes and returns no arrays.
    """
    decorate: Any = numba.njit(nogil=True, fastmath=FASTMATH, error_model="numpy", **UNCOUNTED)
    return cast(F, decorate(function))


def inner_making_arrays(function: F) -> F:
    """As `inner`, for a function that makes or returns arrays."""
    decorate: Any = numba.njit(nogil=True, fastmath=FASTMATH, error_model="numpy", **COUNTED)
    return cast(F, decorate(function))


def inlined(function: F) -> F:
    """A small helper, compiled into each of its callers and nowhere else."""
    decorate: Any = numba.njit(inline="always", fastmath=FASTMATH, error_model="numpy")
    return cast(F, decorate(function))


@contextmanager
def announce_compilation(after: float = 1.5) -> Generator[None]:
    """Say on stderr that code is being compiled, if the block takes longer than `after` seconds: a cold cache."""
    message = "policygrad: compiling to machine code, kept for the next time: up to half a minute ..."
    timer = threading.Timer(after, say, [message])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
