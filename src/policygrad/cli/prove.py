"""`policygrad prove`: compare the estimates of every algorithm with their exact expectations."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from policygrad._support.checks import whole
from policygrad._support.console import say, stdout
from policygrad.cli.parse import parse


@dataclass(frozen=True)
class Prove:
    """Compare the gradient estimates of the library's algorithms with their exact expectations on a finite MDP.

    Each estimate is an update of the real algorithm. The exit status is 1 if a mean contradicts theory.
    """

    repeats: int | None = None
    """Number of gradient estimates per row: 4,000, or 1,000 with `--quick`."""
    episodes: int = 32
    """Number of environments that each estimate uses."""
    quick: bool = False
    """Make 1,000 estimates per row, which takes less than a minute."""
    seed: int = 0
    """Seed of all random numbers."""
    json: Path | None = None
    """Also save all numbers as this JSON file."""
    picture: Path | None = None
    """Also draw bias, variance and cosine, and save the picture as this PNG file."""


def prove_command(arguments: list[str]) -> int:
    """Run `policygrad prove` and return its exit status."""
    args = parse(Prove, arguments, "policygrad prove")
    repeats = args.repeats if args.repeats is not None else 1_000 if args.quick else 4_000
    whole("repeats", repeats, at_least=100)
    whole("episodes", args.episodes, at_least=2)
    whole("seed", args.seed, at_least=0)
    for flag, path in (("--json", args.json), ("--picture", args.picture)):
        if path is not None and path.is_dir():
            raise ValueError(f"{flag} {path}: this is a folder; give the name of a file")
        if path is not None and not path.parent.is_dir():
            raise ValueError(f"{flag} {path}: the folder {path.parent} does not exist")
    from policygrad.proof import cases
    from policygrad.proof.picture import draw
    from policygrad.proof.proving import prove

    proof = prove(
        cases.CASES,
        estimates=repeats,
        num_envs=args.episodes,
        seed=args.seed,
        tick=lambda i, count, name: say(f"estimating {i}/{count}: {name}"),
    )
    say(str(proof), stdout)
    if args.json is not None:
        proof.save(args.json)
        say(f"saved: {args.json}", stdout)
    if args.picture is not None:
        draw(proof, args.picture)
        say(f"picture saved: {args.picture}", stdout)
    return 0 if proof else 1
