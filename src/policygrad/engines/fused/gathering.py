"""Minibatches as arrays of their own: copies of their samples, and of the outputs back to the rows of the samples."""

# pyright: basic
# compiled code: the types of the arguments are those of `MinibatchWorkspace`

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numba import types

from policygrad._support.compiling import inlined
from policygrad.engines.signatures import MATRIX, VECTOR
from policygrad.types import F32

f32 = np.float32


class MinibatchWorkspace(NamedTuple):
    """Temporary arrays of an update: the samples of one minibatch, and the derivatives of its loss."""

    x: F32
    y: F32
    """[samples, 0] if y is x."""
    action: F32
    outputs: F32
    columns: F32
    weight: F32
    d_outputs: F32
    """[3, ROWS]."""


MINIBATCH_WORKSPACE: Any = types.NamedTuple([*[MATRIX] * 5, VECTOR, MATRIX], MinibatchWorkspace)


@inlined
def gather(order, length, x, y, action, columns, weight, to_x, to_y, to_action, to_columns, to_weight):
    """Copy the segments in `order` to the beginning of the arrays `to_*`; `to_y` is empty if y is x."""
    for i in range(order.size * length):
        row = order[i // length] * length + i % length
        for d in range(x.shape[1]):
            to_x[i, d] = x[row, d]
        for d in range(to_y.shape[1]):
            to_y[i, d] = y[row, d]
        for k in range(action.shape[1]):
            to_action[i, k] = action[row, k]
        for k in range(columns.shape[0]):
            to_columns[k, i] = columns[k, row]
        if weight.size:
            to_weight[i] = weight[row]


@inlined
def scatter(order, length, some_outputs, outputs, use_policy, use_value):
    """Copy the outputs that were computed back to the rows of their samples."""
    for i in range(order.size * length):
        row = order[i // length] * length + i % length
        if use_policy:
            outputs[0, row] = some_outputs[0, i]
            outputs[1, row] = some_outputs[1, i]
        if use_value:
            outputs[2, row] = some_outputs[2, i]


@inlined
def total(weight, count):
    """Return the sum of the first `count` weights, or `count` if there are no weights."""
    if not weight.size:
        return types.float64(count)
    result = 0.0
    for i in range(count):
        result += weight[i]
    return result
