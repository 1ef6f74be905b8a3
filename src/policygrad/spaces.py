"""Gymnasium spaces to arrays and back: what the networks see, and what the environment gets."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
from gymnasium import spaces

from policygrad.types import F32, Array

Space: TypeAlias = spaces.Space[Any]


def observation_size(space: Space) -> int:
    """D: how many numbers the networks see of one observation; a Box is flattened, a Discrete one-hot.

    Raises:
        ValueError: the space is neither.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.Box):
        return int(np.prod(space.shape))
    raise ValueError(
        f"observations of {space} are not supported: expected Box or Discrete. Wrap the environment in "
        "gymnasium.wrappers.FlattenObservation, which makes one Box of a Dict, Tuple or MultiDiscrete"
    )


def encode_observations(space: Space, observations: Array) -> F32:
    """[N, *shape] in the space's own form to [N, D] float32, always in memory of its own.

    The copy is what protects a rollout from environments that write each observation into one array.
    """
    if isinstance(space, spaces.Discrete):
        state = np.asarray(observations, np.int64) - int(space.start)
        if len(state) and not 0 <= state.min() <= state.max() < space.n:
            raise ValueError(f"observation {observations} is not in {space}")
        one_hot = np.zeros((len(state), int(space.n)), np.float32)
        one_hot[np.arange(len(state)), state] = 1
        return one_hot
    return np.array(observations, np.float32, order="C").reshape(len(observations), -1)


def check_action_space(space: Space) -> None:
    """Raise ValueError unless actions of this space can be learned: a Discrete, or a Box with one axis or more."""
    if not isinstance(space, spaces.Discrete | spaces.Box):
        raise ValueError(f"actions of {space} are not supported: expected Discrete or Box")
    if isinstance(space, spaces.Box) and not np.issubdtype(space.dtype, np.floating):
        raise ValueError(f"actions of {space} are not supported: a Box of actions must be of floats")


def action_size(space: Space) -> int:
    """How many numbers parameterise the choice: n of a Discrete, the number of elements of a Box."""
    check_action_space(space)
    return int(space.n) if isinstance(space, spaces.Discrete) else int(np.prod(cast(Any, space.shape)))


def environment_actions(space: Space, actions: Array) -> Array:
    """Stored actions to those the environment gets: counted from `start`, or clipped into the box.

    [N] int64 to [N] int64, or [N, K] float32 to [N, *shape] of the space's dtype. The stored ones are left as
    they are: log π is of the action that was sampled.
    """
    if isinstance(space, spaces.Discrete):
        return actions + int(space.start)
    box = cast(spaces.Box, space)
    shaped = actions.reshape(len(actions), *box.shape)
    return np.clip(shaped, box.low, box.high).astype(box.dtype)


def space_to_json(space: Space) -> dict[str, Any]:
    """A Discrete or Box as plain JSON; `space_from_json` gives an equal space."""
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    box = cast(spaces.Box, space)
    bounds = {name: _bound_to_json(getattr(box, name)) for name in ("low", "high")}
    return {"type": "Box", **bounds, "shape": list(box.shape), "dtype": str(box.dtype)}


def space_from_json(data: dict[str, Any]) -> Space:
    """The space that `space_to_json` described."""
    if data["type"] == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    shape, dtype = tuple(data["shape"]), np.dtype(data["dtype"])
    low, high = (np.broadcast_to(_bound_from_json(data[k], dtype), shape) for k in ("low", "high"))
    return spaces.Box(low, high, shape, dtype.type)


def _bound_from_json(bound: Any, dtype: np.dtype[Any]) -> Array:
    exact = np.array(bound, object)
    return exact.astype(dtype) if dtype.kind in "iu" else exact.astype(float).astype(dtype)


def _bound_to_json(bound: Array) -> Any:
    """A bound as nested lists of numbers and "inf" strings (JSON has no infinity), one number where all agree."""
    values = bound.flat[0] if bound.size and (bound == bound.flat[0]).all() else bound
    return _plain(np.asarray(values).tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in cast("list[Any]", value)]
    return value if np.isfinite(value) else str(value)
