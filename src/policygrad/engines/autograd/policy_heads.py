"""log π(a|s) and H(π(·|s)) of a minibatch, and the gradient of the loss from there to the network's outputs.

torch does this for any distribution. For choices, whose arrays are small, its dozen operations and their derivatives
take half as long as the network itself, so on the CPU most of them are machine code.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple, TypeAlias

import numpy as np
import torch
from numba import types
from torch import Tensor

from policygrad._support.compiling import compiled, inlined
from policygrad.engines.signatures import MATRIX, SIZES
from policygrad.policies import Policy, as_tensors
from policygrad.policies.distributions import Categorical
from policygrad.types import F32, I64, Array, Inputs

f32 = np.float32

PullBack: TypeAlias = Callable[[Tensor, Collection[str]], list[tuple[Tensor, Tensor]]]
"""pull_back(slopes, names) -> pairs of a tensor with a graph and the loss's derivative with respect to it.

`slopes` [3, R] begins with the derivatives with respect to log π and H. `names` are those of the outputs that
the loss depends on; see `Loss.outputs`.
"""


class Evaluated(NamedTuple):
    """A policy's outputs on R rows."""

    log_prob: F32
    """[R] log π(a|s), in nats."""
    entropy: F32
    """[R] H(π(·|s)), in nats."""
    pull_back: PullBack
    """The beginning of the backward pass."""


def evaluated(policy: Policy, inputs: Inputs, action: Array, device: torch.device) -> Evaluated:
    """Return log π and H of R rows and their stored actions.

    Raises:
        ValueError: an action is not one of the policy's choices.
    """
    if device.type == "cpu" and type(policy) is Policy and type(policy.distribution) is Categorical:
        return _choices(policy, policy.distribution, as_tensors(inputs, device), action)
    parameters = policy(as_tensors(inputs, device))
    log_prob = policy.distribution.log_prob(parameters, torch.from_numpy(action).to(device))
    entropy = policy.distribution.entropy(parameters)

    def pull_back(slopes: Tensor, names: Collection[str]) -> list[tuple[Tensor, Tensor]]:
        pairs = {"log_prob": (log_prob, slopes[0]), "entropy": (entropy, slopes[1])}
        return [pair for name, pair in pairs.items() if name in names]

    return Evaluated(log_prob.numpy(force=True), entropy.numpy(force=True), pull_back)


def _choices(policy: Policy, distribution: Categorical, inputs: Inputs, action: Array) -> Evaluated:
    logits = distribution.logits_of(policy.network, inputs)
    log_pi = distribution.normalized(logits.detach()).to(torch.float32).contiguous()
    sizes = np.array(distribution.sizes, np.int64)
    chosen = np.ascontiguousarray(action.reshape(len(action), -1), np.int64)
    arrays = log_pi.numpy(), log_pi.exp().numpy()
    outputs = np.empty((2, len(chosen)), np.float32)
    bad = _evaluate(sizes, *arrays, chosen, outputs)
    if bad >= 0:
        raise ValueError(
            f"the action of sample {bad} is {action[bad]}; the policy chooses among {distribution.sizes} alternatives"
        )

    def pull_back(slopes: Tensor, names: Collection[str]) -> list[tuple[Tensor, Tensor]]:
        if "log_prob" not in names and "entropy" not in names:
            return []
        result = np.empty(log_pi.shape, np.float32)
        _differentiate(sizes, *arrays, chosen, slopes.numpy(), result)
        return [(logits, torch.from_numpy(result))]

    return Evaluated(outputs[0], outputs[1], pull_back)


@inlined
def _entropy(log_pi, pi):  # pyright: ignore
    """Return −Σ_j π_j log π_j of one choice, in which 0 log 0 is 0."""
    total = f32(0)
    for j in range(pi.size):
        # a comparison that is true for NaN, so that it is not lost
        total -= pi[j] * log_pi[j] if pi[j] != f32(0) else f32(0)
    return total


@compiled(types.int64(SIZES, MATRIX, MATRIX, types.int64[:, ::1], MATRIX))
def _evaluate(sizes: I64, log_pi: F32, pi: F32, action: I64, outputs: F32) -> int:
    """Write log π = Σ_k log π_k(a_k) and H = −Σ_k Σ_j π_kj log π_kj to `outputs` [2, R].

    `log_pi` and `pi` [R, Σ n_k] have the alternatives of all choices side by side. The result is the first row whose
    action is not an alternative, or −1.
    """
    for i in range(action.shape[0]):
        log_prob, entropy, first = f32(0), f32(0), 0
        for k in range(sizes.size):
            if not 0 <= action[i, k] < sizes[k]:
                return i
            log_prob += log_pi[i, first + action[i, k]]
            entropy += _entropy(log_pi[i, first : first + sizes[k]], pi[i, first : first + sizes[k]])
            first += sizes[k]
        outputs[0, i], outputs[1, i] = log_prob, entropy
    return -1


@compiled(types.void(SIZES, MATRIX, MATRIX, types.int64[:, ::1], MATRIX, MATRIX))
def _differentiate(sizes: I64, log_pi: F32, pi: F32, action: I64, slopes: F32, result: F32) -> None:
    """Write the derivatives with respect to the logits z; `slopes` are those with respect to log π and H.

    ∂log π(a)/∂z_kj = [j = a_k] − π_kj,    ∂H/∂z_kj = −π_kj (log π_kj + H_k)
    """
    for i in range(action.shape[0]):
        first = 0
        for k in range(sizes.size):
            last = first + sizes[k]
            entropy = _entropy(log_pi[i, first:last], pi[i, first:last])
            for j in range(first, last):
                log = log_pi[i, j] if pi[i, j] != f32(0) else f32(0)
                result[i, j] = -pi[i, j] * (slopes[0, i] + slopes[1, i] * (log + entropy))
            result[i, first + action[i, k]] += slopes[0, i]
            first = last
