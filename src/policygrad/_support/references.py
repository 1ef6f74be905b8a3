"""Named tuples that are passed to compiled code by reference, because large ones are slow to pass and to compile.

A function that takes a tuple of fifty arrays by value compiles for seconds, as does every function that it hands the
tuple to. A `Reference` is one address, and reading an attribute loads that field only. `Placed` puts a tuple into
memory in the layout that Numba gives it.
"""

# pyright: basic
# it extends Numba's compiler

from __future__ import annotations

import struct
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.datamodel import models
from numba.core.imputils import impl_ret_borrowed
from numba.core.registry import cpu_target
from numba.core.typing.templates import AttributeTemplate
from numba.extending import infer_getattr, intrinsic, lower_getattr_generic, register_model

ADDRESS: Any = types.int64
_WORD = ir.IntType(64)


class Reference(types.Type):
    """The Numba type of a reference to a named tuple; `tuple` is the type of the tuple."""

    def __init__(self, kind: Any) -> None:
        self.tuple = kind
        # a short name, because it becomes part of the names of all functions that take a reference; but types are
        # equal if their names are
        where = kind.instance_class.__module__.rpartition(".")[2]
        super().__init__(name=f"Reference[{where}.{kind.instance_class.__name__}]")


@register_model(Reference)
class _ReferenceModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _WORD)


@infer_getattr
class _Attributes(AttributeTemplate):
    key = Reference

    def generic_resolve(self, typ: Any, attr: str) -> Any:
        if attr not in typ.tuple.fields:
            return None
        kind = typ.tuple.types[typ.tuple.fields.index(attr)]
        return Reference(kind) if isinstance(kind, types.NamedTuple) else kind


@lower_getattr_generic(Reference)
def _attribute(context: Any, builder: Any, kind: Any, address: Any, name: str) -> Any:
    i = kind.tuple.fields.index(name)
    field = kind.tuple.types[i]
    pointer = builder.inttoptr(address, context.get_value_type(kind.tuple).as_pointer())
    member = builder.gep(pointer, [ir.Constant(ir.IntType(32), k) for k in (0, i)], inbounds=True)
    if isinstance(field, types.NamedTuple):
        return builder.ptrtoint(member, _WORD)
    return impl_ret_borrowed(context, builder, field, builder.load(member))


def _value(_context: Any, reference: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = context.get_value_type(signature.args[0].tuple).as_pointer()
        return builder.load(builder.inttoptr(arguments[0], pointer))

    return reference.tuple(reference), generate


value_of: Any = intrinsic(_value)
"""For compiled code: returns the named tuple that a reference leads to."""


def tuple_at(kind: Any) -> Any:
    """Return an intrinsic for compiled code that returns the named tuple of this type at an address."""

    def from_address(_context: Any, address: Any) -> Any:
        def generate(context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
            pointer = context.get_value_type(kind).as_pointer()
            return builder.load(builder.inttoptr(arguments[0], pointer))

        return kind(address), generate

    return intrinsic(from_address)


def reference_at(kind: Any) -> Any:
    """Return an intrinsic for compiled code that turns an address into a reference to a tuple of this type."""

    def from_address(_context: Any, address: Any) -> Any:
        def generate(_context: Any, _builder: Any, _signature: Any, arguments: Any) -> Any:
            return arguments[0]

        return Reference(kind)(address), generate

    return intrinsic(from_address)


class Placed:
    """A named tuple in memory. Its `address` is valid as long as this object exists.

    Args:
        value: the tuple. Its arrays must have the types that `kind` says; they are kept alive.
        kind: Numba type of the tuple, whose numbers are int64, float64 and bool.
    """

    def __init__(self, value: Any, kind: Any) -> None:
        size, self._fields = _layout_of(kind)
        self._memory: Any = np.zeros(size, np.uint8)
        self.address: int = self._memory.ctypes.data
        self._kept: dict[tuple[str | int, ...], Any] = {}
        self.set((), value)

    def set(self, path: tuple[str | int, ...], value: Any) -> None:
        """Replace a field, or a whole tuple, which the names on the way to it lead to."""
        if path not in self._fields:
            names = value._fields if hasattr(value, "_fields") else range(len(value))
            for name, part in zip(names, value, strict=True):
                self.set((*path, name), part)
            return
        offset, kind, number = self._fields[path]
        if isinstance(kind, types.Array):
            if self._kept.get(path) is value:
                return
            _check(kind, value)
            self._kept[path] = value
            # Numba's array: owner, object, size, item size, data, shape, strides; without an owner, it is not counted
            words = (0, 0, value.size, value.itemsize, value.ctypes.data, *value.shape, *value.strides)
            struct.pack_into(f"{len(words)}q", self._memory, offset, *words)
        else:
            struct.pack_into(number, self._memory, offset, value)


_FORMATS: dict[Any, str] = {types.int64: "q", types.float64: "d", types.boolean: "?"}


@cache
def _layout_of(kind: Any) -> tuple[int, dict[tuple[str | int, ...], tuple[int, Any, str]]]:
    """Return the size of a tuple in memory, and (offset, type, format of a number) of each array and number by path."""
    context: Any = cpu_target.target_context
    fields: dict[tuple[str | int, ...], tuple[int, Any, str]] = {}

    def visit(kind: Any, layout: Any, offset: int, path: tuple[str | int, ...]) -> None:
        if not hasattr(kind, "__iter__"):
            fields[path] = offset, kind, _FORMATS.get(kind, "")
            return
        names = kind.fields if hasattr(kind, "fields") else range(len(kind))
        for k, (name, inner) in enumerate(zip(names, kind, strict=True)):
            if isinstance(layout, ir.ArrayType):
                # a tuple of equal numbers, which are all words here
                visit(inner, layout.element, offset + 8 * k, (*path, name))
            else:
                at = layout.get_element_offset(context.target_data, k)
                visit(inner, layout.elements[k], offset + at, (*path, name))

    layout = context.get_value_type(kind)
    visit(kind, layout, 0, ())
    return context.get_abi_sizeof(layout), fields


def _check(kind: Any, array: Any) -> None:
    """Raise TypeError unless an array has the type that compiled code will assume."""
    expected = np.dtype(np.bool_) if kind.dtype is types.boolean else np.dtype(kind.dtype.name)
    if array.dtype != expected or array.ndim != kind.ndim or not array.flags.c_contiguous:
        raise TypeError(
            f"expected a contiguous array of {expected} with {kind.ndim} axes; got {array.dtype} {array.shape}"
        )
