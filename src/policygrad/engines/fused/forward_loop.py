"""Forward passes over any number of samples, in parts that fit in the cache: actions, log π and H, and values."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signatures above the functions

from __future__ import annotations

from typing import Any

from numba import types

from policygrad._support.compiling import compiled
from policygrad.engines.fused.heads import HEAD, evaluate, sample
from policygrad.engines.fused.mlp import forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, net_at, parameters_ahead
from policygrad.engines.fused.update_loop import ROWS
from policygrad.engines.signatures import MATRIX, VECTOR


@compiled(types.void(MATRIX, types.float64[:, ::1], HEAD, NET, MATRIX), at_first_call=True)
def act(x, noise, head, actor, action):
    """Sample actions for observations [B, D] and write them to `action` [B, K]."""
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], actor)
        hidden = last_hidden(x[start:stop], actor)
        sample(head, outputs, hidden, parameters_ahead(actor), noise[start:stop], action[start:stop])


EVALUATIONS: Any = types.void(MATRIX, MATRIX, HEAD, NET, VECTOR, VECTOR)


@compiled(EVALUATIONS, at_first_call=True)
def evaluations(x, action, head, actor, log_prob, entropy):
    """Write log π(a|s) and H(π(·|s)) of B samples to `log_prob` and `entropy`, [B] each."""
    transpose(actor)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        outputs = forward(x[start:stop], actor)
        hidden, log_std = last_hidden(x[start:stop], actor), parameters_ahead(actor)
        evaluate(
            head, outputs, hidden, log_std, action[start:stop], log_prob[start:stop], entropy[start:stop]
        )


VALUES: Any = types.void(MATRIX, NET, VECTOR)


@compiled(VALUES, at_first_call=True)
def values(x, critic, value):
    """Write V(s) of observations [B, D] to `value` [B]."""
    transpose(critic)
    trunk = net_at(critic).trunk
    if trunk != 0:
        transpose(trunk)
    for start in range(0, x.shape[0], ROWS):
        stop = min(start + ROWS, x.shape[0])
        seen = x[start:stop]
        if trunk != 0:
            forward(seen, trunk)
            seen = last_hidden(seen, trunk)
        outputs = forward(seen, critic)
        for i in range(stop - start):
            value[start + i] = outputs[i, 0]
