"""Engines: the same update by automatic differentiation, or as machine code."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from torch import nn

from policygrad._support.checks import check_choice
from policygrad._support.compiling import announce_compilation
from policygrad._support.threads import Workers
from policygrad.engines.fusible import unsupported_reason
from policygrad.interfaces import Engine
from policygrad.policies import Policy

EngineName = Literal["auto", "fused", "autograd"]


def make_engine(
    policy: Policy,
    value: nn.Module | None,
    optimizer: str,
    engine: EngineName = "auto",
    say: Callable[[str], None] = lambda message: None,
    workers: Workers | None = None,
    needs: Any = Engine,
) -> Engine:
    """The engine asked for; `auto` is fused where it can be, and `say` hears which it was and why.

    Fused splits large batches between `workers`. `needs` is the protocol that the algorithm asks for.

    Raises:
        TypeError: the engine has not all that is needed.
        ValueError: there is no such engine or optimizer, or fused was asked for and cannot take these networks.
    """
    check_choice("engine", engine, EngineName)
    reason = unsupported_reason(policy, value)
    if engine == "fused" or (engine == "auto" and reason is None):
        with announce_compilation():
            from policygrad.engines.fused import FusedEngine
        say("engine: fused (machine code for MLPs on the CPU)")
        return _checked(FusedEngine(policy, value, optimizer, workers), needs)
    say(f"engine: autograd ({reason or 'asked for'})")
    from policygrad.engines.autograd import AutogradEngine

    return _checked(AutogradEngine(policy, value, optimizer), needs)


def _checked(engine: Engine, needs: Any) -> Engine:
    if not isinstance(engine, needs):
        raise TypeError(f"the {engine.name} engine is not a {needs.__name__}, which the algorithm needs")
    return engine


__all__ = ["EngineName", "make_engine"]
