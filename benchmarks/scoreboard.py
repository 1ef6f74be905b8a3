"""Train every preset on many seeds and compare the results with published ones: `make scoreboard`.

    make scoreboard                            run everything that is missing, which takes many hours
    make scoreboard ONLY=CartPole-v1,'*/ppo'   run these rows, given by name, environment or pattern
    make scoreboard ONLY=CartPole-v1 SEEDS=2   run seeds 0 and 1 of each of these rows
    make scoreboard SEEDS=0                    run nothing; write the page and the pictures of the finished runs

Each run has a file in `benchmarks/results/scoreboard/`. Ctrl-C loses only the runs in progress. This writes
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
    """Run what is missing of the chosen rows, write the page, and return the number of runs."""
    among = chosen(rows, only)
    all_jobs = [(row, seed) for row in among for seed in range(row.seeds if seeds is None else seeds)]
    jobs = to_do(results, all_jobs, say)
    say(f"{len(jobs)} runs to do, {len(all_jobs) - len(jobs)} already done")
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
    parser.add_argument("--seeds", type=int, help="number of seeds per row, instead of the row's own number")
    parser.add_argument("--cores", type=int, default=2, help="number of runs at a time")
    options = parser.parse_args()
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = "1"  # libraries in the new processes read these when they are loaded
    # treat SIGTERM like Ctrl-C, because otherwise the runs would continue without this process
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        scoreboard(rows(), options.only, options.seeds, options.cores)
    except ValueError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        say("interrupted: finished runs are kept, and the same command continues from there")
        sys.exit(130)


if __name__ == "__main__":
    main()
