"""Engines: the same update by automatic differentiation or as machine code."""

from __future__ import annotations

import sys
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
    """Return the requested engine; `auto` is the fused engine if it supports the networks, else autograd.

    `say` receives a message with the engine and the reason for it. The fused engine splits large batches between
    `workers`. `needs` is the protocol that the algorithm requires.

    Raises:
        TypeError: the engine does not implement `needs`.
        ValueError: the engine or the optimizer is unknown, or the fused engine was requested and does not support
            these networks.
    """
    check_choice("engine", engine, EngineName)
    reason = unsupported_reason(policy, value)
    if engine == "fused" or (engine == "auto" and reason is None):
        with announce_compilation(unless="policygrad.engines.fused" in sys.modules):
            from policygrad.engines.fused import FusedEngine
        say("engine: fused (machine code for MLPs on the CPU)")
        return _checked(FusedEngine(policy, value, optimizer, workers), needs)
    say(f"engine: autograd ({reason or 'requested'})")
    with announce_compilation(unless="policygrad.engines.autograd" in sys.modules):
        from policygrad.engines.autograd import AutogradEngine
    return _checked(AutogradEngine(policy, value, optimizer), needs)


def _checked(engine: Engine, needs: Any) -> Engine:
    if not isinstance(engine, needs):
        raise TypeError(
            f"the algorithm needs a {needs.__name__}, which the {engine.name} engine does not implement"
        )
    return engine


__all__ = ["EngineName", "make_engine", "unsupported_reason"]
