"""Logits of −inf mask actions: these have probability 0, and the others form the softmax without them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from torch import Tensor, nn

import policygrad as pg
from policygrad.engines import make_engine
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Engine
from policygrad.policies import DiscretePolicy, Policy
from policygrad.types import Batch, Inputs
from tests.helpers import FULL_LOSS, full_coefficients, history_rows

SEEN = spaces.Box(-1, 1, (3,))
KEPT = [0, 2, 3]
"""Of four actions, those that are not masked."""
B = 40


class Masked(nn.Module):
    """Four linear logits, one of them −inf, masked in one of the usual ways."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.linear = DiscretePolicy(3, 4, (), rng=np.random.default_rng(0)).network[0]
        self.how = how
        self.register_buffer("allowed", torch.tensor([True, False, True, True]))

    def forward(self, x: Tensor) -> Tensor:
        logits, allowed = self.linear(x), self.allowed
        if self.how == "masked_fill":
            return logits.masked_fill(~allowed, -torch.inf)
        if self.how == "where":
            return torch.where(allowed, logits, torch.full_like(logits, -torch.inf))
        return logits + allowed.float().log()


def masked_and_smaller(kind: str) -> tuple[Policy, Policy]:
    """Return a linear policy with a masked action, and the same policy without that action."""
    if kind == "bias":
        network: Any = DiscretePolicy(3, 4, (), rng=np.random.default_rng(0))
        linear: Any = network.network[0]
    else:
        network = Masked(kind)
        linear = network.linear
    smaller = DiscretePolicy(3, 3, (), rng=np.random.default_rng(0))
    rest: Any = smaller.network[0]
    with torch.no_grad():
        linear.weight.mul_(3)
        rest.weight.copy_(linear.weight[KEPT])
        rest.bias.copy_(linear.bias[KEPT])
        if kind == "bias":
            linear.bias[1] = -torch.inf
    return Policy(network, SEEN, spaces.Discrete(4)), Policy(smaller, SEEN, spaces.Discrete(3))


def batches(smaller: Policy) -> tuple[Batch, Batch]:
    """Return the same samples for both policies, with actions numbered as each policy numbers them."""
    rng = np.random.default_rng(1)
    observation = rng.uniform(-1, 1, (B, 3)).astype(np.float32)
    action = smaller.choose(Inputs(observation), smaller.draw_noise(rng, B))
    advantage, target = rng.standard_normal((2, B)).astype(np.float32)
    of_smaller = Batch(Inputs(observation), action, {"advantage": advantage, "target": target})
    return replace(of_smaller, action=np.array(KEPT)[action]), of_smaller


def spread(vector: np.ndarray) -> np.ndarray:
    """Return parameters of the smaller policy as those of the masked one, with zeros for the masked action."""
    weight, bias = np.zeros((4, 3), np.float32), np.zeros(4, np.float32)
    weight[KEPT], bias[KEPT] = vector[:9].reshape(3, 3), vector[9:]
    return np.concatenate([weight.ravel(), bias])


KINDS = [("masked_fill", "autograd"), ("where", "autograd"), ("log", "autograd")]
KINDS += [("bias", "autograd"), ("bias", "fused")]


