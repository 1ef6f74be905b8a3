"""Measure the gain from scoring candidates for the best policy on fresh episodes.

This trains CartPole with the preset of REINFORCE on 60 seeds, with and without scoring. Usage:

    python benchmarks/selection.py
"""

from __future__ import annotations

import time

import numpy as np

import policygrad as pg

SEEDS = range(7100, 7160)


def main() -> None:
    """Train each seed both ways, and print the returns of 100 fresh episodes of each best policy."""
    returns: dict[bool, list[float]] = {False: [], True: []}
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for seed in SEEDS:
        for select in (False, True):
            began = time.perf_counter()
            run = pg.train("CartPole-v1", "reinforce", seed=seed, select=select, progress=False)
            seconds[select].append(time.perf_counter() - began)
            # without scoring the way of acting is not chosen; greedy is better for nearly all policies here
            greedy = run.policy.greedy if select else True
            returns[select].append(pg.evaluate(run.policy, "CartPole-v1", greedy=greedy, seed=seed).mean)
    for select, name in ((False, "largest mean of training returns"), (True, "scored candidates")):
        found = np.array(returns[select])
        print(
            f"{name}: mean {found.mean():.2f}, worst {found.min():.1f}, below 499: {(found < 499).sum()}; "
            f"median {np.median(seconds[select]):.3f} s"
        )


if __name__ == "__main__":
    main()
