"""Compares the duration of one study on this machine with and without a local Ray cluster, in turns.

python benchmarks/cluster_overhead.py --steps 8_000_000 --rounds 3
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import policygrad as pg
from policygrad.scheduling.choice import scheduler_for


def seconds_of(on: str | None, cores: int, runs: int, steps: int) -> tuple[float, float]:
    """Return the seconds of a study, and of its runs without starting and ending the cluster."""
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, scheduler_for(on, cores) as scheduler:
        ready = time.perf_counter()
        pg.study(
            "CartPole-v1",
            "a2c",
            seeds=runs,
            steps=steps,
            out=Path(folder) / "x",
            cores=cores,
            scheduler=scheduler,
        )
        done = time.perf_counter()
    return time.perf_counter() - began, done - ready


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--steps", type=int, default=8_000_000, help="steps of each run, which should take 10 s"
    )
    parser.add_argument("--runs", type=int, default=4)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    measured: dict[str | None, list[tuple[float, float]]] = {None: [], "ray": []}
    for _ in range(arguments.rounds):
        for on, found in measured.items():
            found.append(seconds_of(on, arguments.cores, arguments.runs, arguments.steps))
            print(
                f"{on or 'this machine'}: {found[-1][0]:.1f} s in all, {found[-1][1]:.1f} s for the study",
                flush=True,
            )
    for i, name in enumerate(("in all", "for the study")):
        here, ray = (statistics.median(row[i] for row in measured[on]) for on in (None, "ray"))
        print(f"{name}: {here:.1f} s on this machine, {ray:.1f} s on Ray: a ratio of {ray / here:.3f}")


if __name__ == "__main__":
    main()
