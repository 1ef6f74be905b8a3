"""`policygrad metrics`: explain every metric, or compare the metrics of a run with their healthy ranges."""

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
from policygrad.metrics import METRICS, current_name


@dataclass(frozen=True)
class Metrics:
    """Explain every metric that a run logs. Given a run, show its values next to the healthy ranges."""

    run: Annotated[Path | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RUN]")] = None
    """Run folder."""


PART = 0.1
"""Fraction of the updates over which the values at the beginning and at the end of a run are averaged."""


def metrics_command(arguments: list[str]) -> int:
    """Run `policygrad metrics` and return its exit status."""
    args = parse(Metrics, arguments, "policygrad metrics")
    if args.run is not None:
        _metrics_of(args.run).show()
        return 0
    table = Table("Metrics of a run", ("metric", "unit", "meaning", "healthy"))
    for name, metric in METRICS.items():
        table.add_row(name, metric.unit, metric.formula, metric.healthy)
    table.show()
    return 0


def _metrics_of(path: Path) -> Table:
    """Return a table of the mean of each metric over the first and the last tenth of a run, and its healthy range."""
    columns: dict[str, list[float]] = {}
    for row in _rows(path / "metrics.jsonl"):
        for name, value in row.items():
            if value is not None:
                columns.setdefault(current_name(name), []).append(value)
    first, last = "first tenth", "last tenth"
    table = Table(f"{path}: {len(columns['steps']):,} updates", ("metric", first, last, "healthy", "unit"))
    for name, values in columns.items():
        if name in ("steps", "episodes", "seconds"):
            start, end = values[0], values[-1]
        else:
            part = max(1, math.ceil(PART * len(values)))
            start, end = fmean(values[:part]), fmean(values[-part:])
        metric = METRICS.get(name)
        healthy, unit = ("not registered here", "") if metric is None else (metric.healthy, metric.unit)
        table.add_row(name, _number(start), _number(end), healthy, unit)
    return table


def _number(x: float) -> str:
    return f"{x:,.0f}" if x == int(x) and abs(x) < 1e15 else f"{x:.4g}"


def _is_row(row: Any) -> bool:
    """Return True for a dict of metrics: finite numbers by name, or None where a metric is undefined."""
    if not (isinstance(row, dict) and is_finite(row.get("steps"))):  # pyright: ignore
        return False
    return all(x is None or is_finite(x) for x in row.values())  # pyright: ignore


def _rows(file: Path) -> list[dict[str, float | None]]:
    folder = file.parent
    if not file.is_file() and (seeds := sorted(folder.glob("seed-*"))):
        raise ValueError(f"{folder} contains the runs of several seeds: choose one, such as {seeds[0]}")
    if not file.is_file():
        raise ValueError(f"{folder} is not a run folder: it has no {file.name}")
    try:
        rows: list[dict[str, float | None]] = [json.loads(line) for line in file.read_text().splitlines()]
        if not all(map(_is_row, rows)):
            raise ValueError("one of its lines is not a row of metrics")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    if not rows:
        raise ValueError(f"{folder} has no metrics yet: its first update has not finished")
    return rows
