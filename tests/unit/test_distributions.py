"""Action distributions: densities, entropies, samples, greedy actions, and the actions that environments receive."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from scipy import stats
from torch import Tensor, nn

import policygrad as pg
from policygrad._support.seeding import EpisodeSeeds
from policygrad.engines import make_engine
from policygrad.engines.fused.heads import head_of
from policygrad.engines.fused.heads.head import Head
from policygrad.envs import make
from policygrad.interfaces import Step, Update
from policygrad.losses import traced
from policygrad.policies import Network, Policy, make_policy
from policygrad.policies.distributions.gaussian import NODES, WEIGHTS
from policygrad.policies.flat import flat_parameters
from policygrad.rollout import HostCollector
from policygrad.rollout.noise import ActionNoise
from policygrad.types import Batch, Inputs
from tests.helpers import act_with

SEEN = spaces.Box(-1, 1, (3,))
LOW, HIGH = np.array([-2.0, 1.0]), np.array([4.0, 1.5])
BOX = spaces.Box(LOW.astype(np.float32), HIGH.astype(np.float32))
CONTINUOUS: dict[str, dict[str, Any]] = {
    "gaussian": {"state_dependent_std": True},
    "squashed": {"distribution": "squashed", "log_std": -0.4},
    "squashed per state": {"distribution": "squashed", "state_dependent_std": True, "log_std": 0.3},
    "beta": {"distribution": "beta"},
    "gsde": {"distribution": "gsde"},
}
ENGINES = ("autograd", "fused")


def policy_for(settings: dict[str, Any], action_space: Any = BOX, scale: float = 0.7) -> Policy:
    """Return a policy with weights that are far enough from their initial values that no mean is 0."""
    rng = np.random.default_rng(0)
    policy = make_policy(SEEN, action_space, Network((16,), **settings), rng)
    last: Any = policy.network.network[-1]  # type: ignore[union-attr]
    with torch.no_grad():
        last.weight += torch.from_numpy(scale * rng.standard_normal(last.weight.shape)).float()
    return policy


def outputs(policy: Policy, engine_name: str, observation: np.ndarray, action: np.ndarray) -> tuple[Any, Any]:
    """Return log π and the entropy, as an engine computes them."""
    batch = Batch(Inputs(observation), action, {})
    engine = make_engine(policy, None, "sgd", engine_name)  # type: ignore[arg-type]
    found = engine.update(Update(batch, traced(lambda s, k: s.log_prob), {}, Step(0.0, None)))
    return found.log_prob, found.entropy


def grid(policy: Policy, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Return stored actions [n², 2] on a grid, and the areas [n²] of their cells in units of the environment."""
    edges = np.linspace(0, 1, n + 1) if policy.distribution.name == "beta" else np.linspace(-12, 12, n + 1)
    middle = (edges[1:] + edges[:-1]) / 2
    # the widths of the cells in units of the environment
    widths = np.diff(policy.distribution.in_units(np.stack([edges, edges], -1)), axis=0)
    x, y = (a.ravel() for a in np.meshgrid(middle, middle, indexing="ij"))
    return np.stack([x, y], -1).astype(np.float32), np.outer(widths[:, 0], widths[:, 1]).ravel()


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", ["squashed", "squashed per state", "beta"])
def test_the_density_of_environment_actions_integrates_to_one(kind: str, engine: str):
    policy = policy_for(CONTINUOUS[kind])
    for state in np.random.default_rng(1).uniform(-1, 1, (3, 3)).astype(np.float32):
        action, cell = grid(policy, 400)
        log_prob, entropy = outputs(policy, engine, np.repeat(state[None], len(action), 0), action)
        density = np.exp(log_prob.astype(np.float64))
        assert (density * cell).sum() == pytest.approx(1, abs=2e-3)
        # the entropy is that of this density
        assert entropy[0] == pytest.approx(-(density * log_prob * cell).sum(), abs=5e-3)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", CONTINUOUS)
