"""`policygrad proof`: compare the estimators of REINFORCE with the exact gradient."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policygrad._support.checks import whole
from policygrad._support.console import say, stdout
from policygrad.cli.parse import parse
from policygrad.cli.text_table import Table


@dataclass(frozen=True)
class Proof:
    """Compare the gradient estimates of each variant of REINFORCE with the exact gradient.

    The decision process has three states, so the exact gradient can be computed by enumeration.
    """

    repeats: int = 1000
    """Number of gradient estimates per variant."""
    episodes: int = 8
    """Number of whole episodes per estimate."""
    seed: int = 0
    """Seed of all random numbers."""
    picture: Path | None = None
    """Also draw the intervals, and save the picture as this PNG file."""


def proof_command(arguments: list[str]) -> int:
    """Run `policygrad proof` and return its exit status.

    The status is 1 if an estimator that is unbiased in theory misses the exact gradient.
    """
    args = parse(Proof, arguments, "policygrad proof")
    for name in ("repeats", "episodes"):
        whole(name, getattr(args, name), at_least=2)
    if args.picture is not None and not args.picture.parent.is_dir():
        raise ValueError(f"--picture {args.picture}: the folder {args.picture.parent} does not exist")
    from policygrad.proof.report import draw, run_all

    results = run_all(args.repeats, args.episodes, args.seed)
    table = Table(
        f"The exact ∇J and {args.repeats:,} estimates of it from {args.episodes} episodes each",
        ("REINFORCE", "unbiased in theory", "all 99.9 % intervals contain ∇J", "relative bias", "variance"),
        numbers=True,
    )
    for r in results:
        inside = "yes" if r.estimates.unbiased() else "no"
        in_theory = "yes" if r.expected else "no"
        table.add_row(r.name, in_theory, inside, f"{r.estimates.bias:.3f}", f"{r.estimates.variance:.3f}")
    table.show()
    if args.picture is not None:
        draw(results, args.picture)
        say(f"picture saved: {args.picture}", stdout)
    return 0 if all(r.estimates.unbiased() for r in results if r.expected) else 1
