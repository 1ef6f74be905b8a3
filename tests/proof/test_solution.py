"""Exact quantities of finite MDPs against central differences, Bellman's equations and published numbers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces

from policygrad.envs.finite import FiniteMDP
from policygrad.envs.textbook import short_corridor, three_states
from policygrad.policies import DiscretePolicy, Policy
from policygrad.proof import TimeLimit, objective, solve
from policygrad.proof.solution import reached_by_step, values_by_step


def random_mdp(seed: int, S: int = 6, A: int = 3, *, terminal: bool = True, looks: Any = None) -> FiniteMDP:
    """Return an MDP whose last state is terminal and follows every step with some probability."""
    rng = np.random.default_rng(seed)
    transition = rng.dirichlet(np.full(S, 0.5), (S, A))
    if terminal:
        transition = 0.9 * transition + 0.1 * np.eye(S)[-1]
    start = rng.dirichlet(np.ones(S))
    reward = rng.standard_normal((S, A, S))
    return FiniteMDP(transition, reward, start, (S - 1,) if terminal else (), 7, looks)


def policy_for(mdp: FiniteMDP, hidden: tuple[int, ...] = (), seed: int = 0) -> Policy:
    """Return a policy in float64, so that central differences are exact."""
    inputs, A = int(mdp.observation_space.n), int(mdp.action_space.n)
    rng = np.random.default_rng(seed)
    network = DiscretePolicy(inputs, A, hidden, activation="tanh", rng=rng)
    policy = Policy(network, mdp.observation_space, mdp.action_space).double()
    with torch.no_grad():
        for p in policy.network.parameters():
            # the initial probabilities are almost uniform
            p += torch.from_numpy(rng.standard_normal(tuple(p.shape)))
    return policy


MDPS: dict[str, FiniteMDP] = {
    "random": random_mdp(0),
    "two actions": random_mdp(1, S=4, A=2),
    "it never ends": random_mdp(2, terminal=False),
    "some states look alike": random_mdp(3, looks=(0, 1, 1, 2, 0, 3)),
}


SETTINGS = [
    (name, gamma, time_limit)
    for name in MDPS
    for gamma in (0.0, 0.9, 1.0)
    for time_limit in ("truncation", "termination")
    # without an end and without a discount, the value is infinite
    if (name, gamma, time_limit) != ("it never ends", 1.0, "truncation")
]


@pytest.mark.parametrize(("name", "gamma", "time_limit"), SETTINGS)
@pytest.mark.parametrize("hidden", [(), (5,), (4, 3)])
def test_the_gradient_equals_central_differences(
    name: str, hidden: tuple[int, ...], gamma: float, time_limit: TimeLimit
):
    mdp = MDPS[name]
    policy = policy_for(mdp, hidden)
    gradient = solve(mdp, policy, gamma, time_limit=time_limit).gradient
    numbers = torch.nn.utils.parameters_to_vector(policy.network.parameters()).detach().clone()
    found, h = np.empty_like(gradient), 1e-5
    for i in range(len(numbers)):
        both = []
        for sign in (1, -1):
            moved = numbers.clone()
            moved[i] += sign * h
            torch.nn.utils.vector_to_parameters(moved, policy.network.parameters())
            both.append(solve(mdp, policy, gamma, time_limit=time_limit).objective)
        found[i] = (both[0] - both[1]) / (2 * h)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(gradient, found, atol=1e-8)


@pytest.mark.parametrize("time_limit", ["truncation", "termination"])
@pytest.mark.parametrize("name", MDPS)
def test_the_policy_gradient_theorem_holds(name: str, time_limit: TimeLimit):
    """∇J = Σ_s visits(s) Σ_a ∇π(a|s) Q(s, a), and any function of the state may be subtracted from Q."""
    mdp = MDPS[name]
    found = solve(mdp, policy_for(mdp, (5,)), 0.9, time_limit=time_limit)
    if time_limit == "truncation":
        judged = found.action_value, found.advantage, found.action_value - np.arange(len(mdp.start))[:, None]
        for each in judged:
            np.testing.assert_allclose(found.direction(found.visits, each), found.gradient, atol=1e-10)
        return
    following = values_by_step(mdp, found.probabilities, 0.9)[1:]
    judged = (mdp.transition * mdp.reward).sum(-1) + 0.9 * np.einsum("sat,kt->ksa", mdp.transition, following)
    weight = 0.9 ** np.arange(mdp.horizon)[:, None] * reached_by_step(mdp, found.probabilities)
    np.testing.assert_allclose(found.direction(weight, judged), found.gradient, atol=1e-10)
    np.testing.assert_allclose(weight.sum(0), found.visits, atol=1e-12)


@pytest.mark.parametrize("name", MDPS)
def test_values_satisfy_the_equations_of_bellman(name: str):
    mdp = MDPS[name]
    found = solve(mdp, policy_for(mdp), 0.9)
    goes_on = ~np.isin(np.arange(len(mdp.start)), mdp.terminal)
    np.testing.assert_allclose(found.value, (found.probabilities * found.action_value).sum(1), atol=1e-12)
    following = (mdp.transition * (mdp.reward + 0.9 * found.value)).sum(-1)
    np.testing.assert_allclose(found.action_value[goes_on], following[goes_on], atol=1e-12)
    np.testing.assert_array_equal(found.action_value[~goes_on], 0)
    assert found.state_distribution.sum() == pytest.approx(1)
    chain = np.einsum("sa,sat->st", found.probabilities, mdp.transition)
    np.testing.assert_allclose(found.visits, goes_on * (mdp.start + 0.9 * found.visits @ chain), atol=1e-12)
    assert found.objective == pytest.approx(
        np.einsum("s,sa,sat,sat->", found.visits, found.probabilities, mdp.transition, mdp.reward)
    )


@pytest.mark.parametrize("gamma", [0.5, 1.0])
def test_a_time_limit_that_terminates_gives_the_mean_over_all_trajectories(gamma: float):
    mdp = three_states()
    found = solve(mdp, policy_for(mdp, (4,)), gamma, time_limit="termination")
    expected = objective(mdp, torch.from_numpy(found.probabilities), gamma)
    assert found.objective == pytest.approx(float(expected), abs=1e-12)


def corridor_policy(p: float) -> Policy:
    policy = policy_for(short_corridor())
    with torch.no_grad():
        for parameter in policy.network.parameters():
            parameter.zero_()
        list(policy.network.parameters())[-1].copy_(torch.tensor([1 - p, p], dtype=torch.float64).log())
    return policy


@pytest.mark.parametrize("p", [0.05, 0.3, 2 - math.sqrt(2), 0.95])
def test_the_short_corridor_has_the_numbers_of_the_book(p: float):
    """Sutton & Barto 2018, example 13.1: v(p) = −2(2 − p)/(p(1 − p)), largest at p = 2 − √2."""
    found = solve(short_corridor(), corridor_policy(p), 1.0)
    assert found.objective == pytest.approx(-2 * (2 - p) / (p * (1 - p)), abs=1e-9)
    published = {0.05: -82.11, 0.95: -44.21}
    if p in published:
        assert found.objective == pytest.approx(published[p], abs=0.005)
    slope = 2 * (p * p - 4 * p + 2) / (p * (1 - p)) ** 2
    # ∂p/∂(logit of right) = p(1 − p)
    assert found.gradient[-1] == pytest.approx(slope * p * (1 - p), abs=1e-9)


def test_the_best_policy_of_the_corridor_is_stationary():
    found = solve(short_corridor(), corridor_policy(2 - math.sqrt(2)), 1.0)
    assert found.objective == pytest.approx(-(6 + 4 * math.sqrt(2)), abs=1e-9)
    np.testing.assert_allclose(found.gradient, 0, atol=1e-9)


def test_the_natural_gradient_of_a_table_is_the_advantage():
    """Kakade 2001: it is the weight of the compatible approximation of A, which is exact for a table."""
    mdp = MDPS["random"]
    found = solve(mdp, policy_for(mdp), 0.9)
    np.testing.assert_allclose(np.einsum("sa,sai->si", found.probabilities, found.scores), 0, atol=1e-12)
    fitted = found.scores @ found.natural_gradient()
    np.testing.assert_allclose(fitted[:-1], found.visits.sum() * found.advantage[:-1], rtol=1e-7, atol=1e-7)
    damped = found.natural_gradient(0.1)
    np.testing.assert_allclose(found.fisher @ damped + 0.1 * damped, found.gradient, atol=1e-10)


def test_the_fisher_matrix_is_the_curvature_of_the_divergence():
    mdp = MDPS["two actions"]
    policy = policy_for(mdp, (3,))
    found = solve(mdp, policy, 0.9)
    numbers = torch.nn.utils.parameters_to_vector(policy.network.parameters()).detach().clone()
    step = 1e-3 * np.random.default_rng(0).standard_normal(len(numbers))
    torch.nn.utils.vector_to_parameters(numbers + torch.from_numpy(step), policy.network.parameters())
    moved = solve(mdp, policy, 0.9)
    ratio = np.log(found.probabilities) - np.log(moved.probabilities)
    divergence = float(found.state_distribution @ (found.probabilities * ratio).sum(1))
    assert step @ found.fisher @ step / 2 == pytest.approx(divergence, rel=1e-2)


def test_without_discount_an_episode_must_be_able_to_end():
    transition = np.zeros((3, 1, 3))
    transition[0, 0, 1] = transition[1, 0, 1] = transition[2, 0, 2] = 1
    mdp = FiniteMDP(transition, np.ones((3, 1, 3)), np.array([1.0, 0, 0]), (2,), 5)
    policy = policy_for(mdp)
    with pytest.raises(
        ValueError, match=r"from state 0 the policy never reaches a terminal state. Use gamma < 1"
    ):
        solve(mdp, policy, 1.0)
    assert solve(mdp, policy, 1.0, time_limit="termination").objective == pytest.approx(5)
    # a state from which no episode ends does no harm if none begins there, but has no value
    transition[0, 0] = [0, 0, 1]
    found = solve(FiniteMDP(transition, np.ones((3, 1, 3)), np.array([1.0, 0, 0]), (2,), 5), policy, 1.0)
    assert found.objective == pytest.approx(1)
    assert np.isnan(found.value).tolist() == [False, True, False]


def test_other_arguments_are_refused_with_what_was_expected():
    mdp = three_states()
    other = Policy(
        DiscretePolicy(2, 2, (), rng=np.random.default_rng(0)), spaces.Discrete(2), spaces.Discrete(2)
    )
    with pytest.raises(ValueError, match="the decision process"):
        solve(mdp, other, 0.9)
    with pytest.raises(ValueError, match=r"gamma must be from 0 to 1; got 1\.5"):
        solve(mdp, policy_for(mdp), 1.5)
    with pytest.raises(ValueError, match=r"time_limit.*truncation"):
        solve(mdp, policy_for(mdp), 0.9, time_limit="never")  # type: ignore[arg-type]


def test_hundreds_of_states_are_solved():
    mdp = random_mdp(5, S=300, A=4)
    found = solve(mdp, policy_for(mdp, (16,)), 0.99)
    assert np.isfinite(found.gradient).all()
    # the policy is left as it was
    policy = Policy(
        DiscretePolicy(300, 4, (8,), rng=np.random.default_rng(0)), mdp.observation_space, mdp.action_space
    )
    solve(mdp, policy, 0.99)
    assert next(policy.parameters()).dtype == torch.float32
