"""Checks of settings. Error messages name the wrong setting and say what was expected."""

from __future__ import annotations

import difflib
import inspect
import math
import operator
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, fields
from functools import cache
from numbers import Real
from types import UnionType
from typing import Annotated, Any, Literal, SupportsIndex, TypeAlias, TypeGuard, Union, get_args, get_origin

import numpy as np


def whole(name: str, value: Any, *, at_least: int) -> int:
    """Return a whole number, which may be NumPy's, as an int; raise TypeError or ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise TypeError(f"{name} must be a whole number; got {value!r}")
    number = operator.index(value)
    if number < at_least:
        raise ValueError(f"{name} must be {at_least} or more; got {number}")
    return number


def is_number(value: Any) -> TypeGuard[float]:
    """Return whether a value is a real number of Python or NumPy. True and False are not numbers."""
    return not isinstance(value, bool) and isinstance(value, Real)


def is_finite(value: Any) -> TypeGuard[float]:
    """Return whether a value is a real number that fits into a float and is not infinite or NaN."""
    try:
        return is_number(value) and math.isfinite(value)
    except OverflowError:
        return False


def check_is_a(kind: type[Any], name: str, value: Any) -> None:
    """Raise TypeError unless a setting is an instance of the required class."""
    if not isinstance(value, kind):
        raise TypeError(f"{name} must be a {kind.__name__}(...); got {value!r}")


def check_choice(name: str, value: Any, literal: Any) -> None:
    """Raise ValueError with the nearest choices unless a setting is one of the strings of a `Literal`."""
    choices: tuple[str, ...] = get_args(literal)
    if isinstance(value, str) and value in choices:
        return
    near = difflib.get_close_matches(value.lower(), choices, n=2) if isinstance(value, str) else []
    hint = f": did you mean {' or '.join(map(repr, near))}?" if near else ""
    raise ValueError(f"{name} must be one of {choices}; got {value!r}{hint}")


def check_names(function: str, kind: type[Any], options: Iterable[str]) -> None:
    """Raise TypeError with the nearest name unless all options are fields of a dataclass.

    Args:
        function: name of the function that received the options, for the message.
        kind: the dataclass.
        options: names of the options.
    """
    known = [field.name for field in fields(kind)]
    for name in options:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
            hint = f"did you mean {near[0]}?" if near else f"the settings are {', '.join(known)}"
            raise TypeError(f"{function} has no setting {name!r}: {hint}")


def check_in_effect(config: Any, name: str, where: str, holds: bool) -> None:
    """Raise ValueError if a setting is not at its default and would be ignored.

    Args:
        config: the configuration that contains the setting.
        name: name of the setting.
        where: condition under which the setting has an effect, for the message.
        holds: whether this condition is true.
    """
    default = next(field.default for field in fields(config) if field.name == name)
    if not holds and getattr(config, name) != default:
        raise ValueError(
            f"{name}={getattr(config, name)!r} would be ignored: it only has an effect with {where}. Leave it out."
        )


@dataclass(frozen=True)
class Bound:
    """A condition on a number in a configuration, given in the annotation of its field."""

    expected: str
    """The condition in words, which follow "must be" in messages."""
    holds: Callable[[Any], bool]


Unit: TypeAlias = Annotated[float, Bound("in [0, 1]", lambda x: 0 <= x <= 1)]
Count: TypeAlias = Annotated[
    int, Bound("1 or more, a whole number", lambda x: isinstance(x, int | np.integer) and bool(x >= 1))
]
Positive: TypeAlias = Annotated[float, Bound("positive and finite", lambda x: x > 0 and is_finite(x))]
NotNegative: TypeAlias = Annotated[float, Bound("0 or more and finite", lambda x: x >= 0 and is_finite(x))]
Finite: TypeAlias = Annotated[float, Bound("a finite number", is_finite)]


def check_fields(config: Any) -> None:
    """Raise ValueError unless every field of a dataclass matches its annotation.

    A `Literal` requires one of its strings, and `bool` requires True or False. `Unit`, `Count`, `Positive`,
    `NotNegative` and `Finite` require a number within their bounds. None is allowed if the annotation allows it. Other
    annotations are not checked.
    """
    for name, (kinds, bound, may_be_none) in _expectations(type(config)).items():
        value = getattr(config, name)
        if value is None and may_be_none:
            continue
        if bound is not None:
            if not (is_number(value) and bound.holds(value)):
                raise ValueError(f"{name} must be {bound.expected}; got {value!r}")
        elif kinds == (bool,):
            if not isinstance(value, bool | np.bool_):
                or_none = ", or None" if may_be_none else ""
                raise ValueError(f"{name} must be True or False{or_none}; got {value!r}")
        else:
            check_choice(name, value, kinds[0])


def numeric_fields(kind: type[Any]) -> tuple[str, ...]:
    """Return the names of the fields of a dataclass that are numbers, possibly optional ones."""
    numeric = {
        name for name, (kinds, _) in _annotations(kind).items() if {int, float} & set(map(_bare, kinds))
    }
    return tuple(field.name for field in fields(kind) if field.name in numeric)


@cache
def _expectations(kind: type[Any]) -> dict[str, tuple[tuple[Any, ...], Bound | None, bool]]:
    """Return (types, bound, whether None is allowed) for each field of a dataclass that can be checked."""
    found: dict[str, tuple[tuple[Any, ...], Bound | None, bool]] = {}
    for name, (kinds, may_be_none) in _annotations(kind).items():
        bounds = [b for option in kinds for b in getattr(option, "__metadata__", ()) if isinstance(b, Bound)]
        is_literal = len(kinds) == 1 and get_origin(kinds[0]) is Literal
        if bounds or kinds == (bool,) or is_literal:
            found[name] = kinds, bounds[0] if bounds else None, may_be_none
    return found


@cache
def _annotations(kind: type[Any]) -> dict[str, tuple[tuple[Any, ...], bool]]:
    """Return (types, whether None is allowed) for each field of a dataclass whose annotation can be evaluated."""
    found: dict[str, tuple[tuple[Any, ...], bool]] = {}
    for name, annotation in annotations_of(kind).items():
        options = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
        kinds = tuple(option for option in options if option is not type(None))
        found[name] = kinds, len(kinds) < len(options)
    return found


@cache
def annotations_of(kind: type[Any]) -> dict[str, Any]:
    """Return the evaluated annotation of each field of a dataclass, without those that cannot be evaluated."""
    found: dict[str, Any] = {}
    known = {field.name for field in fields(kind)}
    for base in reversed(kind.__mro__):
        annotations = inspect.get_annotations(base)
        for name in known & annotations.keys():
            annotation: Any = annotations[name]
            if isinstance(annotation, str):
                try:
                    annotation = eval(annotation, dict(vars(sys.modules[base.__module__])))
                except (NameError, KeyError):
                    # the annotation has a name that is only known inside a function
                    continue
            found[name] = annotation
    return found


def _bare(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind
