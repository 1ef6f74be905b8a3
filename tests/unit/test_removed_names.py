"""Names and calls of earlier versions raise an error that says what to write instead."""

from __future__ import annotations

import gymnasium as gym
import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.types import Batch

ENGINES = ("fused", "autograd")


def test_calls_of_earlier_versions_say_what_to_write():
    x = np.zeros((2, 4), np.float32)
    rng = np.random.default_rng(0)
    policy = pg.Policy(
        pg.DiscretePolicy(4, 2, (4,), rng=rng), gym.spaces.Box(-1, 1, (4,)), gym.spaces.Discrete(2)
    )
    for engine_name in ENGINES:
        engine = make_engine(policy, pg.ValueNetwork(4, (4,), rng=rng), "sgd", engine_name)  # type: ignore[arg-type]
        for call in (lambda: engine.act(x, x), lambda: engine.values(x), lambda: engine.evaluate(x, x)):  # noqa: B023
            with pytest.raises(TypeError, match=r"Write engine\.\w+\(Inputs\(observation\)"):
                call()
    for call in (
        lambda: Batch(x, x[:, 0], {}),
        lambda: policy.choose(x, None),
        lambda: policy(torch.from_numpy(x)),
    ):
        with pytest.raises(TypeError, match=r"Inputs\("):
            call()


def test_names_of_earlier_versions_say_what_to_write():
    from policygrad.algorithms import ppo

    for get, message in (
        (lambda: ppo.cotangents, "write ppo_loss"),
        (lambda: pg.types.Cotangents, "LossFunction"),
        (lambda: pg.policies.StandardPolicy, "write PerceptronPolicy"),
    ):
        with pytest.raises(AttributeError, match=message):
            get()
    for name in ("cotangents", "coefficients"):
        with pytest.raises(TypeError, match=rf"Mine has {name}\(...\), which is no longer called"):
            type("Mine", (pg.PPO,), {name: lambda self: None})