def test_the_entropy_is_the_mean_of_minus_log_prob(kind: str, engine: str):
    policy = policy_for(CONTINUOUS[kind])
    n = 100_000
    observation = np.repeat(np.array([[0.3, -0.8, 0.5]], np.float32), n, 0)
    action = policy.choose(Inputs(observation), policy.draw_noise(np.random.default_rng(2), n))
    log_prob, entropy = outputs(policy, engine, observation, action)
    # five standard errors
    assert abs(entropy[0] + log_prob.mean()) < 5 * log_prob.std() / np.sqrt(n)


@pytest.mark.parametrize(("sigma", "bound"), [(0.5, 1e-9), (1.0, 1e-6), (2.0, 1e-3), (np.exp(2), 0.13)])
def test_the_error_of_the_quadrature_is_bounded(sigma: float, bound: float):
    """The quadrature is used for E[log(1 − tanh²u)] and its derivative with respect to the mean."""
    z = np.linspace(-12, 12, 200_001)
    density = stats.norm.pdf(z) * (z[1] - z[0])
    for mean in np.linspace(0, 5, 26):
        dense, few = mean + sigma * z, mean + sigma * NODES
        for f in (lambda u: 2 * (np.log(2) - np.logaddexp(u, -u)), lambda u: -2 * np.tanh(u)):
            assert abs(np.sum(WEIGHTS * f(few)) - np.sum(density * f(dense))) < bound


def greedy(policy: Policy, observation: np.ndarray) -> np.ndarray:
    """Return the stored greedy actions of the compiled policy."""
    engine: Any = make_engine(policy, None, "sgd", "fused")
    engine.head = engine.head._replace(greedy=True)
    return engine.act(Inputs(observation), policy.draw_noise(np.random.default_rng(0), len(observation)))


CHOICES = [spaces.Discrete(4, start=3), spaces.MultiDiscrete([3, 2, 5]), spaces.MultiBinary(3)]


@pytest.mark.parametrize("space", CHOICES, ids=str)
def test_greedy_choices_are_the_most_probable(space: Any):
    policy = policy_for({}, space)
    observation = np.random.default_rng(1).uniform(-1, 1, (50, 3)).astype(np.float32)
    logits: Tensor = policy.network.network(torch.from_numpy(observation))  # type: ignore[operator]
    sizes = [4] if isinstance(space, spaces.Discrete) else [3, 2, 5] if space != CHOICES[2] else [2, 2, 2]
    expected = np.stack([part.argmax(-1).numpy() for part in logits.split(sizes, -1)], -1)
    for found in (policy.choose(Inputs(observation), None), greedy(policy, observation)):
        assert found.dtype == np.int64
        np.testing.assert_array_equal(found.reshape(50, -1), expected)


def test_a_greedy_beta_action_is_the_mode_or_the_center_of_a_uniform():
    policy = policy_for(CONTINUOUS["beta"])
    observation = np.random.default_rng(1).uniform(-1, 1, (5, 3)).astype(np.float32)
    action, _ = grid(policy, 200)
    for state, mode, fused in zip(
        observation, policy.choose(Inputs(observation), None), greedy(policy, observation), strict=True
    ):
        log_prob, _ = outputs(policy, "autograd", np.repeat(state[None], len(action), 0), action)
        np.testing.assert_allclose(mode, action[log_prob.argmax()], atol=0.005)
        np.testing.assert_allclose(fused, mode, atol=1e-5)
    flat_parameters(policy.network).zero_()
    policy.network.network[-1].bias.data.fill_(-100.0)  # type: ignore[union-attr, index]
    for found in (policy.choose(Inputs(observation), None), greedy(policy, observation)):
        np.testing.assert_array_equal(found, np.full((5, 2), 0.5))


@pytest.mark.parametrize("kind", ["gaussian", "squashed", "gsde"])
def test_greedy_actions_of_gaussians_are_the_mean(kind: str):
    policy = policy_for(CONTINUOUS[kind])
    observation = np.random.default_rng(1).uniform(-1, 1, (20, 3)).astype(np.float32)
    mean = policy(Inputs(torch.from_numpy(observation)))[0].detach().numpy()
    np.testing.assert_array_equal(policy.choose(Inputs(observation), None), mean)
    np.testing.assert_allclose(greedy(policy, observation), mean, atol=1e-6)
    if kind == "squashed":
        expected = LOW + (HIGH - LOW) * (np.tanh(mean) + 1) / 2
        np.testing.assert_allclose(policy.act(observation, greedy=True), expected, rtol=1e-6)


