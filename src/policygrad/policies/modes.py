"""Acting and evaluating in evaluation mode: without dropout, and with BatchNorm's running statistics."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluation_mode(module: nn.Module) -> Generator[None]:
    """`eval()` within the block; after it every submodule's mode is what it was.

    It costs next to nothing where no submodule is in training mode.
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