@pytest.mark.parametrize(("kind", "engine"), KINDS)
def test_a_masked_softmax_equals_the_smaller_one(kind: str, engine: Any):
    """They agree in log π, H, the gradient, the scores, the Fisher matrix and the KL."""
    policies = masked_and_smaller(kind)
    engines: list[Engine] = [make_engine(policy, None, "sgd", engine) for policy in policies]
    samples = batches(policies[1])
    whole, less = (
        (
            engine.evaluate(batch.inputs, batch.action),
            engine.gradient(batch, FULL_LOSS, full_coefficients(0.3))[0],
            engine.squared_scores(batch.inputs, batch.action),
            engine.fisher_vector_product(batch.inputs),
            engine.policy_outputs(batch.inputs, batch.action),
        )
        for engine, batch in zip(engines, samples, strict=True)
    )
    for ours, expected in zip(whole[0], less[0], strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(whole[1], spread(less[1]), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(whole[2], less[2], rtol=1e-4)
    step = np.random.default_rng(2).normal(0, 0.1, 12).astype(np.float32)
    np.testing.assert_allclose(whole[3](spread(step)), spread(less[3](step)), rtol=1e-4, atol=1e-7)
    for engine, change in zip(engines, (spread(step), step), strict=True):
        engine.set_policy_parameters(engine.policy_parameters() + change)
    moved = [
        engine.policy_outputs(batch.inputs, batch.action, start)
        for engine, batch, start in zip(engines, samples, (whole[4], less[4]), strict=True)
    ]
    assert moved[1].kl.mean() > 1e-3
    np.testing.assert_allclose(moved[0].kl, moved[1].kl, rtol=1e-3, atol=1e-6)
    # an actor-critic with Q(s, a) also evaluates the masked action
    log_prob, _ = engines[0].evaluate(samples[0].inputs, np.ones(B, np.int64))
    assert np.isneginf(log_prob).all()


@pytest.mark.parametrize(("kind", "engine"), KINDS)
def test_a_masked_action_is_never_taken(kind: str, engine: Any):
    """The other actions are chosen as by the smaller softmax with the same noise."""
    policies = masked_and_smaller(kind)
    rng = np.random.default_rng(3)
    n = 5000
    observation, noise = rng.uniform(-1, 1, (n, 3)).astype(np.float32), rng.random(n)
    noise[:100], noise[100:200] = 0.0, np.nextafter(1.0, 0.0)
    ours, rest = (
        make_engine(policy, None, "sgd", engine).act(Inputs(observation), noise) for policy in policies
    )
    np.testing.assert_array_equal(ours, np.array(KEPT)[rest])
    best = [policy.choose(Inputs(observation), None) for policy in policies]
    np.testing.assert_array_equal(best[0], np.array(KEPT)[best[1]])


@pytest.mark.parametrize("engine_name", ["autograd", "fused"])
def test_several_choices_are_masked_separately(engine_name: Any):
    network = DiscretePolicy(3, 5, (), rng=np.random.default_rng(0))
    with torch.no_grad():
        network.network[0].bias[[0, 3]] = -torch.inf  # type: ignore[union-attr, index]
    policy = Policy(network, SEEN, spaces.MultiDiscrete([2, 3]))
    engine = make_engine(policy, None, "sgd", engine_name)
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, (300, 3)).astype(np.float32)
    action = engine.act(Inputs(x), policy.draw_noise(rng, 300))
    assert (set(action[:, 0]), set(action[:, 1])) == ({1}, {0, 2})
    log_prob, entropy = engine.evaluate(Inputs(x), action)
    logits = network.network(torch.from_numpy(x)).detach()[:, [2, 4]]
    pair = torch.distributions.Categorical(logits=logits)
    np.testing.assert_allclose(entropy, pair.entropy(), rtol=1e-5)
    np.testing.assert_allclose(
        log_prob, pair.log_prob(torch.from_numpy(action[:, 1] // 2)), rtol=1e-5, atol=1e-6
    )


def test_the_kl_to_a_policy_that_masks_a_possible_action_is_infinite():
    distribution = masked_and_smaller("bias")[0].distribution
    wide, narrow = torch.tensor([[0.0, 0.0, 0.0, -1.0]]), torch.tensor([[0.0, -torch.inf, 0.0, -1.0]])
    wide, narrow = wide.log_softmax(-1), narrow.log_softmax(-1)
    assert distribution.kl(wide, narrow).item() == np.inf
    assert distribution.kl(narrow, wide).item() == pytest.approx(
        (narrow.exp() * (narrow - wide))[:, KEPT].sum().item()
    )


FAULTS = [
    ([0, np.nan, 0, 0], r"observation 0 of \d+, the policy network returned a logit of NaN"),
    ([0, np.inf, 0, 0], r"returned a logit of \+inf. Logits must be finite"),
    ([-np.inf] * 4, "returned logits that are all −inf, so no action can be taken"),
]


@pytest.mark.parametrize("engine", ["autograd", "fused"])
@pytest.mark.parametrize(("bias", "message"), FAULTS)
def test_logits_without_a_softmax_are_named(bias: list[float], message: str, engine: Any):
    """This holds when acting, in evaluation, when learning, and for agents."""
    network = DiscretePolicy(3, 4, (), rng=np.random.default_rng(0))
    with torch.no_grad():
        network.network[0].bias.copy_(torch.tensor(bias))  # type: ignore[union-attr]
    policy = Policy(network, SEEN, spaces.Discrete(4))
    for greedy in (False, True):
        with pytest.raises(NonFiniteError, match=message):
            policy.act(np.zeros(3), greedy=greedy)
        with pytest.raises(NonFiniteError, match=message):
            pg.evaluate(policy, lambda: Legal(3, 4), episodes=2, greedy=greedy)
    batch, _ = batches(masked_and_smaller("bias")[1])
    scorer = make_engine(policy, None, "sgd", engine)
    with pytest.raises(NonFiniteError, match=f"log π.a.s. is not finite: .*{message}"):
        scorer.gradient(batch, FULL_LOSS, full_coefficients(1.0))
    with pytest.raises(NonFiniteError, match=message):
        scorer.policy_outputs(batch.inputs, batch.action)
    agent = pg.Agent(SEEN, spaces.Discrete(4), pg.Reinforce(baseline="none"), policy=policy, engine=engine)
    with pytest.raises(NonFiniteError, match=message):
        agent.act(np.zeros(3))


@pytest.mark.parametrize("greedy", [True, False])
@pytest.mark.parametrize(("bias", "message"), FAULTS)
def test_the_compiled_loop_names_logits_without_a_softmax_too(bias: list[float], message: str, greedy: bool):
    network = DiscretePolicy(3, 3, (), rng=np.random.default_rng(0))
    with torch.no_grad():
        network.network[0].bias.copy_(torch.tensor(bias[:3]))  # type: ignore[union-attr]
    policy = Policy(network, spaces.Discrete(3), spaces.Discrete(3))
    with pytest.raises(NonFiniteError, match=message):
        pg.evaluate(policy, "RockPaperScissors-v0", episodes=2, greedy=greedy)
    if not greedy:
        with pytest.raises(NonFiniteError, match=message):
            pg.train("RockPaperScissors-v0", policy=policy, steps=100)


@pytest.mark.parametrize(("kind", "engine"), [KINDS[0], KINDS[-1]])
def test_a_taken_action_that_is_masked_now_is_named(kind: str, engine: Any):
    policy, smaller = masked_and_smaller(kind)
    batch, _ = batches(smaller)
    batch.action[7] = 1
    with pytest.raises(
        NonFiniteError, match="the action taken for observation 7 of 40 has probability 0 now"
    ):
        make_engine(policy, None, "sgd", engine).gradient(batch, FULL_LOSS, full_coefficients(1.0))


class Legal(gym.Env[Any, Any]):
    """The observation says which actions are legal; none is at the end. Higher actions pay more."""

    def __init__(self, size: int = 4, actions: int = 4) -> None:
        self.observation_space, self.action_space = spaces.Box(-1, 1, (size,)), spaces.Discrete(actions)

    def _observation(self) -> np.ndarray:
        self.legal = self.np_random.random(self.observation_space.shape[0]) < 0.6
        self.legal[self.np_random.integers(len(self.legal))] = True
        self.legal &= self.t < 6
        return np.where(self.legal, 1, -1).astype(np.float32)

    def reset(self, *, seed: Any = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        # episodes have different lengths, so that some environments have to wait
        self.t = int(self.np_random.integers(4))
        return self._observation(), {}

    def step(self, action: Any) -> Any:
        if self.t < 6:
            assert self.legal[action]
        self.t += 1
        return self._observation(), float(action), self.t >= 6, False, {}


class Obedient(nn.Module):
    """Logits that are −inf for actions that the observation says are illegal."""

    def __init__(self) -> None:
        super().__init__()
        self.body = DiscretePolicy(4, 4, (16,), rng=np.random.default_rng(0)).network

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).masked_fill(x < 0, -torch.inf)


ALGORITHMS: dict[str, Any] = {
    "reinforce": pg.Reinforce(entropy_coef=0.01),
    "optimal baseline": pg.Reinforce(baseline="optimal", entropy_coef=0.01),
    "actor-critic": pg.ActorCritic(entropy_coef=0.01),
    "traces": pg.ActorCritic(policy_trace=0.5, value_trace=0.5, entropy_coef=0.01),
    "q": pg.ActorCritic(critic="q", entropy_coef=0.01),
    "a2c": pg.A2C(entropy_coef=0.01),
    "v-trace": pg.A2C(estimator="v-trace", updates=2, entropy_coef=0.01),
    "ppo": pg.PPO(horizon=16, minibatch_size=16, kl_penalty=0.1, entropy_coef=0.01),
    "npg": pg.NaturalGradient(horizon=16),
    "trpo": pg.TRPO(horizon=16),
}


@pytest.mark.parametrize("mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_every_algorithm_trains_a_network_that_masks(name: str, mode: AutoresetMode):
    """An environment that has ended allows no action, and is still evaluated while others continue."""
    env = SyncVectorEnv([Legal] * 4, autoreset_mode=mode)
    network = Obedient()
    before = [p.detach().clone() for p in network.parameters()]
    run = pg.train(env, ALGORITHMS[name], steps=400, policy=network, progress=False)
    assert run.ended == "budget"
    assert all(torch.isfinite(p).all() for p in network.parameters())
    assert any(not torch.equal(p, q) for p, q in zip(before, network.parameters(), strict=True))
    for row in history_rows(run):
        assert np.isfinite([row["entropy"], row["policy_grad_norm"], row["kl"]]).all()


def test_a_network_that_masks_learns():
    """The best action is the highest legal one."""
    run = pg.train(
        Legal, pg.A2C(learning_rate=0.01), num_envs=8, steps=8000, policy=Obedient(), progress=False, seed=1
    )
    x = np.array([[1, 1, -1, -1], [1, -1, 1, -1], [-1, 1, 1, 1]], np.float32)
    np.testing.assert_array_equal(run.last_policy.act(x, greedy=True), [1, 2, 3])


@pytest.mark.parametrize("name", ALGORITHMS)
def test_the_fused_engine_trains_around_a_masked_action(name: str):
    """The bias of the masked action stays −inf."""
    network = DiscretePolicy(3, 3, (8,), rng=np.random.default_rng(0))
    last: Any = network.network[-1]
    with torch.no_grad():
        last.bias[2] = -torch.inf
    run = pg.train("RockPaperScissors-v0", ALGORITHMS[name], steps=600, policy=network, progress=False)
    assert (run.engine, run.ended) == ("fused", "budget")
    assert last.bias[2] == -torch.inf
    assert np.isfinite(np.delete(pg.policies.flat_parameters(network).numpy(), -1)).all()
    states = np.repeat(np.arange(3), 500)
    assert set(run.last_policy.act(states, greedy=False, rng=np.random.default_rng(0))) == {0, 1}


def test_a_policy_that_masks_is_saved_and_loaded(tmp_path: Path):
    """Some of the random observations with which the file is checked allow no action at all."""
    policy = Policy(Obedient(), Legal().observation_space, Legal().action_space)
    pg.save(policy, tmp_path / "p.safetensors")
    loaded = pg.load(tmp_path / "p.safetensors", network=Obedient())
    x = np.array([[1, 1, -1, -1]], np.float32)
    assert torch.equal(loaded(Inputs(torch.from_numpy(x))), policy(Inputs(torch.from_numpy(x))))
