"""Losses given by their derivatives, for what the vocabulary of losses lacks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.losses import where


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_derivatives_by_hand_train_like_the_loss_itself(engine: Any):
    """The function is compiled by Numba, with the columns and coefficients that it names."""

    def by_hand(s: Any, k: Any) -> Any:
        trust = 1.0 if s.advantage > 0 else k.bad_news
        return -trust * s.advantage, -k.entropy_coef, k.value_coef * (s.value - s.target)

    def written(s: Any, k: Any) -> Any:
        trust = where(s.advantage > 0, 1.0, k.bad_news)
        value_loss = k.value_coef * (s.value - s.target) ** 2 / 2
        return -trust * s.advantage * s.log_prob - k.entropy_coef * s.entropy + value_loss

    runs = [
        pg.train(
            "CartPole-v1",
            pg.A2C(coefficients={"bad_news": 0.3}, entropy_coef=0.01, **more),
            steps=800,
            engine=engine,
            select=False,
        )
        for more in ({"derivatives": by_hand}, {"loss": written})
    ]
    for run in runs:
        assert ("loss" in run.updates.latest) == (run is runs[1])
    first, second = (run.last_policy.state_dict() for run in runs)
    for key, weight in first.items():
        torch.testing.assert_close(weight, second[key], rtol=1e-3, atol=1e-4)


def test_reinforce_with_derivatives_by_hand_still_learns_its_value_network():
    algorithm = pg.Reinforce(derivatives=lambda s, k: (-s.advantage, 0.0, 0.0))
    written = pg.Reinforce(loss=lambda s, k: -s.advantage * s.log_prob)
    runs = [pg.train("CartPole-v1", a, steps=500, select=False) for a in (algorithm, written)]
    for run in runs:
        assert run.updates.latest["value_grad_norm"] > 0
    assert runs[0].updates.latest["value_loss"] == pytest.approx(
        runs[1].updates.latest["value_loss"], rel=1e-3
    )


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, k: (-s.advantge, 0.0, s.value), "did you mean s.advantage"),
        (lambda s, k: (-s.advantage, 0.0), "return three numbers"),
        (lambda s, k: (0.0, 0.0, s.value - s.target), "does not depend on s.log_prob"),
        (lambda s, k: (-s.advantage, 0.0, 0.0), r"no term for V\(s\)"),
        (lambda s, k: (-s.advantage * k.trust, 0.0, s.value), "there is no k.trust"),
        (lambda s, k: (-s.nothing, 0.0, s.value), "there is no s.nothing"),
        (lambda s, k: (-np.ones(3), 0.0, s.value), "return three numbers"),
        (lambda s, k: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_invalid_derivatives_are_refused_with_their_line(function: Any, message: str):
    with pytest.raises(pg.LossError, match=message) as caught:
        pg.A2C(derivatives=function)
    assert Path(__file__).name in str(caught.value)


def test_derivatives_that_numba_cannot_compile_are_named():
    def helper(x: float) -> float:
        return 2 * x

    algorithm = pg.A2C(derivatives=lambda s, k: (-helper(s.advantage), 0.0, s.value - s.target))
    with pytest.raises(
        pg.LossError,
        match=r"test_derivatives_by_hand.py:\d+\): Numba cannot compile these derivatives",
    ):
        pg.train("CartPole-v1", algorithm, steps=50, select=False)
    with pytest.raises(pg.LossError, match="Pass hand-written derivatives to an algorithm as derivatives="):
        pg.show(lambda s, k: (-s.advantage, 0.0, 0.0))


def test_derivatives_with_other_constants_have_another_digest():
    first, second = (
        pg.A2C(derivatives=function).traced_loss.digest
        for function in (
            lambda s, k: (-0.5 * s.advantage, 0.0, s.value),
            lambda s, k: (-0.7 * s.advantage, 0.0, s.value),
        )
    )
    assert first != second
