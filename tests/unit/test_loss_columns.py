"""Columns of a batch that a user's loss asks for."""

from __future__ import annotations

import math
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.losses import where
from tests.helpers import rollout_of


def test_custom_columns_are_computed_from_the_batch():
    seen = []

    def positive_share(columns: Any) -> float:
        seen.append({name: column.copy() for name, column in columns.items()})
        return float((columns["advantage"] > 0).mean())

    def loss(s: Any, k: Any) -> Any:
        good = where(s.advantage > 0, s.log_prob / s.positive_share, 0.0)
        return -good + k.value_coef * (s.value - s.target) ** 2 / 2

    algorithm = pg.PPO(
        loss=loss,
        columns={"positive_share": positive_share},
        horizon=16,
        epochs=3,
        normalize_advantages="batch",
    )
    pg.train("CartPole-v1", algorithm, steps=256, num_envs=4, select=False)
    assert set(seen[0]) == {"advantage", "target", "old_log_prob", "old_value"}
    assert seen[0]["advantage"].mean() == pytest.approx(0.0, abs=1e-5)


def test_a_column_of_the_wrong_shape_or_not_finite_is_refused():
    def loss(s: Any, k: Any) -> Any:
        return -s.log_prob * s.c

    for function, kind, message in (
        (lambda columns: np.ones(3), ValueError, r"column c has shape \(3,\)"),
        (lambda columns: math.nan, pg.NonFiniteError, "column c has"),
    ):
        with pytest.raises(kind, match=message):
            pg.train("CartPole-v1", pg.Reinforce(loss=loss, columns={"c": function}), steps=100, select=False)


def test_column_functions_see_all_columns_and_cannot_change_them():
    def loss(s: Any, k: Any) -> Any:
        return -s.c * s.advantage * s.log_prob + (s.value - s.target) ** 2

    seen = pg.A2C(
        loss=loss, columns={"c": lambda columns: columns["old_value"] * 0 + columns["old_log_prob"] * 0 + 1}
    )
    pg.train("CartPole-v1", seen, steps=80, select=False)
    for function, kind, message in (
        (
            lambda columns: columns["advantag"],
            KeyError,
            "there is no column 'advantag'. The columns are advantage",
        ),
        (lambda columns: columns["advantage"].fill(0.0), ValueError, "read-only"),
    ):
        with pytest.raises(kind, match=message):
            pg.train("CartPole-v1", pg.A2C(loss=loss, columns={"c": function}), steps=80, select=False)


def test_columns_of_later_updates_see_the_policy_that_acted():
    """In A2C with V-trace, the old log π and V(s) are those before the first of several updates from the data."""
    seen: list[dict[str, np.ndarray]] = []

    def column(columns: Any) -> float:
        seen.append({name: columns[name].copy() for name in ("old_log_prob", "old_value")})
        return 1.0

    def loss(s: Any, k: Any) -> Any:
        return -s.c * s.advantage * s.log_prob + k.value_coef * (s.value - s.target) ** 2

    algorithm = pg.A2C(
        loss=loss, columns={"c": column}, estimator="v-trace", updates=3, horizon=8, learning_rate=0.05
    )
    pg.train("CartPole-v1", algorithm, steps=32, num_envs=4, select=False)
    assert len(seen) == 3
    for later in seen[1:]:
        for name, expected in seen[0].items():
            np.testing.assert_allclose(later[name], expected, atol=1e-6)


def test_grpo_advantages_are_those_of_the_paper():
    """They are (R_i − mean R) / std R over the episodes, whatever their lengths."""
    rollout = rollout_of([[1.0], [1.0] * 4, [5.0, 5.0]])
    policy = pg.Policy(
        pg.DiscretePolicy(2, 2, (4,), rng=np.random.default_rng(0)),
        gym.spaces.Box(-1, 1, (2,)),
        gym.spaces.Discrete(2),
    )
    algorithm = pg.Reinforce(
        gamma=1.0,
        returns="episode",
        baseline="mean",
        loss=lambda s, k: -s.log_prob * s.advantage / s.episode_length,
    )
    batch = algorithm.batch(rollout, make_engine(policy, None, "sgd", "fused"))
    total = np.array([1.0, 4.0, 10.0])
    expected = (total - total.mean()) / total.std()
    column = np.broadcast_to(expected, rollout.valid.shape)[rollout.valid]
    assert batch.columns["advantage"] == pytest.approx(column, rel=1e-5)
    length = np.broadcast_to([1, 4, 2], rollout.valid.shape)[rollout.valid]
    assert batch.columns["episode_length"].tolist() == length.tolist()
