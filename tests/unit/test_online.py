"""The one-step actor-critic against the book's boxes, and its critics and traces against what they should be."""

from __future__ import annotations

import copy
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad.algorithms.actor_critic import ActorCritic
from policygrad.engines import make_engine
from policygrad.errors import NonFiniteError
from policygrad.interfaces import Step
from policygrad.policies import flat_parameters, kl_estimate
from policygrad.types import Inputs, LearnerState, Rollout
from tests.unit.test_engines import HEADS, D, both, learned_by_both, networks, parameters, relative

N = 3


def learning() -> LearnerState:
    return LearnerState(np.random.default_rng(0))


def step_for(policy: pg.Policy, seed: int, *, N: int = N) -> Rollout:
    """One step of N environments; now and then an episode ends."""
    rng = np.random.default_rng(seed)
    observation, following = rng.standard_normal((2, 1, N, D)).astype(np.float32)
    action = policy.choose(Inputs(observation[0]), policy.draw_noise(rng, N))[None]
    reward, over = rng.standard_normal((1, N)), rng.random((1, N)) < 0.2
    return Rollout.from_pairs(
        observation=observation,
        action=action,
        reward=reward,
        original_reward=reward,
        next_observation=following,
        terminated=over,
        truncated=np.zeros_like(over),
        valid=np.ones_like(over),
    )


ALGORITHMS = {
    "one-step": ActorCritic(entropy_coef=0.01),
    "traces": ActorCritic(policy_trace=0.9, value_trace=0.7, entropy_coef=0.01, discount_weighting=True),
    "traces, sgd": ActorCritic(policy_trace=0.5, optimizer="sgd", learning_rate=0.01),
}


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("algorithm", ALGORITHMS.values(), ids=ALGORITHMS)
def test_engines_agree_after_20_updates(algorithm: Any, head: str):
    policy, value = networks(head)
    before = np.concatenate([flat_parameters(m).numpy().copy() for m in (policy, value)])
    engines, _ = learned_by_both(policy, value, algorithm, step_for, algorithm.optimizer)
    assert relative(parameters(engines[0]), parameters(engines[1])) < 1e-4
    assert relative(parameters(engines[0]), before) > 1e-3


def test_engines_agree_with_a_critic_that_sees_the_action():
    algorithm = ActorCritic(critic="q")
    policy, _ = networks("categorical")
    value = pg.ValueNetwork(D + 3, 16, rng=np.random.default_rng(5))
    engines, _ = learned_by_both(policy, value, algorithm, step_for)
    assert relative(parameters(engines[0]), parameters(engines[1])) < 1e-4


def linear_networks() -> tuple[pg.Policy, pg.ValueNetwork]:
    rng = np.random.default_rng(0)
    box = spaces.Box(-np.inf, np.inf, (D,))
    policy = pg.Policy(pg.DiscretePolicy(D, 3, (), rng=rng), box, spaces.Discrete(3))
    return policy, pg.ValueNetwork(D, (), rng=rng)


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize(("policy_trace", "value_trace"), [(0.0, 0.0), (0.9, 0.5)])
def test_it_is_the_book_s_box(engine: Any, policy_trace: float, value_trace: float):
    """Sutton & Barto 2018, section 13.5, line by line, with automatic differentiation; one environment."""
    gamma, policy_rate, value_rate = 0.9, 0.05, 0.1
    algorithm = ActorCritic(
        gamma=gamma, policy_trace=policy_trace, value_trace=value_trace, discount_weighting=True,
        optimizer="sgd", learning_rate=policy_rate, value_learning_rate=value_rate, max_grad_norm=None,
    )  # fmt: skip
    policy, value = linear_networks()
    theirs = copy.deepcopy((policy, value))
    engine, carried = make_engine(policy, value, "sgd", engine), learning()
    traces = [[torch.zeros_like(p) for p in m.parameters()] for m in theirs]
    importance = 1.0
    for i in range(30):
        rollout = step_for(policy, seed=i, N=1)
        algorithm.learn(engine, rollout, carried)

        s, s2 = (torch.from_numpy(x[0]) for x in (rollout.observation, rollout.next_observation))
        over = bool(rollout.terminated[0, 0])
        with torch.no_grad():
            error = rollout.reward[0, 0] - theirs[1](s).item() + (0 if over else gamma * theirs[1](s2).item())
        log_prob = theirs[0](Inputs(s))[0, rollout.action[0, 0]]
        for k, (output, weight, decay, rate) in enumerate(
            (
                (log_prob, importance, policy_trace, policy_rate),
                (theirs[1](s)[0], 1.0, value_trace, value_rate),
            )
        ):
            gradients = torch.autograd.grad(output, list(theirs[k].parameters()))
            for z, g, p in zip(traces[k], gradients, theirs[k].parameters(), strict=True):
                z.mul_(gamma * decay).add_(weight * g)
                p.data.add_(rate * error * z)
                if over:
                    z.zero_()
        importance = 1.0 if over else gamma * importance
    expected = np.concatenate([flat_parameters(m).numpy() for m in theirs])
    assert relative(parameters(engine), expected) < 1e-5


