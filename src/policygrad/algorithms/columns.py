"""Custom columns: numbers of each sample that a loss reads and that depend on the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from policygrad.errors import NonFiniteError
from policygrad.types import F32, Array

Column: TypeAlias = Callable[[Mapping[str, F32]], Any]
"""column(columns) -> a column [B], or one number for all samples, computed from the existing columns [B]."""


class Columns(Mapping[str, F32]):
    """Read-only columns that a custom column may be computed from.

    Args:
        columns: columns that exist already.
        later: functions that compute further columns, each called when its column is first read.
    """

    def __init__(self, columns: Mapping[str, F32], later: Mapping[str, Callable[[], F32]]) -> None:
        self._columns = dict(columns)
        self._later = later

    def __getitem__(self, name: str) -> F32:
        if name not in self._columns:
            if name not in self._later:
                raise KeyError(f"there is no column {name!r}. The columns are {', '.join(sorted(self))}.")
            self._columns[name] = self._later[name]()
        column = self._columns[name].view()
        column.flags.writeable = False
        return column

    def __iter__(self) -> Iterator[str]:
        return iter({**self._columns, **self._later})

    def __len__(self) -> int:
        return len({**self._columns, **self._later})


def own_column(name: str, function: Column, columns: Mapping[str, F32], B: int) -> F32:
    """Return a custom column [B] float32. A single number is repeated for all samples."""
    result: Array = np.asarray(function(columns))
    if result.shape not in ((), (B,)):
        raise ValueError(f"column {name} has shape {result.shape}; expected ({B},) or a single number")
    column = np.ascontiguousarray(np.broadcast_to(result.astype(np.float32), (B,)))
    if not np.isfinite(column).all():
        raise NonFiniteError(
            f"column {name} has {int((~np.isfinite(column)).sum())} values that are not finite"
        )
    return column
