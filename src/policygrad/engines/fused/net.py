"""A network as compiled code sees it, and how it is passed from Python and between compiled functions."""

# pyright: basic
# compiled code, and code that generates code

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad._support import references
from policygrad._support.compiling import inlined, inner
from policygrad._support.function_pointers import ADDRESS
from policygrad.engines.signatures import NUMBERS, SIZES, VECTOR
from policygrad.types import F32, F64, I64

f32 = np.float32
LINEAR, ACTIVATION, NORM, COPY = 0, 1, 2, 3
"""Kinds of layers. A network that does not begin with a linear layer begins with a copy of its inputs."""
KIND, FUSED, START, FIRST, COUNT, HAS_BIAS, STORED, FORWARD, BACKWARD = range(9)
"""Columns of `Net.layers`. FUSED is the activation that a linear layer applies itself (`IDENTITY`, `RELU` or `TANH` of
`matmul`). START is where the layer's part of the workspace starts, per sample. FIRST is the index of the layer's first
parameter, COUNT the number of its parameters, and HAS_BIAS is 1 or 0. STORED is where its part of `Net.stored` starts.
FORWARD and BACKWARD are addresses of machine code: see `layers`."""
COLUMNS = 9


class Net(NamedTuple):
    """A network as compiled code sees it.

    Threads share its parameters and optimizer state; each has its own `stored`, `work` and `gradient`.
    """

    parameters: F32
    """[P]: the layers' parameters; others may precede them, such as a Gaussian's log σ."""
    ahead: int
    """Number of parameters before the layers'."""
    sizes: I64
    """[layers + 1]: number of inputs, and of the outputs of each layer."""
    layers: I64
    """[layers + 1, `COLUMNS`]: description of each layer. The last row only says where the scratch of `work` starts."""
    constants: F32
    """[layers]: see `Layer.constant` of `engines.sequential`."""
    stored: F32
    """Copies of the weight and the bias of each layer; see `transpose`."""
    work: F32
    """[`workspace_size`]: the layers' outputs, then scratch."""
    gradient: F32
    """[P]: gradient of all parameters."""
    first: F32
    """[P]: the optimizer's running mean of the gradients."""
    second: F32
    """[P]: the optimizer's running mean of the squared gradients."""
    count: I64
    """[1]: number of steps taken."""
    lowest: float
    """Lower bound of the parameters before the layers' (log σ)."""
    highest: float
    """Upper bound of these parameters."""
    product: int
    """Address of the machine code of `matmul.product`. This and the next two functions are compiled only once."""
    ahead_pass: int
    """Address of the forward pass of `mlp`."""
    back_pass: int
    """Address of the backward pass of `mlp`."""
    previous: F32
    noise: F64
    """[P] and [6]: `GradientNoise.previous` and `numbers` of the policy network; [0] and [6] for V(s)."""
    measure: int
    """Address of the machine code of `gradient_noise.measure`."""
    trunk: int
    """`Placed.address` of the policy network whose last hidden layer is the input of V(s); 0 for other networks."""


_NET: Any = types.NamedTuple(
    [
        VECTOR, types.int64, SIZES, types.int64[:, ::1], VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, SIZES,
        types.float64, types.float64, ADDRESS, ADDRESS, ADDRESS, VECTOR, NUMBERS, ADDRESS, ADDRESS,
    ],
    Net,
)  # fmt: skip
NET: Any = ADDRESS
"""How a network is passed to compiled code: as the address of its `Net`. Unpacking a tuple takes microseconds at every
call, and every function with a `Net` as an argument would take seconds to compile."""


class Placed:
    """A network in memory. Compiled code receives its `address`, which is valid as long as this object exists."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self._memory = references.Placed(net, _NET)
        self.address: int = self._memory.address


net_at: Any = references.tuple_at(_NET)
"""Returns the `Net` at an address."""


@inlined
def parameters_ahead(net):
    """Return the parameters before the layers', such as a Gaussian's log σ."""
    net = net_at(net)
    return net.parameters[: net.ahead]


@inlined
def gradient_ahead(net):
    """Return the gradient of `parameters_ahead`."""
    net = net_at(net)
    return net.gradient[: net.ahead]


@inner
def clear_gradient(net):
    """Set the gradient to 0. Call it before any number of calls of `backward`."""
    gradient = net_at(net).gradient
    for i in range(gradient.size):
        gradient[i] = f32(0)
