"""Torch's optimizers, with the constants that both engines share, for parameters on any device."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch
from torch import nn

from policygrad.engines import common
from policygrad.engines.autograd.gradients import flat_gradient
from policygrad.errors import CheckpointError
from policygrad.types import State


class TorchOptimizer:
    """Takes steps with one of torch's optimizers; see `CompiledOptimizer` for the arguments and methods."""

    def __init__(self, name: str, parameters: Sequence[nn.Parameter]) -> None:
        self._parameters = parameters
        self._optimizer = _made(name, parameters)

    def norm(self) -> float:
        """See `CompiledOptimizer.norm`."""
        gradient = flat_gradient(self._parameters).numpy(force=True)
        return float(np.sqrt(np.sum(gradient.astype(np.float64) ** 2)))

    def step(self, rate: float, factor: float) -> None:
        """See `CompiledOptimizer.step`; this scales the stored gradients by `factor`."""
        for p in self._parameters:
            if p.grad is not None:
                p.grad.mul_(factor)
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        # at a parameter's first step torch creates a counter of steps, and does so on the default device
        is_new = len(self._optimizer.state) < len(self._parameters)
        with torch.device("cpu") if is_new else nullcontext():
            self._optimizer.step()

    def state(self) -> State:
        """See `CompiledOptimizer.state`."""
        stored: dict[int, dict[str, Any]] = self._optimizer.state_dict()["state"]
        return {
            str(i): {
                name: x.numpy(force=True).copy() if isinstance(x, torch.Tensor) else np.asarray(x)
                for name, x in entries.items()
                if x is not None
            }
            for i, entries in stored.items()
        }

    def restore(self, state: State) -> None:
        """See `CompiledOptimizer.restore`."""
        check_indices(state, len(self._parameters))
        stored = {
            int(i): {name: torch.from_numpy(array) for name, array in entries.items()}
            for i, entries in state.items()
        }
        groups = self._optimizer.state_dict()["param_groups"]
        self._optimizer.load_state_dict({"state": stored, "param_groups": groups})


def check_indices(state: State, count: int) -> None:
    """Raise CheckpointError unless an optimizer's state is that of `count` parameters, by their indices."""
    if not set(state) <= {str(i) for i in range(count)}:
        raise CheckpointError(
            f"the checkpoint's optimizer has state for parameters {sorted(state)}; expected {count} parameters"
        )


def _made(name: str, parameters: Sequence[nn.Parameter]) -> torch.optim.Optimizer:
    if name == "adam":
        return torch.optim.Adam(parameters, betas=(common.ADAM_BETA1, common.ADAM_BETA2), eps=common.ADAM_EPS)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=common.RMSPROP_ALPHA, eps=common.RMSPROP_EPS)
    return torch.optim.SGD(parameters)
