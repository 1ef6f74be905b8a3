"""Compilation with Numba: ahead of the first call, cached on disk, and without the interpreter lock."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar, cast

import numba
from numba import types
from numba.core.compiler_lock import global_compiler_lock
from numba.core.typing.templates import Signature

from policygrad._support.code_cache import CodeCache
from policygrad._support.console import say

F = TypeVar("F", bound=Callable[..., Any])

FASTMATH = {"reassoc", "contract", "arcp", "nsz", "afn"}
"""All flags that let loops vectorize, except `nnan` and `ninf`, which would compile NaN checks away."""


NOT_FROM_C: dict[str, Any] = {"no_cfunc_wrapper": True}
NOT_FROM_PYTHON: dict[str, Any] = {**NOT_FROM_C, "no_cpython_wrapper": True}
"""Options that save compiling further functions, which convert arguments for calls from C and from Python. No function
is called from C; a function that only compiled code calls is not called from Python either, which would crash."""
AS_WRITTEN: dict[str, Any] = {"fastmath": False, "boundscheck": False}
"""Options of functions whose results must not depend on their caller. Without them, they would inherit its options."""


COUNTED: dict[str, Any] = {"_nrt": True}
UNCOUNTED: dict[str, Any] = {"_nrt": False}
"""Options that decide whether references to arrays are counted. Numba counts a reference for each view of an array,
which took a third of the time of a loop of small steps. A function that neither makes nor returns arrays does not need
this, because its caller keeps them all alive. (If it returned an array, or even a view, its caller would release a
reference that was never acquired.) Each function sets the option, because it would otherwise inherit its caller's."""


def compiled(
    *signatures: object, makes_arrays: bool = False, as_written: bool = False, at_first_call: bool = False
) -> Callable[[F], F]:
    """Compile a function for exactly these Numba signatures, or load it from the cache on disk.

    Explicit signatures make the cache work even for functions that take other compiled functions as arguments (as
    `numba.types.FunctionType`). This is done at once, or `at_first_call` for a function that many runs do not need. A
    function that makes or returns arrays must set `makes_arrays`. With `as_written`, it computes in IEEE arithmetic,
    like an `exact` function.

    Raises:
        TypeError: the function returns an array but does not set `makes_arrays`.
    """
    for signature in () if makes_arrays else signatures:
        if isinstance(signature, Signature) and isinstance(signature.return_type, types.Array):
            raise TypeError(f"{signature} returns an array: set makes_arrays=True")
    options = dict(COUNTED if makes_arrays else UNCOUNTED)
    options |= AS_WRITTEN if as_written else {"fastmath": FASTMATH}
    decorate: Any = partial(
        compile_cached,
        signatures=signatures,
        at_first_call=at_first_call,
        nogil=True,
        error_model="numpy",
        **NOT_FROM_C,
        **options,
    )
    return cast(Callable[[F], F], decorate)


def compiled_when_called(function: F) -> F:
    """Compile a function at its first call for the types of its arguments, or load it from the cache on disk."""
    return cast(F, compile_cached(function, nogil=True, error_model="numpy", **NOT_FROM_C, **AS_WRITTEN))


class CompiledLater:
    """A function that is compiled as written for one signature when it is first called, and cached on disk."""

    def __init__(self, function: Callable[..., Any], signature: Signature) -> None:
        self._signature = signature
        self._dispatcher: Any = compiled(signature, as_written=True, at_first_call=True)(function)

    def __call__(self, *arguments: Any) -> Any:
        """Call the function."""
        return self._dispatcher(*arguments)

    def compile(self) -> None:
        """Compile the function now, or load it from the cache, unless that has been done."""
        with announce_compilation(unless=bool(self._dispatcher.overloads)):
            self._dispatcher._compile_for_args()

    @property
    def is_cached(self) -> bool:
        """True if the first call need not compile it."""
        if self._dispatcher.overloads:
            return True
        codegen = self._dispatcher.targetctx.codegen()
        return self._dispatcher._cache.holds(self._signature, codegen)


def compiled_later(signature: object) -> Callable[[Callable[..., Any]], CompiledLater]:
    """Decorate a function that takes long to compile and that many runs do not need."""
    return lambda function: CompiledLater(function, cast(Signature, signature))


def exact(function: F) -> F:
    """Decorate a function that compiled code calls and that computes as written, in IEEE arithmetic.

    Its results are the same in every caller. (Sums that `inner` and `inlined` functions compute may be reordered
    differently in each.) It must not make or return arrays.
    """
    decorate: Any = numba.njit(nogil=True, error_model="numpy", **NOT_FROM_PYTHON, **AS_WRITTEN, **UNCOUNTED)
    return cast(F, decorate(function))


def compile_cached(
    function: Callable[..., Any],
    signatures: Sequence[object] = (),
    *,
    at_first_call: bool = False,
    **options: Any,
) -> Any:
    """Return Numba's dispatcher for a function, with a cache on disk.

    Args:
        function: a function written for Numba's nopython mode.
        signatures: signatures to compile, after which no others are compiled. Without any, the function is compiled at
            each call with new types.
        at_first_call: compile the signatures at the first call from Python instead of now.
        options: options of `numba.njit`.
    """
    njit: Any = numba.njit
    dispatcher = njit(**options)(function)
    # this is what `cache=True` does, with our cache instead of Numba's
    dispatcher._cache = CodeCache(function, options)

    def compile_all(*_arguments: Any) -> Any:
        with global_compiler_lock:
            # another thread may have done it while this one waited
            if dispatcher._can_compile:
                for signature in signatures:
                    dispatcher.compile(signature)
                dispatcher.disable_compile()
        return dispatcher

    if at_first_call:
        # the dispatcher looks this method up when it is called with types for which it has no code yet, and then calls
        # what the method returns; after that it has the code, or may not compile any
        dispatcher._compile_for_args = compile_all
    elif signatures:
        compile_all()
    return dispatcher


def inner(function: F) -> F:
    """Decorate a function that only compiled code calls, so that it is compiled and cached as part of its callers.

    It has no cache entry itself, so a warm start has less to load. It must not make or return arrays, nor be called
    from Python.
    """
    decorate: Any = numba.njit(
        nogil=True, fastmath=FASTMATH, error_model="numpy", **NOT_FROM_PYTHON, **UNCOUNTED
    )
    return cast(F, decorate(function))


def inner_making_arrays(function: F) -> F:
    """Decorate like `inner` a function that makes or returns arrays."""
    decorate: Any = numba.njit(
        nogil=True, fastmath=FASTMATH, error_model="numpy", **NOT_FROM_PYTHON, **COUNTED
    )
    return cast(F, decorate(function))


def inlined(function: F) -> F:
    """Decorate a small helper function, which is inlined into each of its callers."""
    decorate: Any = numba.njit(inline="always", fastmath=FASTMATH, error_model="numpy")
    return cast(F, decorate(function))


@contextmanager
def announce_compilation(after: float = 1.5, *, unless: bool = False) -> Generator[None]:
    """Say on stderr that code is being compiled if the block takes longer than `after` seconds (a cold cache).

    With `unless`, nothing remains to be compiled, and the cost of a timer is saved.
    """
    if unless:
        yield
        return
    message = "policygrad: compiling to machine code (up to half a minute; cached for the next time) ..."
    timer = threading.Timer(after, say, [message])
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
