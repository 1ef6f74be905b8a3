"""Machine code for `Policy.act` with one observation; see `policies.acting`."""

# pyright: basic
# compiled code: the types of the arguments are in the Numba signature above the function

from __future__ import annotations

import math
import threading

import numpy as np
import torch
from numba import types

from policygrad._support.compiling import announce_compilation, compiled
from policygrad.engines.fused import heads
from policygrad.engines.fused.heads import HEAD, sample
from policygrad.engines.fused.mlp import forward, last_hidden, transpose
from policygrad.engines.fused.net import NET, net_at
from policygrad.engines.fused.placing import make_nets
from policygrad.engines.fusible import unsupported_reason
from policygrad.engines.signatures import MATRIX, VECTOR
from policygrad.policies import Policy
from policygrad.policies.acting import Chooser
from policygrad.types import F32, F64, Array

NO_NOISE = np.zeros((1, 0))


def chooser_of(policy: Policy) -> Chooser | None:
    """Return a `Chooser` for a policy; None if `Policy` itself or the fused engine does not compute its actions."""
    plain = all(p.dtype == torch.float32 and not p.is_inference() for p in policy.parameters())
    if type(policy) is not Policy or not plain or unsupported_reason(policy, None) is not None:
        return None
    return _Chooser(policy)


class _Chooser:
    def __init__(self, policy: Policy) -> None:
        stored = policy.distribution
        self._shape, self._dtype = stored.stored_shape, stored.stored_dtype
        self._columns = math.prod(stored.stored_shape)
        # the network has one workspace
        self._lock = threading.Lock()
        with announce_compilation():
            self._actor = make_nets(policy.network, None)[0]
            self._sampling = heads.head_of(policy)
            self._greedy = self._sampling._replace(greedy=True)
            net = self._actor.net
            # these differ from the parameters in every bit
            seen = (~net.parameters.view(np.int32)).view(np.float32)
            self._kept = seen, np.empty(net.ahead, np.float32)
            # compiles the code
            self(np.zeros((1, policy.observation_size), np.float32), None)

    def __call__(self, observation: F32, noise: F64 | None) -> Array:
        action = np.empty((1, self._columns), np.float32)
        with self._lock:
            if noise is None:
                choose(observation, NO_NOISE, self._greedy, self._actor.address, *self._kept, action)
            else:
                drawn = noise.reshape(1, -1)
                choose(observation, drawn, self._sampling, self._actor.address, *self._kept, action)
        return (action if self._shape else action[0]).astype(self._dtype, copy=False)


@compiled(types.void(MATRIX, types.float64[:, ::1], HEAD, NET, VECTOR, VECTOR, MATRIX), at_first_call=True)
def choose(x, noise, head, actor, seen, log_std, action):
    """Write an action [1, K] for an observation x [1, D].

    `seen` are the parameters at the last call, and `log_std` those of log σ within their bounds. A comparison is faster
    than to transpose the weights at each call, which takes much longer than the forward pass.
    """
    net = net_at(actor)
    bits, seen_bits = net.parameters.view(np.int32), seen.view(np.int32)
    difference = np.int32(0)
    for i in range(bits.size):
        difference |= bits[i] ^ seen_bits[i]
    if difference != 0:
        for i in range(bits.size):
            seen_bits[i] = bits[i]
        for i in range(log_std.size):
            lowest, highest = np.float32(net.lowest), np.float32(net.highest)
            # like `policies.networks.shape.within`, also for NaN
            log_std[i] = lowest if seen[i] < lowest else highest if seen[i] > highest else seen[i]
        transpose(actor)
    outputs = forward(x, actor)
    sample(head, outputs, last_hidden(x, actor), log_std, noise, action)
