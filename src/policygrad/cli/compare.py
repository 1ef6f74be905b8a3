"""`policygrad compare`: whether one configuration is better than another, and how many seeds would tell."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Literal

import tyro

from policygrad.cli.parse import parse
from policygrad.cli.text_table import Table
from policygrad.studies.compare import compare
from policygrad.studies.saved_study import open_study
from policygrad.studies.study_comparison import StudyComparison


@dataclass(frozen=True)
class Compare:
    """Compare two configurations by the returns of their runs, seed by seed where they share seeds."""

    runs: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="A B")]
    """Two folders with the runs of one configuration each: of train --seeds, or of a study
    (studies/x/CartPole-v1/ppo); or a study and one of its configurations, as studies/x:ppo. With a single study, all
    pairs of its configurations are compared."""
    by: Literal["greedy", "sampled", "last_100"] | None = None
    """Scores to compare: greedy or sampled returns of the best policies on fresh episodes, or the last 100 training
    returns. By default the first of these that both have."""
    level: float = 0.95
    """Level of the intervals; 1 − level is the largest share of wrong verdicts if nothing differs."""


def compare_command(arguments: list[str]) -> int:
    """Run `policygrad compare` and return its exit status."""
    args = parse(Compare, arguments, "policygrad compare")
    if len(args.runs) == 1:
        study = open_study(args.runs[0])
        found = [
            study.compare(*pair, by=args.by, level=args.level)
            for pair in combinations(study.configurations, 2)
        ]
        if not found:
            raise ValueError(
                f"{args.runs[0]} has a single configuration: name a second folder to compare it with"
            )
    elif len(args.runs) == 2:
        found = [compare(*args.runs, by=args.by, level=args.level)]
    else:
        raise ValueError(f"compare needs two folders, or one study; got {len(args.runs)}")
    for comparison in found:
        comparison_table(comparison).show()
    return 0


def comparison_table(comparison: StudyComparison) -> Table:
    """Return a table of a comparison, with one row per environment."""
    table = Table(f"{comparison.a} − {comparison.b}: {comparison.by} returns", ("environment", "finding"))
    for where, text in comparison.words.items():
        table.add_row(where, text)
    return table
