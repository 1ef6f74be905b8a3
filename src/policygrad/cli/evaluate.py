"""`policygrad evaluate`: run a saved policy and report its return."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from policygrad._support.console import say
from policygrad.cli.parse import parse
from policygrad.cli.results import add_evaluations
from policygrad.cli.saved_policy import SavedPolicy
from policygrad.cli.text_table import Table
from policygrad.envs.options import Vectorize
from policygrad.evaluation.episodes import evaluate
from policygrad.watching import check_video, record_video


@dataclass(frozen=True)
class Evaluate(SavedPolicy):
    """Run a saved policy for whole episodes and report its mean return with a 95 % interval."""

    vectorize: Vectorize | None = None
    """Where Python environments run: in this process (sync), in separate processes (processes), or wherever a
    measurement says that they are faster (auto)."""
    episodes: int = 100
    """Number of episodes per evaluation."""
    seed: int = 0
    """Seed of the episodes; evaluation never shares randomness with training."""
    policy: Literal["both", "greedy", "sampled"] = "both"
    """Whether to evaluate greedy actions, sampled actions, or both."""
    video: Path | None = None
    """Also record a further episode in this GIF or MP4 file (see `policygrad watch --help`)."""


def evaluate_command(arguments: list[str]) -> int:
    """Run `policygrad evaluate` and return its exit status."""
    args = parse(Evaluate, arguments, "policygrad evaluate")
    if args.video is not None:
        check_video(args.video)
    policy, name, options = args.opened()
    ways = {"both": (False, True), "greedy": (True,), "sampled": (False,)}[args.policy]
    table = Table(f"{args.run} on {name}")
    evaluations = [
        evaluate(policy, name, args.episodes, greedy, seed=args.seed, progress=True, **options)
        for greedy in ways
    ]
    add_evaluations(table, evaluations)
    if args.video is not None:
        greedy = policy.greedy if args.policy == "both" else args.policy == "greedy"
        shown = record_video(policy, name, args.video, greedy=greedy, seed=args.seed, say=say, **options)
        table.add_row(f"video of one {'greedy' if greedy else 'sampled'} episode", str(args.video))
        table.add_row("its return", f"{shown.mean:.1f}")
    table.show()
    return 0
