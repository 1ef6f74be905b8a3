"""One step of the actor-critic along eligibility traces, which the gradient of each sample enters."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signatures above the functions

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from policygrad._support.compiling import compiled, inlined, inner
from policygrad.engines.common import as_column_matrix
from policygrad.engines.fused.heads import HEAD, Head, differentiate, evaluate
from policygrad.engines.fused.mlp import backward, forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, Placed, clear_gradient, gradient_ahead, net_at, parameters_ahead
from policygrad.engines.fused.subnormal import flushed
from policygrad.engines.fused.update_loop import OUTPUTS_NOT_FINITE, ROWS, finite, step_along_gradients
from policygrad.engines.signatures import MATRIX, NUMBERS, SIZES, VECTOR
from policygrad.interfaces import AlongTraces
from policygrad.types import F32, F64

f32 = np.float32


@inlined
def load(trace, decay, net):
    """Start the network's gradient with a trace [P] that has decayed."""
    gradient = net_at(net).gradient
    for k in range(gradient.size):
        gradient[k] = flushed(decay * trace[k])


@inlined
def store(net, over, trace, weight, direction):
    """Store the network's gradient as the trace, which ends with its episode, and add it to the direction [P]."""
    gradient = net_at(net).gradient
    for k in range(gradient.size):
        direction[k] += weight * gradient[k]
        trace[k] = f32(0) if over else gradient[k]


@inner
def add_policy_gradient(x, action, d_log_prob, d_entropy, head, actor, log_prob, entropy):
    """Write log π and H of B samples, and add Σ (d_log_prob ∇log π + d_entropy ∇H) to the policy's gradient."""
    output = forward(x, actor)
    hidden, log_std, slope = last_hidden(x, actor), parameters_ahead(actor), gradient_ahead(actor)
    evaluate(head, output, hidden, log_std, action, log_prob, entropy)
    differentiate(head, output, hidden, log_std, action, entropy, d_log_prob, d_entropy, slope)
    backward(x, actor)


@inner
def add_value_gradient(x, actor, critic):
    """Add ∇V of one sample to the gradient of the value network, and of no layers that it shares with the policy."""
    if net_at(critic).trunk != 0:
        forward(x, actor)
        x = last_hidden(x, actor)
    forward(x, critic)[0, 0] = f32(1)
    backward(x, critic)


@inner
def add_entropy_gradient(x, action, entropy_coef, head, actor, outputs, d_outputs):
    """Add the gradient of −β times the mean entropy to the policy's gradient."""
    B = len(x)
    for start in range(0, B, ROWS):
        stop = min(start + ROWS, B)
        for i in range(stop - start):
            d_outputs[0, i], d_outputs[1, i] = f32(0), f32(-entropy_coef / B)
        add_policy_gradient(
            x[start:stop], action[start:stop], d_outputs[0, : stop - start], d_outputs[1, : stop - start],
            head, actor, outputs[0, start:stop], outputs[1, start:stop],
        )  # fmt: skip


STEP_ALONG_TRACES: Any = types.int64(
    MATRIX, MATRIX, MATRIX, SIZES, types.boolean[::1], NUMBERS, NUMBERS, NUMBERS, types.float64, MATRIX, MATRIX,
    HEAD, NET, types.float64, NET, types.float64, types.int64, types.float64, VECTOR, VECTOR, MATRIX, NUMBERS,
)  # fmt: skip


@compiled(STEP_ALONG_TRACES, at_first_call=True)
def step_along_traces(
    x, action, outputs, env, over, error, importance, decays, entropy_coef, policy_traces, value_traces,
    head, actor, policy_rate, critic, value_rate, optimizer, max_norm,
    policy_direction, value_direction, d_outputs, report,
):  # fmt: skip
    """Take an optimizer step of both networks: see `interfaces.AlongTraces`, and `update_loop.update` for the rest.

    `decays` [2] are γλ of the policy's and the critic's traces. The directions [P] and `d_outputs` [2, ROWS] are
    workspace. Returns the status, as `update` does.
    """
    B = len(x)
    transpose(actor)
    transpose(critic)
    clear_gradient(actor)
    if entropy_coef > 0:
        add_entropy_gradient(x, action, entropy_coef, head, actor, outputs, d_outputs)
    gradient = net_at(actor).gradient
    for k in range(gradient.size):
        policy_direction[k] = gradient[k]
    for k in range(value_direction.size):
        value_direction[k] = f32(0)
    for i in range(B):
        n, weight = env[i], f32(-error[i] / B)
        seen, taken = x[i : i + 1], action[i : i + 1]
        load(policy_traces[n], f32(decays[0]), actor)
        load(value_traces[n], f32(decays[1]), critic)
        # computed separately: if the networks share layers, neither gradient may enter the other's trace
        add_value_gradient(seen, actor, critic)
        d_outputs[0, 0], d_outputs[1, 0] = f32(importance[i]), f32(0)
        add_policy_gradient(
            seen, taken, d_outputs[0, :1], d_outputs[1, :1], head, actor,
            outputs[0, i : i + 1], outputs[1, i : i + 1],
        )  # fmt: skip
        store(actor, over[i], policy_traces[n], weight, policy_direction)
        store(critic, over[i], value_traces[n], weight, value_direction)
    if not (finite(outputs[0]) and finite(outputs[1])):
        return OUTPUTS_NOT_FINITE
    for k in range(gradient.size):
        gradient[k] = policy_direction[k]
    gradient = net_at(critic).gradient
    for k in range(gradient.size):
        gradient[k] = value_direction[k]
    return step_along_gradients((actor, critic), (policy_rate, value_rate), optimizer, max_norm, report, 0)


def new_traces(nets: tuple[Placed, Placed], num_envs: int) -> dict[str, F32]:
    """Return traces of 0: see `AlongTraces.traces`."""
    sizes = zip(("policy", "value"), nets, strict=True)
    return {name: np.zeros((num_envs, placed.net.parameters.size), np.float32) for name, placed in sizes}


def workspace(nets: tuple[Placed, Placed]) -> tuple[F32, F32, F32]:
    """Return the temporary arrays of `step_along_traces`."""
    policy, value = (np.empty(placed.net.parameters.size, np.float32) for placed in nets)
    return policy, value, np.empty((2, ROWS), np.float32)


def step(
    along: AlongTraces,
    head: Head,
    nets: tuple[Placed, Placed],
    optimizer: int,
    numbers: tuple[float, float, float],
    report: F64,
) -> int:
    """Run `step_along_traces` with (policy_rate, value_rate, max_norm) as `numbers`, and return the status."""
    for name, trace in new_traces(nets, along.num_envs).items():
        along.traces.setdefault(name, trace)
    (actor, critic), (policy_rate, value_rate, max_norm) = nets, numbers
    return step_along_traces(
        along.batch.inputs.observation, as_column_matrix(along.batch.action), along.outputs,
        along.env, along.over, along.error, along.importance, np.array(along.decays), along.entropy_coef,
        along.traces["policy"], along.traces["value"],
        head, actor.address, policy_rate, critic.address, value_rate, optimizer, max_norm, *workspace(nets), report,
    )  # fmt: skip
