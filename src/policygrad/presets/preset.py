"""The definition of a preset: all settings of an experiment except its seed and where it is saved."""

from __future__ import annotations

from dataclasses import dataclass, field

from policygrad.algorithms import Algorithm
from policygrad.envs import Shaping
from policygrad.policies import Network, Normalization

DEFAULT_ENVS = 8
"""Default number of parallel environments."""


@dataclass(frozen=True)
class Preset:
    """Settings that are known to work on an environment."""

    algorithm: Algorithm
    network: Network = field(default_factory=Network)
    num_envs: int | None = None
    """Number of parallel environments; None is 8, or the number of environments in a given vector environment."""
    steps: int = 200_000
    """Budget in environment steps."""
    normalization: Normalization = field(default_factory=Normalization)
    """Normalization of observations and rewards by running statistics."""
    shaping: Shaping | None = None
    """Shaping that replaces the reward for learning."""