def test_beta_samples_follow_their_distribution():
    """Each dimension passes the test of Kolmogorov and Smirnov in both engines, and stays strictly between 0 and 1."""
    policy = policy_for(CONTINUOUS["beta"], scale=2)
    n = 20_000
    observation = np.repeat(np.array([[0.3, -0.8, 0.5]], np.float32), n, 0)
    noise = policy.draw_noise(np.random.default_rng(3), n)
    alpha, beta = (p[0].detach().numpy() for p in policy(Inputs(torch.from_numpy(observation[:1]))))
    for engine in ENGINES:
        x = make_engine(policy, None, "sgd", engine).act(Inputs(observation), noise)  # type: ignore[arg-type]
        for k in range(2):
            assert stats.kstest(x[:, k], stats.beta(alpha[k], beta[k]).cdf).pvalue > 0.001
    edges = policy.choose(Inputs(observation[:2]), np.array([[0.0, 0.0], [1 - 2**-53, 1 - 2**-53]]))
    assert (edges > 0).all()
    assert (edges < 1).all()


def test_a_state_dependent_log_std_starts_as_given_and_stays_within_bounds():
    network = pg.GaussianPolicy(
        3, 2, 8, log_std=-1.5, log_std_bounds=(-2, 1), state_dependent_std=True, init="orthogonal", gain=0.01,
        rng=np.random.default_rng(0),
    )  # fmt: skip
    states = torch.rand(100, 3, generator=torch.Generator().manual_seed(0))
    np.testing.assert_allclose(network(states)[1].detach().log(), -1.5, atol=0.03)
    last: Any = network.network[-1]
    last.weight.data *= 1e4
    log_std = network(states)[1].log()
    assert log_std.min() >= -2
    assert log_std.max() <= 1
    assert log_std.detach().std() > 0.5


class Recorder(gym.Env[Any, Any]):
    """Episodes of ten steps, in which each action is checked and recorded."""

    def __init__(self, action_space: Any) -> None:
        self.observation_space, self.action_space = SEEN, action_space
        self.seen: list[np.ndarray] = []

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.t = 0
        return np.full(3, 0.1, np.float32), {}

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action)
        self.seen.append(np.array(action))
        self.t += 1
        return np.full(3, 0.1 * self.t, np.float32), 0.0, self.t == 10, False, {}


def rollout_of(policy: Policy, env: Recorder) -> Any:
    rngs: Any = {
        "seeds": EpisodeSeeds(np.random.default_rng(0)),
        "action_rng": np.random.default_rng(0),
    }
    return HostCollector(make(env), policy, act_with(policy), **rngs).episodes()


@pytest.mark.parametrize(
    "space",
    [
        spaces.MultiDiscrete([3, 4], start=[5, -2]),
        spaces.MultiDiscrete([[2, 3, 4], [5, 2, 3]], start=[[1, 2, 3], [4, 5, 6]], dtype=np.int32),
        spaces.MultiBinary(3),
        spaces.MultiBinary((2, 2)),
    ],
    ids=str,
)
def test_several_choices_reach_the_environment_with_its_own_start(space: Any):
    env = Recorder(space)
    rollout = rollout_of(policy_for({}, space), env)
    stored = rollout.action[:, 0]
    K = int(np.prod(space.shape))
    assert stored.shape == (10, K)
    assert stored.dtype == np.int64
    start = space.start.reshape(-1) if isinstance(space, spaces.MultiDiscrete) else 0
    np.testing.assert_array_equal(np.stack(env.seen).reshape(10, K), stored + start)
    assert stored.min() == 0


