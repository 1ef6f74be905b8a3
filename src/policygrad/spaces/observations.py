"""The part of an observation space that networks see, and the conversion of observations to rows of numbers."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from gymnasium import spaces

from policygrad.spaces.kinds import Space, choices_of, is_composite
from policygrad.types import F64, Array

LARGEST_ONE_HOT = 10_000
"""Largest size of a one-hot encoding. Beyond it, the first layer alone takes megabytes and learns too little."""
LEAST_PIXELS = 32
"""An array of bytes is treated as an image if two of its axes are at least this long."""


def observed_part(space: Space) -> tuple[Space, list[str]]:
    """Return the part of an observation space that networks see, and the ignored entries, each with its reason.

    In a Dict or a Tuple, also a nested one, networks see every Box, Discrete, MultiDiscrete and MultiBinary, except
    images and entries named `action_mask`. If entries of a Tuple are ignored, the others become a Dict with their
    indices as keys. Any other space is returned unchanged.

    Raises:
        ValueError: all entries are ignored.
    """
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return space, []
    kept, left_out = _observed(space, ())
    if kept is None:
        raise ValueError(
            f"observations of {space} have no entry that networks can use: {'; '.join(left_out)}. Wrap the "
            "environment so that observations are numbers"
        )
    return kept, left_out


def _observed(space: Space, path: tuple[str, ...]) -> tuple[Space | None, list[str]]:
    if isinstance(space, spaces.Dict | spaces.Tuple):
        entries: Any = space.spaces.items() if isinstance(space, spaces.Dict) else enumerate(space.spaces)
        kept: dict[str, Space] = {}
        left_out: list[str] = []
        for key, part in entries:
            if key == "action_mask":
                left_out.append(f"{'.'.join((*path, key))} (action masks are not applied)")
                continue
            found, others = _observed(part, (*path, str(key)))
            left_out += others
            if found is not None:
                kept[str(key)] = found
        if not kept:
            return None, left_out
        if isinstance(space, spaces.Tuple) and len(kept) == len(space.spaces):
            return spaces.Tuple(list(kept.values())), left_out
        return spaces.Dict(kept), left_out
    name = ".".join(path)
    if is_image(space):
        return None, [f"{name} (an unsupported image of shape {space.shape})"]
    if not isinstance(space, _NUMERIC):
        return None, [f"{name} ({type(space).__name__} is not numeric)"]
    return space, []


_NUMERIC = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


def is_image(space: Space) -> bool:
    """Return whether observations are images: arrays of bytes with two axes of `LEAST_PIXELS` or more."""
    long_axes = sum(n >= LEAST_PIXELS for n in space.shape or ())
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and long_axes >= 2


def observation_size(space: Space) -> int:
    """Return D, how many numbers networks see per observation.

    A Box and a MultiBinary are flattened, a Discrete is encoded one-hot, a MultiDiscrete is encoded one-hot per
    choice, and the parts of a Dict or a Tuple are concatenated in the order of the space.

    Raises:
        ValueError: the space is none of these, or a one-hot observation would be too large.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return sum(observation_size(leaf) for _, leaf in _leaves(space))
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        size = int(choices_of(space)[0].sum())
        if size > LARGEST_ONE_HOT:
            # of a rollout of 2,048 samples, and of a first layer of 64 units with its gradient and Adam's two moments
            megabytes = 2048 * size * 4 / 1e6, 64 * size * 4 * 4 / 1e6
            raise ValueError(
                f"observations of {space} would be encoded one-hot as {size:,} numbers. A rollout of 2,048 steps would "
                f"take {megabytes[0]:,.0f} MB and a first layer of 64 units {megabytes[1]:,.0f} MB, of which each step "
                f"trains almost nothing. At most {LARGEST_ONE_HOT:,} states are supported. Wrap the environment so "
                "that it returns features of the state, for instance its coordinates as a MultiDiscrete"
            )
        return size
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return int(np.prod(space.shape))
    raise ValueError(
        f"observations of {space} are not supported: expected Box, Discrete, MultiDiscrete, MultiBinary, or a Dict "
        "or Tuple of these. Wrap the environment in gymnasium.wrappers.TransformObservation"
    )


