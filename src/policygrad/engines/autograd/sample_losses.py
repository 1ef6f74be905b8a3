"""The loss of each sample as a torch tensor, and the constants that it reads."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from policygrad.interfaces import Update
from policygrad.losses import OUTPUTS
from policygrad.types import F32, I64


class Constants(NamedTuple):
    """What the loss of an update treats as constant."""

    on_host: F32
    """[C, B] float32: the columns, as `common.columns_of` returns them."""
    columns: Tensor
    """The same columns on the device."""
    coefficients: dict[str, Tensor]
    """The coefficients by name, 0-dimensional."""


def constants_of(update: Update, columns: F32, device: torch.device) -> Constants:
    """Return the columns and the coefficients of an update on a device.

    They are float64, as in the fused engine, on every device that supports it: at the kinks of a loss both engines then
    choose the same side.
    """
    precision = torch.float32 if device.type == "mps" else torch.float64
    exact = torch.from_numpy(columns).to(device).to(precision)
    coefficients = {
        name: exact.new_tensor(float(update.coefficients[name])) for name in update.loss.coefficients
    }
    return Constants(columns, exact, coefficients)


def sample_losses(
    update: Update,
    constants: Constants,
    rows: I64 | None,
    outputs: F32,
    tensors: tuple[Tensor, Tensor, Tensor],
) -> Tensor:
    """Return the loss of each of R samples, [R], with its graph.

    torch cannot differentiate a loss whose derivatives were written by hand. It is replaced by a linear
    function of the outputs with these derivatives.

    Args:
        update: has the loss and its coefficients.
        constants: see `constants_of`.
        rows: indices of the samples in the batch; None is all of them.
        outputs: log π, H and V of these samples, [3, R].
        tensors: the same outputs as tensors [R] with their graphs.
    """
    loss, columns = update.loss, constants.columns
    if loss.root is None:
        log_prob, entropy, value = tensors
        on_host = constants.on_host if rows is None else np.ascontiguousarray(constants.on_host[:, rows])
        slopes = torch.from_numpy(loss.differentiated(outputs, on_host, update.coefficients, 1.0))
        slopes = slopes.to(value.device)
        return slopes[0] * log_prob + slopes[1] * entropy + slopes[2] * value
    if rows is not None:
        columns = columns[:, torch.from_numpy(rows)]
    three = torch.stack(tensors).to(columns.dtype)
    sample = dict(zip((*OUTPUTS, *loss.columns), (*three.unbind(), *columns.unbind()), strict=False))
    return loss.of_tensors(sample, constants.coefficients)
