"""Explanations of what is wrong with a policy whose logits or actions are invalid."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from policygrad._support.isolation import in_ordinary_torch
from policygrad.errors import NonFiniteError
from policygrad.policies.modes import evaluation_mode
from policygrad.types import F32, Array, Bool, Inputs

# `Policy` calls these functions, so its module cannot be imported here: `policy` is one


@in_ordinary_torch
@torch.no_grad()
def fault_of(policy: Any, encoded: F32) -> str | None:
    """Return why no action can be chosen for encoded observations [B, D], or None if the outputs are not the reason."""
    observation: Any = torch.from_numpy(encoded).to(policy.device)
    with evaluation_mode(policy):
        return policy.distribution.fault_of(policy.network, Inputs(observation))


def sound_actions(action: Array) -> Bool:
    """Return a mask [B] or [B, K]: True where an entry of stored actions is a finite number or a valid choice."""
    return action >= 0 if action.dtype.kind == "i" else np.isfinite(action)


def check_actions(policy: Any, encoded: F32, action: Array) -> None:
    """Check stored actions [B] or [B, K] that were chosen for encoded observations [B, D].

    Raises:
        NonFiniteError: an action is NaN or infinite, or none could be chosen (see `Distribution.sample`).
    """
    if not sound_actions(action).all():
        raise NonFiniteError(actions_not_finite(policy, encoded))


def actions_not_finite(policy: Any, encoded: F32) -> str:
    """Return the error message for observations [B, D] whose actions are not finite or could not be chosen."""
    fault = fault_of(policy, encoded)
    if fault is not None:
        return fault
    sizes = ((float(p.detach().abs().max()), name) for name, p in policy.named_parameters() if p.numel())
    largest, where = max(sizes, default=(0.0, ""))
    of_parameter = f"; its largest parameter is {largest:.3g}, in {where}" if where else ""
    return (
        f"the policy's actions are not finite{of_parameter}. "
        "If a parameter has grown, lower the learning rate or scale the observations. A network of your own must "
        "return a finite mean and a standard deviation above 0."
    )
