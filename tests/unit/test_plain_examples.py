"""The plain programs in examples/ compute the same updates as the library, up to rounding."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from torch import nn

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.interfaces import Engine
from policygrad.policies import DiscretePolicy, Policy, ValueNetwork
from policygrad.types import F32, Array, Rollout
from tests.helpers import learner_state

EXAMPLES = Path(__file__).parents[2] / "examples"
D, ACTIONS, UPDATES = 4, 3, 10
# with larger rates V(s) would overfit random data, and each step would amplify rounding errors
RATE, VALUE_RATE = 0.001, 0.002
ENGINES = ("fused", "autograd")

# the plain networks are initialized by torch before they get the weights of the library
pytestmark = pytest.mark.draws_globally


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


REINFORCE, PPO = example("plain_reinforce"), example("plain_ppo")


def both(plain: Any, engine: Any) -> tuple[Engine, list[nn.Module], list[nn.Module], list[Any]]:
    """Return the engine with its networks, and the plain networks with the same weights and their optimizers."""
    shape: dict[str, Any] = {"depth": 2, "activation": "tanh", "rng": np.random.default_rng(0)}
    network, value = DiscretePolicy(D, ACTIONS, 64, **shape), ValueNetwork(D, 64, **shape)
    box = spaces.Box(-np.inf, np.inf, (D,))
    policy = Policy(network, box, spaces.Discrete(ACTIONS))
    ours: list[nn.Module] = [network.network, value.network]
    theirs: list[nn.Module] = [plain.make_network(D, ACTIONS), plain.make_network(D, 1)]
    for mine, other in zip(ours, theirs, strict=True):
        other.load_state_dict(mine.state_dict())
    rates = (RATE, VALUE_RATE)
    optimizers = [torch.optim.Adam(m.parameters(), lr=r) for m, r in zip(theirs, rates, strict=True)]
    return make_engine(policy, value, "adam", engine), ours, theirs, optimizers


def flat(networks: list[nn.Module]) -> F32:
    parts = [nn.utils.parameters_to_vector(network.parameters()) for network in networks]
    return torch.cat(parts).detach().numpy().copy()


def check_equal(ours: list[nn.Module], theirs: list[nn.Module], before: F32) -> None:
    np.testing.assert_allclose(flat(theirs), flat(ours), rtol=1e-4, atol=1e-5)
    # each network has moved by much more than the tolerance
    sizes = [sum(p.numel() for p in network.parameters()) for network in ours]
    for moved in np.split(flat(ours) - before, sizes[:1]):
        assert np.abs(moved).mean() > 1e-3


def reward_of(observation: Array, action: Array) -> Array:
    """Return rewards that depend on the state and on the action."""
    return 1.0 + observation[..., 0] + 0.5 * (action == 1)


def some_episodes(rng: np.random.Generator) -> list[Any]:
    """Return six whole episodes of 2 to 14 steps; every second one is truncated."""
    episodes = []
    for i, T in enumerate(rng.integers(2, 15, 6)):
        observation = rng.standard_normal((T + 1, D)).astype(np.float32)
        action = rng.integers(0, ACTIONS, T)
        reward = reward_of(observation[:-1], action).astype(np.float64)
        episodes.append(REINFORCE.Episode(observation[:-1], action, reward, observation[-1], i % 2 == 0))
    return episodes


def rollout_of(episodes: list[Any]) -> Rollout:
    columns = []
    for episode in episodes:
        T = len(episode.actions)
        last = np.arange(T)[:, None] == T - 1
        reward, observation = episode.rewards[:, None], episode.observations[:, None]
        following = np.concatenate([observation[1:], episode.last_observation[None, None]])
        columns.append(
            Rollout.from_pairs(
                observation=observation,
                action=episode.actions[:, None],
                reward=reward,
                original_reward=reward,
                next_observation=following,
                terminated=last & episode.terminated,
                truncated=last & (not episode.terminated),
                valid=np.ones((T, 1), bool),
            )
        )
    return Rollout.side_by_side(columns)


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize(
    "changes", [{}, {"gamma": 0.9, "value_steps": 8, "entropy_coef": 0.3, "max_grad_norm": 2.0}]
)
def test_plain_reinforce_equals_that_of_the_library(engine_name: str, changes: dict[str, Any]):
    """Without changes both use their defaults, which must therefore be equal."""
    engine, ours, theirs, optimizers = both(REINFORCE, engine_name)
    algorithm = pg.Reinforce(learning_rate=RATE, value_learning_rate=VALUE_RATE, **changes)
    learning, before = learner_state(), flat(ours)
    for i in range(UPDATES):
        episodes = some_episodes(np.random.default_rng(i))
        algorithm.learn(engine, rollout_of(episodes), learning)
        REINFORCE.update(*theirs, optimizers, episodes, REINFORCE.Settings(**changes))
    check_equal(ours, theirs, before)


def some_steps(rng: np.random.Generator, T: int = 40, N: int = 5) -> Any:
    """Return T × N steps with terminations and truncations, one of each in the last row."""
    kind = rng.choice(3, (T, N), p=(0.9, 0.05, 0.05))
    kind[7, 0], kind[11, 1], kind[-1, :3] = 1, 2, (0, 1, 2)
    observation = rng.standard_normal((T + 1, N, D)).astype(np.float32)
    elsewhere = rng.standard_normal((T, N, D)).astype(np.float32)
    following = np.where(kind[..., None] > 0, elsewhere, observation[1:])
    action = rng.integers(0, ACTIONS, (T, N))
    reward = reward_of(observation[:-1], action).astype(np.float64)
    return PPO.Steps(observation[:-1], action, reward, following, kind == 1, kind == 2)


def rollout_from(data: Any) -> Rollout:
    return Rollout.from_pairs(
        observation=data.observation,
        action=data.action,
        reward=data.reward,
        original_reward=data.reward,
        next_observation=data.next_observation,
        terminated=data.terminated,
        truncated=data.truncated,
        valid=np.ones(data.reward.shape, bool),
    )


@pytest.mark.parametrize("engine_name", ENGINES)
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {
            "gamma": 0.9,
            "gae_lambda": 0.8,
            "epochs": 4,
            "minibatch_size": 30,
            "clip": 0.1,
            "entropy_coef": 0.05,
        },
        {"value_clip": 0.2, "epochs": 4},
    ],
)
def test_plain_ppo_equals_that_of_the_library(engine_name: str, changes: dict[str, Any]):
    """Without changes both use their defaults, except for the weight of the value loss, which Adam would undo."""
    engine, ours, theirs, optimizers = both(PPO, engine_name)
    algorithm = pg.PPO(learning_rate=RATE, value_learning_rate=VALUE_RATE, value_coef=1.0, **changes)
    learning, rng, before = learner_state(), np.random.default_rng(0), flat(ours)
    for i in range(UPDATES):
        data = some_steps(np.random.default_rng(i))
        metrics = algorithm.learn(engine, rollout_from(data), learning)
        PPO.update(*theirs, optimizers, data, PPO.Settings(**changes), rng)
        # some ratios are clipped
        assert metrics["clip_share"] > 0.01
    check_equal(ours, theirs, before)
