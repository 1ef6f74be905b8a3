"""Options of the command line for a custom loss."""

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
    """Return the algorithm with a custom loss. Settings that only the built-in loss reads get their defaults.

    Args:
        algorithm: configuration from a preset, or with the defaults of the algorithm.
        loss, derivatives: names of the form `module:name`, or None.
        coefficients: texts of the form `name=value` or `name=start:end`.
        columns: texts of the form `name=module:name`.

    Raises:
        ValueError, TypeError: a text does not have its form, or the loss does not fit the algorithm.
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
        own["columns"] = {
            name: named(f"--column {name}", text) for name, text in pairs("--column", columns).items()
        }
    if not own:
        return algorithm
    if not isinstance(algorithm, WithLoss):
        raise ValueError(f"{type(algorithm).__name__} has no loss to replace: leave out {', '.join(own)}")
    defaults: WithLoss = type(algorithm)(**own)
    return replace(algorithm, **own, **{name: getattr(defaults, name) for name in defaults.unread_fields})


def flags_of_algorithm(algorithm: Algorithm) -> Any:
    """Return the algorithm as a configuration whose loss does not become a flag."""
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
    """Return the fields of a configuration as a dict by name."""
    return {setting.name: getattr(algorithm, setting.name) for setting in fields(algorithm)}


def _coefficient(name: str, text: str) -> float | linear:
    try:
        numbers = [float(part) for part in text.split(":")]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 2):
        raise ValueError(f"--coefficient {name}={text}: expected a number or start:end")
    return numbers[0] if len(numbers) == 1 else linear(*numbers)
