"""`policygrad metrics`: every metric explained, and those of a run beside their healthy range."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import tyro

from policygrad._support.checks import is_finite
from policygrad.cli.parse import parse
from policygrad.cli.text_table import Table
from policygrad.metrics import METRICS


@dataclass(frozen=True)
class Metrics:
    """Explain every number that a run logs; of a run, also show its numbers beside what is healthy."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """A run folder."""


PART = 0.1
"""Share of a run's updates that its beginning and its end are averaged over."""


def metrics_command(arguments: list[str]) -> int:
    """Print the registry, or a run's metrics beside it; returns the exit status."""
    asked = parse(Metrics, arguments, "policygrad metrics")
    if asked.run is not None:
        _metrics_of(asked.run).show()
        return 0
    table = Table("What a run logs", ("metric", "unit", "what it is", "healthy"))
    for name, metric in METRICS.items():
        table.add_row(name, metric.unit, metric.formula, metric.healthy)
    table.show()
    return 0


def _metrics_of(path: Path) -> Table:
    """The means of each metric over the first and the last tenth of a run's updates, and what is healthy."""
    columns: dict[str, list[float]] = {}
    for row in _rows(path / "metrics.jsonl"):
        for name, value in row.items():
            if value is not None:
                columns.setdefault(name, []).append(value)
    first, last = "first tenth", "last tenth"
    table = Table(f"{path}: {len(columns['steps']):,} updates", ("metric", first, last, "healthy", "unit"))
    for name, values in columns.items():
        if name in ("steps", "episodes", "seconds"):
            at_the_beginning, at_the_end = values[0], values[-1]
        else:
            part = max(1, math.ceil(PART * len(values)))
            at_the_beginning, at_the_end = fmean(values[:part]), fmean(values[-part:])
        metric = METRICS.get(name)
        healthy, unit = ("not registered here", "") if metric is None else (metric.healthy, metric.unit)
        table.add_row(name, _number(at_the_beginning), _number(at_the_end), healthy, unit)
    return table


def _number(x: float) -> str:
    return f"{x:,.0f}" if x == int(x) and abs(x) < 1e15 else f"{x:.4g}"


def _is_row(row: Any) -> bool:
    """Whether these are metrics: finite numbers by name, or null where one was not defined."""
    if not (isinstance(row, dict) and is_finite(row.get("steps"))):  # pyright: ignore
        return False
    return all(x is None or is_finite(x) for x in row.values())  # pyright: ignore


def _rows(file: Path) -> list[dict[str, float | None]]:
    folder = file.parent
    if not file.is_file() and (seeds := sorted(folder.glob("seed-*"))):
        raise ValueError(f"{folder} holds the runs of several seeds: choose one, such as {seeds[0]}")
    if not file.is_file():
        raise ValueError(f"{folder} is not a run folder: it has no {file.name}")
    try:
        rows: list[dict[str, float | None]] = [json.loads(line) for line in file.read_text().splitlines()]
        if not all(map(_is_row, rows)):
            raise ValueError("a line of it is not a row of metrics")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    if not rows:
        raise ValueError(f"{folder} has no metrics yet: no update has ended")
    return rows
