"""Torch modules that are policies and values, the distributions they describe, and the policy that acts."""

from policygrad.policies.flat import flat_parameters
from policygrad.policies.make import make_policy, make_value
from policygrad.policies.networks import (
    MLP,
    DiscretePolicy,
    GaussianPolicy,
    Network,
    ValueNetwork,
    is_standard,
)
from policygrad.policies.normalization import Normalization
from policygrad.policies.policy import Policy, Snapshot, evaluation_mode

__all__ = [
    "DiscretePolicy",
    "GaussianPolicy",
    "MLP",
    "Network",
    "Normalization",
    "Policy",
    "Snapshot",
    "ValueNetwork",
    "evaluation_mode",
    "flat_parameters",
    "is_standard",
    "make_policy",
    "make_value",
]
