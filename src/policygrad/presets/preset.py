"""What a preset says: everything of an experiment but its seed and where it is saved."""

from __future__ import annotations

from dataclasses import dataclass, field

from policygrad.algorithms import Algorithm
from policygrad.envs import Shaping
from policygrad.policies import Network, Normalization

DEFAULT_ENVS = 8
"""Environments side by side where nothing else is said."""


@dataclass(frozen=True)
class Preset:
    """Settings known to work on an environment."""

    algorithm: Algorithm
    network: Network = field(default_factory=Network)
    num_envs: int | None = None
    """Environments side by side; where it is left out, 8, or as many as a vector environment holds."""
    steps: int = 200_000
    """Budget, in environment steps."""
    normalization: Normalization = field(default_factory=Normalization)
    """Of observations and rewards, by running statistics."""
    shaping: Shaping | None = None
    """What is learned from instead of the reward."""
