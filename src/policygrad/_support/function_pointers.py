"""Functions that are passed to compiled code by address, so that a custom environment or loss needs no other loop.

Numba accepts function pointers as arguments too, but takes 80 µs per call to find out their type; an integer costs
nothing. A function that is called through its address can raise exceptions like any other.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.errors import NumbaError
from numba.extending import get_cython_function_address, intrinsic

from policygrad._support.compiling import COUNTED, FASTMATH, NOT_FROM_PYTHON, UNCOUNTED, compile_cached

ADDRESS: Any = types.intp
"""Numba type of a function's address."""

_compiled: dict[tuple[Any, ...], Any] = {}


def address_of(
    function: Callable[..., Any],
    signature: Any,
    *,
    exact: bool = False,
    as_written: bool = False,
    makes_arrays: bool = False,
) -> int:
    """Return the address of a Python function's machine code for a Numba signature: see `function_at`.

    The function is compiled once per process, and cached on disk.

    Args:
        function: a function written for Numba's nopython mode.
        signature: return and argument types.
        exact: compute every operation as written, in IEEE arithmetic, and check every index. This does not extend to
            functions that it calls, which have their own options.
        as_written: compute every operation as written, without checking indices.
        makes_arrays: the function makes arrays. An exact function may make arrays in any case.

    Raises:
        TypeError: Numba cannot compile the function for this signature; the message contains Numba's reason.
    """
    key = (function, signature, exact, as_written, makes_arrays)
    if key not in _compiled:
        _compiled[key] = _compile(*key)
    return address_in(_compiled[key], signature)


def is_compiled(function: Callable[..., Any], signature: Any, *, exact: bool = False) -> bool:
    """Return True if `address_of` need not compile or load this function."""
    return (function, signature, exact, False, False) in _compiled


class Addressable:
    """A function that compiled code calls by its `address`. It is compiled when the address is first needed."""

    def __init__(self, function: Callable[..., Any], signature: Any, makes_arrays: bool) -> None:
        self._function, self._signature, self._makes_arrays = function, signature, makes_arrays

    @cached_property
    def address(self) -> int:
        """Address of the machine code, or TypeError: see `address_of`."""
        return address_of(self._function, self._signature, makes_arrays=self._makes_arrays)


def addressable(signature: Any, *, makes_arrays: bool = False) -> Callable[[Callable[..., Any]], Addressable]:
    """Decorate a function that compiled code calls by its address, with the arguments of `address_of`."""
    return lambda function: Addressable(function, signature, makes_arrays)


def address_in(dispatcher: Any, signature: Any) -> int:
    """Return the address of a dispatcher's machine code for a signature. It is valid while the dispatcher exists."""
    if not dispatcher.overloads:
        # it would be compiled at its first call
        dispatcher._compile_for_args()
    overload = dispatcher.overloads[tuple(signature.args)]
    return overload.library.get_pointer_to_function(overload.fndesc.llvm_func_name)


def _compile(
    function: Callable[..., Any], signature: Any, exact: bool, as_written: bool, makes_arrays: bool
) -> Any:
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy", "boundscheck": exact, **NOT_FROM_PYTHON}
    options |= COUNTED if exact or makes_arrays else UNCOUNTED
    options["fastmath"] = False if exact or as_written else FASTMATH
    python = getattr(function, "py_func", function)
    name = getattr(python, "__qualname__", repr(python))
    try:
        return compile_cached(python, [signature], **options)
    except NumbaError as error:
        arguments = ", ".join(str(argument) for argument in signature.args)
        raise TypeError(
            f"{name} cannot be compiled for ({arguments}) -> {signature.return_type}. Numba says: {error}"
        ) from error


def function_at(signature: Any) -> Any:
    """Return an intrinsic for compiled code, which turns an address into the function with this signature."""
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
"""For compiled code: call_of_doubles(address, a, b, c) calls a C function double(double, double, double)."""


def scipy_address(name: str) -> int:
    """Return the address of this function double(double, double, double) in `scipy.special.cython_special`.

    Cython gives a function with several types several names, and these names vary.

    Raises:
        ImportError: the installed SciPy has no such function.
    """
    from scipy.special import cython_special

    functions: dict[str, Any] = cython_special.__pyx_capi__
    for symbol, capsule in functions.items():
        # the last argument, int __pyx_skip_dispatch, is never read
        if symbol.endswith(name) and '"double (double, double, double' in str(capsule):
            return get_cython_function_address("scipy.special.cython_special", symbol)
    raise ImportError(f"scipy.special.cython_special has no {name} for doubles. Install SciPy 1.11 or later.")
