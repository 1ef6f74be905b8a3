"""What a run is told about itself, and what of an algorithm would be ignored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.algorithms.reinforce import reinforce_loss
from policygrad.losses import LossFunction
from policygrad.proof import estimate
from policygrad.runs.diagnosis import findings
from tests.conftest import Countdown


def columns(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


@pytest.mark.parametrize("algorithm", [pg.Reinforce(learning_rate=1.0), pg.PPO(learning_rate=1.0)])
def test_a_policy_that_blew_up_is_told_so(algorithm: Any, capsys: pytest.CaptureFixture[str]):
    pg.train("CartPole-v1", algorithm, steps=5_000, progress=True, select=False)
    said = capsys.readouterr().err
    assert "took the policy too far: its KL was" in said
    assert "Lower the learning rate" in said
    assert "every advantage was 0" not in said


def test_equal_rewards_are_still_told_as_such(capsys: pytest.CaptureFixture[str]):
    class Flat(Countdown):
        def step(self, action: int):
            observation, _, *rest = super().step(action)
            return observation, 0.0, *rest

    pg.train(lambda: Flat([5]), pg.Reinforce(baseline="none"), steps=100, progress=True, vectorize="sync")
    assert "every advantage was 0" in capsys.readouterr().err


def test_a_certain_policy_was_certain_from_the_start():
    rows = [{"steps": 10.0 * i, "entropy": 1e-9, "kl": 0.0, "policy_grad_norm": 0.0} for i in range(3)]
    assert ["certain of its actions from the start" in finding for finding in findings(columns(rows))] == [
        True
    ]


def test_a_healthy_run_is_told_nothing():
    assert findings({}) == []
    assert findings(pg.train("CartPole-v1", steps=20_000).history) == []
    # a softmax that learns to be certain, a step at a time
    rows = [
        {"steps": float(i), "entropy": 0.7 * 0.5**i, "kl": 0.01, "policy_grad_norm": 0.1} for i in range(30)
    ]
    assert findings(columns(rows)) == []
    # a Gaussian's entropy may be negative
    rows = [{"steps": float(i), "entropy": -float(i), "kl": 2.0, "policy_grad_norm": 0.1} for i in range(5)]
    assert findings(columns(rows)) == []


def test_the_proof_takes_the_algorithm_s_own_derivatives():
    """One of the wrong sign is found biased, and the right one, written again, is not."""

    def wrong(s: Any, k: Any) -> Any:
        return k.policy_scale * s.advantage * s.log_prob

    def right(s: Any, k: Any) -> Any:
        return -k.policy_scale * s.advantage * s.log_prob

    def variant(loss: LossFunction) -> pg.Reinforce:
        return pg.Reinforce(
            loss=loss, gamma=0.9, baseline="none", discount_weighting=True, average="episodes",
            normalize_advantages=False, bootstrap_truncated=False,
        )  # fmt: skip

    assert not estimate(variant(wrong), repeats=300).unbiased()
    found, own = estimate(variant(right), repeats=300), estimate(variant(reinforce_loss), repeats=300)
    assert found.unbiased()
    np.testing.assert_allclose(found.samples, own.samples, rtol=1e-6, atol=1e-7)
    with pytest.raises(
        TypeError, match="estimate takes the batch and the loss of a Reinforce or a subclass; got PPO"
    ):
        estimate(pg.PPO())  # type: ignore[arg-type]
