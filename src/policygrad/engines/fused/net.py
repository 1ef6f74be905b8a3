"""A network as compiled code sees it, and how that is handed from Python to it and within it."""

# pyright: basic
# compiled code, and code that writes code

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import types
from numba.core.registry import cpu_target
from numba.extending import intrinsic

from policygrad._support.compiling import compiled, inlined, inner
from policygrad._support.function_pointers import ADDRESS
from policygrad.engines.signatures import SIZES, VECTOR
from policygrad.types import F32, I64

f32 = np.float32


class Net(NamedTuple):
    """A network as compiled code sees it. Threads share `parameters`; all else is each one's own."""

    parameters: F32
    """[P]: before the perceptron's own may stand others, a Gaussian's log σ."""
    ahead: int
    """How many do."""
    sizes: I64
    """[layers + 1]: inputs, hidden widths, outputs."""
    activation: int
    """Between the layers."""
    transposed: F32
    """[P - ahead]: the perceptron's parameters, each weight as [fan_in, fan_out]; see `transpose`."""
    work: F32
    """[`workspace_size`]: the layers' outputs, then scratch."""
    gradient: F32
    """[P]."""
    first: F32
    """[P]: the optimiser's running mean of gradients."""
    second: F32
    """[P]: and of their squares."""
    count: I64
    """[1]: steps taken."""
    lowest: float
    """Bounds of the parameters ahead, the log σ."""
    highest: float
    product: int
    """Where `matmul.product`, `forward` and `backward` lie as machine code, each compiled only once."""
    ahead_pass: int
    back_pass: int
    trunk: int
    """Where the policy network lies on whose last hidden layer V(s) stands, as `Placed.address`; 0 of others."""


_NET: Any = types.NamedTuple(
    [
        VECTOR, types.int64, SIZES, types.int64, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, SIZES,
        types.float64, types.float64, ADDRESS, ADDRESS, ADDRESS, ADDRESS,
    ],
    Net,
)  # fmt: skip
NET: Any = ADDRESS
"""How compiled code is handed a network: as the address of its `Net`, since to take one apart at every call
costs microseconds, and every function that has one for an argument seconds to compile."""


class Placed:
    """A network in memory: `address` is what compiled code is handed, for as long as this lives."""

    def __init__(self, net: Net) -> None:
        self.net = net
        context: Any = cpu_target.target_context
        size = context.get_abi_sizeof(_layout(context))
        self._memory = np.zeros(size, np.uint8)
        self.address: int = self._memory.ctypes.data
        _place(net, self.address)


def _layout(context):
    return context.get_value_type(_NET)


def _put(_context, net, address):
    def generate(context, builder, _signature, arguments):
        net, address = arguments
        for i, kind in enumerate(_NET.types):
            if isinstance(kind, types.Array):
                # an array begins with its owner, for counting references: this one is held by `Placed`
                nobody = ir.Constant(builder.extract_value(net, [i, 0]).type, None)
                net = builder.insert_value(net, nobody, [i, 0])
        builder.store(net, builder.inttoptr(address, _layout(context).as_pointer()))

    return types.void(_NET, ADDRESS), generate


def _take(_context, address):
    def generate(context, builder, _signature, arguments):
        return builder.load(builder.inttoptr(arguments[0], _layout(context).as_pointer()))

    return _NET(ADDRESS), generate


_store: Any = intrinsic(_put)
net_at: Any = intrinsic(_take)
"""The `Net` that lies at an address."""


@compiled(types.void(_NET, ADDRESS))
def _place(net, address):
    _store(net, address)


@inlined
def parameters_ahead(net):
    """The parameters before the perceptron's own: a Gaussian's log σ."""
    net = net_at(net)
    return net.parameters[: net.ahead]


@inlined
def gradient_ahead(net):
    """Their gradient."""
    net = net_at(net)
    return net.gradient[: net.ahead]


@inner
def clear_gradient(net):
    """To be called before any number of `backward`."""
    gradient = net_at(net).gradient
    for i in range(gradient.size):
        gradient[i] = f32(0)
