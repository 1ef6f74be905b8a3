"""Environments: opening them, shaping their reward, and small ones whose every property is known."""

from policygrad.envs.make import EnvLike, make
from policygrad.envs.shaping import PotentialShaping, Shaping, apply_shaping, elementwise
from policygrad.envs.vector import Environments

__all__ = [
    "EnvLike",
    "Environments",
    "PotentialShaping",
    "Shaping",
    "apply_shaping",
    "elementwise",
    "make",
]
