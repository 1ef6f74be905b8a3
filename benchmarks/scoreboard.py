"""Train every preset on many seeds and compare the results with published ones: `make scoreboard`.

    make scoreboard                            run everything that is missing, which takes many hours
    make scoreboard ONLY=CartPole-v1,'*/ppo'   run these rows, given by name, environment or pattern
    make scoreboard ONLY=CartPole-v1 SEEDS=2   run seeds 0 and 1 of each of these rows
    make scoreboard SEEDS=0                    run nothing; write the page and the pictures of the finished runs

Each row is a study in `runs/scoreboard/`, which `policygrad.open_study` reads. After Ctrl-C, the same command resumes
the runs that were in progress. Each run that has ended gets a file in `benchmarks/results/scoreboard/`. From these
files, this writes `docs/scoreboard.md` and the curves in `docs/images/scoreboard/`. To train a finished run again,
delete both its file and its folder.
"""

from __future__ import annotations

import argparse
import sys
from functools import partial
from itertools import groupby
from pathlib import Path

from scoreboard_report import report
from scoreboard_rows import Row, chosen, rows
from scoreboard_runs import Record, run_row, to_do, write

ROOT = Path(__file__).parents[1]


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def scoreboard(
    rows: list[Row],
    only: str | None = None,
    seeds: int | None = None,
    cores: int = 2,
    results: Path = ROOT / "benchmarks/results/scoreboard",
    page: Path = ROOT / "docs/scoreboard.md",
    images: Path = ROOT / "docs/images/scoreboard",
    runs: Path = ROOT / "runs/scoreboard",
) -> int:
    """Run what is missing of the chosen rows, write the page, and return the number of runs that have ended."""
    among = chosen(rows, only)
    wanted = [(row, seed) for row in among for seed in range(row.seeds if seeds is None else seeds)]
    missing = to_do(results, wanted, say)
    say(f"{len(missing)} runs to do, {len(wanted) - len(missing)} already done")
    finished = 0

    def done(row: Row, record: Record) -> None:
        nonlocal finished
        finished += 1
        write(results, row, record)
        what = record["error"] or f"greedy {record['greedy']:.1f}, {record['seconds']:.0f} s"
        say(f"{finished}/{len(missing)} {row.name}, seed {record['seed']}: {what}")

    def write_page(*environments: str) -> None:
        report(rows, results, page, images, environments.__contains__)

    try:
        for environment, group in groupby(among, key=lambda row: row.environment):
            before = finished
            for row in group:
                todo = [seed for each, seed in missing if each is row]
                if todo:
                    say(f"{row.name}: {len(todo)} runs")
                    run_row(row, todo, runs, cores, partial(done, row))
            if finished > before:
                write_page(environment)
    finally:
        write_page(*(row.environment for row in among))
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="names or patterns of rows, separated by commas")
    parser.add_argument("--seeds", type=int, help="number of seeds per row, instead of the row's own number")
    parser.add_argument("--cores", type=int, default=2, help="number of runs at a time")
    options = parser.parse_args()
    try:
        scoreboard(rows(), options.only, options.seeds, options.cores)
    except (ValueError, FileExistsError) as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        say("interrupted: all runs are saved, and the same command continues from there")
        sys.exit(130)


if __name__ == "__main__":
    main()
