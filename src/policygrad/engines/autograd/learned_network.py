"""A network that learns: its parameters, their gradients and their optimizer."""

from __future__ import annotations

import torch
from torch import nn

from policygrad._support.checks import check_choice
from policygrad.algorithms.algorithm import Optimizer
from policygrad.engines import common
from policygrad.engines.autograd.compiled_optimizer import CompiledOptimizer
from policygrad.engines.autograd.gradients import flat_gradient
from policygrad.engines.autograd.torch_optimizers import TorchOptimizer


class LearnedNetwork:
    """A network with an optimizer for the parameters that require gradients now: machine code on the CPU, else torch's.

    Args:
        name: `policy` or `value`, for error messages.
        module: the network.
        optimizer: `adam`, `rmsprop` or `sgd`.

    Raises:
        ValueError: the optimizer is unknown, or no parameter requires gradients.
    """

    def __init__(self, name: str, module: nn.Module, optimizer: str) -> None:
        check_choice("optimizer", optimizer, Optimizer)
        self._name = name
        self._module = module
        self.parameters = list(module.parameters())
        """All parameters of the network, also those that are frozen."""
        learned = [p for p in self.parameters if p.requires_grad]
        if not learned:
            raise ValueError(
                f"the {name} network has no parameter that requires gradients, so it cannot learn"
            )
        kind = CompiledOptimizer if all(map(_is_plain, learned)) else TorchOptimizer
        self.optimizer = kind(optimizer, learned)

    def gradient_norm(self) -> float:
        """Return the L2 norm of the gradient; raise NonFiniteError with the parameter's name if it is not finite."""
        norm = self.optimizer.norm()
        # written so that it is true for NaN
        if not norm < float("inf"):
            common.check_gradient(self._name, self._module, flat_gradient(self.parameters).numpy(force=True))
        return norm


def _is_plain(p: nn.Parameter) -> bool:
    """Return True if machine code can change a parameter in place."""
    return p.device.type == "cpu" and p.dtype == torch.float32 and p.is_contiguous()
