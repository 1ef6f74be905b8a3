"""A training's whole state in one file: from it a run goes on as if nothing had interrupted it.

State is nested dicts, whose leaves are NumPy arrays or what JSON knows. The file is of safetensors, so loading
it runs no code: the arrays are its tensors, all else is JSON in its metadata.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import safe_open

from policygrad._support.files import check_regular, write_atomically
from policygrad.errors import CheckpointError
from policygrad.types import Array, State

FILE_NAME = "checkpoint.safetensors"
FORMAT = 2
_ARRAY = "array:"


def save_checkpoint(state: State, path: Path) -> None:
    """Write a state to `path`, whole or not at all."""
    arrays: dict[str, Array] = {}
    rest = _without_arrays(state, "", arrays)
    description = {"format": FORMAT, "state": rest, "sha256": _digest(arrays, rest)}
    write_atomically(path, safetensors.numpy.save(arrays, {"policygrad": json.dumps(description)}))


def load_checkpoint(path: Path) -> State:
    """The state at `path`.

    Raises:
        FileNotFoundError: there is nothing there.
        CheckpointError: the file is truncated, damaged, or no checkpoint that this version reads.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"no checkpoint at {path}: the run ended before its first, or is of an earlier version; "
            "begin it anew with overwrite (--overwrite)"
        )
    with reporting_damage(path):
        check_regular(path)
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays: dict[str, Array] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        description = json.loads(metadata["policygrad"])
        found, rest, digest = description["format"], description["state"], description["sha256"]
    if found != FORMAT:
        raise CheckpointError(
            f"{path} is of format {found}, and this version reads {FORMAT}: finish the run with the version that began "
            "it, or begin it anew with overwrite (--overwrite)"
        )
    with reporting_damage(path):
        if digest != _digest(arrays, rest):
            raise CheckpointError(f"{path} is damaged: its checksum is not that of what it holds")
        return _with_arrays(rest, arrays)


@contextmanager
def reporting_damage(path: Path) -> Generator[None]:
    """Turn whatever a damaged or hostile checkpoint leads to in the block into one CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        raise CheckpointError(
            f"{path} is no checkpoint, or a damaged one: {type(error).__name__}: {error}"
        ) from error


def _without_arrays(value: Any, place: str, arrays: dict[str, Array]) -> Any:
    if isinstance(value, np.ndarray):
        # safetensors knows no order but C's
        arrays[place] = np.ascontiguousarray(value).reshape(value.shape)
        return _ARRAY + place
    if isinstance(value, dict):
        return {name: _without_arrays(part, f"{place}/{name}", arrays) for name, part in value.items()}
    return value


def _with_arrays(value: Any, arrays: dict[str, Array]) -> Any:
    if isinstance(value, str) and value.startswith(_ARRAY):
        return arrays[value.removeprefix(_ARRAY)]
    if isinstance(value, dict):
        return {name: _with_arrays(part, arrays) for name, part in value.items()}
    return value


def _digest(arrays: dict[str, Array], rest: Any) -> str:
    digest = hashlib.sha256(json.dumps(rest, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype} {array.shape}".encode())
        digest.update(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
    return digest.hexdigest()
