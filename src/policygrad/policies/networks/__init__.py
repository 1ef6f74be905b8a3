"""Networks built on a perceptron: the softmax, Gaussian, Beta and gSDE policies, and the value network V(s)."""

from __future__ import annotations

from torch import nn

from policygrad.policies.mlp import is_plain
from policygrad.policies.networks.beta import BetaPolicy
from policygrad.policies.networks.discrete import DiscretePolicy
from policygrad.policies.networks.gaussian import GaussianPolicy
from policygrad.policies.networks.gsde import GSDEPolicy
from policygrad.policies.networks.perceptron import KINDS, PerceptronPolicy
from policygrad.policies.networks.shape import check_log_std, middle_and_half
from policygrad.policies.networks.value import ValueNetwork

__all__ = [
    "KINDS",
    "BetaPolicy",
    "DiscretePolicy",
    "GSDEPolicy",
    "GaussianPolicy",
    "PerceptronPolicy",
    "ValueNetwork",
    "check_log_std",
    "is_standard",
    "middle_and_half",
]


def is_standard(module: nn.Module) -> bool:
    """Return True for an unmodified instance of a class above, which its sizes and settings describe completely."""
    standard = type(module) in (*KINDS.values(), ValueNetwork)
    return standard and is_plain(getattr(module, "network", None))
