"""Probe environments: five tiny problems, each of which adds one thing to learn, so that a failure is easy to locate.

They are, in order: the value of one state, the values of two states that the observation distinguishes, discounting,
the better of two actions, and the better action in each of two states. The thresholds were fixed before the runs.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad.envs.kernel import uniform
from policygrad.types import Inputs

GAMMA = 0.5
ALGORITHMS: dict[str, Any] = {
    "reinforce": pg.Reinforce(gamma=GAMMA, episodes_per_env=4, learning_rate=0.01, value_learning_rate=0.01),
    "actor-critic": pg.ActorCritic(gamma=GAMMA, learning_rate=0.005, value_learning_rate=0.005),
    "actor-critic, traces": pg.ActorCritic(
        gamma=GAMMA, learning_rate=0.005, value_learning_rate=0.005, policy_trace=0.5, value_trace=0.5
    ),
    "a2c": pg.A2C(gamma=GAMMA, learning_rate=0.003),
    "a2c, n-step": pg.A2C(gamma=GAMMA, learning_rate=0.003, estimator="n-step", n=2),
    "a2c, v-trace": pg.A2C(gamma=GAMMA, learning_rate=0.003, estimator="v-trace", updates=2),
    "ppo": pg.PPO(gamma=GAMMA, horizon=32, epochs=4, learning_rate=0.003),
    "trpo": pg.TRPO(gamma=GAMMA, horizon=32, value_learning_rate=0.01),
    "npg": pg.NaturalGradient(gamma=GAMMA, horizon=32, value_learning_rate=0.01),
}
STEPS = 12_000
TOLERANCE = 0.1


def reset(state, rng):
    state[0] = -1.0 if uniform(rng, 0.0, 1.0) < 0.5 else 1.0
    state[1] = 0.0


def observe_sign(state, observation):
    observation[0] = state[0]


def observe_nothing(state, observation):
    observation[0] = 0.0


def observe_time(state, observation):
    observation[0] = state[1]


def always_1(state, action, rng):
    return 1.0, True


def the_sign(state, action, rng):
    return state[0], True


def at_the_second_step(state, action, rng):
    state[1] += 1.0
    return (1.0 if state[1] == 2.0 else 0.0), state[1] == 2.0


def the_first_action(state, action, rng):
    return (1.0 if action[0] == 0.0 else -1.0), True


def the_sign_s_action(state, action, rng):
    return (1.0 if (action[0] == 1.0) == (state[0] > 0.0) else -1.0), True


def probe(name: str, step: Any, observe: Any) -> pg.Kernel:
    return pg.Kernel(
        name=name,
        observation_space=spaces.Box(-2, 2, (1,), np.float32),
        action_space=spaces.Discrete(2),
        state=np.zeros(2),
        max_steps=10,
        reset=reset,
        step=step,
        observe=observe,
    )


def climb(algorithm: str, kernel: pg.Kernel, engine: Any = "fused") -> tuple[pg.Policy, Any]:
    """Return the trained policy, and V as a function of the observation, which is one number."""
    value = pg.ValueNetwork(1, (32,), activation="tanh", init="orthogonal", rng=np.random.default_rng(1))
    run = pg.train(
        kernel, ALGORITHMS[algorithm], steps=STEPS, num_envs=8, value=value, engine=engine, progress=False,
        network=pg.Network((32,)),
    )  # fmt: skip

    def v(x: float) -> float:
        with torch.no_grad():
            return value(torch.tensor([[x]])).item()

    return run.last_policy, v


def probability(policy: pg.Policy, x: float, action: int) -> float:
    with torch.no_grad():
        return policy(Inputs(torch.tensor([[x]]))).exp()[0, action].item()


@pytest.mark.filterwarnings("ignore:the policy's gradient was 0")  # the reward does not depend on the action
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_1_the_value_of_a_state_is_learned(algorithm: str):
    _, v = climb(algorithm, probe("one state", always_1, observe_nothing))
    assert v(0.0) == pytest.approx(1.0, abs=TOLERANCE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_2_values_depend_on_what_is_observed(algorithm: str):
    _, v = climb(algorithm, probe("two states", the_sign, observe_sign))
    assert v(1.0) == pytest.approx(1.0, abs=TOLERANCE)
    assert v(-1.0) == pytest.approx(-1.0, abs=TOLERANCE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_3_later_rewards_are_discounted(algorithm: str):
    _, v = climb(algorithm, probe("two steps", at_the_second_step, observe_time))
    assert v(1.0) == pytest.approx(1.0, abs=TOLERANCE)
    assert v(0.0) == pytest.approx(GAMMA, abs=TOLERANCE)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_4_the_better_action_is_learned(algorithm: str):
    policy, _ = climb(algorithm, probe("two actions", the_first_action, observe_nothing))
    assert probability(policy, 0.0, 0) > 0.9


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_5_the_better_action_in_each_state_is_learned(algorithm: str):
    policy, v = climb(algorithm, probe("two actions, two states", the_sign_s_action, observe_sign))
    assert probability(policy, 1.0, 1) > 0.9
    assert probability(policy, -1.0, 0) > 0.9
    assert v(1.0) == pytest.approx(1.0, abs=0.25)  # the policy is still changing


# traces need a backward pass per sample, which takes autograd as long as all other cases together
@pytest.mark.long
@pytest.mark.parametrize("algorithm", [name for name in ALGORITHMS if "traces" not in name])
def test_the_autograd_engine_learns_the_last_probe_too(algorithm: str):
    policy, _ = climb(
        algorithm, probe("two actions, two states", the_sign_s_action, observe_sign), "autograd"
    )
    assert probability(policy, 1.0, 1) > 0.9
    assert probability(policy, -1.0, 0) > 0.9


def test_a_critic_of_state_and_action_learns_the_value_of_each_action():
    algorithm = replace(ALGORITHMS["actor-critic"], critic="q")
    value = pg.ValueNetwork(3, (32,), activation="tanh", init="orthogonal", rng=np.random.default_rng(1))
    kernel = probe("two actions", the_first_action, observe_nothing)
    run = pg.train(kernel, algorithm, steps=STEPS, num_envs=8, value=value, progress=False)
    with torch.no_grad():
        good, bad = value(torch.tensor([[0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])).tolist()
    assert good == pytest.approx(1.0, abs=TOLERANCE)
    assert bad < good - 1  # it is taken less and less, so its value is learned less well
    assert probability(run.last_policy, 0.0, 0) > 0.9
