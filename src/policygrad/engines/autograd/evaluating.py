"""Evaluation mode while the engine reads a network, without a cost for networks that have only one mode."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import nn

from policygrad.policies import evaluation_mode


def modules_with_modes(module: nn.Module | None, is_ours: bool) -> list[nn.Module]:
    """Return a network and all its submodules; an empty list for this library's, which have only one mode."""
    return [] if module is None or is_ours else list(module.modules())


def evaluating(modules: list[nn.Module]) -> AbstractContextManager[None]:
    """Return a context in which the first module, which contains all others, is in evaluation mode.

    It does nothing if they are already in evaluation mode, as during a rollout.
    """
    return evaluation_mode(modules[0]) if any(m.training for m in modules) else nullcontext()
