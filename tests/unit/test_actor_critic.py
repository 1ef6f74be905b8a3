"""The one-step actor-critic against the pseudocode of Sutton & Barto, with both critics and with traces."""

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
from policygrad.policies import flat_parameters, kl_estimate
from policygrad.types import Inputs
from tests.helpers import (
    ACTOR_CRITIC_VARIANTS,
    HEADS,
    D,
    check_that_engines_agree,
    learned_by_both,
    learner_state,
    networks,
    one_step_for,
    parameters,
    relative_error,
)

N = 3


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("algorithm", ACTOR_CRITIC_VARIANTS.values(), ids=ACTOR_CRITIC_VARIANTS)
def test_engines_agree_after_20_updates(algorithm: Any, head: str):
    check_that_engines_agree(algorithm, head, one_step_for, moved=1e-3)


def test_engines_agree_with_a_critic_of_state_and_action():
    algorithm = ActorCritic(critic="q")
    policy, _ = networks("categorical")
    value = pg.ValueNetwork(D + 3, 16, rng=np.random.default_rng(5))
    engines, _ = learned_by_both(policy, value, algorithm, one_step_for)
    assert relative_error(parameters(engines[0]), parameters(engines[1])) < 1e-4


def linear_networks() -> tuple[pg.Policy, pg.ValueNetwork]:
    rng = np.random.default_rng(0)
    box = spaces.Box(-np.inf, np.inf, (D,))
    policy = pg.Policy(pg.DiscretePolicy(D, 3, (), rng=rng), box, spaces.Discrete(3))
    return policy, pg.ValueNetwork(D, (), rng=rng)


@pytest.mark.parametrize("engine_name", ["fused", "autograd"])
@pytest.mark.parametrize(("policy_trace", "value_trace"), [(0.0, 0.0), (0.9, 0.5)])
def test_updates_follow_the_pseudocode_of_the_book(engine_name: Any, policy_trace: float, value_trace: float):
    """Sutton & Barto 2018, section 13.5, line by line, with automatic differentiation and one environment."""
    gamma, policy_rate, value_rate = 0.9, 0.05, 0.1
    algorithm = ActorCritic(
        gamma=gamma, policy_trace=policy_trace, value_trace=value_trace, discount_weighting=True,
        optimizer="sgd", learning_rate=policy_rate, value_learning_rate=value_rate, max_grad_norm=None,
    )  # fmt: skip
    policy, value = linear_networks()
    theirs = copy.deepcopy((policy, value))
    engine, carried = make_engine(policy, value, "sgd", engine_name), learner_state()
    traces = [[torch.zeros_like(p) for p in m.parameters()] for m in theirs]
    importance = 1.0
    for i in range(30):
        rollout = one_step_for(policy, seed=i, N=1)
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
    assert relative_error(parameters(engine), expected) < 1e-5


def test_a_reset_row_does_not_advance_the_discount():
    algorithm, carried = ActorCritic(gamma=0.5, discount_weighting=True), learner_state()
    policy, _ = networks("categorical")
    rollout = replace(one_step_for(policy, 0, N=2), terminated=np.array([[False, True]]))
    resets = replace(rollout, terminated=np.zeros((1, 2), bool), valid=np.array([[True, False]]))
    seen = [algorithm._importance(x, carried).tolist() for x in (rollout, resets, rollout, rollout)]
    assert seen == [[[1.0, 1.0]], [[0.5, 1.0]], [[0.25, 1.0]], [[0.125, 1.0]]]


@pytest.mark.parametrize("scale", [1.0, 1e5])
def test_a_small_td_error_is_not_lost_between_large_values(scale: float):
    """V(s) equals `scale` everywhere. Traces that decay at once must give the same update as no traces."""
    policy, value = linear_networks()
    with torch.no_grad():
        for p in value.parameters():
            p.zero_()
        list(value.parameters())[-1].fill_(scale)
    rollout = one_step_for(policy, 3, N=1)
    rollout = replace(rollout, reward=np.full((1, 1), 0.012), terminated=np.zeros((1, 1), bool))
    moved = []
    for trace in (0.0, 1e-12):
        algorithm = ActorCritic(
            gamma=1.0, policy_trace=trace, optimizer="sgd", learning_rate=1.0, max_grad_norm=None
        )
        engine = make_engine(*copy.deepcopy((policy, value)), "sgd", "fused")
        before = engine.policy_parameters().copy()
        algorithm.learn(engine, rollout, learner_state())
        moved.append(engine.policy_parameters() - before)
    assert relative_error(*moved) < 1e-5


def test_the_q_critic_compares_an_action_with_the_expectation_over_actions():
    policy, _ = networks("categorical")
    value = pg.ValueNetwork(D + 3, 16, rng=np.random.default_rng(5))
    engine, rollout = make_engine(policy, value, "adam", "fused"), one_step_for(policy, 1)
    # one episode terminates, one is truncated and one continues
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
def test_reported_metrics_equal_their_formulas(settings: dict[str, Any]):
    algorithm = ActorCritic(**settings)
    policy, _ = networks("categorical")
    sees = D + 3 if algorithm.critic == "q" else D
    value = pg.ValueNetwork(sees, 16, rng=np.random.default_rng(5))
    engine, carried = make_engine(policy, value, "adam", "fused"), learner_state()
    targets, offs, found = [], [], {}
    for i in range(50):
        rollout = one_step_for(policy, seed=i)
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


def test_invalid_combinations_say_what_to_do():
    with pytest.raises(ValueError, match="eligibility traces need critic='v'"):
        ActorCritic(critic="q", policy_trace=0.5)
    with pytest.raises(ValueError, match="Use critic='v'"):
        pg.train("Pendulum-v1", ActorCritic(critic="q"), steps=10, progress=False)
