"""The algorithms: each a typed configuration, what it takes from a rollout, and its three numbers a sample."""

from policygrad.algorithms.algorithm import ALGORITHMS, Algorithm, algorithm_class, name_of, register
from policygrad.algorithms.natural import TRPO, NaturalGradient
from policygrad.algorithms.reinforce import Reinforce

__all__ = [
    "ALGORITHMS",
    "Algorithm",
    "NaturalGradient",
    "Reinforce",
    "TRPO",
    "algorithm_class",
    "name_of",
    "register",
]
