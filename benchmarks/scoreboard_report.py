"""Write the page and the pictures of the scoreboard from the finished runs."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median

import numpy as np
from curves import COLORS, Curve, Level, draw
from scoreboard_rows import Row
from scoreboard_runs import Record, read
from scoreboard_scores import RULES, completed, passing, verdict

from policygrad._support.files import write_atomically
from policygrad.statistics import estimate
from policygrad.types import F64

ALGORITHMS = ("ppo", "a2c", "reinforce", "trpo", "npg")
"""Algorithms in the order of their colors."""

READING = """\
# The scoreboard

This page compares every preset of the library, trained on many seeds, with published results. `make scoreboard` runs
what is missing and writes this page. Each run has a file with its settings, results and learning curve in
`benchmarks/results/scoreboard/`.

## How to read it
Different rules give the same training very different scores. Therefore, each of our scores is only compared with a
published one by the **same rule**:

| rule | score of a training | used by |
|-|-|-|
| `tianshou` | 10 greedy episodes every 30,000 steps, averaged over the seeds; the **maximum** | tianshou, ten seeds |
| `cleanrl` | the **last 100 training episodes**, with sampled actions | CleanRL, three seeds |
| `zoo` | **greedy episodes after training**; for ours, of the run's best policy | rl-baselines3-zoo, one seed |

A maximum over evaluations must not be compared with a score of the last 100 episodes. It is the best of dozens of
moments, chosen afterwards by the very results that are then reported. It is measured with greedy actions, without the
noise of exploration, and it remains if the policy collapses later. The last 100 training episodes have none of these
three advantages.

tianshou chooses one moment for all seeds: the one where the mean over the seeds is largest (`max_reward` in its
`examples/mujoco/tools.py`). The mean of each seed's own maximum would be larger still; tianshou does not publish it.
± is the standard deviation over the seeds, with the number of seeds as the divisor, as in tianshou. For tianshou's
rule, it is taken at the chosen moment. The other libraries used earlier versions of MuJoCo's environments and of the
landers.

We consider the **greedy** results the most meaningful ones: many fresh episodes of each run's best policy, which was
chosen without these episodes. IQM is their interquartile mean over the seeds, with the 95 % interval of
`policygrad.statistics.estimate`.

In the tables, *rule, their steps* is the rule of a published result and its number of steps, and *ours* and *theirs*
are the two scores by this rule. The row `a2c-3M` is A2C trained for 3,000,000 steps.

