"""Gymnasium spaces to arrays and back: what the networks see, and what the environment gets."""

from __future__ import annotations

import math
from typing import Any, TypeAlias, cast

import numpy as np
from gymnasium import spaces

from policygrad.types import F64, I64, Array

Space: TypeAlias = spaces.Space[Any]


LARGEST_BOUND = 1e9
"""Beyond it a bound is taken for none: some environments write the largest float for "no bound"."""
CHOICES = spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary
"""Spaces whose actions are one choice between alternatives, or several at once."""


LARGEST_ONE_HOT = 10_000
"""Alternatives that are still seen one-hot: beyond it the first layer alone takes megabytes, and learns too little."""
LEAST_PIXELS = 32
"""Two axes of bytes this long or longer are taken for an image."""


def observed_part(space: Space) -> tuple[Space, list[str]]:
    """Return the part of an observation space that networks see, and what is left out, each entry with its reason.

    Of a Dict or a Tuple, nested ones too, that is every Box, Discrete, MultiDiscrete and MultiBinary, but no images
    and no entry `action_mask`. Of a Tuple that loses parts it is a Dict by their index. Any other space is itself.

    Raises:
        ValueError: nothing is left.
    """
    if not isinstance(space, spaces.Dict | spaces.Tuple):
        return space, []
    kept, left_out = _observed(space, ())
    if kept is None:
        raise ValueError(
            f"observations of {space} have no part that a network can see: {'; '.join(left_out)}. Wrap the "
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
                left_out.append(f"{'.'.join((*path, key))} (an action mask)")
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
        return None, [f"{name} (an image of shape {space.shape})"]
    if not isinstance(space, _NUMERIC):
        return None, [f"{name} ({type(space).__name__})"]
    return space, []


_NUMERIC = spaces.Box | spaces.Discrete | spaces.MultiDiscrete | spaces.MultiBinary


def is_image(space: Space) -> bool:
    """Return whether a space holds pictures: bytes, with two axes of `LEAST_PIXELS` or more."""
    long_axes = sum(n >= LEAST_PIXELS for n in space.shape or ())
    return isinstance(space, spaces.Box) and space.dtype == np.uint8 and long_axes >= 2


def observation_size(space: Space) -> int:
    """Return D, the number of numbers that networks see of one observation.

    A Box and a MultiBinary are flattened, a Discrete is one-hot, a MultiDiscrete one-hot choice by choice, and the
    parts of a Dict or a Tuple stand side by side, in the order of the space.

    Raises:
        ValueError: the space is none of these, or a one-hot observation would be too large.
    """
    if isinstance(space, spaces.Dict | spaces.Tuple):
        return sum(observation_size(leaf) for _, leaf in _leaves(space))
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        size = int(choices_of(space)[0].sum())
        if size > LARGEST_ONE_HOT:
            # a sample, and a first layer of 64 with its gradient and Adam's two moments
            megabytes = 2048 * size * 4 / 1e6, 64 * size * 4 * 4 / 1e6
            raise ValueError(
                f"observations of {space} would be seen as {size:,} numbers, one of them 1: a rollout of 2,048 steps "
                f"would take {megabytes[0]:,.0f} MB, and a first layer of 64 units {megabytes[1]:,.0f} MB, of which "
                f"nearly nothing is learned at a step. Up to {LARGEST_ONE_HOT:,} states are supported: wrap the "
                "environment so that it shows features of the state, for instance its coordinates as a MultiDiscrete"
            )
        return size
    if isinstance(space, spaces.Box | spaces.MultiBinary):
        return int(np.prod(space.shape))
    raise ValueError(
        f"observations of {space} are not supported: expected Box, Discrete, MultiDiscrete, MultiBinary, or a Dict "
        "or Tuple of these. Wrap the environment in gymnasium.wrappers.TransformObservation"
    )


def _leaves(space: Space) -> list[tuple[tuple[str, ...], Space]]:
    """The parts of a Dict or Tuple that are neither, in order, each with the keys that lead to it."""
    if isinstance(space, spaces.Dict):
        entries = [(str(key), part) for key, part in space.spaces.items()]
    elif isinstance(space, spaces.Tuple):
        entries = [(str(i), part) for i, part in enumerate(space.spaces)]
    else:
        return [((), space)]
    return [((key, *keys), leaf) for key, part in entries for keys, leaf in _leaves(part)]


def entry(observation: Any, key: str) -> Any:
    """Return a part of a dict or a tuple by the name that it has in the space that networks see.

    Names are strings there; in the environment's own dicts they may be numbers or members of an enumeration.

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


def is_composite(space: Space) -> bool:
    """Return whether observations are dicts or tuples, which flatten to one row of numbers."""
    return isinstance(space, spaces.Dict | spaces.Tuple)


def shape_of(space: Space) -> tuple[int, ...]:
    """Return the shape of one observation as an array; of a Dict or a Tuple, flattened."""
    return (observation_size(space),) if is_composite(space) else cast("tuple[int, ...]", space.shape)


def flatten_one(space: Space, observation: Any) -> F64:
    """Return one observation of a Dict or a Tuple as [D] float64; see `observation_size` for the order."""
    return np.concatenate(
        [_numbers(leaf, np.asarray(_at(observation, keys))[None])[0] for keys, leaf in _leaves(space)],
        dtype=np.float64,
    )


def as_rows(space: Space, observations: Any) -> tuple[Array, bool]:
    """Return one observation, or several of them, as an array [N, *shape], and whether it was one.

    Raises:
        ValueError: the shape is neither an observation's nor that of several.
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
        raise ValueError(f"observation has shape {array.shape}; expected {shape}, or [N] before that")
    return array, False


def flatten_all(space: Space, observations: Any) -> F64:
    """Return N observations of a Dict or a Tuple, as a vector environment batches them, as [N, D] float64."""
    return np.concatenate(
        [_numbers(leaf, np.asarray(_at(observations, keys))) for keys, leaf in _leaves(space)],
        axis=1,
        dtype=np.float64,
    )


def observation_numbers(space: Space, observations: Array) -> Array:
    """Return observations [N, *shape], of a Dict or a Tuple flattened already, as numbers [N, D] of any dtype."""
    return observations if is_composite(space) else _numbers(space, observations)


def _numbers(space: Space, observations: Array) -> Array:
    if isinstance(space, spaces.Discrete | spaces.MultiDiscrete):
        sizes, starts = choices_of(space)
        state = np.asarray(observations, np.int64).reshape(len(observations), -1) - starts
        if len(state) and not ((state >= 0) & (state < sizes)).all():
            raise ValueError(f"observation {observations} is not in {space}")
        one_hot = np.zeros((len(state), int(sizes.sum())), np.float32)
        np.put_along_axis(one_hot, state + np.cumsum(sizes) - sizes, 1, axis=1)
        return one_hot
    return np.asarray(observations).reshape(len(observations), -1)


def in_words(space: Space) -> str:
    """Return what kind of space it is in a few words, without its bounds.

    >>> in_words(spaces.Box(-1, 1, (4,))), in_words(spaces.Discrete(2))
    ('Box(4,)', 'Discrete(2)')
    """
    if isinstance(space, spaces.Box):
        return f"Box{space.shape}"
    if isinstance(space, spaces.Dict):
        return f"Dict({', '.join(f'{key}: {in_words(part)}' for key, part in space.spaces.items())})"
    if isinstance(space, spaces.Tuple):
        return f"Tuple({', '.join(map(in_words, space.spaces))})"
    return str(space)


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


def interval_units(low: F64, high: F64) -> tuple[F64, F64]:
    """Return (middle, half the width) of each interval [K], (0, 1) where it has no finite width."""
    finite = (np.abs(low) < LARGEST_BOUND) & (np.abs(high) < LARGEST_BOUND) & (high > low)
    middle, half = np.zeros(low.shape), np.ones(low.shape)
    middle[finite], half[finite] = (low[finite] + high[finite]) / 2, (high[finite] - low[finite]) / 2
    return middle, half


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
    if isinstance(space, spaces.Dict):
        return {"type": "Dict", "spaces": {key: space_to_json(part) for key, part in space.spaces.items()}}
    if isinstance(space, spaces.Tuple):
        return {"type": "Tuple", "spaces": [space_to_json(part) for part in space.spaces]}
    if isinstance(space, spaces.MultiBinary):
        return {"type": "MultiBinary", "n": list(space.n) if isinstance(space.n, tuple) else int(space.n)}
    box = cast(spaces.Box, space)
    bounds = {name: _bound_to_json(getattr(box, name)) for name in ("low", "high")}
    return {"type": "Box", **bounds, "shape": list(box.shape), "dtype": str(box.dtype)}


def declared_numbers(data: dict[str, Any]) -> int:
    """Return how many numbers an element of a described space has, without making the space.

    A file may declare a Box of any shape, and making one takes memory for all of its bounds.

    Raises:
        ValueError: a size is not a whole number of 0 or more.
    """
    if data["type"] == "Dict":
        return sum(map(declared_numbers, data["spaces"].values()))
    if data["type"] == "Tuple":
        return sum(map(declared_numbers, data["spaces"]))
    if data["type"] == "Discrete":
        return 1
    if data["type"] == "MultiDiscrete":
        return np.array(data["n"], object).size
    if data["type"] not in ("Box", "MultiBinary"):
        raise ValueError(f"unknown kind of space {data['type']!r}")
    sizes: Any = data["shape"] if data["type"] == "Box" else data["n"]
    sizes = sizes if isinstance(sizes, list) else [sizes]
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError(f"{data['type']} has sizes {sizes}: expected whole numbers of 0 or more")
    return math.prod(sizes)


def space_from_json(data: dict[str, Any]) -> Space:
    """The space that `space_to_json` described."""
    if data["type"] == "Discrete":
        return spaces.Discrete(data["n"], start=data["start"])
    if data["type"] == "MultiDiscrete":
        sizes, dtype = np.array(data["n"]), np.dtype(data["dtype"])
        return spaces.MultiDiscrete(sizes, dtype.type, start=np.array(data["start"]))
    if data["type"] == "Dict":
        return spaces.Dict({key: space_from_json(part) for key, part in data["spaces"].items()})
    if data["type"] == "Tuple":
        return spaces.Tuple([space_from_json(part) for part in data["spaces"]])
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
