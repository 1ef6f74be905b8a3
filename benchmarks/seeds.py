"""Compare several seeds on two cores with one core: threads with compiled code, processes with Gymnasium's CartPole.

The environment is CartPole-v1 unless another one is named.

Each measurement trains four seeds. The table gives steps per second of all runs together, from the call of `train` to
its end, the ratio of two cores to one, and the CPU time per run, start-up included. On a machine that does other work
at the same time, the wall-clock time of two cores says little. The CPU time per run then shows what the machine could
do: two cores are as fast as twice the ratio of the CPU times. Usage:

    python benchmarks/seeds.py --seconds 20 --repeats 3
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from typing import Any

import policygrad as pg

SEEDS = 4
LINEAR = pg.Network(hidden=())
PLAIN = {"baseline": "none", "normalize_advantages": False, "average": "episodes", "max_grad_norm": None}
ROWS: dict[str, dict[str, Any]] = {
    "A2C, 8 environments, 5 steps": {"algorithm": pg.A2C(), "num_envs": 8},
    "ActorCritic, 8 environments": {"algorithm": pg.ActorCritic(), "num_envs": 8},
    "ActorCritic, 1 environment": {"algorithm": pg.ActorCritic(), "num_envs": 1},
    "REINFORCE, 1 environment": {"algorithm": pg.Reinforce(), "num_envs": 1},
    "PPO, 8 environments, 32 steps, 20 epochs of 256": {
        "algorithm": pg.PPO(horizon=32, epochs=20, minibatch_size=256), "num_envs": 8,
    },
    "ShortCorridor-v0, linear, 1 environment": {
        "env": "ShortCorridor-v0", "network": LINEAR, "num_envs": 1,
        "algorithm": pg.Reinforce(gamma=1.0, optimizer="sgd", learning_rate=2**-13, **PLAIN),
    },
    "MountainCarContinuous-v0, PPO, shaped and normalized": {"env": "MountainCarContinuous-v0", "algorithm": "ppo"},
    "compiled CartPole, PPO": {"algorithm": pg.PPO(), "num_envs": 8},
    "Gymnasium's CartPole, REINFORCE": {"algorithm": pg.Reinforce(), "num_envs": 8, "backend": "gymnasium"},
    "Gymnasium's CartPole, PPO": {"algorithm": pg.PPO(), "num_envs": 8, "backend": "gymnasium"},
}  # fmt: skip
WAYS = {"one core": (1, "auto"), "two threads": (2, "threads"), "two processes": (2, "processes")}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="approximate length of each run alone")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--only", nargs="+", choices=ROWS, default=list(ROWS))
    options = parser.parse_args()
    for name in options.only:
        row = ROWS[name]
        # the first training loads the code
        _train(row, steps=1_000)
        steps = int(_train(row, steps=50_000)[0] * options.seconds)
        found: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
        # all ways once before the next repeat, so that a drift of the machine's speed affects them alike
        for _ in range(options.repeats):
            for way, (cores, parallel) in WAYS.items():
                found[way].append(_train(row, steps=steps, seeds=SEEDS, cores=cores, parallel=parallel))
        print(f"{name}, runs of {steps:,} steps")
        alone, alone_cpu = (statistics.median(figures) for figures in zip(*found["one core"], strict=True))
        for way, figures in found.items():
            speed, cpu = (statistics.median(each) for each in zip(*figures, strict=True))
            print(
                f"  {way}: {speed:,.0f} steps/s ({speed / alone:.2f} times one core), "
                f"{cpu:.1f} s of CPU time per run ({cpu / alone_cpu:.2f} times one core)",
                flush=True,
            )


def _train(row: dict[str, Any], **options: Any) -> tuple[float, float]:
    """Return the steps per second and the seconds of CPU time per run."""
    wall, cpu = time.perf_counter(), _cpu_seconds()
    loop = "auto" if row.get("backend") else "compiled"
    settings = {"env": "CartPole-v1", "loop": loop, "select": False, "progress": False} | row | options
    runs: Any = pg.train(settings.pop("env"), **settings)
    runs = runs if isinstance(runs, list) else [runs]
    steps = sum(run.steps for run in runs)
    return steps / (time.perf_counter() - wall), (_cpu_seconds() - cpu) / len(runs)


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of those that it started and that have ended."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


if __name__ == "__main__":
    main()