def _leaves(space: Space) -> list[tuple[tuple[str, ...], Space]]:
    """Return the innermost parts of nested Dicts and Tuples, in order, each with the keys that lead to it."""
    if isinstance(space, spaces.Dict):
        entries = [(str(key), part) for key, part in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        entries = [(str(i), part) for i, part in enumerate(space.spaces)]
    else:
        return [((), space)]
    return [((key, *keys), leaf) for key, part in entries for keys, leaf in _leaves(part)]


def entry(observation: Any, key: str) -> Any:
    """Return a part of a dict or a tuple by its name in the space that networks see.

    Names are strings in that space; in the environment's own dicts they may be numbers or members of an enumeration.

    Raises:
        KeyError, IndexError, TypeError: there is no such part.
    """
    if isinstance(observation, tuple | list):
        return observation[int(key)]  # pyright: ignore[reportUnknownVariableType]
    try:
        return observation[key]
    except KeyError:
        for own_key, part in observation.items():
            if str(own_key) == key:
                return part
        raise


def _at(observation: Any, keys: tuple[str, ...]) -> Any:
    for key in keys:
        observation = entry(observation, key)
    return observation


def shape_of(space: Space) -> tuple[int, ...]:
    """Return the shape of one observation as an array; a Dict or a Tuple is flattened."""
    return (observation_size(space),) if is_composite(space) else cast("tuple[int, ...]", space.shape)


def flatten_one(space: Space, observation: Any) -> F64:
    """Return one observation of a Dict or a Tuple as [D] float64; see `observation_size` for the order."""
    return np.concatenate(
        [_numbers(leaf, np.asarray(_at(observation, keys))[None])[0] for keys, leaf in _leaves(space)],
        dtype=np.float64,
    )


def as_rows(space: Space, observations: Any) -> tuple[Array, bool]:
    """Return one or several observations as an array [N, *shape], and whether it was a single one.

    Raises:
        ValueError: the shape is neither that of one observation nor that of several.
    """
    if is_composite(space) and not isinstance(observations, np.ndarray):
        keys, first = _leaves(space)[0]
        try:
            single = np.ndim(_at(observations, keys)) == len(first.shape or ())
        except (KeyError, IndexError, TypeError) as error:
            raise ValueError(f"observation {observations!r} is not one of {space}: {error!r}") from None
        return (
            flatten_one(space, observations)[None] if single else flatten_all(space, observations)
        ), single
    array, shape = np.asarray(observations), shape_of(space)
    if array.shape == shape:
        return array[None], True
    if array.ndim == 0 or array.shape[1:] != shape:
        raise ValueError(
            f"observation has shape {array.shape}; expected {shape}, optionally with a batch axis [N] in front"
        )
    return array, False


def flatten_all(space: Space, observations: Any) -> F64:
    """Return N observations of a Dict or a Tuple, batched as in a vector environment, as [N, D] float64."""
    return np.concatenate(
        [_numbers(leaf, np.asarray(_at(observations, keys))) for keys, leaf in _leaves(space)],
        axis=1,
        dtype=np.float64,
    )


def observation_numbers(space: Space, observations: Array) -> Array:
    """Return observations [N, *shape] as numbers [N, D] of any dtype; a Dict or a Tuple is already flattened."""
    return observations if is_composite(space) else _numbers(space, observations)


def _numbers(space: Space, observations: Array) -> Array:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        sizes, starts = choices_of(space)
        state = np.asarray(observations, np.int64).reshape(len(observations), -1) - starts
        if len(state) and not ((state >= 0) & (state < sizes)).all():
            raise ValueError(f"observation {observations} is not in {space}")
        one_hot = np.zeros((len(state), int(sizes.sum())), np.float32)
        # np.put_along_axis, which does the same, takes four times as long for one observation
        columns = state if len(sizes) == 1 else state + np.cumsum(sizes) - sizes
        one_hot[np.arange(len(state))[:, None], columns] = 1
        return one_hot
    return np.asarray(observations).reshape(len(observations), -1)
