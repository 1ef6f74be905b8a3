"""Rollouts and batches: shapes are checked, and rollouts can be joined."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from policygrad.types import Batch, Inputs, Rollout
from tests.helpers import batch_for, networks, rollout_of, steps_for


def test_arrays_of_the_wrong_shape_are_refused():
    """An extra axis must raise, because [T, N, 1] with [T, N] would broadcast in silence."""
    whole = rollout_of([[1, 1], [1, 1]])
    parts = {f: getattr(whole, f) for f in Rollout.__dataclass_fields__}
    with pytest.raises(ValueError, match="reward has shape"):
        Rollout(**parts | {"reward": whole.reward[..., None]})
    for index in ([2, 1], [-1], [4], [1, 1]):
        final = {
            "final_index": np.array(index),
            "final_observation": np.zeros((len(index), whole.rows.shape[2]), np.float32),
        }
        with pytest.raises(ValueError, match="final_index must be strictly increasing"):
            Rollout(**parts | final)
    with pytest.raises(ValueError, match="truncated has shape"):
        Rollout(**parts | {"truncated": whole.truncated[:1]})


@pytest.mark.parametrize("name", ["advantage", "target"])
def test_columns_with_an_extra_axis_are_refused(name: str):
    """[B, 1] with [B] would broadcast to [B, B] in silence."""
    inputs, action = Inputs(np.zeros((5, 2), np.float32)), np.zeros(5, np.int64)
    good = {"advantage": np.zeros(5, np.float32), "target": np.zeros(5, np.float32)}
    batch = Batch(inputs, action, good)
    assert len(batch) == 5
    wrong = np.zeros((5, 1), np.float32)
    with pytest.raises(ValueError, match=rf"{name} has shape \(5, 1\); expected \(5,\)"):
        Batch(inputs, action, {**good, name: wrong})
    with pytest.raises(ValueError, match=rf"{name} has shape \(5, 1\); expected \(5,\)"):
        batch.with_columns(**{name: wrong})


def test_an_empty_batch_is_refused():
    nothing = np.zeros(0, np.float32)
    with pytest.raises(ValueError, match="at least one sample"):
        Batch(Inputs(np.zeros((0, 2), np.float32)), np.zeros(0, np.int64), {"advantage": nothing})


def test_side_by_side_pads_the_shorter_rollout():
    joined = Rollout.side_by_side([rollout_of([[1, 2, 3]]), rollout_of([[4], [5]])])
    assert joined.valid.tolist() == [[True, True, True], [True, False, False], [True, False, False]]
    assert joined.reward[:, 0].tolist() == [1, 2, 3]
    assert joined.num_samples == 5
    assert joined.done.sum() == 3


def test_a_column_of_another_length_is_refused_by_its_name():
    policy, _ = networks("categorical")
    batch = batch_for(policy)
    with pytest.raises(ValueError, match="old_log_prob has shape"):
        Batch(batch.inputs, batch.action, {**batch.columns, "old_log_prob": np.zeros(3, np.float32)})


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"action": np.zeros(3, np.int64)}, r"action has shape \(3,\); expected 600 rows"),
        ({"length": 7}, "length must be 1 or more and divide the 600 samples; got 7"),
        ({"weight": np.ones(4, np.float32)}, r"weight has shape \(4,\)"),
    ],
)
def test_parts_of_a_batch_that_do_not_fit_are_named(changed: dict[str, Any], message: str):
    batch = batch_for(networks("categorical")[0])
    with pytest.raises(ValueError, match=message):
        replace(batch, **changed)


def test_a_critic_s_observations_must_be_as_many_as_the_samples():
    batch = batch_for(networks("categorical")[0])
    inputs = replace(batch.inputs, critic_observation=np.zeros((2, 9), np.float32))
    with pytest.raises(ValueError, match=r"critic_observation has shape \(2, 9\); expected 600 rows"):
        replace(batch, inputs=inputs)


def test_successors_are_the_final_observations_where_an_episode_ended():
    rollout = steps_for(networks("categorical")[0], seed=0)
    assert len(rollout.final_index) > 0
    for where in (rollout.done, rollout.valid, rollout.valid & ~rollout.done):
        np.testing.assert_array_equal(rollout.successors(where), rollout.next_observation[where])
