"""Tables of runs and evaluations that the commands print."""

from __future__ import annotations

import statistics
from pathlib import Path

from policygrad.cli.text_table import Table
from policygrad.evaluation.episodes import Evaluation
from policygrad.runs.run import Run


def run_table(run: Run, evaluations: list[Evaluation]) -> Table:
    """Return a table of one run and the evaluations of its best policy."""
    table = Table(f"{run.environment}: {run.engine} engine, ended by {run.ended}")
    table.add_row("steps", f"{run.steps:,}")
    table.add_row("seconds", f"{run.seconds:.2f}")
    table.add_row("steps/s, learning included", f"{run.steps / run.seconds:,.0f}")
    table.add_row("mean of the last 100 training returns", f"{run.updates.latest['return_100']:.1f}")
    if run.threshold is not None:
        solved = f"after {run.solved_at:,} steps" if run.solved_at is not None else "no"
        table.add_row(f"solved (that mean ≥ {run.threshold:g})", solved)
    add_evaluations(table, evaluations)
    if run.out is not None:
        table.add_row("saved", f"{run.out}/policy.safetensors")
        table.add_row("learning curve", f"{run.out}/curve.png")
    return table


def seeds_table(runs: list[Run], out: Path | None) -> Table:
    """Return a table of several runs, with one row per run."""
    headings = ("seed", "steps", "seconds", "solved after", "in seconds", "best mean", "ended by")
    table = Table(
        f"{runs[0].environment}: {len(runs)} seeds, {runs[0].engine} engine", headings, numbers=True
    )
    for run in runs:
        solved, within = ("no", "—") if run.threshold is not None else ("—", "—")
        if run.solved_at is not None:
            solved, within = f"{run.solved_at:,}", f"{run.solved_seconds:.2f}"
        best = f"{run.best_mean:.1f}"
        table.add_row(str(run.seed), f"{run.steps:,}", f"{run.seconds:.2f}", solved, within, best, run.ended)
    solved_at = [run.solved_at for run in runs if run.solved_at is not None]
    median = f", median after {statistics.median(solved_at):,.0f} steps" if solved_at else ""
    where = f". The runs and their curves (curves.png) are in {out}" if out is not None else ""
    summary = (
        f"{len(solved_at)} of {len(runs)} solved{median}"
        if runs[0].threshold is not None
        else "The environment has no threshold"
    )
    table.caption = summary + where
    return table


def add_evaluations(table: Table, evaluations: list[Evaluation]) -> None:
    """Add a row per evaluation, with its interval."""
    for e in evaluations:
        how = "greedy" if e.greedy else "sampled"
        if e.cut:
            limit = f"truncated after {int(e.lengths.max()):,} steps: the policy may repeat a useless action"
            table.add_row(f"{how} episodes that did not end", f"{e.cut}, {limit}")
        n = len(e.returns)
        table.add_row(f"{how} return, {f'{n} episodes' if n > 1 else 'one episode'}", e.mean_in_words)
        if n > 1 and e.failures is not None:
            table.add_row(f"{how} episodes that failed", e.failures_in_words)
