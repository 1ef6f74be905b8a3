"""Views of contiguous arrays in another shape, for compiled code. Numba's `reshape` calls a function for each."""

# pyright: basic
# it extends Numba's compiler

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array


def _view(source: Any, *shape: Any) -> Any:
    if source.layout != "C":
        raise TypeError(f"expected a contiguous array; got {source}")
    view = types.Array(source.dtype, len(shape), "C")

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        of, *sizes = arguments
        sizes = [
            context.cast(builder, size, kind, types.intp) for size, kind in zip(sizes, shape, strict=True)
        ]
        data = make_array(source)(context, builder, of).data
        array = make_array(view)(context, builder)
        item = context.get_abi_sizeof(context.get_data_type(source.dtype))
        stride: Any = ir.Constant(ir.IntType(64), item)
        strides = [stride]
        for size in reversed(sizes[1:]):
            stride = builder.mul(stride, size)
            strides.insert(0, stride)
        # without an owner, its references are not counted: the source has to be kept alive
        populate_array(
            array, data=data, shape=cgutils.pack_array(builder, sizes), strides=cgutils.pack_array(builder, strides),
            itemsize=ir.Constant(ir.IntType(64), item), meminfo=None,
        )  # fmt: skip
        return array._getvalue()

    return view(source, *shape), generate


as_vector: Any = intrinsic(lambda _context, source, size: _view(source, size))
"""For compiled code: the first `size` entries of an array, as a vector that is valid as long as the array exists."""
as_matrix: Any = intrinsic(lambda _context, source, rows, columns: _view(source, rows, columns))
"""For compiled code: the first entries of an array as a matrix, which is valid as long as the array exists."""
