"""`policygrad proof`: the estimators of REINFORCE against the exact gradient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policygrad._support.console import say, stdout
from policygrad.cli.parse import parse
from policygrad.cli.text_table import Table


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
    from policygrad.proof.report import draw, run_all

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
