"""The doctor finds nothing in the runs of presets. Its thresholds were chosen with other seeds."""

from __future__ import annotations

import pytest

import policygrad as pg
from policygrad.envs.classic import CLASSIC
from policygrad.presets import PRESETS

COMPILED = [(env, algorithm) for env in CLASSIC for algorithm in PRESETS.get(env, {})]
SEEDS = [
    pytest.param(
        env,
        algorithm,
        seed,
        marks=[pytest.mark.slow] * (seed > 1 or env != "CartPole-v1"),
        id=f"{env}-{algorithm}-{seed}",
    )
    for env, algorithm in COMPILED
    for seed in range(10)
]
MUJOCO = [env for env in PRESETS if env.endswith("-v5")]


def silent(env: str, algorithm: str, seed: int) -> bool:
    run = pg.train(env, algorithm, seed=seed, progress=False, select=False)
    return run.findings == [] and pg.diagnose(run, env, seed=seed) == []


@pytest.mark.parametrize(("env", "algorithm", "seed"), SEEDS)
def test_presets_of_compiled_environments_have_no_findings(env: str, algorithm: str, seed: int):
    assert silent(env, algorithm, seed)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("env", MUJOCO)
def test_presets_of_ppo_for_mujoco_have_no_findings(env: str, seed: int):
    pytest.importorskip("envpool")
    assert silent(env, "ppo", seed)
