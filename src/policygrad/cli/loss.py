"""`policygrad loss`: the equation of a loss, its graph, and the code that is derived from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from policygrad._support.lookup import named
from policygrad.cli.parse import parse


@dataclass(frozen=True)
class ShowLoss:
    """Show the equation of a loss, its graph, and the code that is derived from it."""

    loss: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """An algorithm, such as ppo, or module:name of a loss of your own."""


def loss_command(arguments: list[str]) -> int:
    """Show a loss; returns the exit status."""
    asked = parse(ShowLoss, arguments, "policygrad loss")
    from policygrad.algorithms import show

    show(named("loss", asked.loss, "an algorithm or ") if ":" in asked.loss else asked.loss)
    return 0
