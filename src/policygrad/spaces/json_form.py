"""Conversion of Gymnasium spaces to plain JSON and back."""

from __future__ import annotations

import math
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from policygrad.spaces.kinds import Space
from policygrad.types import Array


def space_to_json(space: Space) -> dict[str, Any]:
    """Return a space as plain JSON; `space_from_json` returns an equal space."""
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
    """Return how many numbers an element of a described space has, without creating the space.

    A file may declare a Box of any shape, and creating one takes memory for all of its bounds.

    Raises:
        ValueError: a size is not a whole number of 0 or more, or the kind of space is unknown.
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
        raise ValueError(f"{data['type']} has sizes {sizes}; expected whole numbers of 0 or more")
    return math.prod(sizes)


def space_from_json(data: dict[str, Any]) -> Space:
    """Return the space that `space_to_json` described."""
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
    """Return a bound as nested lists of numbers and "inf" strings (JSON has no inf), or one number if all agree."""
    values = bound.flat[0] if bound.size and (bound == bound.flat[0]).all() else bound
    return _plain(np.asarray(values).tolist())


def _plain(value: Any) -> Any:
    if isinstance(value, list):
        return [_plain(part) for part in cast("list[Any]", value)]
    return value if np.isfinite(value) else str(value)
