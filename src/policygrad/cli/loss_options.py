"""A loss of one's own on the command line."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, fields, make_dataclass, replace
from typing import Annotated, Any

import tyro

from policygrad._support.lookup import named
from policygrad.algorithms import Algorithm, WithLoss, linear
from policygrad.cli.keywords import pairs


def with_own_loss(
    algorithm: Algorithm,
    loss: str | None,
    derivatives: str | None,
    coefficients: Sequence[str],
    columns: Sequence[str],
) -> Algorithm:
    """Return the algorithm with a loss of one's own; settings that only its own loss reads are at their defaults.

    Args:
        algorithm: a preset, or an algorithm's defaults.
        loss, derivatives: `module:name`, or None.
        coefficients: texts `name=value` or `name=start:end`.
        columns: texts `name=module:name`.

    Raises:
        ValueError, TypeError: a text has another form, or the loss does not fit the algorithm.
    """
    own: dict[str, Any] = {}
    if loss is not None:
        own["loss"] = named("--loss", loss)
    if derivatives is not None:
        own["derivatives"] = named("--derivatives", derivatives)
    if coefficients:
        own["coefficients"] = {
            name: _coefficient(name, text) for name, text in pairs("--coefficient", coefficients).items()
        }
    if columns:
        own["columns"] = {name: named("--column", text) for name, text in pairs("--column", columns).items()}
    if not own:
        return algorithm
    if not isinstance(algorithm, WithLoss):
        raise ValueError(
            f"{type(algorithm).__name__} has no loss that could be replaced: leave out {', '.join(own)}"
        )
    defaults: WithLoss = type(algorithm)(**own)
    return replace(algorithm, **own, **{name: getattr(defaults, name) for name in defaults.unread_fields})


def flags_of_algorithm(algorithm: Algorithm) -> Any:
    """Return the algorithm as a configuration whose loss is not a flag of its own."""
    if not isinstance(algorithm, WithLoss):
        return algorithm
    hidden: Any = Annotated[Any, tyro.conf.Fixed, tyro.conf.Suppress]
    settings = settings_of(algorithm)
    without = make_dataclass(
        type(algorithm).__name__,
        [
            (name, hidden, field(default_factory=lambda value=settings[name]: value))
            for name in WithLoss.without_flags
        ],
        bases=(type(algorithm),),
        frozen=True,
        kw_only=True,
    )
    return without(**settings)


def settings_of(algorithm: Any) -> dict[str, Any]:
    """Return the fields of a configuration by name."""
    return {one.name: getattr(algorithm, one.name) for one in fields(algorithm)}


def _coefficient(name: str, text: str) -> float | linear:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ValueError(f"--coefficient {name}={text}: expected a number, or start:end")
    return numbers[0] if len(numbers) == 1 else linear(*numbers)
