"""Gymnasium spaces to arrays and back: what the networks see, and what the environment gets."""

from __future__ import annotations

from typing import Any, TypeAlias, cast

import numpy as np
from gymnasium import spaces

from policygrad.types import F32, F64, I64, Array

Space: TypeAlias = spaces.Space[Any]


LARGEST_BOUND = 1e9
"""Beyond it a bound is taken for none: some environments write the largest float for "no bound"."""
CHOICES = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
"""Spaces whose actions are one choice between alternatives, or several at once."""


def observation_size(space: Space) -> int:
    """D: how many numbers the networks see of one observation.

    A Box and a MultiBinary are flattened, a Discrete is one-hot, a MultiDiscrete one-hot choice by choice.

    Raises:
        ValueError: the space is none of these.
    """
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    if isinstance(space, spaces.MultiDiscrete):
        return int(space.nvec.sum())
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return int(np.prod(space.shape))
    raise ValueError(
        f"observations of {space} are not supported: expected Box, Discrete, MultiDiscrete or MultiBinary. Wrap "
        "the environment in gymnasium.wrappers.FlattenObservation, which makes one Box of a Dict or Tuple"
    )


def encode_observations(space: Space, observations: Array) -> F32:
    """[N, *shape] in the space's own form to [N, D] float32, always in memory of its own.

    The copy is what protects a rollout from environments that write each observation into one array.
    """
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        sizes, starts = choices_of(space)
        state = np.asarray(observations, np.int64).reshape(len(observations), -1) - starts
        if len(state) and not ((state >= 0) & (state < sizes)).all():
            raise ValueError(f"observation {observations} is not in {space}")
        one_hot = np.zeros((len(state), int(sizes.sum())), np.float32)
        np.put_along_axis(one_hot, state + np.cumsum(sizes) - sizes, 1, axis=1)
        return one_hot
    return np.array(observations, np.float32, order="C").reshape(len(observations), -1)


def check_action_space(space: Space) -> None:
    """Raise ValueError unless actions of this space can be learned: choices, or a Box of floats."""
    if not isinstance(space, CHOICES | spaces.Box):
        raise ValueError(
            f"actions of {space} are not supported: expected Discrete, MultiDiscrete, MultiBinary or Box"
        )
    if isinstance(space, spaces.Box) and not np.issubdtype(space.dtype, np.floating):
        raise ValueError(f"actions of {space} are not supported: a Box of actions must be of floats")


def is_choice(space: Space) -> bool:
    """Whether its actions are choices between alternatives, rather than numbers."""
    return isinstance(space, CHOICES)


def choices_of(space: Space) -> tuple[I64, I64]:
    """(how many alternatives, where their counting starts) of each choice, both [K] int64, axes flattened."""
    if isinstance(space, spaces.Discrete):
        sizes, starts = space.n, space.start
    elif isinstance(space, spaces.MultiDiscrete):
        sizes, starts = space.nvec, space.start
    else:
        sizes, starts = np.full(int(np.prod(space.shape or ())), 2), 0
    flat = np.asarray(sizes, np.int64).reshape(-1)
    return flat, np.broadcast_to(np.asarray(starts, np.int64).reshape(-1), flat.shape).copy()


def action_size(space: Space) -> int:
    """How many numbers parameterise an action: Σ n_k of its choices, or the number of elements of a Box."""
    check_action_space(space)
    return int(choices_of(space)[0].sum()) if is_choice(space) else int(np.prod(cast(Any, space.shape)))


def bounds_of(space: Space) -> tuple[F64, F64]:
    """(low, high) of a Box, both [K] float64, axes flattened."""
    box = cast(spaces.Box, space)
    return box.low.astype(np.float64).reshape(-1), box.high.astype(np.float64).reshape(-1)


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


def space_to_json(space: Space) -> dict[str, Any]:
    """A space as plain JSON; `space_from_json` gives an equal space."""
    if isinstance(space, spaces.Discrete):
        return {"type": "Discrete", "n": int(space.n), "start": int(space.start)}
    if isinstance(space, spaces.MultiDiscrete):
        whole = {"n": space.nvec.tolist(), "start": space.start.tolist(), "dtype": str(space.dtype)}
        return {"type": "MultiDiscrete", **whole}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": list(space.n) if isinstance(space.n, tuple) else int(space.n)}
    box = cast(spaces.Box, space)
    bounds = {name: _bound_to_json(getattr(box, name)) for name in ("low", "high")}
    return {"type": "Box", **bounds, "shape": list(box.shape), "dtype": str(box.dtype)}


def space_from_json(data: dict[str, Any]) -> Space:
    """The space that `space_to_json` described."""
    if data["type"] == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if data["type"] == "MultiDiscrete":
        sizes, dtype = np.array(data["n"]), np.dtype(data["dtype"])
        return spaces.MultiDiscrete(sizes, dtype.type, start=np.array(data["start"]))
    if data["type"] == "MultiBinary":
        return spaces.MultiBinary(data["n"])
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