@pytest.mark.parametrize("kind", CONTINUOUS)
def test_sampled_actions_are_stored_and_the_environment_gets_them_transformed(kind: str):
    env, policy = Recorder(BOX), policy_for(CONTINUOUS[kind], scale=2)
    stored = rollout_of(policy, env).action[:, 0].astype(np.float64)
    assert stored.shape == (10, 2)
    expected = {
        "squashed": LOW + (HIGH - LOW) * (np.tanh(stored) + 1) / 2,
        "beta": LOW + (HIGH - LOW) * stored,
    }.get(policy.distribution.name, np.clip((LOW + HIGH) / 2 + (HIGH - LOW) / 2 * stored, LOW, HIGH))
    np.testing.assert_allclose(np.stack(env.seen), expected, rtol=1e-6)
    if policy.distribution.transform == "clip to the box":
        assert (np.abs(stored) > 1).any()


def test_several_choices_are_independent_and_their_log_probs_add():
    policy = policy_for({}, spaces.MultiDiscrete([2, 3]))
    n = 60_000
    observation = np.repeat(np.array([[0.3, -0.8, 0.5]], np.float32), n, 0)
    noise = policy.draw_noise(np.random.default_rng(1), n)
    for engine in ENGINES:
        action = make_engine(policy, None, "sgd", engine).act(Inputs(observation), noise)  # type: ignore[arg-type]
        pairs = np.array([[i, j] for i in range(2) for j in range(3)])
        log_prob, _ = outputs(policy, engine, observation[:6], pairs)
        share = np.array([(action == pair).all(1).mean() for pair in pairs])
        probability = np.exp(log_prob)
        assert probability.sum() == pytest.approx(1, abs=1e-5)
        assert (np.abs(share - probability) < 5 * np.sqrt(probability / n)).all()


def test_a_single_choice_takes_one_uniform_number():
    one, many = (policy_for({}, space).distribution for space in (CHOICES[0], CHOICES[1]))
    expected = np.random.default_rng(7).random(5)
    np.testing.assert_array_equal(one.draw_noise(np.random.default_rng(7), 5), expected)
    assert many.draw_noise(np.random.default_rng(7), 5).shape == (5, 3)


def test_several_choices_may_be_observed():
    for space, seen, expected in (
        (spaces.MultiDiscrete([2, 3], start=[1, 5]), [[1, 7], [2, 5]], [[1, 0, 0, 0, 1], [0, 1, 1, 0, 0]]),
        (spaces.MultiBinary(3), [[1, 0, 1]], [[1, 0, 1]]),
    ):
        policy = make_policy(space, spaces.Discrete(2), Network(), np.random.default_rng(0))
        np.testing.assert_array_equal(policy.encode(np.array(seen)), expected)
        assert policy.act(np.array(seen[0])) in (0, 1)
    policy = make_policy(
        spaces.MultiDiscrete([2, 3]), spaces.Discrete(2), Network(), np.random.default_rng(0)
    )
    with pytest.raises(ValueError, match="is not in MultiDiscrete"):
        policy.act(np.array([0, 3]))


def test_gsde_noise_is_held_for_its_period():
    """The same state gives the same action within a period, and another one in the next period."""
    policy = policy_for(CONTINUOUS["gsde"] | {"sde_period": 3})
    state = np.full((2, 3), 0.4, np.float32)
    noise = ActionNoise(policy, np.random.default_rng(0), 2)
    rows = []
    while len(rows) < 12:
        rows += [*noise.peek(5)]
        noise.advance(len(rows) - sum(1 for _ in rows[:-5]) if len(rows) > 5 else 5)
    actions = np.stack([policy.choose(Inputs(state), row) for row in rows[:12]])
    for i in range(12):
        same = (actions[i] == actions[i - i % 3]).all()
        assert same
    assert len(np.unique(actions[:, 0, 0])) == len(np.unique(actions[:, 1, 0])) == 4
    # outside a rollout each action has new noise
    assert len({policy.act(state[0], rng=np.random.default_rng(i)).tobytes() for i in range(5)}) == 5


