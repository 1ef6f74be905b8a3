"""A perceptron in machine code: forward and backward.

Parameters lie in one flat vector in torch's order, for each layer the weight [fan_out, fan_in] and then the
bias [fan_out]; depth and widths are an array of sizes. The layers' outputs lie one after another in a
workspace, so that backward finds them where forward left them.
"""

# pyright: basic
# compiled code: [B, K] arguments are float32 matrices, C-contiguous, other arrays float32 vectors

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad.compiled import inlined, inner
from policygrad.engines.fused.matmul import multiply, multiply_rows, multiply_transposed, product_address
from policygrad.engines.signatures import MATRIX, SIZES, VECTOR
from policygrad.pointers import ADDRESS, address_of, function_at
from policygrad.types import F32, I64

RELU, TANH = 0, 1
NARROW = 4
"""Fewer outputs than this are quicker as inner products."""
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


NET: Any = types.NamedTuple(
    [
        VECTOR, types.int64, SIZES, types.int64, VECTOR, VECTOR, VECTOR, VECTOR, VECTOR, SIZES,
        types.float64, types.float64, ADDRESS, ADDRESS, ADDRESS,
    ],
    Net,
)  # fmt: skip


def workspace_size(sizes: tuple[int, ...], rows: int) -> int:
    """How many float32 a workspace needs for `rows` samples: all layers' outputs, and one more as scratch."""
    return rows * (sum(sizes[1:]) + max(sizes))


def parameter_count(sizes: tuple[int, ...]) -> int:
    """How many parameters a perceptron has."""
    return sum((fan_in + 1) * fan_out for fan_in, fan_out in pairwise(sizes))


@inlined
def tanh(x):
    """Rational approximation, 13 over 6, error below 1e-6; `math.tanh` would keep the loop from vectorising.

    The coefficients are the usual single-precision minimax fit on ±7.9, beyond which tanh rounds to ±1.
    """
    x = min(max(x, f32(-7.90531110763549805)), f32(7.90531110763549805))
    z = x * x
    p = f32(-2.76076847742355e-16)
    p = p * z + f32(2.00018790482477e-13)
    p = p * z + f32(-8.60467152213735e-11)
    p = p * z + f32(5.12229709037114e-08)
    p = p * z + f32(1.48572235717979e-05)
    p = p * z + f32(6.37261928875436e-04)
    p = p * z + f32(4.89352455891786e-03)
    q = f32(1.19825839466702e-06)
    q = q * z + f32(1.18534705686654e-04)
    q = q * z + f32(2.26843463243900e-03)
    q = q * z + f32(4.89352518554385e-03)
    return x * p / q


@inner
def add_bias_and_activate(y, bias, rows, activation):
    """In place, of y [rows · width]; an activation below 0 is none."""
    width = bias.size
    if activation == TANH:
        for i in range(rows):
            for j in range(width):
                y[i * width + j] = tanh(y[i * width + j] + bias[j])
    elif activation == RELU:
        for i in range(rows):
            for j in range(width):
                y[i * width + j] = max(y[i * width + j] + bias[j], f32(0))
    else:
        for i in range(rows):
            for j in range(width):
                y[i * width + j] += bias[j]


@inner
def times_derivative(pulled, output, activation):
    """∂L/∂output ⊙ f′, in place of the output, from which f′ follows."""
    if activation == TANH:
        for i in range(output.size):
            output[i] = pulled[i] * (f32(1) - output[i] * output[i])
    else:
        for i in range(output.size):
            output[i] = pulled[i] if output[i] > f32(0) else f32(0)


