"""What is wrong with a policy whose logits or actions are not what they must be, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from policygrad._support.isolation import in_ordinary_torch
from policygrad.errors import NonFiniteError
from policygrad.policies.modes import evaluation_mode
from policygrad.types import F32, Array, Bool, Inputs

if TYPE_CHECKING:
    from policygrad.policies.policy import Policy


@in_ordinary_torch
@torch.no_grad()
def fault_of(policy: Policy, encoded: F32) -> str | None:
    """Why no action can be chosen for encoded observations [B, D]; None if that is not it."""
    observation: Any = torch.from_numpy(encoded).to(policy.device)
    with evaluation_mode(policy):
        return policy.distribution.fault_of(policy.network, Inputs(observation))


def sound_actions(action: Array) -> Bool:
    """[B] or [B, K]: whether each entry of stored actions is a finite number, or the index of a choice."""
    return action >= 0 if action.dtype.kind == "i" else np.isfinite(action)


def check_actions(policy: Policy, encoded: F32, action: Array) -> None:
    """Check stored actions [B] or [B, K] that were chosen for encoded observations [B, D].

    Raises:
        NonFiniteError: an action is NaN or infinite, or there was none to choose (see `Distribution.sample`).
    """
    if not sound_actions(action).all():
        raise NonFiniteError(actions_not_finite(policy, encoded))


def actions_not_finite(policy: Policy, encoded: F32) -> str:
    """What to say of actions for encoded observations [B, D] that are NaN or infinite, or could not be chosen."""
    fault = fault_of(policy, encoded)
    if fault is not None:
        return fault
    sizes = ((float(p.detach().abs().max()), name) for name, p in policy.named_parameters() if p.numel())
    largest, where = max(sizes, default=(0.0, "none of its own"))
    return (
        f"the policy's actions are not finite; its largest parameter is {largest:.3g}, in {where}. "
        "If that has grown, lower the learning rate or scale the observations; a network of your own must "
        "give a finite mean and a std above 0"
    )
