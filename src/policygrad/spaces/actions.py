"""Actions: which spaces are supported, and actions in the form that the environment expects."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from gymnasium import spaces

from policygrad.spaces.kinds import CHOICES, Space, choices_of, is_choice
from policygrad.types import Array


def check_action_space(space: Space) -> None:
    """Raise ValueError unless actions of this space can be learned: choices, or a Box of floats."""
    if not isinstance(space, CHOICES | spaces.Box):
        raise ValueError(
            f"actions of {space} are not supported: expected Discrete, MultiDiscrete, MultiBinary or Box"
        )
    if 0 in (space.shape or ()):
        raise ValueError(f"actions of {space} are not supported: there is nothing to choose")
    if isinstance(space, spaces.Box) and not np.issubdtype(space.dtype, np.floating):
        raise ValueError(f"actions of {space} are not supported: a Box of actions must be of floats")


def action_size(space: Space) -> int:
    """How many numbers parameterise an action: Σ n_k of its choices, or the number of elements of a Box."""
    check_action_space(space)
    return int(choices_of(space)[0].sum()) if is_choice(space) else int(np.prod(cast(Any, space.shape)))


def environment_actions(space: Space, actions: Array) -> Array:
    """Actions in the environment's units to those it gets: counted from `start`, or clipped into the box.

    [N] or [N, K] to [N, *shape] of the space's dtype. What is given is left as it is: log π is of the action
    that was sampled.
    """
    if isinstance(space, spaces.Discrete):
        return actions + int(space.start)
    if is_choice(space):
        starts = choices_of(space)[1]
        return (actions + starts).reshape(len(actions), *(space.shape or ())).astype(space.dtype)
    box = cast(spaces.Box, space)
    shaped = actions.reshape(len(actions), *box.shape)
    return np.clip(shaped, box.low, box.high).astype(box.dtype)
