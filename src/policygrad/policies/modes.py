"""Evaluation mode for acting and evaluating: dropout is off, and BatchNorm uses its running statistics."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Generator[None]:
    """Put a module in evaluation mode within the block, and restore the mode of each submodule after it.

    The cost is negligible if no submodule is in training mode.
    """
    before = [(m, m.training) for m in module.modules()]
    if not any(training for _, training in before):
        yield
        return
    module.eval()
    try:
        yield
    finally:
        for m, training in before:
            m.training = training
