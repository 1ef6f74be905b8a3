"""Checks of settings: a wrong one is named, with what was expected."""

from __future__ import annotations

import difflib
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import fields
from numbers import Real
from typing import Any, SupportsIndex, TypeGuard, get_args

import numpy as np


def whole(name: str, value: Any, *, at_least: int) -> int:
    """A Python int of any whole number, NumPy's too; TypeError or ValueError with the name for anything else."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be a whole number; got {value!r}")
    number = operator.index(value)
    if number < at_least:
        raise ValueError(f"{name} must be {at_least} or more; got {number}")
    return number


def is_number(value: Any) -> TypeGuard[float]:
    """Whether it is a real number, Python's or NumPy's; what is True or False is none."""
    return not isinstance(value, bool) and isinstance(value, Real)


def is_finite(value: Any) -> TypeGuard[float]:
    """Whether it is a real number that a float can hold, and no infinity or NaN."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def check_is_a(kind: type[Any], name: str, value: Any) -> None:
    """Raise TypeError unless a setting is of the class that it has to be."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}(...); got {value!r}")


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Raise ValueError, with the nearest choices, unless a setting is one of the strings of a `Literal`."""
    choices: tuple[str, ...] = get_args(literal)
    if isinstance(value, str) and value in choices:
        return
    near = difflib.get_close_matches(value.lower(), choices, n=2) if isinstance(value, str) else []
    hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"{name} must be one of {choices}; got {value!r}{hint}")


def check_names(function: str, kind: type[Any], options: Iterable[str]) -> None:
    """Raise TypeError, with the nearest name, unless all options are fields of a dataclass.

    Args:
        function: what they were given to, for the message.
        kind: the dataclass.
        options: their names.
    """
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(known)}"
            raise TypeError(f"{function} has no setting {name!r}: {hint}")


def check_in_effect(config: Any, name: str, where: str, holds: bool) -> None:
    """Raise ValueError where a setting is not at its default and would be ignored.

    Args:
        config: whose field it is.
        name: the field.
        where: what it is for.
        holds: whether that is so.
    """
    default = next(field.default for field in fields(config) if field.name == name)
    if not holds and getattr(config, name) != default:
        raise ValueError(
            f"{name}={getattr(config, name)!r} would be ignored: it is for {where}. Leave it out"
        )


def check_fields(
    config: Any,
    *,
    choices: Mapping[str, Any] | None = None,
    unit: Iterable[str] = (),
    counts: Iterable[str] = (),
    positive: Iterable[str] = (),
    not_negative: Iterable[str] = (),
    finite: Iterable[str] = (),
    optional: Iterable[str] = (),
) -> None:
    """Raise ValueError unless every field named is what its group says, and every `bool` is one.

    Args:
        config: whose fields they are.
        choices: fields, each with the `Literal` that holds its choices.
        unit: in [0, 1].
        counts: whole numbers from 1 on.
        positive, not_negative, finite: numbers above 0; 0 or more; any; all finite.
        optional: which of them may be None.
    """
    for name, literal in (choices or {}).items():
        check_choice(name, getattr(config, name), literal)
    for name in (field.name for field in fields(config) if field.type in ("bool", bool)):
        if not isinstance(getattr(config, name), bool | np.bool_):
            raise ValueError(f"{name} must be True or False; got {getattr(config, name)!r}")
    may_be_none = set(optional)
    groups = (
        (unit, "in [0, 1]", lambda x: 0 <= x <= 1),
        (counts, "1 or more, a whole number", lambda x: isinstance(x, int | np.integer) and x >= 1),
        (positive, "positive and finite", lambda x: x > 0 and is_finite(x)),
        (not_negative, "0 or more and finite", lambda x: x >= 0 and is_finite(x)),
        (finite, "a finite number", is_finite),
    )
    for names, expected, holds in groups:
        for name in names:
            number = getattr(config, name)
            if number is None and name in may_be_none:
                continue
            if not (is_number(number) and holds(number)):
                raise ValueError(f"{name} must be {expected}; got {number!r}")
