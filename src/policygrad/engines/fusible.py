"""Which networks the fused engine supports, decided without importing the engine, which would compile its code."""

from __future__ import annotations

from torch import nn

from policygrad.engines.sequential import UnsupportedNetworkError, check_unmodified, layers_of
from policygrad.policies import (
    PerceptronPolicy,
    Policy,
    SharedValueNetwork,
    ValueNetwork,
    is_plain,
    is_standard,
)
from policygrad.policies.distributions import Categorical, is_own


def unsupported_reason(policy: Policy, value: nn.Module | None) -> str | None:
    """Return why the fused engine does not support these networks, or None if it does."""
    network = policy.network
    if is_own(policy.distribution):
        return f"the distribution {type(policy.distribution).__name__} is your own"
    if isinstance(value, SharedValueNetwork) and value.trunk is not getattr(network, "network", None):
        return "V(s) shares the hidden layers of another policy"
    inputs, outputs = policy.observation_size, None
    if not isinstance(network, PerceptronPolicy):
        if not isinstance(policy.distribution, Categorical):
            return f"a network of your own for the distribution {policy.distribution.name} returns several tensors"
        outputs = sum(policy.distribution.sizes)
    try:
        _check("policy", network, inputs, outputs)
        if value is not None:
            _check("value", value, None, 1)
    except UnsupportedNetworkError as reason:
        return str(reason)
    shared = value is not None and {id(p) for p in network.parameters()} & {id(p) for p in value.parameters()}
    return "the policy and V(s) share parameters" if shared else None


def _check(name: str, network: nn.Module, inputs: int | None, outputs: int | None) -> None:
    """Raise UnsupportedNetworkError if there is no machine code, or if the numbers of inputs or outputs differ."""
    try:
        check_unmodified(network)
        layers = layers_of(sequential_of(network))
    except UnsupportedNetworkError as reason:
        raise UnsupportedNetworkError(f"the {name} network {type(network).__name__} {reason}") from None
    found, expected = (layers[0].fan_in, layers[-1].fan_out), (inputs, outputs)
    for what, has, needed in zip(("inputs", "outputs"), found, expected, strict=True):
        if needed not in (None, has):
            raise UnsupportedNetworkError(f"the {name} network has {has} {what}, but needs {needed}")


def sequential_of(network: nn.Module) -> nn.Sequential:
    """Return the layers of a policy or value network.

    Raises:
        UnsupportedNetworkError: it is neither an unmodified network of this library nor an `nn.Sequential`.
    """
    if isinstance(network, PerceptronPolicy | ValueNetwork) and is_standard(network):
        return network.network
    if type(network) is SharedValueNetwork and is_plain(network.head):
        return network.head
    if isinstance(network, nn.Sequential):
        return network
    raise UnsupportedNetworkError("is your own, or was modified")


def is_fusible(value: nn.Module) -> bool:
    """Return True if a value network is one of this library's and was not modified."""
    if type(value) is SharedValueNetwork:
        return is_plain(value.head)
    return isinstance(value, ValueNetwork) and is_standard(value)
