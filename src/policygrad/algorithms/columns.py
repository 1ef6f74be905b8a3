"""Columns of one's own: what a loss reads of each sample that depends on the whole batch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias

import numpy as np

from policygrad.errors import NonFiniteError
from policygrad.types import F32, Array

Column: TypeAlias = Callable[[Mapping[str, F32]], Any]
"""column(columns) -> a column [B], or one number for all samples, from the columns [B] that there are already."""


class Columns(Mapping[str, F32]):
    """What a column of one's own may be computed from, to be read only.

    Args:
        columns: those that there are.
        later: those that are computed when they are asked for.
    """

    def __init__(self, columns: Mapping[str, F32], later: Mapping[str, Callable[[], F32]]) -> None:
        self._columns = dict(columns)
        self._later = later

    def __getitem__(self, name: str) -> F32:
        if name not in self._columns:
            if name not in self._later:
                raise KeyError(f"there is no column {name!r}: there are {', '.join(sorted(self))}")
            self._columns[name] = self._later[name]()
        column = self._columns[name].view()
        column.flags.writeable = False
        return column

    def __iter__(self) -> Iterator[str]:
        return iter({**self._columns, **self._later})

    def __len__(self) -> int:
        return len({**self._columns, **self._later})


def own_column(name: str, function: Column, columns: Mapping[str, F32], B: int) -> F32:
    """Return a column of one's own [B] float32; a single number is the same for all samples."""
    found: Array = np.asarray(function(columns))
    if found.shape not in ((), (B,)):
        raise ValueError(f"column {name} has shape {found.shape}; expected ({B},), or one number")
    column = np.ascontiguousarray(np.broadcast_to(found.astype(np.float32), (B,)))
    if not np.isfinite(column).all():
        raise NonFiniteError(
            f"column {name} has {int((~np.isfinite(column)).sum())} entries that are not finite"
        )
    return column
