"""Checks of configurations: a wrong field is named, with what was expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, get_args

import numpy as np


def check_fields(
    config: Any,
    *,
    choices: Mapping[str, Any] | None = None,
    unit: Iterable[str] = (),
    counts: Iterable[str] = (),
    positive: Iterable[str] = (),
    not_negative: Iterable[str] = (),
    optional: Iterable[str] = (),
) -> None:
    """Raise ValueError unless every field named is what its group says.

    Args:
        config: whose fields they are.
        choices: fields, each with the `Literal` that holds its choices.
        unit: in [0, 1].
        counts: whole numbers from 1 on.
        positive, not_negative: numbers above 0; 0 or more; all finite.
        optional: which of them may be None.
    """
    for name, literal in (choices or {}).items():
        if getattr(config, name) not in get_args(literal):
            raise ValueError(f"{name} must be one of {get_args(literal)}; got {getattr(config, name)!r}")
    may_be_none = set(optional)
    groups = (
        (unit, "in [0, 1]", lambda x: 0 <= x <= 1),
        (counts, "1 or more, a whole number", lambda x: isinstance(x, int | np.integer) and x >= 1),
        (positive, "positive and finite", lambda x: x > 0 and math.isfinite(x)),
        (not_negative, "0 or more and finite", lambda x: x >= 0 and math.isfinite(x)),
    )
    for names, expected, holds in groups:
        for name in names:
            number = getattr(config, name)
            if number is None and name in may_be_none:
                continue
            if number is None or not holds(number):
                raise ValueError(f"{name} must be {expected}; got {number}")