Each goal was set before the runs, and is judged when all its seeds have run. A goal for the *mean* is met if no run
failed and the mean over the seeds, by tianshou's rule, reaches the published one, even if not every seed does. A goal
for *greedy* results is met if enough seeds pass. A seed whose run failed counts as not passing, is left out of the
means, and is listed under its table. Seconds and steps per second are for collecting and learning with one thread per
run, and are medians over the seeds. Some rows were trained while their machine did other work, so speeds should be
compared by [the benchmarks](results.md#speed) instead.

The curves show training returns with sampled actions, as medians and quartiles over the seeds. The dashed lines are the
published results, each by its own rule, so only that of `cleanrl` is of the same kind as the end of a curve.
"""


def number(x: float) -> str:
    return (f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.1f}").replace("-", "−")


def as_is(x: float) -> str:
    return f"{x:,.10g}".replace("-", "−")


def spread(scores: F64) -> str:
    return f"{number(scores.mean())} ± {number(scores.std())}" if len(scores) else "—"


HEAD = (
    "algorithm", "steps", "seeds", "rule, their steps", "ours", "theirs", "greedy", "IQM of greedy [95 %]", "goal",
    "seeds that pass", "seconds", "steps/s", "result",
)  # fmt: skip


def line(row: Row, records: Sequence[Record]) -> str:
    """Return the line of the row in its table."""
    good = completed(records)
    failed = len(records) - len(good)
    greedy = RULES["zoo"](good)
    theirs = [as_is(p.mean) + (f" ± {as_is(p.std)}" if p.std is not None else "") for p in row.published]
    iqm = "—"
    if len(greedy):
        found = estimate(greedy, np.random.default_rng(0))
        iqm = number(found.value) + (
            f" [{number(found.low)}, {number(found.high)}]" if len(greedy) > 1 else ""
        )
    goal = row.goal
    cells = (
        row.title,
        f"{row.steps:,}",
        f"{len(records)}" + (f", {failed} failed" if failed else ""),
        "<br>".join(f"{p.rule}, {p.steps:,}" for p in row.published) or "—",
        "<br>".join(spread(RULES[p.rule](good)) for p in row.published) or "—",
        "<br>".join(theirs) or "—",
        spread(greedy),
        iqm,
        "—" if goal is None else str(goal),
        f"{passing(goal, records)} of {len(records)}" if goal and records else "—",
        f"{median(r['seconds'] for r in good):,.0f}" if good else "—",
        f"{median(r['steps_per_second'] for r in good):,.0f}" if good else "—",
        verdict(row, records),
    )
    return f"| {' | '.join(cells)} |"


def notes(row: Row, records: Sequence[Record], others: int) -> list[str]:
    """Return remarks on failed runs and on runs that are left out."""
    found = []
    for record in records:
        if record["ended"] != "budget":
            when = f" after {record['steps']:,} steps" if "steps" in record else ""
            message = " ".join(record["error"].split())[:300]
            found.append(f"- {row.title}, seed {record['seed']} **failed**{when}: {message}")
    if others:
        found.append(
            f"- {row.title}: {others} runs with earlier settings are left out; they will be run again."
        )
    return found


def circumstances(records: Sequence[Record]) -> str:
    """Return a sentence about the number of runs, their total time and the machines."""
    if not records:
        return "Nothing has been run yet."
    machines = [r["machine"] for r in records if "machine" in r]
    kinds = dict.fromkeys(f"{m['processor']}, {m['cores']} cores, Python {m['python']}" for m in machines)
    minutes = sum(r.get("seconds", 0) for r in records) / 60
    took = f"{minutes / 60:,.1f} hours" if minutes >= 60 else f"{minutes:.0f} minutes"
    versions = ", ".join(dict.fromkeys(r["version"] for r in records))
    return (
        f"{len(records)} runs with version {versions} took {took} of one core in total for collecting and learning, "
        f"without evaluations, on {'; '.join(kinds)}."
    )


def standing(verdicts: Sequence[str]) -> str:
    """Return a sentence about how many goals are met."""
    met = verdicts.count("**met**")
    missed = sum(verdict.startswith("not met") for verdict in verdicts)
    none = verdicts.count("no goal")
    open_ = len(verdicts) - met - missed - none
    return (
        f"{met} of {len(verdicts)} rows met their goal and {missed} did not. Rows without a goal: {none}. Rows with "
        f"seeds that are still to be run: {open_}."
    )


def picture(environment: str, found: Sequence[tuple[Row, list[Record]]], path: Path) -> bool:
    """Draw the curves of the environment; return False if there are none yet."""
    curves, levels = [], []
    for row, records in found:
        seeds = [(r["curve"][0], r["curve"][1]) for r in completed(records) if r["curve"][0]]
        if not seeds:
            continue
        known = row.algorithm in ALGORITHMS
        color = COLORS[ALGORITHMS.index(row.algorithm)] if known else COLORS[-1]
        curves.append(Curve(row.title, seeds, color, "dashdot" if row.label else "solid"))
        levels += [Level(f"{row.title}: {p.rule} {as_is(p.mean)}", p.mean, color) for p in row.published]
    if curves:
        draw(path, f"{environment}: median and quartiles over seeds", curves, levels)
    return bool(curves)


def report(
    rows: Sequence[Row],
    results: Path,
    page: Path,
    images: Path,
    redraw: Callable[[str], bool] = lambda _: True,
) -> None:
    """Write the page and the pictures.

    Args:
        rows: all rows, grouped by environment.
        results: folder of the files of the runs.
        page: file to write.
        images: folder for the pictures.
        redraw: returns True for the environments whose pictures are drawn; the others are left unchanged.
    """
    sections: list[str] = []
    everything: list[Record] = []
    verdicts: list[str] = []
    for environment, group in groupby(rows, key=lambda row: row.environment):
        found = [(row, *read(results, row)) for row in group]
        path = images / f"{environment}.png"
        if redraw(environment):
            picture(environment, [(row, records) for row, records, _ in found], path)
        sections += [f"## {environment}", ""]
        if path.exists():
            link = os.path.relpath(path, page.parent)
            sections += [
                f"![{environment}: median and quartiles of the training return over seeds]({link})",
                "",
            ]
        sections += [f"| {' | '.join(HEAD)} |", f"|{'-|' * len(HEAD)}"]
        sections += [line(row, records) for row, records, _ in found] + [""]
        remarks = [note for row, records, others in found for note in notes(row, records, others)]
        sections += [*remarks, ""] if remarks else []
        verdicts += [verdict(row, records) for row, records, _ in found]
        everything += [record for _, records, _ in found for record in records]
    text = "\n".join(
        [
            READING,
            "## What was run",
            circumstances(everything),
            *([standing(verdicts)] if everything else []),
            "",
            *sections,
        ]
    )
    write_atomically(page, (text.rstrip() + "\n").encode())
