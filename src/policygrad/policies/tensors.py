"""Conversion of the networks' inputs from arrays to tensors."""

from __future__ import annotations

from typing import Any

import torch

from policygrad.types import Inputs


def as_tensors(inputs: Inputs, device: torch.device) -> Inputs:
    """Return the inputs of a policy network as torch tensors on a device; `critic_observation` is left out."""
    if inputs.image is None and inputs.memory is None and inputs.legal is None:
        observation: Any = torch.from_numpy(inputs.observation).to(device)
        return Inputs(observation)
    arrays: list[Any] = [inputs.observation, inputs.image, inputs.memory, inputs.legal]
    tensors: list[Any] = [None if array is None else torch.from_numpy(array).to(device) for array in arrays]
    return Inputs(*tensors)
