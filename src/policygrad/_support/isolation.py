"""Independence of the surroundings: what the caller has set in torch and NumPy changes nothing that is computed here.

Default dtypes and devices are dealt with where tensors are made: each call says which it wants.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from functools import wraps
from typing import ParamSpec, TypeVar

import numpy as np
import torch

P = ParamSpec("P")
R = TypeVar("R")

DEVICES = ("cpu", "cuda")
"""The types of device whose autocast is turned off."""


def in_ordinary_torch(function: Callable[P, R]) -> Callable[P, R]:
    """A decorator: within the function gradients are recorded, and inference mode and autocast are off.

    Otherwise training within `torch.no_grad()` would learn nothing, networks made within `torch.inference_mode()`
    could never learn, and within `torch.autocast` a policy would compute with fewer digits than its file says.
    """

    @wraps(function)
    def run(*args: P.args, **kwargs: P.kwargs) -> R:
        mixed = [device for device in DEVICES if torch.is_autocast_enabled(device)]
        if not mixed and torch.is_grad_enabled() and not torch.is_inference_mode_enabled():
            return function(*args, **kwargs)
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for device in mixed:
                stack.enter_context(torch.autocast(device, enabled=False))
            return function(*args, **kwargs)

    return run


def default_numpy_errors() -> np.errstate:
    """A context with NumPy's own answers to floating-point errors: warnings, and none for underflow.

    Told to raise, NumPy would end a training for a discount γ^t that underflows to 0. What the library itself computes
    is checked for being finite where it matters.
    """
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")


def ignored_numpy_errors() -> np.errstate:
    """A context in which NumPy passes over what is not finite: for what is looked at afterwards."""
    return np.errstate(all="ignore")
