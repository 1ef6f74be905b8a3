"""Networks in evaluation mode while the engine reads them, without a cost for those that have no modes."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from torch import nn

from policygrad.policies import evaluation_mode


def modules_with_modes(module: nn.Module | None, is_ours: bool) -> list[nn.Module]:
    """A network and all its submodules; none of this library's own, which are the same in either mode."""
    return [] if module is None or is_ours else list(module.modules())


def evaluating(modules: list[nn.Module]) -> AbstractContextManager[None]:
    """The first module, with all others in it, in evaluation mode; in a rollout it is already."""
    return evaluation_mode(modules[0]) if any(m.training for m in modules) else nullcontext()
