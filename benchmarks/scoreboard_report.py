"""The scoreboard as a page and pictures, of whatever runs there are."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import groupby
from pathlib import Path
from statistics import median

from curves import COLOURS, Curve, Level, draw
from scoreboard_rows import Row
from scoreboard_runs import Record, read
from scoreboard_scores import RULES, interval, iqm, passing, sound, verdict

from policygrad._support.files import write_atomically
from policygrad.types import F64

ALGORITHMS = ("ppo", "a2c", "reinforce", "trpo", "npg")
"""In the order of their colours."""

READING = """\
# The scoreboard

Every preset of the library on many seeds, beside what others have published. `make scoreboard` runs what is missing
and writes this page; each run's file, with all settings, figures and its curve, is in
`benchmarks/results/scoreboard/`.

## How to read it
The same training gives very different numbers by different rules, so that a number of ours stands only beside one
of theirs by the **same rule**:

| rule | score of a training | who publishes it |
|-|-|-|
| `tianshou` | 10 greedy episodes each 30,000 steps, the mean over seeds; its **maximum** | tianshou, ten seeds |
| `cleanrl` | the **last 100 training episodes**, actions sampled | CleanRL, three seeds |
| `zoo` | **greedy episodes after training**; ours: the run's best policy | rl-baselines3-zoo, one seed |

A maximum of tests is never to be compared with a last-100 score. It is the best of dozens of moments, picked after
the fact by the very figures that are then reported; it is of greedy actions, without the noise of exploring; and a
policy that collapses later keeps it. The last 100 training episodes pay for all three.

tianshou picks one moment for all seeds: where the mean over them is largest (`max_reward` in its
`examples/mujoco/tools.py`). The mean of each seed's own maximum would be larger still, and is not what it publishes.
± is the standard deviation over seeds, with the number of seeds as divisor, as there; by its rule, at that moment.
The peers measured on earlier versions of MuJoCo's environments and of the landers.

The figures that we would have you look at are the **greedy** ones: many fresh episodes of each run's best policy,
which was chosen by its training returns and not by these episodes. IQM is their interquartile mean over seeds, with a
95 % stratified bootstrap interval (Agarwal et al. 2021).

A goal was set before the runs. It is met when all its seeds have run and enough of them pass; a seed that failed
counts as one that does not pass, is left out of means, and is named under its table. Seconds and steps a second are
medians over seeds of collecting and learning, one thread a run.

Curves are of training returns with sampled actions, medians over seeds with quartiles. The dashed lines are the
published numbers, each by its own rule, so that only `cleanrl`'s is of the same kind as the end of a curve.
"""


def number(x: float) -> str:
    return (f"{x:,.0f}" if abs(x) >= 1000 else f"{x:.1f}").replace("-", "−")


def as_is(x: float) -> str:
    return f"{x:,.10g}".replace("-", "−")


def spread(scores: F64) -> str:
    return f"{number(scores.mean())} ± {number(scores.std())}" if len(scores) else "—"


HEAD = (
    "algorithm", "steps", "seeds", "rule, their steps", "ours", "theirs", "greedy", "its IQM [95 %]", "goal",
    "seeds that pass", "seconds", "steps/s", "",
)  # fmt: skip


def line(row: Row, records: Sequence[Record]) -> str:
    """The row's line of its table."""
    good = sound(records)
    failed = len(records) - len(good)
    greedy = RULES["zoo"](good)
    theirs = [as_is(p.mean) + (f" ± {as_is(p.std)}" if p.std is not None else "") for p in row.published]
    low_high = ""
    if len(greedy) > 1:
        low_high = " [{}, {}]".format(*map(number, interval([greedy])))
    goal = row.goal
    cells = (
        row.title,
        f"{row.steps:,}",
        f"{len(records)}" + (f", {failed} failed" if failed else ""),
        "<br>".join(f"{p.rule}, {p.steps:,}" for p in row.published) or "—",
        "<br>".join(spread(RULES[p.rule](good)) for p in row.published) or "—",
        "<br>".join(theirs) or "—",
        spread(greedy),
        f"{number(float(iqm(greedy)))}{low_high}" if len(greedy) else "—",
        "—" if goal is None else str(goal),
        f"{passing(goal, records)} of {len(records)}" if goal and records else "—",
        f"{median(r['seconds'] for r in good):,.0f}" if good else "—",
        f"{median(r['steps_per_second'] for r in good):,.0f}" if good else "—",
        verdict(row, records),
    )
    return f"| {' | '.join(cells)} |"


def notes(row: Row, records: Sequence[Record], others: int) -> list[str]:
    """What must not go unsaid."""
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
    """Which machine, and what it took in all."""
    if not records:
        return "Nothing has been run yet."
    machines = [r["machine"] for r in records if "machine" in r]
    kinds = dict.fromkeys(f"{m['processor']}, {m['cores']} cores, Python {m['python']}" for m in machines)
    minutes = sum(r.get("wall_seconds", 0) for r in records) / 60
    took = f"{minutes / 60:,.1f} hours" if minutes >= 60 else f"{minutes:.0f} minutes"
    versions = ", ".join(dict.fromkeys(r["version"] for r in records))
    return (
        f"{len(records)} runs with version {versions}; of one core, {took} in all, tests and evaluations included; "
        f"on {'; '.join(kinds)}."
    )


def standing(verdicts: Sequence[str]) -> str:
    """How many goals are met."""
    met = verdicts.count("**met**")
    missed = sum(verdict.startswith("not met") for verdict in verdicts)
    none = verdicts.count("no goal")
    open_ = len(verdicts) - met - missed - none
    return (
        f"Of {len(verdicts)} rows {met} met their goal and {missed} did not; without a goal: {none}; yet to be run on "
        f"all their seeds: {open_}."
    )


def picture(environment: str, found: Sequence[tuple[Row, list[Record]]], path: Path) -> bool:
    """Draw the environment's curves; False if there are none yet."""
    curves, levels = [], []
    for row, records in found:
        seeds = [(r["curve"][0], r["curve"][1]) for r in sound(records) if r["curve"][0]]
        if not seeds:
            continue
        known = row.algorithm in ALGORITHMS
        colour = COLOURS[ALGORITHMS.index(row.algorithm)] if known else COLOURS[-1]
        curves.append(Curve(row.title, seeds, colour, "dashdot" if row.label else "solid"))
        levels += [Level(f"{row.title}: {p.rule} {as_is(p.mean)}", p.mean, colour) for p in row.published]
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
        rows: all of them, environments together.
        results: where the runs' files are.
        page: where to write the page.
        images: the folder for the pictures.
        redraw: which environments' pictures to draw; the others stay as they are.
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
