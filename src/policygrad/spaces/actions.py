"""Supported action spaces, and the conversion of actions to the form that the environment expects."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from gymnasium import spaces

from policygrad.spaces.kinds import CHOICES, Space, choices_of, is_choice
from policygrad.types import Array


def check_action_space(space: Space) -> None:
    """Raise ValueError unless the space is supported for actions: choices, or a Box of floats."""
    if not isinstance(space, CHOICES | spaces.Box):
        raise ValueError(
            f"actions of {space} are not supported: expected Discrete, MultiDiscrete, MultiBinary or Box"
        )
    if 0 in (space.shape or ()):
        raise ValueError(f"actions of {space} are not supported: an action has no elements")
    if isinstance(space, spaces.Box) and not np.issubdtype(space.dtype, np.floating):
        raise ValueError(
            f"actions of {space} are not supported: the dtype of a Box of actions must be a float"
        )


def action_size(space: Space) -> int:
    """Return how many numbers parameterize an action: Σ n_k of its choices, or the number of elements of a Box."""
    check_action_space(space)
    return int(choices_of(space)[0].sum()) if is_choice(space) else int(np.prod(cast(Any, space.shape)))


def environment_actions(space: Space, actions: Array) -> Array:
    """Return actions as the environment expects them: choices counted from `start`, or numbers clipped to the box.

    Converts [N] or [N, K], in the environment's units, to [N, *shape] with the dtype of the space. The input is not
    modified, because log π refers to the action that was sampled.
    """
    if isinstance(space, spaces.Discrete):
        return actions + int(space.start)
    if is_choice(space):
        starts = choices_of(space)[1]
        return (actions + starts).reshape(len(actions), *(space.shape or ())).astype(space.dtype)
    box = cast(spaces.Box, space)
    shaped = actions.reshape(len(actions), *box.shape)
    return np.clip(shaped, box.low, box.high).astype(box.dtype)
