"""Exact quantities and compiled environments for continuous actions, and for several choices at once."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env
from torch.nn.utils import parameters_to_vector, vector_to_parameters

import policygrad as pg
from policygrad.envs.continuous_mdp import ContinuousMDP
from policygrad.envs.continuous_mdp import kernel as continuous_kernel
from policygrad.envs.finite import FiniteEnv, FiniteMDP
from policygrad.envs.finite import kernel as finite_kernel
from policygrad.envs.kernel import Kernel
from policygrad.envs.kernel_vector import KernelVectorEnv
from policygrad.envs.textbook import random_mdp
from policygrad.policies import Policy, make_policy
from policygrad.proof import solve

MDP = ContinuousMDP(random_mdp(actions=2), cost=0.3)
NETWORKS: dict[str, dict[str, Any]] = {
    "gaussian": {"hidden": (3,)},
    "gaussian, σ of the state": {"hidden": (3,), "state_dependent_std": True},
    "squashed": {},
    "beta": {},
    "gsde": {"sde_period": 1},
}


def policy_for(mdp: FiniteMDP | ContinuousMDP, name: str = "auto", **settings: Any) -> Policy:
    """Return a policy in float64 that is not almost indifferent."""
    rng = np.random.default_rng(0)
    network = pg.Network(**({"hidden": (), "distribution": name.split(",")[0]} | settings))
    policy = make_policy(mdp.observation_space, mdp.action_space, network, rng).double()
    with torch.no_grad():
        for p in policy.network.parameters():
            p += 0.5 * torch.from_numpy(rng.standard_normal(tuple(p.shape)))
    return policy


def central_differences(mdp: FiniteMDP | ContinuousMDP, policy: Policy, step: float = 1e-5) -> np.ndarray:
    parameters = list(policy.network.parameters())
    start = parameters_to_vector(parameters).detach()
    found = np.zeros(len(start))
    for i, direction in enumerate(torch.eye(len(start), dtype=torch.float64)):
        for sign in (1, -1):
            vector_to_parameters(start + sign * step * direction, parameters)
            found[i] += sign * solve(mdp, policy, 0.9).objective / (2 * step)
    vector_to_parameters(start, parameters)
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_the_gradient_of_a_continuous_policy_is_exact(name: str):
    policy = policy_for(MDP, name, **NETWORKS[name])
    solution = solve(MDP, policy, 0.9)
    np.testing.assert_allclose(solution.probabilities.sum(1), 1, atol=1e-8)
    np.testing.assert_allclose(solution.gradient, central_differences(MDP, policy), atol=1e-8)
    # by the theorem as well
    np.testing.assert_allclose(
        solution.gradient, solution.direction(solution.visits, solution.action_value), atol=1e-8
    )
    assert np.linalg.norm(solution.gradient) > 0.1


def test_the_gradient_of_several_choices_is_exact():
    mdp = replace(random_mdp(actions=6), choices=(2, 3))
    policy = policy_for(mdp)
    solution = solve(mdp, policy, 0.9)
    np.testing.assert_allclose(solution.probabilities.sum(1), 1, atol=1e-12)
    np.testing.assert_allclose(solution.gradient, central_differences(mdp, policy), atol=1e-8)


def one_step(
    kernel: Kernel, action: np.ndarray, n: int = 40_000
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return (state before, state after, reward) of n environments that take the same action."""
    env = KernelVectorEnv(kernel, n)
    before = env.reset(seed=0)[0].copy()
    after, reward, *_ = env.step(np.broadcast_to(action, (n, *action.shape)))
    return before, after, reward


def check_step(finite: FiniteMDP, index: int, kernel: Kernel, action: np.ndarray) -> None:
    """Compare the mean reward and the next states of a compiled environment with one action of a finite MDP."""
    before, after, reward = one_step(kernel, action)
    for s in np.flatnonzero(finite.start):
        here = before == s
        shares = np.bincount(after[here], minlength=len(finite.start)) / here.sum()
        np.testing.assert_allclose(shares, finite.transition[s, index], atol=0.025)
        expected = (finite.transition[s, index] * finite.reward[s, index]).sum()
        assert abs(reward[here].mean() - expected) < 5 * reward[here].std() / np.sqrt(here.sum())


@pytest.mark.parametrize("action", [-3.0, -1.0, -0.4, 0.7, 1.0, 2.0])
def test_a_continuous_action_mixes_two_actions_and_costs_its_square(action: float):
    finite, clipped = MDP.with_actions(np.array([action])), float(np.clip(action, -1, 1))
    first, second = (MDP.mdp.transition * MDP.mdp.reward).sum(-1).T
    by_hand = (1 - clipped) / 2 * first + (1 + clipped) / 2 * second - 0.3 * clipped**2
    np.testing.assert_allclose((finite.transition[:, 0] * finite.reward[:, 0]).sum(-1), by_hand, atol=1e-12)
    check_step(finite, 0, continuous_kernel(MDP, "continuous"), np.array([action]))


@pytest.mark.parametrize("action", [(0, 0), (0, 2), (1, 0), (1, 2)])
def test_several_choices_are_one_of_the_actions(action: tuple[int, int]):
    mdp = replace(random_mdp(actions=6), choices=(2, 3))
    index = action[0] * 3 + action[1]
    check_step(mdp, index, finite_kernel(mdp, "two choices"), np.array(action))
    env = FiniteEnv(mdp)
    check_env(env, skip_render_check=True)
    rewards = []
    for seed in range(2_000):
        first, _ = env.reset(seed=seed)
        rewards.append(
            env.step(np.array(action))[1] - (mdp.transition[first, index] * mdp.reward[first, index]).sum()
        )
    assert abs(np.mean(rewards)) < 5 * np.std(rewards) / np.sqrt(len(rewards))


def test_what_cannot_be_integrated_or_combined_is_refused():
    with pytest.raises(ValueError, match=r"needs a standard deviation between 0.2 and 3"):
        solve(MDP, policy_for(MDP, "gaussian", log_std=-4.0), 0.9)
    with pytest.raises(ValueError, match="needs an MDP with two actions; this one has 3"):
        ContinuousMDP(random_mdp())
    with pytest.raises(ValueError, match=r"choices is \(2, 2\).*whose product is 3"):
        replace(random_mdp(), choices=(2, 2))
