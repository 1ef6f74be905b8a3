"""The theory, held against the code: exact gradients, and estimators' bias and variance."""

from policygrad.proof.estimates import UNBIASED, Estimates, estimate
from policygrad.proof.exact import exact_gradient, objective, theorem_gradient, trajectories

__all__ = [
    "UNBIASED",
    "Estimates",
    "estimate",
    "exact_gradient",
    "objective",
    "theorem_gradient",
    "trajectories",
]
