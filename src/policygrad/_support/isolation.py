"""Isolation from the caller's global settings in torch and NumPy, which must not change what is computed here.

Default dtypes and devices are handled where tensors are made: each call specifies its own.
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
"""Types of devices whose autocast is turned off."""


def in_ordinary_torch(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that gradients are recorded in it, and inference mode and autocast are off.

    Otherwise training within `torch.no_grad()` would learn nothing, networks made within `torch.inference_mode()`
    could never learn, and within `torch.autocast` a policy would compute with fewer digits than its file states.
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
    """Return a context with NumPy's default handling of floating-point errors: warnings, and none for underflow.

    If the caller made NumPy raise, a discount γ^t that underflows to 0 would end training. The library itself checks
    its results for being finite where this matters.
    """
    return np.errstate(divide="warn", over="warn", under="ignore", invalid="warn")


def ignored_numpy_errors() -> np.errstate:
    """Return a context in which NumPy ignores floating-point errors, for results that are checked afterwards."""
    return np.errstate(all="ignore")
