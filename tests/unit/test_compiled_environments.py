"""Compiled environments in Gymnasium and in the collectors, and the errors that name their bugs."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import gymnasium as gym
import numba
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env
from gymnasium.wrappers.vector import RecordEpisodeStatistics

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad._support.threads import Workers
from policygrad.engines import make_engine
from policygrad.engines.fused import FusedEngine
from policygrad.envs import KERNELS, KernelEnv, KernelVectorEnv, PotentialShaping, make
from policygrad.policies import Network, make_policy
from policygrad.rollout import EpisodeReturns, HostCollector, make_collector
from policygrad.rollout.compiled_collector import CompiledCollector
from policygrad.types import Inputs, Rollout
from tests.helpers import STEP_COLUMNS


def reset(state: Any, rng: Any) -> None:
    state[0] = 0.0


def step(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    state[0] += 1.0
    return state[0], state[0] >= 5.0


def observe(state: Any, observation: Any) -> None:
    observation[0] = state[0]
    observation[1] = -state[0]


COUNT = pg.Kernel(
    name="Count",
    observation_space=spaces.Box(-10, 10, (2,), np.float32),
    action_space=spaces.Discrete(2),
    state=np.zeros(1),
    max_steps=8,
    reset=reset,
    step=step,
    observe=observe,
)


@pytest.mark.draws_globally  # the checker of Gymnasium does
@pytest.mark.filterwarnings("ignore:.*Box observation space", "ignore:.*For Box action spaces")
@pytest.mark.parametrize("name", KERNELS)
def test_single_environments_pass_the_checker_of_gymnasium(name: str):
    check_env(KernelEnv(KERNELS[name]), skip_render_check=True)


def test_a_step_without_a_reset_is_refused():
    env = KernelEnv(COUNT)
    with pytest.raises(gym.error.ResetNeeded):
        env.step(0)
    env.reset(seed=0)
    for _ in range(5):
        *_, terminated, _, _ = env.step(0)
    assert terminated
    with pytest.raises(gym.error.ResetNeeded, match="the episode has ended"):
        env.step(0)


def test_vector_environments_reset_in_the_next_step():
    env = RecordEpisodeStatistics(KernelVectorEnv(COUNT, 3))
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    lengths = []
    for t in range(1, 13):
        observation, reward, terminated, truncated, info = env.step(np.array([0, 1, 0]))
        assert env.observation_space.contains(observation)
        expected = t % 6
        np.testing.assert_array_equal(observation, [[expected, -expected]] * 3)
        np.testing.assert_array_equal(reward, [expected] * 3)
        assert terminated.all() == (expected == 5)
        assert not truncated.any()
        lengths += info["episode"]["l"].tolist() if "episode" in info else []
    assert lengths == [5] * 6


def test_a_time_limit_truncates():
    env = KernelVectorEnv(replace(COUNT, max_steps=3), 2)
    env.reset(seed=0)
    flags = [env.step(np.zeros(2, int))[2:4] for _ in range(3)]
    assert [bool(truncated.all()) for _, truncated in flags] == [False, False, True]
    assert not any(terminated.any() for terminated, _ in flags)


def test_seeds_determine_the_initial_states():
    a, b = KernelVectorEnv(KERNELS["CartPole-v1"], 4), KernelVectorEnv(KERNELS["CartPole-v1"], 4)
    np.testing.assert_array_equal(a.reset(seed=3)[0], b.reset(seed=[3, 4, 5, 6])[0])
    assert len(np.unique(a.reset(seed=3)[0], axis=0)) == 4
    assert not np.array_equal(a.reset()[0], a.reset()[0])
    with pytest.raises(ValueError, match="expected a seed for each of 4"):
        a.reset(seed=[1, 2])
    with pytest.raises(ValueError, match=r"actions have shape \(3,\); expected \(4,\)"):
        a.step(np.zeros(3, int))
    with pytest.raises(ValueError, match="is not in Discrete"):
        a.step(np.array([0, 1, 2, 0]))


def collector_for(
    env: Any, num_envs: int, *, host: bool, settings: dict[str, Any] | None = None, **options: Any
) -> Any:
    """Return a collector with a policy whose actions differ between states, and with fixed seeds and noise."""
    environments = make(env, num_envs)
    network = Network((16,), scale_observations=True, **settings or {})
    policy = make_policy(
        environments.observation_space, environments.action_space, network, stream(0, "init")
    )
    before = policy.snapshot()
    moved = 0.5 * np.random.default_rng(1).standard_normal(before.parameters.size)
    policy.restore(before._replace(parameters=moved.astype(np.float32)))
    engine = make_engine(policy, None, "adam", "fused")
    rngs: Any = {"seeds": EpisodeSeeds(stream(0, "env")), "action_rng": stream(0, "action")}
    if host:
        return HostCollector(environments, policy, engine.act, **rngs, **options)
    if {"greedy", "watch"} & set(options):
        assert isinstance(engine, FusedEngine)
        return CompiledCollector(environments, policy, engine, **rngs, **options)
    return make_collector(environments, policy, engine, **rngs, **options)


def assert_same(a: Rollout, b: Rollout) -> None:
    np.testing.assert_array_equal(a.valid, b.valid)
    for name in STEP_COLUMNS:
        np.testing.assert_array_equal(getattr(a, name)[a.valid], getattr(b, name)[a.valid], err_msg=name)


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "SlipperyGrid-v0", "Acrobot-v1"])
def test_the_compiled_loop_and_the_python_loop_collect_the_same(env: str):
    host, fast = (collector_for(env, 5, host=host) for host in (True, False))
    for _ in range(3):
        assert_same(host.episodes(2), fast.episodes(2))


def push(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    state[0] += action[0] - 2.0 + 0.1 * action[1] - 0.1 * action[2]
    return action[0] + 10.0 * action[1] + 100.0 * action[2], state[0] >= 5.0


LEVERS = replace(
    COUNT, name="Levers", action_space=spaces.MultiDiscrete([3, 2, 4], start=[1, 0, -1]), step=push, max_steps=30
)  # fmt: skip
SWITCHES = replace(
    COUNT, name="Switches", action_space=spaces.MultiBinary((1, 3)), step=push, max_steps=30
)  # fmt: skip


def named(argument: Any) -> str:
    return argument.name if isinstance(argument, pg.Kernel) else str(argument)


HEADS: list[tuple[Any, dict[str, Any]]] = [
    (LEVERS, {}),
    (SWITCHES, {}),
    ("Pendulum-v1", {"state_dependent_std": True}),
    ("Pendulum-v1", {"distribution": "squashed"}),
    ("Pendulum-v1", {"distribution": "squashed", "state_dependent_std": True}),
    ("Pendulum-v1", {"distribution": "beta"}),
    ("Pendulum-v1", {"distribution": "gsde", "sde_period": 3}),
]


@pytest.mark.parametrize(("env", "settings"), HEADS, ids=named)
def test_the_loops_agree_for_every_distribution(env: Any, settings: dict[str, Any]):
    host, fast = (collector_for(env, 5, host=host, settings=settings) for host in (True, False))
    for _ in range(2):
        assert_same(host.episodes(2), fast.episodes(2))


def test_several_choices_reach_an_environment_with_its_own_start():
    collector = collector_for(LEVERS, 4, host=False)
    rollout = collector.episodes()
    acted = rollout.action[rollout.valid]
    assert acted.dtype == np.int64
    np.testing.assert_array_equal(np.unique(acted, axis=0).max(0), [2, 1, 3])
    np.testing.assert_array_equal(
        rollout.reward[rollout.valid], (acted + np.array([1, 0, -1])) @ [1, 10, 100]
    )
    vector = KernelVectorEnv(LEVERS, 2)
    vector.reset(seed=0)
    with pytest.raises(ValueError, match="is not in MultiDiscrete"):
        vector.step(np.array([[1, 0, -1], [1, 2, 0]]))


GREEDY: list[tuple[Any, dict[str, Any]]] = [
    (env, {}) for env in ("CartPole-v1", "Pendulum-v1", "SlipperyGrid-v0")
]


@pytest.mark.parametrize(("env", "settings"), [*GREEDY, *HEADS], ids=named)
def test_greedy_actions_are_the_most_probable(env: Any, settings: dict[str, Any]):
    collector = collector_for(env, 3, host=False, settings=settings, workers=Workers(), greedy=True)
    rollout, policy = collector.episodes(), collector._policy
    observation, action = rollout.observation[rollout.valid], rollout.action[rollout.valid]
    np.testing.assert_allclose(action, policy.choose(Inputs(observation), None), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("env", ["MountainCarContinuous-v0", "CartPole-v1", "SlipperyGrid-v0"])
def test_both_loops_shape_the_same_rewards(env: str):
    def potential(observation: Any) -> Any:
        return observation if env == "SlipperyGrid-v0" else observation[..., 0]

    shaping = PotentialShaping(potential, 0.9)
    a, b = (collector_for(env, 3, host=host, shaping=shaping).episodes() for host in (True, False))
    assert_same(a, b)
    assert (a.reward != a.original_reward)[a.valid].any()


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1", "SlipperyGrid-v0"])
def test_steps_continue_where_the_last_rollout_ended(env: str):
    """Every row is a sample, and the next row is its successor, or after an end the start of a new episode."""
    fast = collector_for(env, 4, host=False)
    parts = [fast.steps(T) for T in (7, 150, 93)]
    joined = {name: np.concatenate([getattr(p, name) for p in parts]) for name in STEP_COLUMNS}
    done = joined["terminated"] | joined["truncated"]
    assert joined["valid"].all()
    assert done.any()
    assert not (joined["terminated"] & joined["truncated"]).any()
    following = joined["observation"][1:]
    np.testing.assert_array_equal(following[~done[:-1]], joined["next_observation"][:-1][~done[:-1]])
    assert (following[done[:-1]] != joined["next_observation"][:-1][done[:-1]]).any()


@pytest.mark.parametrize("env", ["CartPole-v1", "Pendulum-v1"])
def test_rollouts_do_not_depend_on_the_number_of_cores(env: str):
    made = []
    for cores in (1, 2, 2):
        collector = collector_for(env, 6, host=False, workers=Workers(cores))
        made.append([collector.episodes(), collector.steps(40)])
    for others in made[1:]:
        for a, b in zip(made[0], others, strict=True):
            assert_same(a, b)


def drift(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    state[0] += action[0]
    return state[0], state[0] >= 1200.0


def test_episodes_may_be_longer_than_the_first_buffer():
    """Buffers grow with the episodes, which end at different times, some of them by the time limit."""
    kernel = replace(COUNT, step=drift, max_steps=2500)
    watched: list[Any] = []

    def collected(**options: Any) -> Rollout:
        return collector_for(kernel, 3, watch=watched.append, **options).episodes()

    expected = collected(host=True)
    assert len(expected.valid) > 1024
    for cores in (1, 2):
        assert_same(expected, collected(host=False, workers=Workers(cores)))
        np.testing.assert_array_equal(watched[0].ravel(), watched[-1].ravel())


@pytest.mark.parametrize("horizon", [2, 3, 5, 40])
def test_returns_span_rollouts(horizon: int):
    """Episodes of `Count` return 1 + 2 + ... + 5 over 5 steps, wherever a rollout ends."""
    collector, returns = collector_for(COUNT, 3, host=False), EpisodeReturns(3)
    rollouts = [collector.steps(horizon) for _ in range(8)]
    found = [returns.of(rollout, rollout.original_reward) for rollout in rollouts]
    assert sum(len(r) for r, _ in found) == 3 * (8 * horizon // 5)
    for r, lengths in found:
        np.testing.assert_array_equal(r, [15.0] * len(r))
        np.testing.assert_array_equal(lengths, [5.0] * len(r))


def raises(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    state[0] += 1.0
    if state[0] > 2:
        raise ValueError("the boat has sunk")
    return 1.0, False


def divides(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    state[0] += 1.0
    return np.log(2.0 - state[0]), False


def beyond(state: Any, action: Any, rng: Any) -> tuple[float, bool]:
    state[7] = 1.0
    return 1.0, False


def half(state: Any, observation: Any) -> None:
    observation[0] = state[0]


def too_much(state: Any, observation: Any) -> None:
    for i in range(3):
        observation[i] = state[0]


def not_a_number(state: Any, observation: Any) -> None:
    observation[0] = 0.0
    observation[1] = np.nan if state[0] == 2 else 0.0


def reset_beyond(state: Any, rng: Any) -> None:
    state[3] = 1.0


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize(
    ("bug", "error", "message"),
    [
        ({"step": raises}, pg.EnvironmentFault, "step of environment 0 raised ValueError at step 3 .*has sunk"),
        ({"step": divides}, pg.NonFiniteError, "step of environment 0 at step 2 returned a reward"),
        ({"step": beyond}, pg.EnvironmentFault, "step of environment 0 raised IndexError at step 1"),
        ({"observe": half}, pg.NonFiniteError, "observe of environment 0 at step 0 .*left an entry unwritten"),
        ({"observe": too_much}, pg.EnvironmentFault, "observe of environment 0 raised IndexError at step 0"),
        ({"observe": not_a_number}, pg.NonFiniteError, "observe of environment 0 at step 2"),
        ({"reset": reset_beyond}, pg.EnvironmentFault, "reset of environment 0 raised IndexError at step 0"),
    ],
)  # fmt: skip
def test_a_bug_is_reported_with_its_function_and_step(bug: Any, error: Any, message: str, vectorized: bool):
    kernel = replace(COUNT, **bug)

    def by_hand() -> None:
        env = KernelVectorEnv(kernel, 2)
        env.reset(seed=0)
        for _ in range(5):
            env.step(np.zeros(2, int))

    def train() -> None:
        pg.train(kernel, pg.Reinforce(), steps=100, num_envs=2)

    with pytest.raises(error, match=f"Count: {message}"):
        by_hand() if vectorized else train()


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"max_steps": 0}, ValueError, "max_steps must be 1 or more"),
        ({"max_steps": 50.0}, TypeError, "max_steps must be a whole number; got 50.0"),
        ({"state": np.zeros((2, 2))}, ValueError, r"state has shape \(2, 2\); expected one axis"),
        ({"observation_space": spaces.MultiBinary(2)}, ValueError, "expected a Box of float32, or Discrete"),
        ({"action_space": spaces.Box(-1, 1, (2,), np.float64)}, ValueError, "expected a Box of float32"),
        ({"step": lambda state, action, rng: state.nothing}, TypeError, "cannot be compiled for .*nothing"),
    ],
)
def test_an_invalid_kernel_is_refused(change: Any, error: Any, message: str):
    def make_it() -> None:
        KernelVectorEnv(replace(COUNT, **change), 1)

    with pytest.raises(error, match=f"(?s){message}"):
        make_it()


def test_an_observation_outside_its_discrete_space_is_refused():
    def train() -> None:
        kernel = replace(COUNT, observation_space=spaces.Discrete(3), observe=lambda s, o: set_first(s, o))
        pg.train(kernel, pg.Reinforce(), steps=100, num_envs=2)

    with pytest.raises(
        ValueError, match=r"observe of environment 0 at step 3 wrote 3, which is not in Discrete\(3\)"
    ):
        train()


@numba.njit
def set_first(state: Any, observation: Any) -> None:
    observation[0] = state[0]


class Sinks(gym.Env):
    observation_space, action_space = spaces.Box(-1, 1, (2,)), spaces.Discrete(2)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> Any:
        self.t += 1
        if self.t == 3:
            raise RuntimeError("the boat has sunk")
        return np.zeros(2, np.float32), 0.0, False, False, {}


def test_an_exception_of_a_python_environment_says_where_it_happened():
    with pytest.raises(RuntimeError, match="the boat has sunk") as caught:
        pg.train(Sinks, pg.Reinforce(), steps=100)
    if hasattr(caught.value, "add_note"):
        assert "raised by Sinks in step, 3 steps after" in caught.value.__notes__[0]
