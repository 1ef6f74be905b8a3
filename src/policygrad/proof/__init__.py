"""Comparison of the code with the theory: exact gradients, and the bias and variance of estimators."""

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
