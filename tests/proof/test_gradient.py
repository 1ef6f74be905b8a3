"""The policy gradient theorem against exact gradients, computed by enumeration."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from gymnasium import spaces

from policygrad.envs.textbook import FiniteEnv, FiniteMDP, three_states
from policygrad.policies import DiscretePolicy, Policy
from policygrad.proof import exact_gradient, objective, theorem_gradient, trajectories


def policy(hidden: tuple[int, ...] = ()) -> Policy:
    network = DiscretePolicy(3, 2, hidden, activation="tanh", rng=np.random.default_rng(1))
    return Policy(network, spaces.Discrete(3), spaces.Discrete(2))


def test_probabilities_of_all_trajectories_sum_to_one():
    pi = torch.tensor([[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]], dtype=torch.float64)
    total = sum(chance * float(pi[s[:-1], a].prod()) for s, a, _, chance in trajectories(three_states()))
    assert total == pytest.approx(1, abs=1e-12)


def test_the_objective_is_the_value_by_dynamic_programming():
    mdp, gamma = three_states(), 0.9
    pi = np.array([[0.3, 0.7], [0.9, 0.1], [0.5, 0.5]])
    value = np.zeros(3)
    for _ in range(mdp.horizon):
        q = (mdp.transition * (mdp.reward + gamma * value)).sum(-1)
        value = (pi * q).sum(-1)
        value[list(mdp.terminal)] = 0
    assert objective(mdp, torch.from_numpy(pi), gamma).item() == pytest.approx(mdp.start @ value)


@pytest.mark.parametrize("hidden", [(), (5,)])
@pytest.mark.parametrize("gamma", [0.5, 0.9, 1.0])
def test_the_policy_gradient_theorem_holds(hidden: tuple[int, ...], gamma: float):
    """∇J, computed by differentiating J, equals Σ p(τ) Σ γ^t G_t ∇ log π for any network."""
    mdp, acting = three_states(), policy(hidden)
    np.testing.assert_allclose(
        theorem_gradient(mdp, acting, gamma), exact_gradient(mdp, acting, gamma), atol=3e-7
    )


def test_the_finite_environment_follows_its_tables():
    mdp = three_states()
    env = FiniteEnv(mdp)
    counts = np.zeros((3, 2, 3))
    env.reset(seed=0)
    rng = np.random.default_rng(0)
    state, _ = env.reset()
    for _ in range(20_000):
        action = int(rng.integers(2))
        following, reward, terminated, truncated, _ = env.step(action)
        counts[state, action, following] += 1
        assert reward == mdp.reward[state, action, following]
        state = env.reset()[0] if terminated or truncated else following
    found = counts[:2] / counts[:2].sum(-1, keepdims=True)
    np.testing.assert_allclose(found, mdp.transition[:2], atol=0.03)


def test_tables_that_are_not_probabilities_are_refused():
    mdp = three_states()
    with pytest.raises(ValueError, match="must sum to 1"):
        FiniteMDP(mdp.transition * 2, mdp.reward, mdp.start, mdp.terminal, 4)
    with pytest.raises(ValueError, match="none of them may be negative"):
        FiniteMDP(mdp.transition, mdp.reward, np.array([1.5, -0.5, 0.0]), mdp.terminal, 4)
    with pytest.raises(ValueError, match="reward has shape"):
        FiniteMDP(mdp.transition, mdp.reward[0], mdp.start, mdp.terminal, 4)
