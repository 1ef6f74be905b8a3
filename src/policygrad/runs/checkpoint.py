"""Checkpoints: the complete state of a training run in one file, from which it resumes as if never interrupted.

A state consists of nested dicts whose leaves are NumPy arrays or JSON values. The file has the safetensors format, so
loading it runs no code: the arrays are its tensors, and everything else is JSON in its metadata.
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
REMEDY = "Restore the run folder from a copy, or start the run again with overwrite (--overwrite)."
_ARRAY = "array:"


def save_checkpoint(state: State, path: Path) -> None:
    """Write a state to `path` atomically."""
    arrays: dict[str, Array] = {}
    rest = _without_arrays(state, "", arrays)
    description = {"format": FORMAT, "state": rest, "sha256": _digest(arrays, rest)}
    write_atomically(path, safetensors.numpy.save(arrays, {"policygrad": json.dumps(description)}))


def load_checkpoint(path: Path) -> State:
    """Return the state at `path`.

    Raises:
        FileNotFoundError: there is no such file.
        CheckpointError: the file is truncated, damaged, or not a checkpoint that this version reads.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"there is no checkpoint at {path}: the run ended before writing its first one, or was saved by an earlier "
            "version. Start it again with overwrite (--overwrite)."
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
            f"{path} has format {found}, but this version reads format {FORMAT}. Finish the run with the version that "
            "started it, or start it again with overwrite (--overwrite)."
        )
    with reporting_damage(path):
        if digest != _digest(arrays, rest):
            raise CheckpointError(f"{path} is damaged: its checksum does not match its contents. {REMEDY}")
        return _with_arrays(rest, arrays)


@contextmanager
def reporting_damage(path: Path) -> Generator[None]:
    """Turn any error that a damaged or hostile checkpoint causes in the block into a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {str(error)[:500].rstrip('.')}"
        raise CheckpointError(f"{path} is damaged or is not a checkpoint: {cause}. {REMEDY}") from error


def _without_arrays(value: Any, path: str, arrays: dict[str, Array]) -> Any:
    if isinstance(value, np.ndarray):
        # safetensors stores arrays in C order only
        arrays[path] = np.ascontiguousarray(value).reshape(value.shape)
        return _ARRAY + path
    if isinstance(value, dict):
        return {name: _without_arrays(part, f"{path}/{name}", arrays) for name, part in value.items()}
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
