"""Compiled environments against those of Gymnasium, and against the models they were made from."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import gymnasium as gym
import numba
import numpy as np
import pytest
from gymnasium import spaces

from policygrad.envs.classic import CLASSIC
from policygrad.envs.finite import FiniteEnv, FiniteMDP, kernel
from policygrad.envs.kernel import Kernel, observe_at, reset_at, seed_episode, step_at
from policygrad.envs.textbook import (
    TEXTBOOK,
    chain,
    mirrored_rock_paper_scissors,
    rock_paper_scissors,
    short_corridor,
    slippery_grid,
    three_states,
)

STEPS = {"MountainCar-v0": 60_000, "Acrobot-v1": 20_000, "Pendulum-v1": 60_000}
"""Fewer than the usual 100,000 steps, where Gymnasium takes 30 or 100 µs per step."""

RESETS = {
    "CartPole-v1": [(-0.05, 0.05)] * 4,
    "MountainCar-v0": [(-0.6, -0.4), (0, 0)],
    "MountainCarContinuous-v0": [(-0.6, -0.4), (0, 0), (-1.8, -1.2)],
    "Acrobot-v1": [(-0.1, 0.1)] * 4 + [(2, 2)],
    "Pendulum-v1": [(-math.pi, math.pi), (-1, 1), (2, 2)],
}
"""The ranges (low, high) in which a reset distributes each number of the state uniformly."""

MODELS = {
    "ShortCorridor-v0": short_corridor(),
    "Chain-v0": chain(),
    "SlipperyGrid-v0": slippery_grid(),
    "RockPaperScissors-v0": rock_paper_scissors(),
    "MirroredRockPaperScissors-v0": mirrored_rock_paper_scissors(),
}


class Record(NamedTuple):
    """Steps of an environment of Gymnasium, as arrays [T, ...]."""

    state: np.ndarray
    """Before the step, as the kernel holds it."""
    first: np.ndarray
    action: np.ndarray
    observation: np.ndarray
    """After the step."""
    reward: np.ndarray
    terminated: np.ndarray


def state_of(env: Any) -> list[float]:
    state = env.state
    return [*state, 3 * state[0]] if env.spec.id == "MountainCarContinuous-v0" else [*state]


DRIVING = {
    "CartPole-v1": 3,
    "MountainCar-v0": 1,
    "MountainCarContinuous-v0": 1,
    "Acrobot-v1": 3,
    "Pendulum-v1": 1,
}
"""Index of the velocity whose sign the largest action follows to add energy (in CartPole: to remove it)."""


def drive(env_id: str) -> Record:
    """Return steps with random actions in every other episode, and in the rest mostly actions that reach the limits."""
    env: Any = gym.make(env_id).unwrapped
    rng = np.random.default_rng(0)
    T, limit, speed = STEPS.get(env_id, 100_000), CLASSIC[env_id].max_steps, DRIVING[env_id]
    if isinstance(env.action_space, spaces.Discrete):
        weak, strong = 0, int(env.action_space.n) - 1
        actions = rng.integers(env.action_space.n, size=T).tolist()
    else:
        weak, strong = env.action_space.low, env.action_space.high
        actions = list(rng.uniform(weak, strong, (T, 1)).astype(np.float32))
    rows: list[tuple[Any, ...]] = []
    env.reset(seed=0)
    episode, t = 0, 0
    for action, drives in zip(actions, rng.random(T) < 0.8, strict=True):
        if episode % 2 and drives:
            action = strong if env.state[speed] > 0 else weak
        before = state_of(env)
        observation, reward, terminated, _, _ = env.step(action)
        rows.append((before, t == 0, action, observation, reward, terminated))
        t += 1
        if terminated or t == limit:
            env.reset()
            episode, t = episode + 1, 0
    state, first, action, observation, reward, terminated = map(np.array, zip(*rows, strict=True))
    return Record(
        state.astype(float), first, action.reshape(T, 1).astype(float), observation, reward, terminated
    )


@numba.njit
def replay(addresses, starts, anew, actions, state, observation, reward, terminated):
    """Step through the actions, and restart from the state in `starts` where `anew` is True."""
    _, step, observe = addresses
    rng = np.zeros(1, np.uint64)
    for t in range(len(actions)):
        if anew[t]:
            for i in range(starts.shape[1]):
                state[i] = starts[t, i]
        reward[t], terminated[t] = step_at(step)(state, actions[t], rng)
        observe_at(observe)(state, observation[t])


def replayed(compiled: Kernel, record: Record, anew: np.ndarray) -> tuple[np.ndarray, ...]:
    found = tuple(np.empty_like(column) for column in (record.observation, record.reward, record.terminated))
    replay(compiled.addresses, record.state, anew, record.action, compiled.state.copy(), *found)
    return found


def numpy_computes_as_the_c_library() -> bool:
    x = np.random.default_rng(0).uniform(-30, 30, 20_000)
    pairs = ((np.sin, math.sin), (np.cos, math.cos), (lambda v: v**2, lambda v: math.pow(v, 2)))
    return all(ours(v) == theirs(float(v)) for ours, theirs in pairs for v in x)


@pytest.mark.parametrize("env_id", CLASSIC)
def test_a_classic_environment_steps_like_that_of_gymnasium(env_id: str):
    compiled, record = CLASSIC[env_id], drive(env_id)
    if env_id != "Pendulum-v1":
        assert record.terminated.sum() > 10
    if numpy_computes_as_the_c_library():
        # each episode is replayed from its first state
        for found, expected in zip(replayed(compiled, record, record.first), record[3:], strict=True):
            np.testing.assert_array_equal(found, expected)
        return
    # otherwise each step is replayed from its state, within one unit in the last place of float32
    observation, reward, terminated = replayed(compiled, record, np.ones_like(record.first))
    np.testing.assert_allclose(observation, record.observation, rtol=1.2e-7, atol=1e-12)
    np.testing.assert_allclose(reward, record.reward, rtol=1e-12, atol=1e-9)
    assert (terminated != record.terminated).sum() <= 1


@pytest.mark.parametrize("env_id", CLASSIC)
def test_a_classic_environment_is_declared_like_that_of_gymnasium(env_id: str):
    compiled, env, spec = CLASSIC[env_id], gym.make(env_id), gym.spec(env_id)
    assert compiled.name == env_id
    assert compiled.observation_space == env.observation_space
    assert compiled.action_space == env.action_space
    assert compiled.max_steps == spec.max_episode_steps
    assert compiled.reward_threshold == spec.reward_threshold


@numba.njit
def draw_resets(addresses, state, states, observations):
    reset, _, observe = addresses
    rng = np.zeros(1, np.uint64)
    for i in range(len(states)):
        seed_episode(rng, i)
        reset_at(reset)(state, rng)
        for j in range(len(state)):
            states[i, j] = state[j]
        observe_at(observe)(state, observations[i])


def resets_of(compiled: Kernel, count: int) -> tuple[np.ndarray, np.ndarray]:
    states = np.empty((count, len(compiled.state)))
    observations = np.empty((count, compiled.observation_numbers), np.float32)
    draw_resets(compiled.addresses, compiled.state.copy(), states, observations)
    return states, observations


@pytest.mark.parametrize("env_id", CLASSIC)
def test_resets_are_uniform_in_the_ranges_of_gymnasium(env_id: str):
    states, _ = resets_of(CLASSIC[env_id], 10_000)
    low, high = np.array(RESETS[env_id]).T
    assert ((low - 1e-8 <= states) & (states <= high + 1e-8)).all()
    # the largest difference from the uniform distribution function exceeds 0.02 once in 1500 cases (Kolmogorov)
    varies = low < high
    ranks = (np.sort(states[:, varies], axis=0) - low[varies]) / (high - low)[varies]
    assert np.abs(ranks - (np.arange(10_000)[:, None] + 0.5) / 10_000).max() < 0.02


@pytest.mark.parametrize("env_id", CLASSIC)
def test_resets_of_gymnasium_are_in_the_same_ranges(env_id: str):
    env = gym.make(env_id).unwrapped
    low, high = np.array(RESETS[env_id]).T
    env.reset(seed=0)
    states = []
    for _ in range(500):
        env.reset()
        states.append(state_of(env))
    found = np.array(states, float)
    low, high = low[: found.shape[1]], high[: found.shape[1]]
    np.testing.assert_allclose(found.min(0), low, rtol=0, atol=0.02 * (high - low).max())
    np.testing.assert_allclose(found.max(0), high, rtol=0, atol=0.02 * (high - low).max())


@pytest.mark.parametrize("env_id", CLASSIC)
def test_first_observations_equal_those_of_gymnasium(env_id: str):
    """They are equal except in Acrobot, where NumPy computes the sines of float32 angles differently."""
    compiled, env = CLASSIC[env_id], gym.make(env_id).unwrapped
    expected, states = [], []
    env.reset(seed=0)
    for _ in range(1000):
        expected.append(env.reset()[0])
        states.append(state_of(env))
    found = np.empty_like(expected)
    state = compiled.state.copy()
    watch(compiled.addresses[2], np.array(states, float), state, found)
    bound = 1.2e-7 if env_id == "Acrobot-v1" else 0
    np.testing.assert_allclose(found, expected, rtol=0, atol=bound)


@numba.njit
def watch(observe, states, state, observations):
    for i in range(len(states)):
        for j in range(states.shape[1]):
            state[j] = states[i, j]
        observe_at(observe)(state, observations[i])


@numba.njit
def wander(addresses, terminal, horizon, actions, state, counts, reward, looks):
    """Count transitions [S, A, S], record their rewards and observations, and return the number of wrong ends."""
    reset, step, observe = addresses
    rng = np.zeros(1, np.uint64)
    observation = np.zeros(1, np.float32)
    over, t, wrong = True, 0, 0
    for i in range(len(actions)):
        if over:
            seed_episode(rng, i)
            reset_at(reset)(state, rng)
            t = 0
        s = int(state[0])
        observe_at(observe)(state, observation)
        looks[s] = observation[0]
        paid, ended = step_at(step)(state, actions[i], rng)
        s2 = int(state[0])
        a = int(actions[i, 0])
        counts[s, a, s2] += 1
        reward[s, a, s2] = paid
        wrong += ended != terminal[s2]
        t += 1
        over = ended or t == horizon
    return wrong


@pytest.mark.parametrize("name", TEXTBOOK)
def test_a_finite_kernel_follows_its_tables(name: str):
    mdp, compiled = MODELS[name], TEXTBOOK[name]
    assert compiled.name == name
    assert compiled.max_steps == mdp.horizon
    S, A = mdp.transition.shape[:2]
    terminal = np.isin(np.arange(S), mdp.terminal)
    actions = np.random.default_rng(0).integers(A, size=(200_000, 1)).astype(float)
    counts, reward, looks = np.zeros((S, A, S)), np.zeros((S, A, S)), np.full(S, -1.0)
    wrong = wander(
        compiled.addresses, terminal, mdp.horizon, actions, compiled.state.copy(), counts, reward, looks
    )
    assert wrong == 0
    visits = counts.sum(-1, keepdims=True)
    assert (visits[~terminal] > 200).all()
    assert (visits[terminal] == 0).all()
    assert_frequencies(counts[~terminal], mdp.transition[~terminal])
    np.testing.assert_array_equal(reward[counts > 0], mdp.reward[counts > 0])
    np.testing.assert_array_equal(looks[~terminal], np.array(mdp.observations)[~terminal])
    assert compiled.observation_space == FiniteEnv(mdp).observation_space
    states, _ = resets_of(compiled, 20_000)
    assert_frequencies(np.bincount(states[:, 0].astype(int), minlength=S).astype(float), mdp.start)


def assert_frequencies(counts: np.ndarray, probabilities: np.ndarray) -> None:
    """Check that frequencies are within five standard deviations, and that impossible events do not occur."""
    n = counts.sum(-1, keepdims=True)
    off = np.abs(counts / n - probabilities)
    assert (off <= 5 * np.sqrt(probabilities * (1 - probabilities) / n) + 1e-12).all()


M64 = 2**64
GOLDEN, *FACTORS = 0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB


def stream_that_begins_with(bits: int) -> np.ndarray:
    """Return a state of the random stream whose next 64 bits are these, by running SplitMix64 backwards."""

    def unshifted(z: int, shift: int) -> int:
        found = z
        for _ in range(64 // shift):
            found = z ^ (found >> shift)
        return found

    z = unshifted(bits, 31) * pow(FACTORS[1], -1, M64) % M64
    z = unshifted(z, 27) * pow(FACTORS[0], -1, M64) % M64
    return np.array([(unshifted(z, 30) - GOLDEN) % M64], np.uint64)


class Always(NamedTuple):
    """A generator that always returns the same number."""

    number: float

    def random(self) -> float:
        return self.number


@numba.njit
def step_from(addresses, state, action, rng):
    step_at(addresses[1])(state, action, rng)


@pytest.mark.parametrize(
    ("bits", "number", "following"), [(0, 0.0, 1), (2**64 - 1, float(np.nextafter(1.0, 0.0)), 3)]
)
def test_a_state_of_probability_zero_is_never_reached(bits: int, number: float, following: int):
    """This holds for the smallest and the largest uniform number, in both environments made from the tables."""
    transition = np.broadcast_to([0, 0.25, 0, 0.75, 0], (5, 2, 5)).copy()
    mdp = FiniteMDP(transition, np.zeros((5, 2, 5)), np.eye(5)[0], (), 10)
    compiled, env = kernel(mdp, "gaps"), FiniteEnv(mdp)
    state = compiled.state.copy()
    step_from(compiled.addresses, state, np.zeros(1), stream_that_begins_with(bits))
    env.reset(seed=0)
    env.np_random = Always(number)  # type: ignore[assignment]
    assert state[0] == env.step(0)[0] == following


def test_finite_kernels_share_their_machine_code():
    assert len({compiled.addresses for compiled in TEXTBOOK.values()}) == 1
    assert kernel(three_states(), "three").addresses == TEXTBOOK["Chain-v0"].addresses


def test_the_slippery_grid_equals_frozen_lake():
    lake: Any = gym.make("FrozenLake-v1")
    model = lake.unwrapped.P
    mdp = slippery_grid()
    for s in range(16):
        for a in range(4):
            transition, reward = np.zeros(16), np.zeros(16)
            for probability, following, paid, terminated in model[s][a]:
                transition[following] += probability
                reward[following] = paid
                assert terminated == (following in mdp.terminal)
            np.testing.assert_allclose(mdp.transition[s, a], transition, rtol=1e-15)
            np.testing.assert_array_equal((mdp.transition * mdp.reward)[s, a] > 0, transition * reward > 0)
            np.testing.assert_array_equal(mdp.reward[s, a][transition > 0], reward[transition > 0])
    np.testing.assert_array_equal(mdp.start, lake.unwrapped.initial_state_distrib)
    assert mdp.observation_space == lake.observation_space
    assert mdp.action_space == lake.action_space
    assert mdp.horizon == lake.spec.max_episode_steps


def value_of(mdp: FiniteMDP, policy: np.ndarray) -> np.ndarray:
    """v_π [S] without a horizon, from v = Σ_a π(a|s) Σ_s' p(s'|s, a) (r + v(s')), v = 0 where episodes end."""
    inner = np.setdiff1d(np.arange(len(mdp.start)), mdp.terminal)
    moves = np.einsum("sa,sat->st", policy, mdp.transition)
    pays = np.einsum("sa,sat,sat->s", policy, mdp.transition, mdp.reward)
    value = np.zeros(len(mdp.start))
    value[inner] = np.linalg.solve(np.eye(len(inner)) - moves[np.ix_(inner, inner)], pays[inner])
    return value


def test_the_best_policy_of_the_short_corridor_is_random():
    """Sutton & Barto 2018, example 13.1."""
    mdp = short_corridor()

    def value(right: float) -> float:
        return mdp.start @ value_of(mdp, np.tile([1 - right, right], (4, 1)))

    best = 2 - math.sqrt(2)
    assert value(best) == pytest.approx(-(6 + 4 * math.sqrt(2)))
    assert value(0.59) == pytest.approx(-11.66, abs=0.01)
    assert value(best) > max(value(best - 0.01), value(best + 0.01))
    for p in (0.05, 0.5, 0.95):  # the figure's ends are ε-greedy with ε = 0.1
        assert value(p) == pytest.approx(-2 * (2 - p) / (p * (1 - p)))


def test_textbook_games_and_the_chain_have_the_right_rewards():
    beating = np.array([1, 2, 0])
    mirrored = mirrored_rock_paper_scissors()
    assert (mirrored.reward[np.arange(3), beating] == 1).all()
    fixed = rock_paper_scissors((0.5, 0.3, 0.2))
    np.testing.assert_allclose((fixed.transition * fixed.reward).sum(-1), [[-0.1, 0.3, -0.2]] * 3)
    links = chain(4, slip=0.1)
    np.testing.assert_allclose((links.transition * links.reward).sum(-1), [[0.2, 1.8]] * 3 + [[9.2, 2.8]])
    with pytest.raises(ValueError, match="length must be 2 or more"):
        chain(1)


def test_several_states_may_have_the_same_observation():
    env = FiniteEnv(short_corridor())
    assert env.observation_space == spaces.Discrete(1)
    assert env.reset(seed=0)[0] == 0
    steps = [env.step(action) for action in (1, 1, 1, 0, 0, 0, 1)]  # to and fro, then the swapped way through
    assert [step[:3] for step in steps] == [(0, -1.0, False)] * 6 + [(0, -1.0, True)]


def test_looks_must_have_one_number_per_state():
    mdp = three_states()
    tables = (mdp.transition, mdp.reward, mdp.start, mdp.terminal, mdp.horizon)
    assert FiniteMDP(*tables).observation_space == spaces.Discrete(3)
    assert FiniteMDP(*tables, looks=(1, 0, 1)).observation_space == spaces.Discrete(2)
    with pytest.raises(ValueError, match="for each of 3 states"):
        FiniteMDP(*tables, looks=(0, 0))