def test_features_of_gsde_get_no_gradient_from_its_noise():
    """The entropy has a gradient only with respect to log σ, because `learn_features` is off."""
    policy = policy_for(CONTINUOUS["gsde"])
    observation = np.random.default_rng(1).uniform(-1, 1, (30, 3)).astype(np.float32)
    action = policy.choose(Inputs(observation), policy.draw_noise(np.random.default_rng(2), 30))
    for engine_name in ENGINES:
        engine = make_engine(policy, None, "sgd", engine_name)  # type: ignore[arg-type]
        batch = Batch(Inputs(observation), action, {})
        gradient, _ = engine.gradient(batch, traced(lambda s, k: -s.entropy), {})
        assert (gradient[:32] < 0).all()  # [16, 2] log σ: a loss of −H decreases with each
        np.testing.assert_array_equal(gradient[32:], 0)


def test_the_variance_of_gsde_is_that_of_its_actions():
    policy = policy_for(CONTINUOUS["gsde"] | {"log_std": -0.7})
    n = 40_000
    observation = np.repeat(np.array([[0.3, -0.8, 0.5]], np.float32), n, 0)
    action = policy.choose(Inputs(observation), policy.draw_noise(np.random.default_rng(2), n))
    variance = policy(Inputs(torch.from_numpy(observation[:1])))[3][0].detach().numpy()
    np.testing.assert_allclose(action.var(0), variance, rtol=5 * np.sqrt(2 / n))
    shallow = make_policy(SEEN, BOX, Network((), distribution="gsde"), np.random.default_rng(0))
    # without a hidden layer the features are the observation
    np.testing.assert_array_equal(shallow(Inputs(torch.from_numpy(observation[:1])))[1][0], observation[0])


@pytest.mark.parametrize("activation", ["relu", "tanh"])
@pytest.mark.parametrize("hidden", [(), (64, 64), (16,)])
@pytest.mark.parametrize("size", [3, 40])
def test_the_noise_of_gsde_starts_about_as_large_as_given(
    activation: Any, hidden: tuple[int, ...], size: int
):
    seen, rng = spaces.Box(-np.inf, np.inf, (size,)), np.random.default_rng(1)
    network = Network(hidden, activation, distribution="gsde", log_std=-0.5)
    policy = make_policy(seen, BOX, network, rng)
    observation = torch.from_numpy(rng.standard_normal((500, size)).astype(np.float32))
    std = policy(Inputs(observation))[3].mean().sqrt().item()
    assert np.exp(-0.5) / 2 < std < np.exp(-0.5) * 2.5


