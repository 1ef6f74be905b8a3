"""Values of Gymnasium's `info` at the last steps of episodes, to be logged as metrics."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from policygrad import metrics
from policygrad.errors import EnvironmentFault
from policygrad.types import Bool


class EndedInfo:
    """Averages values of `info` over the episodes that end.

    Args:
        names: names of the values in `info`.
        environment: name of the environment, for messages.
    """

    def __init__(self, names: Sequence[str], environment: str) -> None:
        self._names, self._environment = names, environment
        self._values: dict[str, list[float]] = {name: [] for name in names}
        self._metrics = {name: metric_of(name) for name in names}
        self.latest: Mapping[str, Any] = {}
        """What the vector environment returned at the last step for episodes that ended: each value as [N], by name."""

    def add(self, ended: Bool) -> None:
        """Add the values of the episodes that ended at the last step: [N], True where one did.

        Raises:
            EnvironmentFault: a value is missing, or is not a number or a bool.
        """
        for i in np.flatnonzero(ended).tolist():
            row = _row(self.latest, i)
            for name in self._names:
                self._values[name].append(number_in(row, name, self._environment))

    def means(self) -> dict[str, float]:
        """Return the mean of each value since the last call as a metric; NaN if no episode has ended."""
        return {
            self._metrics[name]: math.fsum(values) / len(values) if values else math.nan
            for name, values in self.take().items()
        }

    def take(self) -> dict[str, list[float]]:
        """Return the values since the last call, by name."""
        taken, self._values = self._values, {name: [] for name in self._names}
        return taken

    def extend(self, values: Mapping[str, Sequence[float]]) -> None:
        """Add values that another process has taken."""
        for name, more in values.items():
            self._values[name].extend(more)


def metric_of(name: str) -> str:
    """Return the name of the metric of a value in `info`, and register it.

    Raises:
        ValueError: there is another metric of this name.
    """
    metric = "info_" + re.sub(r"\W", "_", name)
    metrics.register(
        metric,
        unit="—",
        formula=f"mean over the episodes of this update of info[{name!r}] at their last step",
        healthy="as the environment defines it",
    )
    return metric


def number_in(info: Mapping[str, Any], name: str, where: str) -> float:
    """Return a value of an `info`, which is a number or a bool, as a float.

    Args:
        info: the `info` at the last step of an episode.
        name: name of the value.
        where: which environment it came from, for messages.

    Raises:
        EnvironmentFault: the value is missing, or something else; the message lists the values that can be logged.
    """
    number = _as_number(info.get(name))
    if number is not None:
        return number
    known = [key for key, value in info.items() if _as_number(value) is not None]
    problem = f"is {info[name]!r}, which is not a number or a bool" if name in info else "is missing"
    raise EnvironmentFault(
        f"{where}: log_info (--log-info): {name!r} {problem} in the info at the end of an episode. "
        + (
            f"The numbers in it are {', '.join(sorted(known))}"
            if known
            else "There are no numbers in it; a wrapper (--wrap) can add them"
        )
    )


def _as_number(value: Any) -> float | None:
    """Return a number or a bool as a float, and None for anything else."""
    if isinstance(value, bool | int | float | np.number | np.bool_):
        return float(value)
    if isinstance(value, np.ndarray) and value.size == 1 and value.dtype.kind in "biuf":
        return float(value.reshape(()))
    return None


def _row(info: Mapping[str, Any], i: int) -> dict[str, Any]:
    """Return the `info` of one environment from that of all, in which `_name` says which environments have `name`."""
    row: dict[str, Any] = {}
    for name, column in info.items():
        mask, is_mask = info.get(f"_{name}"), name.startswith("_") and name[1:] in info
        if isinstance(column, np.ndarray) and not is_mask and (mask is None or mask[i]):
            row[name] = column[i]
    return row
