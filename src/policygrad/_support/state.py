"""Serializable state: reading it back without leaving anything out, and the states of modules and generators."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from policygrad.errors import CheckpointError

State: TypeAlias = dict[str, Any]
"""Serializable state: nested dicts whose leaves are NumPy arrays or values that JSON can hold."""


def unpack(state: State, *names: str) -> list[Any]:
    """The values of these names, in this order.

    Raises:
        CheckpointError: one is missing, or there are others: nothing is left out in silence.
    """
    if set(state) != set(names):
        raise CheckpointError(
            f"the checkpoint has {sorted(state)}; expected {sorted(names)}: it is of another version or setting"
        )
    return [state[name] for name in names]


def copy_into(array: NDArray[Any], saved: NDArray[Any], what: str) -> None:
    """Put saved numbers in an array's place; CheckpointError unless shape and dtype are its own."""
    if saved.shape != array.shape or saved.dtype != array.dtype:
        raise CheckpointError(
            f"the checkpoint's {what} is {saved.dtype} {saved.shape}; expected {array.dtype} {array.shape}"
        )
    array[...] = saved


def module_state(module: nn.Module) -> State:
    """Copies of a module's parameters and buffers."""
    return {name: tensor.numpy(force=True).copy() for name, tensor in module.state_dict().items()}


def restore_module(module: nn.Module, state: State, what: str) -> None:
    """Write them back, each into its own memory.

    Raises:
        CheckpointError: names or shapes are not the module's.
    """
    tensors = {name: torch.from_numpy(array) for name, array in state.items()}
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        raise CheckpointError(f"the checkpoint's {what} is of another form: {error}") from error


def rng_state(rng: np.random.Generator) -> State:
    """Where a generator stands, as JSON knows it."""
    return dict(rng.bit_generator.state)


def restore_rng(rng: np.random.Generator, state: State) -> None:
    """Stand there again; CheckpointError where that is another kind's."""
    try:
        rng.bit_generator.state = state
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"the checkpoint's generator is of another kind: {error}") from error
