"""`policygrad loss`: print the equation of a loss, its graph, and the code of its derivatives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro

from policygrad._support.lookup import named
from policygrad.cli.parse import parse


@dataclass(frozen=True)
class ShowLoss:
    """Print the equation of a loss, its computation graph, and the generated code of its derivatives."""

    loss: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """Algorithm, such as ppo, or module:name of your own loss."""


def loss_command(arguments: list[str]) -> int:
    """Run `policygrad loss` and return its exit status."""
    args = parse(ShowLoss, arguments, "policygrad loss")
    from policygrad.algorithms import show

    show(named("loss", args.loss, "an algorithm or ") if ":" in args.loss else args.loss)
    return 0
