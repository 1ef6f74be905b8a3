"""Functions that compiled code is given by address: a user's environment or loss, without recompiling the loop.

Numba takes function pointers as arguments by itself, but spends 80 µs on each call in finding out their type;
an integer costs nothing. What is called through an address raises as any function does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.extending import get_cython_function_address, intrinsic

from policygrad._support.compiling import FASTMATH, UNCOUNTED, compile_cached

ADDRESS: Any = types.intp
"""The Numba type of a function's address."""

_compiled: dict[tuple[Any, Any, bool], Any] = {}


def address_of(function: Callable[..., Any], signature: Any, *, exact: bool = False) -> int:
    """Where a Python function lies as machine code for a Numba signature: see `function_at`.

    Compiled once a process, and kept in the cache on disk.

    Args:
        function: written for Numba's nopython mode.
        signature: return and argument types.
        exact: every operation as written, in IEEE arithmetic, and every index checked; not so in functions
            that it calls, which say for themselves how they are compiled. Only such a one may make arrays.

    Raises:
        TypeError: Numba cannot compile it for this signature; the message says what it stumbled over.
    """
    key = (function, signature, exact)
    if key not in _compiled:
        _compiled[key] = _compile(function, signature, exact)
    return address_in(_compiled[key], signature)


def address_in(dispatcher: Any, signature: Any) -> int:
    """Return where a compiled function's machine code for a signature lies; it stays there while the function lives."""
    overload = dispatcher.overloads[tuple(signature.args)]
    return overload.library.get_pointer_to_function(overload.fndesc.llvm_func_name)


def _compile(function: Callable[..., Any], signature: Any, exact: bool) -> Any:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": exact}
    options |= {"fastmath": False} if exact else {"fastmath": FASTMATH, **UNCOUNTED}
    python = getattr(function, "py_func", function)
    name = getattr(python, "__qualname__", repr(python))
    try:
        return compile_cached(python, [signature], **options)
    except NumbaError as error:
        arguments = ", ".join(str(argument) for argument in signature.args)
        raise TypeError(
            f"{name} does not compile for ({arguments}) -> {signature.return_type}. Numba says: {error}"
        ) from error


def function_at(signature: Any) -> Any:
    """An intrinsic for compiled code: from an address to the function of this signature that lies there."""
    pointer: Any = types.FunctionType(signature)

    def from_address(_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            function = cgutils.create_struct_proxy(pointer)(context, builder)
            function.jit_addr = builder.inttoptr(arguments[0], cgutils.voidptr_t)
            function.c_addr = function.jit_addr
            return function._getvalue()

        return pointer(address), generate

    return intrinsic(from_address)


def _call_of_doubles(_context: Any, address: Any, a: Any, b: Any, c: Any) -> Any:

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        double = ir.DoubleType()
        pointer = ir.FunctionType(double, [double] * 3).as_pointer()
        return builder.call(builder.inttoptr(arguments[0], pointer), arguments[1:])

    return types.float64(types.intp, types.float64, types.float64, types.float64), generate


call_of_doubles: Any = intrinsic(_call_of_doubles)
"""For compiled code: call_of_doubles(address, a, b, c) calls the C function double(double, double, double) there."""


def scipy_address(name: str) -> int:
    """Where the double(double, double, double) of this name in `scipy.special.cython_special` lies.

    Cython gives a function of several types several names, which are not always the same ones.

    Raises:
        ImportError: this SciPy has none.
    """
    from scipy.special import cython_special

    functions: dict[str, Any] = cython_special.__pyx_capi__
    for symbol, capsule in functions.items():
        # a last argument, int __pyx_skip_dispatch, is read by nobody
        if symbol.endswith(name) and '"double (double, double, double' in str(capsule):
            return get_cython_function_address("scipy.special.cython_special", symbol)
    raise ImportError(f"scipy.special.cython_special has no {name} of doubles: install scipy 1.11 or later")
