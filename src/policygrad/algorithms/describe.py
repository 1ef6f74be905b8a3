"""Descriptions of algorithms and their losses, for `config.json` and for people."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, fields, is_dataclass
from typing import Any

from policygrad._support.console import say, stdout
from policygrad.algorithms.algorithm import ALGORITHMS, Algorithm, algorithm_class, name_of
from policygrad.algorithms.with_loss import WithLoss
from policygrad.losses import Loss, description, traced


def described(algorithm: Algorithm) -> dict[str, Any]:
    """Return the entry of an algorithm in `config.json`: its name, its settings, and a description of its loss."""
    entry: dict[str, Any] = {"name": name_of(algorithm)}
    if isinstance(algorithm, WithLoss):
        settings: Any = {f.name: getattr(algorithm, f.name) for f in fields(algorithm)}
        return (
            entry
            | {k: v for k, v in settings.items() if k not in WithLoss.without_flags}
            | algorithm.describe_loss()
        )
    return entry | (asdict(algorithm) if is_dataclass(algorithm) else {})


def loss_of(thing: Any) -> Loss:
    """Return the loss of an algorithm, of its name or class, or of a function loss(s, k).

    Raises:
        ValueError: there is no algorithm of this name.
        TypeError: the algorithm has no loss, or the function is not a loss.
    """
    if isinstance(thing, Loss):
        return thing
    if isinstance(thing, str):
        thing = algorithm_class(thing)
    if isinstance(thing, type):
        thing = thing()
    if isinstance(thing, WithLoss):
        return thing.traced_loss
    if isinstance(thing, Callable):
        return traced(thing)
    raise TypeError(
        f"expected a function loss(s, k), an algorithm, or one of {', '.join(ALGORITHMS)}; got {thing!r}"
    )


def show(loss: Any) -> None:
    """Print the equation of a loss, its graph, and the derived code.

    >>> show(lambda s, k: -s.advantage * s.log_prob)  # doctest: +ELLIPSIS
    equation
    L = −A · log π
    ...

    Args:
        loss: a function loss(s, k), an algorithm, or an algorithm's name.
    """
    say(description(loss_of(loss)), stdout)
