"""TRPO and the natural gradient solve CartPole-v1 with default settings; the threshold was fixed before the runs."""

from __future__ import annotations

from typing import Any

import pytest

import policygrad as pg

CASES = [
    # only the first seed of the fused engine is not a slow test
    pytest.param(engine, seed, marks=[pytest.mark.slow] * (engine != "fused" or seed > 0))
    for engine in ("fused", "autograd")
    for seed in range(3)
]


@pytest.mark.parametrize("algorithm", ["trpo", "npg"])
@pytest.mark.parametrize(("engine", "seed"), CASES)
def test_cartpole_is_solved(engine: Any, seed: int, algorithm: str):
    run = pg.train("CartPole-v1", algorithm, seed=seed, steps=100_000, engine=engine)
    assert run.steps < 100_000 + 1024
    assert pg.evaluate(run.policy, "CartPole-v1", 100, greedy=True, seed=seed).mean >= 475
