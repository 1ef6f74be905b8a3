"""Policy and value networks, distributions over actions, and the `Policy` that combines them to act."""

from policygrad._support.lookup import renamed
from policygrad.policies.build import Network, made_by, make_policy, make_value
from policygrad.policies.distributions import Distribution
from policygrad.policies.distributions.kl import kl_estimate, kl_of
from policygrad.policies.faults import actions_not_finite, check_actions, fault_of, sound_actions
from policygrad.policies.flat import flat_parameters, leave_inference_mode
from policygrad.policies.mlp import MLP, is_plain
from policygrad.policies.modes import evaluation_mode
from policygrad.policies.networks import (
    KINDS,
    BetaPolicy,
    DiscretePolicy,
    GaussianPolicy,
    GSDEPolicy,
    PerceptronPolicy,
    ValueNetwork,
    is_standard,
)
from policygrad.policies.normalization import Normalization
from policygrad.policies.policy import Policy, Snapshot
from policygrad.policies.shared_trunk import SharedValueNetwork
from policygrad.policies.tensors import as_tensors

__all__ = [
    "BetaPolicy",
    "Distribution",
    "KINDS",
    "DiscretePolicy",
    "GSDEPolicy",
    "GaussianPolicy",
    "MLP",
    "Network",
    "Normalization",
    "PerceptronPolicy",
    "Policy",
    "SharedValueNetwork",
    "Snapshot",
    "ValueNetwork",
    "actions_not_finite",
    "as_tensors",
    "check_actions",
    "evaluation_mode",
    "fault_of",
    "flat_parameters",
    "is_plain",
    "is_standard",
    "kl_estimate",
    "kl_of",
    "leave_inference_mode",
    "made_by",
    "make_policy",
    "make_value",
    "sound_actions",
]

__getattr__ = renamed(__name__, {"StandardPolicy": "PerceptronPolicy"})
