"""Comparison of the code with the theory: exact gradients, and the bias and variance of estimators."""

from policygrad.proof.cases import CASES, Case
from policygrad.proof.exact import exact_gradient, objective, theorem_gradient, trajectories
from policygrad.proof.picture import draw
from policygrad.proof.proof_result import Proof, Row
from policygrad.proof.proving import prove
from policygrad.proof.solution import Solution, TimeLimit, solve

__all__ = [
    "CASES",
    "Case",
    "Proof",
    "Row",
    "Solution",
    "TimeLimit",
    "draw",
    "exact_gradient",
    "objective",
    "prove",
    "solve",
    "theorem_gradient",
    "trajectories",
]
