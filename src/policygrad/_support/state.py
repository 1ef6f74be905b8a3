"""Serializable state: unpacking it completely, and the states of modules and random generators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from policygrad.errors import CheckpointError

if TYPE_CHECKING:
    from torch import nn

State: TypeAlias = dict[str, Any]
"""Serializable state: nested dicts whose leaves are NumPy arrays or JSON values."""


def unpack(state: State, *names: str) -> list[Any]:
    """Return the values with these names, in this order.

    Raises:
        CheckpointError: a name is missing, or there are others, so that nothing is silently ignored.
    """
    if set(state) != set(names):
        raise CheckpointError(
            f"the checkpoint has {sorted(state)}, but {sorted(names)} was expected: it was saved by another version or "
            "with other settings"
        )
    return [state[name] for name in names]


def copy_into(array: NDArray[Any], saved: NDArray[Any], what: str) -> None:
    """Copy saved numbers into an array; raise CheckpointError unless shape and dtype match."""
    if saved.shape != array.shape or saved.dtype != array.dtype:
        raise CheckpointError(
            f"the checkpoint's {what} is {saved.dtype} {saved.shape}; expected {array.dtype} {array.shape}"
        )
    array[...] = saved


def module_state(module: nn.Module) -> State:
    """Return copies of a module's parameters and buffers."""
    return {name: tensor.numpy(force=True).copy() for name, tensor in module.state_dict().items()}


def restore_module(module: nn.Module, state: State, what: str) -> None:
    """Restore a module's parameters and buffers in place.

    Raises:
        CheckpointError: the names or shapes differ from the module's.
    """
    # this module is imported with the array types, which need not wait for torch
    import torch

    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint's {what} does not match: {error}") from error


def rng_state(rng: np.random.Generator) -> State:
    """Return the state of a random generator as JSON values."""
    return dict(rng.bit_generator.state)


def restore_rng(rng: np.random.Generator, state: State) -> None:
    """Restore the state of a random generator; raise CheckpointError if it is from another kind."""
    try:
        rng.bit_generator.state = state
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"the checkpoint's random generator is of another kind: {error}") from error
