"""`policygrad proof` and `policygrad metrics`: what there is to look at without training anything."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import tyro
from rich.console import Console
from rich.table import Table

from policygrad.metrics import METRICS


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
    asked = tyro.cli(Proof, args=arguments, prog="policygrad proof")
    if asked.repeats < 2 or asked.episodes < 2:
        raise ValueError(f"repeats and episodes must be 2 or more; got {asked.repeats} and {asked.episodes}")
    if asked.picture is not None and not asked.picture.parent.is_dir():
        raise ValueError(f"--picture {asked.picture}: there is no folder {asked.picture.parent}")
    from policygrad.proof.show import draw, run_all

    results = run_all(asked.repeats, asked.episodes, asked.seed)
    table = Table(
        title=f"∇J by enumeration against {asked.repeats:,} estimates of {asked.episodes} episodes each"
    )
    table.add_column("REINFORCE", no_wrap=True)
    for heading in ("unbiased in theory", "∇J in all 99.9 % intervals", "relative bias", "variance"):
        table.add_column(heading, justify="right")
    for r in results:
        inside = "yes" if r.estimates.unbiased() else "no"
        table.add_row(
            r.name,
            "yes" if r.expected else "no",
            inside,
            f"{r.estimates.bias:.3f}",
            f"{r.estimates.variance:.3f}",
        )
    Console().print(table)
    if asked.picture is not None:
        draw(results, asked.picture)
        print(f"drawn: {asked.picture}")
    return 0 if all(r.estimates.unbiased() for r in results if r.expected) else 1


def metrics_command(arguments: list[str]) -> int:
    """Print the registry; returns the exit status."""
    if arguments:
        raise ValueError(f"metrics takes no arguments; got {' '.join(arguments)}")
    table = Table(title="What a run logs", show_lines=True)
    table.add_column("metric", no_wrap=True)
    for title in ("unit", "what it is", "healthy"):
        table.add_column(title)
    for name, metric in METRICS.items():
        table.add_row(name, metric.unit, metric.formula, metric.healthy)
    Console().print(table)
    return 0
