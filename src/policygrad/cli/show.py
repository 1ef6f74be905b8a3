"""`policygrad proof`, `policygrad loss` and `policygrad metrics`: what there is to see without training."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import tyro

from policygrad.checks import is_finite
from policygrad.cli.parse import parse
from policygrad.cli.table import Table
from policygrad.metrics import METRICS
from policygrad.names import named
from policygrad.output import say, stdout


@dataclass(frozen=True)
class Proof:
    """Hold each variant of REINFORCE against the enumerated gradient of a three-state decision process."""

    repeats: int = 1000
    """Estimates of each variant."""
    episodes: int = 8
    """Whole episodes an estimate."""
    seed: int = 0
    """Of everything random."""
    picture: Path | None = None
    """Also draw it, as a PNG."""


def proof_command(arguments: list[str]) -> int:
    """Prove as the arguments say; returns the exit status, 1 where an interval misses."""
    asked = parse(Proof, arguments, "policygrad proof")
    if asked.repeats < 2 or asked.episodes < 2:
        raise ValueError(f"repeats and episodes must be 2 or more; got {asked.repeats} and {asked.episodes}")
    if asked.picture is not None and not asked.picture.parent.is_dir():
        raise ValueError(f"--picture {asked.picture}: there is no folder {asked.picture.parent}")
    from policygrad.proof.show import draw, run_all

    results = run_all(asked.repeats, asked.episodes, asked.seed)
    table = Table(
        f"∇J by enumeration against {asked.repeats:,} estimates of {asked.episodes} episodes each",
        ("REINFORCE", "unbiased in theory", "∇J in all 99.9 % intervals", "relative bias", "variance"),
        numbers=True,
    )
    for r in results:
        inside = "yes" if r.estimates.unbiased() else "no"
        in_theory = "yes" if r.expected else "no"
        table.add_row(r.name, in_theory, inside, f"{r.estimates.bias:.3f}", f"{r.estimates.variance:.3f}")
    table.show()
    if asked.picture is not None:
        draw(results, asked.picture)
        say(f"drawn: {asked.picture}", stdout)
    return 0 if all(r.estimates.unbiased() for r in results if r.expected) else 1


@dataclass(frozen=True)
class ShowLoss:
    """Show the equation of a loss, its graph, and the code that is derived from it."""

    loss: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="NAME")]
    """An algorithm, such as ppo, or module:name of a loss of your own."""


def loss_command(arguments: list[str]) -> int:
    """Show a loss; returns the exit status."""
    asked = parse(ShowLoss, arguments, "policygrad loss")
    from policygrad.algorithms import show

    show(named("loss", asked.loss, "an algorithm or ") if ":" in asked.loss else asked.loss)
    return 0


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
