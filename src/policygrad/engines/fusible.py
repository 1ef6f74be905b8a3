"""Which networks the fused engine supports, decided without importing the engine, which would compile its code."""

from __future__ import annotations

from torch import nn

from policygrad.policies import (
    PerceptronPolicy,
    Policy,
    SharedValueNetwork,
    ValueNetwork,
    is_plain,
    is_standard,
)
from policygrad.policies.distributions import is_own


def unsupported_reason(policy: Policy, value: nn.Module | None) -> str | None:
    """Return why the fused engine does not support these networks, or None if it does."""
    network = policy.network
    if is_own(policy.distribution):
        return f"the distribution {type(policy.distribution).__name__} is your own"
    if not (is_standard(network) and isinstance(network, PerceptronPolicy)):
        return f"the policy network {type(network).__name__} is your own, or was modified"
    if isinstance(value, SharedValueNetwork) and value.trunk is not network.network:
        return "V(s) shares the hidden layers of another policy"
    if value is not None and not is_fusible(value):
        return f"the value network {type(value).__name__} is your own, or was modified"
    modules = [m for m in (network, value) if m is not None]
    for parameter in (p for m in modules for p in m.parameters()):
        if parameter.device.type != "cpu":
            return f"parameters are on {parameter.device}, not the CPU"
        if not parameter.requires_grad:
            return "some parameters are frozen"
    return None


def is_fusible(value: nn.Module) -> bool:
    """Return True if a value network is one of this library's and was not modified."""
    if type(value) is SharedValueNetwork:
        return is_plain(value.head)
    return isinstance(value, ValueNetwork) and is_standard(value)
