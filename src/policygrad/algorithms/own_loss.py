"""Checks of a custom loss and of its coefficients, its columns and the settings that it does not read."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, Protocol

from policygrad._support.checks import is_number, numeric_fields
from policygrad.algorithms.schedule import linear
from policygrad.losses import Loss


class Configuration(Protocol):
    """The parts of an algorithm's configuration that belong to its loss: see `with_loss.WithLoss`."""

    @property
    def coefficients(self) -> Mapping[str, Any]:
        """Coefficients of a custom loss, by name."""
        ...

    @property
    def columns(self) -> Mapping[str, Any]:
        """Columns of a custom loss, by name."""
        ...


def numeric_names(config: Configuration) -> list[str]:
    """Return the names of the numeric fields, except those for the end of a schedule."""
    return [name for name in numeric_fields(type(config)) if not name.endswith("_end")]


def algorithm_of(kind: type[Any]) -> type[Any]:
    """Return the class of this library that an algorithm's class is, or is derived from."""
    return next(base for base in kind.__mro__ if base.__module__.startswith("policygrad."))


def replaced_method(kind: type[Any]) -> str | None:
    """Return the name of a method of the library's class that an algorithm's class has replaced; None without one."""
    library = algorithm_of(kind)
    changed = (name for name in ("learn", "collect") if getattr(kind, name) is not getattr(library, name))
    return next(changed, None)


def default_of(kind: type[Any], name: str) -> Any:
    """Return the default of a field from the nearest base class that defines one."""
    classes = (base for base in kind.__mro__ if is_dataclass(base))
    defaults = (field.default for base in classes for field in fields(base) if field.name == name)
    return next(default for default in defaults if default is not MISSING)


def _is_public(name: str) -> bool:
    return name.isidentifier() and not name.startswith("_")


def check_names(config: Configuration, taken: tuple[str, ...], computed: tuple[str, ...]) -> None:
    """Raise ValueError or TypeError unless custom coefficients and columns have valid, unused names and valid values.

    Args:
        config: the algorithm that has the coefficients and columns.
        taken: names of the columns that exist already.
        computed: names of the coefficients that the algorithm computes.
    """
    numeric = numeric_names(config)
    for name, value in config.coefficients.items():
        if not _is_public(name):
            raise ValueError(
                f"a coefficient's name must be an identifier that does not start with _; got {name!r}"
            )
        if name in computed:
            raise ValueError(
                f"coefficient {name} is computed by {type(config).__name__}: choose another name"
            )
        if name in numeric:
            raise ValueError(
                f"{name} is a field of {type(config).__name__}: set {name}={value!r} instead of a coefficient"
            )
        if not isinstance(value, linear) and not (is_number(value) and value == value):
            raise ValueError(f"coefficient {name} must be a number, or linear(start, end); got {value!r}")
    for name, function in config.columns.items():
        if not callable(function):
            raise TypeError(f"column {name} must be a function of the batch's columns; got {function!r}")
        if not _is_public(name):
            raise ValueError(
                f"a column's name must be an identifier that does not start with _; got {name!r}"
            )
        if name in taken:
            raise ValueError(f"a column named {name} exists already: choose another name")


def check_read(config: Configuration, loss: Loss, loss_name: str) -> None:
    """Raise ValueError unless the loss reads every custom coefficient and every custom column."""
    for what, given, read in (
        ("coefficient", config.coefficients, loss.coefficients),
        ("column", config.columns, loss.columns),
    ):
        for name in given:
            if name not in read:
                near = difflib.get_close_matches(name, read, n=1)
                advice = f"did you mean {near[0]!r}? Otherwise leave it out." if near else "leave it out"
                raise ValueError(f"{loss_name} does not read the {what} {name!r}: {advice}")
