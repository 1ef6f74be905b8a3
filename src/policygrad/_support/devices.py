"""Torch devices: checking that one can be used."""

from __future__ import annotations

import torch


def check_device(device: str) -> None:
    """Raise ValueError unless torch can use the device."""
    try:
        torch.empty(0, dtype=torch.float32, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device {device!r} is not available. Use 'cpu', or a device that this machine has and that its torch "
            f"({torch.__version__}) was built for."
        ) from error
