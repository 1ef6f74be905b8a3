"""Adam, RMSprop and gradient descent on one flat vector, as in torch."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signatures above the functions

from __future__ import annotations

import math

import numpy as np
from numba import types

from policygrad._support.compiling import inner
from policygrad._support.state import copy_into, unpack
from policygrad.engines import common
from policygrad.engines.common import (
    ADAM,
    ADAM_BETA1,
    ADAM_BETA2,
    ADAM_EPS,
    RMSPROP,
    RMSPROP_ALPHA,
    RMSPROP_EPS,
)
from policygrad.engines.fused.subnormal import flushed, flushed_square

f32 = np.float32


def state(net):
    """Return the state of a network's optimizer."""
    return {"first": net.first.copy(), "second": net.second.copy(), "count": net.count.copy()}


def restore(net, state):
    """Restore a `state`; raise CheckpointError if it belongs to another network."""
    for name, saved in zip(
        ("first", "second", "count"), unpack(state, "first", "second", "count"), strict=True
    ):
        copy_into(getattr(net, name), saved, f"optimizer's {name}")


@inner
def norm(x):
    """Return the L2 norm, summed in float64. It is NaN or infinite if an entry is."""
    total = 0.0
    for i in range(x.size):
        total += types.float64(x[i]) * types.float64(x[i])
    return math.sqrt(total)


clip_factor = inner(common.clip_factor)


@inner
def step(code, net, rate, factor):
    """Take one step along −`factor`·gradient, in place."""
    parameters, gradient, first, second = net.parameters, net.gradient, net.first, net.second
    net.count[0] += 1
    scale = f32(factor)
    if code == ADAM:
        a, b = f32(ADAM_BETA1), f32(ADAM_BETA2)
        pace = f32(rate / (1 - ADAM_BETA1 ** net.count[0]))
        correction = f32(1 / math.sqrt(1 - ADAM_BETA2 ** net.count[0]))
        for i in range(parameters.size):
            g = gradient[i] * scale
            first[i] = flushed(a * first[i] + (f32(1) - a) * g)
            second[i] = flushed(b * second[i] + (f32(1) - b) * flushed_square(g))
            parameters[i] -= pace * first[i] / (math.sqrt(second[i]) * correction + f32(ADAM_EPS))
    elif code == RMSPROP:
        a = f32(RMSPROP_ALPHA)
        for i in range(parameters.size):
            g = gradient[i] * scale
            second[i] = flushed(a * second[i] + (f32(1) - a) * flushed_square(g))
            parameters[i] -= f32(rate) * g / (math.sqrt(second[i]) + f32(RMSPROP_EPS))
    else:
        for i in range(parameters.size):
            parameters[i] -= f32(rate) * scale * gradient[i]
