"""Every preset on many seeds, beside published numbers: `make scoreboard`.

    make scoreboard                            what is missing of everything: many hours
    make scoreboard ONLY=CartPole-v1,'*/ppo'   these rows, by name, environment or pattern
    make scoreboard ONLY=CartPole-v1 SEEDS=2   so many seeds of each, from 0 on
    make scoreboard SEEDS=0                    no runs: the page and the pictures of those that there are

Runs are files of their own in `benchmarks/results/scoreboard/`; Ctrl-C loses those under way and no other. Writes
`docs/scoreboard.md` and the curves in `docs/images/scoreboard/`.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections import Counter
from pathlib import Path

from scoreboard_report import report
from scoreboard_rows import Row, chosen, rows
from scoreboard_runs import Record, run_all, to_do

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
) -> int:
    """Run what is missing of the chosen rows and write the page; returns how many runs there were."""
    among = chosen(rows, only)
    all_jobs = [(row, seed) for row in among for seed in range(row.seeds if seeds is None else seeds)]
    jobs = to_do(results, all_jobs, say)
    say(f"{len(jobs)} runs to do, {len(all_jobs) - len(jobs)} there already")
    left = Counter(row.environment for row, _ in jobs)
    finished = 0

    def done(row: Row, record: Record) -> None:
        nonlocal finished
        finished += 1
        what = record["error"] or f"greedy {record['greedy']:.1f}, {record['wall_seconds']:.0f} s"
        say(f"{finished}/{len(jobs)} {row.name}, seed {record['seed']}: {what}")
        left[row.environment] -= 1
        if not left[row.environment]:
            report(rows, results, page, images, lambda environment: environment == row.environment)

    try:
        run_all(results, jobs, cores, done)
    finally:
        environments = {row.environment for row in among}
        report(rows, results, page, images, lambda environment: environment in environments)
    return finished


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", help="names or patterns of rows, separated by commas")
    parser.add_argument("--seeds", type=int, help="so many of each row instead of the row's own number")
    parser.add_argument("--cores", type=int, default=2, help="how many runs at a time")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # read by libraries as they load, in the processes to come
    # asked to end is interrupted: or the runs would go on without the one that started them
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        scoreboard(rows(), options.only, options.seeds, options.cores)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        say("interrupted: what was finished is kept; the same command goes on from there")
        sys.exit(130)


if __name__ == "__main__":
    main()
