"""Checks of a loss of one's own and of what is given with it: coefficients, columns, settings that it does not read."""

from __future__ import annotations

import difflib
from dataclasses import MISSING, fields, is_dataclass
from typing import TYPE_CHECKING, Any

from policygrad._support.checks import is_number, numeric_fields
from policygrad.algorithms.schedule import linear

if TYPE_CHECKING:
    from policygrad.algorithms.with_loss import WithLoss


def numeric_names(config: WithLoss) -> list[str]:
    """Names of the fields that are numbers, without those that say where others end."""
    return [name for name in numeric_fields(type(config)) if not name.endswith("_end")]


def algorithm_of(kind: type[Any]) -> type[Any]:
    """The class of this library that an algorithm is, or is derived from."""
    return next(base for base in kind.__mro__ if base.__module__.startswith("policygrad."))


def default_of(kind: type[Any], name: str) -> Any:
    """The default of a field, in the nearest class that has one."""
    classes = (base for base in kind.__mro__ if is_dataclass(base))
    found = (one.default for base in classes for one in fields(base) if one.name == name)
    return next(default for default in found if default is not MISSING)


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def check_names(config: WithLoss, taken: tuple[str, ...], computed: tuple[str, ...]) -> None:
    """Raise ValueError or TypeError unless coefficients and columns have free names and are of the right kind.

    Args:
        config: whose coefficients and columns they are.
        taken: columns that exist already.
        computed: coefficients that the algorithm computes.
    """
    numeric = numeric_names(config)
    for name, value in config.coefficients.items():
        if not _is_public(name):
            raise ValueError(f"a coefficient's name must be an identifier without _ in front; got {name!r}")
        if name in computed:
            raise ValueError(
                f"coefficient {name} is computed by {type(config).__name__}: choose another name"
            )
        if name in numeric:
            raise ValueError(
                f"{name} is a field of {type(config).__name__}: give {name}={value!r} instead of a coefficient"
            )
        if not isinstance(value, linear) and not (is_number(value) and value == value):
            raise ValueError(f"coefficient {name} must be a number, or linear(start, end); got {value!r}")
    for name, function in config.columns.items():
        if not callable(function):
            raise TypeError(f"column {name} must be a function of the batch's columns; got {function!r}")
        if not _is_public(name):
            raise ValueError(f"a column's name must be an identifier without _ in front; got {name!r}")
        if name in taken:
            raise ValueError(f"column {name} is there already: choose another name")


def check_read(config: WithLoss, loss_name: str) -> None:
    """Raise ValueError unless the loss reads every coefficient and every column that was given."""
    loss = config.traced_loss
    for what, given, read in (
        ("coefficient", config.coefficients, loss.coefficients),
        ("column", config.columns, loss.columns),
    ):
        for name in given:
            if name not in read:
                near = difflib.get_close_matches(name, read, n=1)
                hint = f"; it reads {near[0]}" if near else ""
                raise ValueError(f"{loss_name} does not read the {what} {name!r}{hint}: leave it out")