def test_a_reset_row_discounts_nothing():
    algorithm, carried = ActorCritic(gamma=0.5, discount_weighting=True), learning()
    policy, _ = networks("categorical")
    rollout = replace(step_for(policy, 0, N=2), terminated=np.array([[False, True]]))
    resets = replace(rollout, terminated=np.zeros((1, 2), bool), valid=np.array([[True, False]]))
    seen = [algorithm._importance(x, carried).tolist() for x in (rollout, resets, rollout, rollout)]
    assert seen == [[[1.0, 1.0]], [[0.5, 1.0]], [[0.25, 1.0]], [[0.125, 1.0]]]


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_a_small_surprise_is_felt_where_values_are_large(scale: float):
    """V(s) = scale throughout: with traces of nothing but the step itself the update is that without them."""
    policy, value = linear_networks()
    with torch.no_grad():
        for p in value.parameters():
            p.zero_()
        list(value.parameters())[-1].fill_(scale)
    rollout = step_for(policy, 3, N=1)
    rollout = replace(rollout, reward=np.full((1, 1), 0.012), terminated=np.zeros((1, 1), bool))
    moved = []
    for trace in (0.0, 1e-12):
        algorithm = ActorCritic(
            gamma=1.0, policy_trace=trace, optimizer="sgd", learning_rate=1.0, max_grad_norm=None
        )
        engine = make_engine(*copy.deepcopy((policy, value)), "sgd", "fused")
        before = engine.policy_parameters().copy()
        algorithm.learn(engine, rollout, learning())
        moved.append(engine.policy_parameters() - before)
    assert relative(*moved) < 1e-5


def test_q_judges_an_action_against_the_others():
    policy, _ = networks("categorical")
    value = pg.ValueNetwork(D + 3, 16, rng=np.random.default_rng(5))
    engine, rollout = make_engine(policy, value, "adam", "fused"), step_for(policy, 1)
    # one environment's episode ends, one's is cut, one's goes on
    ends = {"terminated": np.array([[True, False, False]]), "truncated": np.array([[False, True, False]])}
    rollout = replace(rollout, **ends)
    batch, value_of_chosen = ActorCritic(critic="q", gamma=0.9)._judged_by_q(engine, rollout, np.ones((1, N)))

    def q_and_pi(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        seen = torch.from_numpy(np.stack([np.append(x, np.eye(3)[a]) for a in range(3)]).astype(np.float32))
        with torch.no_grad():
            return value(seen).numpy(), policy(Inputs(torch.from_numpy(x)[None])).exp().numpy()[0]

    for n in range(N):
        q, pi = q_and_pi(rollout.observation[0, n])
        later_q, later_pi = q_and_pi(rollout.next_observation[0, n])
        a, over = rollout.action[0, n], rollout.terminated[0, n]
        assert value_of_chosen[n] == pytest.approx(q[a], abs=1e-5)
        assert batch.columns["advantage"][n] == pytest.approx(q[a] - pi @ q, abs=1e-5)
        assert batch.columns["target"][n] == pytest.approx(
            rollout.reward[0, n] + 0.9 * (0 if over else later_pi @ later_q), abs=1e-5
        )
        np.testing.assert_array_equal(
            batch.inputs.critic_observation[n], np.append(rollout.observation[0, n], np.eye(3)[a])
        )


@pytest.mark.parametrize("settings", [{}, {"policy_trace": 0.9}, {"critic": "q"}], ids=["one", "traces", "q"])
def test_it_says_how_much_of_what_it_learned_from_the_critic_had_foreseen(settings: dict[str, Any]):
    algorithm = ActorCritic(**settings)
    policy, _ = networks("categorical")
    sees = D + 3 if algorithm.critic == "q" else D
    value = pg.ValueNetwork(sees, 16, rng=np.random.default_rng(5))
    engine, carried = make_engine(policy, value, "adam", "fused"), learning()
    targets, offs, found = [], [], {}
    for i in range(50):
        rollout = step_for(policy, seed=i)
        x, later = rollout.observation[0], rollout.next_observation[0]
        if algorithm.critic == "q":
            batch, before = algorithm._judged_by_q(engine, rollout, np.ones((1, N)))
            target = batch.columns["target"].astype(np.float64)
        else:
            before, after = engine.values(Inputs(x)), engine.values(Inputs(later))
            target = rollout.reward[0] + 0.99 * np.where(rollout.terminated[0], 0, after)
        old, _ = engine.evaluate(Inputs(x), rollout.action[0])
        found = algorithm.learn(engine, rollout, carried)
        new, _ = engine.evaluate(Inputs(x), rollout.action[0])
        targets.append(target)
        offs.append(target - before)
        assert found["value_bias"] == pytest.approx(-offs[-1].mean(), rel=1e-4, abs=1e-6)
        assert found["kl"] == pytest.approx(float(kl_estimate(new, old).mean()), rel=1e-5)
        assert found["largest_ratio"] == pytest.approx(float(np.exp(new - old).max()), rel=1e-6)
    weight = np.repeat(np.exp(-np.arange(49, -1, -1) * N / 1_000), N)

    def variance(x: list[np.ndarray]) -> float:
        return float(np.cov(np.concatenate(x), aweights=weight, ddof=0))

    assert found["explained_variance"] == pytest.approx(1 - variance(offs) / variance(targets), rel=1e-4)


def test_gradients_that_are_not_finite_are_named_and_not_taken():
    policy, value = networks("categorical")
    for engine in both(policy, value):
        before = parameters(engine).copy()
        wrong = np.full(len(flat_parameters(policy)), np.nan, np.float32)
        with pytest.raises(NonFiniteError, match="gradient of policy parameter"):
            engine.apply(wrong, np.zeros(len(flat_parameters(value)), np.float32), Step(0.1, 0.1))
        np.testing.assert_array_equal(parameters(engine), before)


def test_wrong_combinations_say_what_to_do():
    with pytest.raises(ValueError, match="traces are for critic='v'"):
        ActorCritic(critic="q", policy_trace=0.5)
    with pytest.raises(ValueError, match="with others take critic='v'"):
        pg.train("Pendulum-v1", ActorCritic(critic="q"), steps=10, progress=False)
