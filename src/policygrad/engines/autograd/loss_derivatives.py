"""The derivatives of a minibatch's mean loss with respect to log π, H and V, by machine code or by torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy as np
import torch
from numba import types
from torch import Tensor

from policygrad._support.compiling import compiled
from policygrad._support.function_pointers import ADDRESS
from policygrad.engines.signatures import MATRIX, NUMBERS, VECTOR
from policygrad.losses import OUTPUTS, Loss
from policygrad.losses.compiled_loss import derivatives_at
from policygrad.types import F32, F64

NO_WEIGHTS = np.zeros(0, np.float32)

MinibatchDerivatives: TypeAlias = Callable[[F32, F32, F32 | None], Tensor]
"""derivatives(outputs, columns, weight) -> the derivatives [3, R] float32 of Σ weight · loss / Σ weight, on the device.

`outputs` [3, R] are log π, H and V of a minibatch. `columns` [C, R] are the columns that the loss reads, in the order
of `Loss.columns`. `weight` is [R], or None for the weight 1.
"""


def derivatives_on(
    device: torch.device, loss: Loss, coefficients: Mapping[str, float]
) -> MinibatchDerivatives:
    """Return the function that computes the derivatives of a loss for minibatches on a device.

    On the CPU, and for derivatives that were written by hand, it is machine code. On other devices, torch
    differentiates the loss there.
    """
    if device.type == "cpu" or loss.root is None:
        return by_machine_code(device, loss, coefficients)
    return by_torch(device, loss, coefficients)


def by_machine_code(
    device: torch.device, loss: Loss, coefficients: Mapping[str, float]
) -> MinibatchDerivatives:
    """Return a function that calls the compiled derivatives of a loss, which compute in float64."""
    address, numbers = loss.address, loss.numbers(coefficients)

    def derivatives(outputs: F32, columns: F32, weight: F32 | None) -> Tensor:
        result = np.empty(outputs.shape, np.float32)
        weight = NO_WEIGHTS if weight is None else weight
        _write_derivatives(address, outputs, columns, weight, numbers, result)
        return torch.from_numpy(result).to(device)

    return derivatives


def by_torch(device: torch.device, loss: Loss, coefficients: Mapping[str, float]) -> MinibatchDerivatives:
    """Return a function in which torch evaluates a traced loss on a device, and differentiates it.

    It computes in float64 as the machine code does, on every device that supports it: at the kinks of a loss both then
    choose the same side.
    """
    exact = torch.zeros((), dtype=torch.float32 if device.type == "mps" else torch.float64, device=device)
    numbers = {name: exact.new_tensor(float(coefficients[name])) for name in loss.coefficients}

    def derivatives(outputs: F32, columns: F32, weight: F32 | None) -> Tensor:
        variables = torch.from_numpy(outputs).to(exact, copy=True).requires_grad_()
        constants = torch.from_numpy(columns).to(exact)
        sample = dict(zip((*OUTPUTS, *loss.columns), (*variables, *constants), strict=False))
        losses = loss.of_tensors(sample, numbers)
        weights = torch.ones_like(losses) if weight is None else torch.from_numpy(weight).to(exact)
        mean = (weights * losses).sum() / weights.sum()
        return torch.autograd.grad(mean, variables)[0].to(torch.float32)

    return derivatives


@compiled(types.void(ADDRESS, MATRIX, MATRIX, VECTOR, NUMBERS, MATRIX))
def _write_derivatives(
    address: int, outputs: F32, columns: F32, weight: F32, coefficients: F64, result: F32
) -> None:
    """Write the derivatives of the weighted mean loss to `result`; see `MinibatchDerivatives`."""
    size = outputs.shape[1]
    total = float(size)
    if weight.size:
        total = 0.0
        for i in range(size):
            total += weight[i]
    derivatives_at(address)(outputs, columns, 0, size, coefficients, 1 / total, result)
    if weight.size:
        for k in range(3):
            for i in range(size):
                result[k, i] *= weight[i]