@inner
def transpose(net):
    """Bring `net.transposed` up to the parameters: to be called once before any number of `forward`."""
    p = 0
    parameters = net.parameters[net.ahead :]
    for layer in range(net.sizes.size - 1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        weight = parameters[p : p + fan_in * fan_out].reshape(fan_out, fan_in)
        turned = net.transposed[p : p + fan_in * fan_out].reshape(fan_in, fan_out)
        for i in range(fan_in):
            for j in range(fan_out):
                turned[i, j] = weight[j, i]
        p += fan_in * fan_out
        for j in range(p, p + fan_out):
            net.transposed[j] = parameters[j]
        p += fan_out


def _forward(x, net):
    """See `forward`."""
    rows = x.shape[0]
    layers = net.sizes.size - 1
    h = flat(x)
    p = 0
    o = 0
    for layer in range(layers):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        weights = fan_in * fan_out
        bias = net.transposed[p + weights : p + weights + fan_out]
        y = net.work[o : o + rows * fan_out]
        if fan_out < NARROW:
            multiply_rows(h, net.parameters[net.ahead + p :], y, rows, fan_out, fan_in)
        else:
            multiply(net.product, h, net.transposed[p:], y, rows, fan_out, fan_in)
        add_bias_and_activate(y, bias, rows, net.activation if layer < layers - 1 else -1)
        h = y
        p += weights + fan_out
        o += rows * fan_out


@inlined
def flat(x):
    """A matrix [B, D] without gaps as a vector [B · D]."""
    return x.reshape(x.size)


@inlined
def pull_back(net, layer, p, o, rows, delta, h):
    """δ of a layer's inputs, in place of those inputs `h`: δ_below = (δ W) ⊙ f′."""
    fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
    scratch = net.work[o : o + rows * fan_in]
    multiply(net.product, delta, net.parameters[p:], scratch, rows, fan_in, fan_out)
    times_derivative(scratch, h, net.activation)


@inlined
def scratch_at(sizes, rows):
    """Where in the workspace the scratch begins: after all layers' outputs."""
    total = 0
    for layer in range(1, sizes.size):
        total += sizes[layer]
    return rows * total


def _backward(x, net, accumulate):
    """See `backward`."""
    rows = x.shape[0]
    p = net.parameters.size
    spare = scratch_at(net.sizes, rows)
    o = spare
    for layer in range(net.sizes.size - 2, -1, -1):
        fan_in, fan_out = net.sizes[layer], net.sizes[layer + 1]
        p -= fan_in * fan_out + fan_out
        o -= rows * fan_out
        delta = net.work[o : o + rows * fan_out]
        h = flat(x) if layer == 0 else net.work[o - rows * fan_in : o]
        slope = net.gradient[p : p + fan_in * fan_out]
        bias_slope = net.gradient[p + fan_in * fan_out : p + fan_in * fan_out + fan_out]
        multiply_transposed(net.product, delta, h, slope, fan_out, fan_in, rows, accumulate)
        if not accumulate:
            for j in range(fan_out):
                bias_slope[j] = f32(0)
        for i in range(rows):
            for j in range(fan_out):
                bias_slope[j] += delta[i * fan_out + j]
        if layer > 0:
            pull_back(net, layer, p, spare, rows, delta, h)


FORWARD, BACKWARD = types.void(MATRIX, NET), types.void(MATRIX, NET, types.boolean)
_forward_at, _backward_at = function_at(FORWARD), function_at(BACKWARD)


def addresses():
    """Where (product, forward, backward) lie, as `Net` holds them."""
    return product_address(), address_of(_forward, FORWARD), address_of(_backward, BACKWARD)


@inlined
def forward(x, net):
    """The outputs [B, sizes[-1]] for inputs [B, sizes[0]]: a view of `net.work`, to be overwritten freely."""
    _forward_at(net.ahead_pass)(x, net)
    rows, width = x.shape[0], net.sizes[-1]
    stop = scratch_at(net.sizes, rows)
    return net.work[stop - rows * width : stop].reshape(rows, width)


@inlined
def last_hidden(x, net):
    """What `forward` gave to the last layer, [B, sizes[-2]]: the inputs where no layer is hidden."""
    if net.sizes.size == 2:
        return x
    rows, width = x.shape[0], net.sizes[-2]
    stop = scratch_at(net.sizes, rows) - rows * net.sizes[-1]
    return net.work[stop - rows * width : stop].reshape(rows, width)


@inlined
def backward(x, net, accumulate):
    """The parameters' gradient, from ∂L/∂output standing where `forward` put the output.

    Written into `net.gradient`, or added to it where `accumulate`. Each layer's δ takes the place of its output.
    """
    _backward_at(net.back_pass)(x, net, accumulate)