class TwoHeads(nn.Module):
    """A custom network with two outputs per action, each above 1."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.utils.skip_init(nn.Linear, 3, 4)
        nn.init.constant_(self.layer.weight, 0.2)
        nn.init.constant_(self.layer.bias, 0.5)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        a, b = self.layer(x).chunk(2, -1)
        return 1 + a.exp(), 1 + b.exp()


@pytest.mark.parametrize("distribution", ["squashed", "beta"])
def test_custom_networks_accept_a_distribution(distribution: Any):
    policy = Policy(TwoHeads(), SEEN, BOX, distribution=distribution)
    assert policy.distribution.name == distribution
    assert BOX.contains(policy.act(np.zeros(3), rng=np.random.default_rng(0)))
    with pytest.raises(ValueError, match="expected"):
        Policy(nn.Flatten(), SEEN, BOX, distribution=distribution).act(np.zeros(3))


def test_a_head_holds_a_single_array():
    """Each array costs 0.3 µs in every call of compiled code."""
    head = head_of(policy_for(CONTINUOUS["squashed"]))
    assert isinstance(head, Head)
    assert sum(isinstance(field, np.ndarray) for field in head) == 1


class Bandit(gym.Env[Any, Any]):
    """Episodes of one step; the reward falls with the distance of the action from the best one in this state."""

    def __init__(self, action_space: Any) -> None:
        self.observation_space, self.action_space = spaces.Discrete(2), action_space
        self._rng = np.random.default_rng(0)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        self.state = int(self._rng.integers(2))
        return self.state, {}

    def step(self, action: Any) -> Any:
        given = np.asarray(action, np.float64).reshape(-1)
        if isinstance(self.action_space, spaces.Box):
            reward = -float(((given - (0.5 if self.state else -0.5)) ** 2).sum())
        else:
            best = self.state * np.array([1, 2])
            reward = float((given == best).mean()) - 1
        return self.state, reward, True, False, {}


@pytest.mark.long
@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("kind", [*CONTINUOUS, "choices"])
def test_each_distribution_learns_a_bandit(kind: str, engine: Any):
    """The greedy action ends within 0.15 of the best action, which is ±0.5 in a box of ±1."""
    space = spaces.MultiDiscrete([2, 3]) if kind == "choices" else spaces.Box(-1, 1, (2,))
    settings = CONTINUOUS.get(kind, {}) | ({"log_std": -0.7} if kind in ("gaussian", "gsde") else {})
    # a Beta policy starts almost uniform and has the longest way to go
    rate = 0.03 if kind == "beta" else 0.01
    algorithm = pg.Reinforce(baseline="mean", learning_rate=rate, episodes_per_env=8, entropy_coef=0.001)
    run = pg.train(
        lambda: Bandit(space), algorithm, num_envs=32, steps=256 * 150, seed=1, engine=engine,
        network=Network((16,), **settings),
    )  # fmt: skip
    chosen = run.last_policy.act(np.arange(2), greedy=True)
    if kind == "choices":
        np.testing.assert_array_equal(chosen, [[0, 0], [1, 2]])
    else:
        np.testing.assert_allclose(chosen, [[-0.5] * 2, [0.5] * 2], atol=0.15)


LARGEST = np.nextafter(1.0, 0.0)
"""The largest uniform number. In float32 it is 1, which a sum of probabilities never exceeds."""


def chosen_by(policy: Policy, observation: np.ndarray, noise: np.ndarray) -> list[np.ndarray]:
    """Return the actions of the policy itself and of both engines."""
    engines = [make_engine(policy, None, "sgd", engine) for engine in ENGINES]  # type: ignore[arg-type]
    return [
        policy.choose(Inputs(observation), noise),
        *(engine.act(Inputs(observation), noise) for engine in engines),
    ]


@pytest.mark.parametrize("n", [2, 3, 7])
def test_the_largest_noise_is_the_last_choice(n: int):
    policy = policy_for({}, spaces.Discrete(n))
    x = np.random.default_rng(0).standard_normal((500, 3)).astype(np.float32)
    for action in chosen_by(policy, x, np.full(500, LARGEST)):
        np.testing.assert_array_equal(action, n - 1)


IMPOSSIBLE = [[0], [3], [1, 2], [0, 3], [0, 1, 3]]


@pytest.mark.parametrize("impossible", IMPOSSIBLE, ids=str)
def test_an_action_of_probability_zero_is_never_chosen(impossible: list[int]):
    """The smallest and the largest noise choose the first and the last possible action."""
    policy = policy_for({}, spaces.MultiDiscrete([4, 4]))
    with torch.no_grad():
        policy.network.network[-1].bias[impossible] = -1e4  # type: ignore[union-attr, index]
    possible = np.setdiff1d(np.arange(4), impossible)
    n = 3000
    x = np.random.default_rng(0).standard_normal((n, 3)).astype(np.float32)
    noise = np.random.default_rng(1).random((n, 2))
    noise[: n // 3], noise[n // 3 : 2 * n // 3] = 0.0, LARGEST
    for action in chosen_by(policy, x, noise):
        assert set(action[:, 0]) == set(possible)
        np.testing.assert_array_equal(action[: n // 3], [[possible[0], 0]] * (n // 3))
        np.testing.assert_array_equal(action[n // 3 : 2 * n // 3], [[possible[-1], 3]] * (n // 3))


def test_the_chosen_action_is_where_the_noise_passes_the_cumulative_probability():
    """The noise is 1e-6 on each side of a step, which is more than the engines' rounding of probabilities."""
    policy = policy_for({}, spaces.Discrete(5))
    x = np.random.default_rng(0).standard_normal((200, 3)).astype(np.float32)
    logits: Tensor = policy.network.network(torch.from_numpy(x)).detach().double()  # type: ignore[operator]
    steps = torch.softmax(logits, -1).cumsum(-1).numpy()
    for k in range(4):
        for action in chosen_by(policy, x, steps[:, k] - 1e-6):
            assert (action <= k).all()
        for action in chosen_by(policy, x, steps[:, k] + 1e-6):
            assert (action > k).all()
