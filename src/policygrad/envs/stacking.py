"""A wrapper for tasks that need a short memory: the policy sees the last few observations at once."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
from gymnasium.wrappers import FrameStackObservation

SHOWN = 4
"""Number of observations that are shown at once."""


def last_observations(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Wrap an environment so that an observation consists of the last four; the first one is repeated at the start.

    Four are enough for speeds and accelerations, and for signals from up to three steps ago (Mnih et al. 2015). Use it
    as `wrap=("policygrad.envs:last_observations",)` or `--wrap policygrad.envs:last_observations`.
    """
    return FrameStackObservation(env, SHOWN)
