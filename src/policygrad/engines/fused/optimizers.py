"""Adam, RMSprop and gradient descent on one flat vector, as torch computes them."""

# pyright: basic
# compiled: the types of arguments are the Numba signatures above the functions

from __future__ import annotations

import math

import numpy as np
from numba import types

from policygrad.compiled import compiled
from policygrad.engines.common import ADAM_BETA1, ADAM_BETA2, ADAM_EPS, RMSPROP_ALPHA, RMSPROP_EPS
from policygrad.engines.signatures import VECTOR

ADAM, RMSPROP, SGD = 0, 1, 2
CODES = {"adam": ADAM, "rmsprop": RMSPROP, "sgd": SGD}
f32 = np.float32


@compiled(types.float64(VECTOR))
def norm(x):
    """L2 norm, summed in float64; NaN or infinite where an entry is."""
    total = 0.0
    for i in range(x.size):
        total += types.float64(x[i]) * types.float64(x[i])
    return math.sqrt(total)


@compiled(types.void(types.int64, VECTOR, VECTOR, VECTOR, VECTOR, types.int64, types.float64, types.float64))
def step(code, parameters, gradient, first, second, count, rate, factor):
    """One step along −`factor`·gradient, in place.

    `first` and `second` are the running moments, `count` the step's number from 1.
    """
    scale = f32(factor)
    if code == ADAM:
        a, b = f32(ADAM_BETA1), f32(ADAM_BETA2)
        pace = f32(rate / (1 - ADAM_BETA1**count))
        correction = f32(1 / math.sqrt(1 - ADAM_BETA2**count))
        for i in range(parameters.size):
            g = gradient[i] * scale
            first[i] = a * first[i] + (f32(1) - a) * g
            second[i] = b * second[i] + (f32(1) - b) * g * g
            parameters[i] -= pace * first[i] / (math.sqrt(second[i]) * correction + f32(ADAM_EPS))
    elif code == RMSPROP:
        a = f32(RMSPROP_ALPHA)
        for i in range(parameters.size):
            g = gradient[i] * scale
            second[i] = a * second[i] + (f32(1) - a) * g * g
            parameters[i] -= f32(rate) * g / (math.sqrt(second[i]) + f32(RMSPROP_EPS))
    else:
        for i in range(parameters.size):
            parameters[i] -= f32(rate) * scale * gradient[i]
