"""What REINFORCE learns from."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import policygrad as pg
from policygrad.engines import make_engine
from tests.conftest import rollout_of
from tests.unit.test_engines import D, networks


def values(network: nn.Module, observations: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(observations)).numpy().astype(np.float64)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_cut_episode_continues_with_the_value_of_what_followed_its_last_step(engine: Any):  # bug 4
    """Which is V(s_{T+1}), and not V(s_T): the rollout's observations there are unlike."""
    policy, value = networks("categorical")
    rollout = rollout_of([[1.0, 2.0], [3.0], [5.0]], truncated=True, D=D)
    # the last episode was not cut but terminated
    over = np.array([False, False, True])
    rollout = replace(rollout, terminated=rollout.truncated & over, truncated=rollout.truncated & ~over)
    at_end = [1, 0, 0], [0, 1, 2]
    before, after = (values(value, x[at_end]) for x in (rollout.observation, rollout.next_observation))
    assert np.abs(before - after).min() > 0.01
    algorithm = pg.Reinforce(gamma=0.9, normalize_advantages=False)
    batch = algorithm.batch(rollout, make_engine(policy, value, "adam", engine))
    expected = np.array([1 + 0.9 * (2 + 0.9 * after[0]), 3 + 0.9 * after[1], 5.0, 2 + 0.9 * after[0]])
    np.testing.assert_allclose(batch.target, expected, rtol=1e-5)
    now = values(value, rollout.observation[rollout.valid])
    np.testing.assert_allclose(batch.advantage, expected - now, rtol=1e-5, atol=1e-5)
