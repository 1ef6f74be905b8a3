"""Torch optimizers with the constants that both engines share, and their state for checkpoints."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from policygrad._support.checks import check_choice
from policygrad._support.state import unpack
from policygrad.algorithms.algorithm import Optimizer
from policygrad.engines import common
from policygrad.errors import CheckpointError
from policygrad.types import State


def make_optimizer(name: str, module: nn.Module) -> torch.optim.Optimizer:
    """Return `adam`, `rmsprop` or `sgd` for the learnable parameters of a module; raise ValueError for other names."""
    check_choice("optimizer", name, Optimizer)
    parameters = [p for p in module.parameters() if p.requires_grad]
    if name == "adam":
        return torch.optim.Adam(parameters, betas=(common.ADAM_BETA1, common.ADAM_BETA2), eps=common.ADAM_EPS)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=common.RMSPROP_ALPHA, eps=common.RMSPROP_EPS)
    return torch.optim.SGD(parameters)


def take_step(optimizer: torch.optim.Optimizer) -> None:
    """Take one step along the gradients stored in the parameters."""
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    # at a parameter's first step torch creates a counter of steps, and does so on the default device
    with torch.device("cpu") if len(optimizer.state) < count else nullcontext():
        optimizer.step()


def optimizer_state(optimizer: torch.optim.Optimizer | None) -> State:
    """Return what torch stores for each parameter that has taken a step, by the parameter's index."""
    if optimizer is None:
        return {}
    stored: dict[int, dict[str, Any]] = optimizer.state_dict()["state"]
    return {
        str(i): {
            name: x.numpy(force=True).copy() if isinstance(x, torch.Tensor) else np.asarray(x)
            for name, x in entries.items()
            if x is not None
        }
        for i, entries in stored.items()
    }


def restore_optimizer(optimizer: torch.optim.Optimizer | None, state: State) -> None:
    """Restore an `optimizer_state`; raise CheckpointError if it belongs to other parameters."""
    if optimizer is None:
        unpack(state)
        return
    count = sum(len(group["params"]) for group in optimizer.param_groups)
    if not set(state) <= {str(i) for i in range(count)}:
        raise CheckpointError(
            f"the checkpoint's optimizer has state for parameters {sorted(state)}; expected {count} parameters"
        )
    stored = {
        int(i): {name: torch.from_numpy(array) for name, array in entries.items()}
        for i, entries in state.items()
    }
    optimizer.load_state_dict({"state": stored, "param_groups": optimizer.state_dict()["param_groups"]})
