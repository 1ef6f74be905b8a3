"""The diagnosis that a run prints about itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.runs.diagnosis import findings
from tests.helpers import Countdown


def columns(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("algorithm", [pg.Reinforce(learning_rate=1.0), pg.PPO(learning_rate=1.0)])
def test_too_large_a_change_of_the_policy_is_reported(algorithm: Any, capsys: pytest.CaptureFixture[str]):
    pg.train("CartPole-v1", algorithm, steps=5_000, progress=True, select=False)
    printed = capsys.readouterr().err
    assert "changed the policy too much: its KL divergence was" in printed
    assert "Lower the learning rate" in printed
    assert "every advantage was 0" not in printed


def test_equal_rewards_are_reported(capsys: pytest.CaptureFixture[str]):
    class Flat(Countdown):
        def step(self, action: int):
            observation, _, *rest = super().step(action)
            return observation, 0.0, *rest

    pg.train(lambda: Flat([5]), pg.Reinforce(baseline="none"), steps=100, progress=True, vectorize="sync")
    assert "every advantage was 0" in capsys.readouterr().err


def test_a_policy_that_is_certain_from_the_start_is_reported():
    rows = [{"steps": 10.0 * i, "entropy": 1e-9, "kl": 0.0, "policy_grad_norm": 0.0} for i in range(3)]
    assert ["certain of its actions from the start" in finding for finding in findings(columns(rows))] == [
        True
    ]


def test_nothing_is_reported_about_a_healthy_run():
    assert findings({}) == []
    assert findings(pg.train("CartPole-v1", steps=20_000).history) == []
    # a softmax policy that becomes certain step by step
    rows = [
        {"steps": float(i), "entropy": 0.7 * 0.5**i, "kl": 0.01, "policy_grad_norm": 0.1} for i in range(30)
    ]
    assert findings(columns(rows)) == []
    # the entropy of a Gaussian may be negative
    rows = [{"steps": float(i), "entropy": -float(i), "kl": 2.0, "policy_grad_norm": 0.1} for i in range(5)]
    assert findings(columns(rows)) == []
