"""The estimators and algorithms of the library that `prove` covers."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from policygrad.algorithms import A2C, PPO, TRPO, ActorCritic, Algorithm, NaturalGradient, Reinforce
from policygrad.envs.continuous_mdp import ContinuousMDP
from policygrad.envs.finite import FiniteMDP
from policygrad.envs.textbook import random_mdp
from policygrad.policies import Network
from policygrad.policies.distributions import DistributionName
from policygrad.proof.sampling import LINEAR, ValueKind

GAMMA = 0.9


@dataclass(frozen=True)
class Case:
    """An algorithm, and the setting in which its estimates are made."""

    name: str
    algorithm: Algorithm
    value: ValueKind = "untrained"
    """V(s) of the estimates, if the algorithm uses one."""
    network: Network = LINEAR
    """The policy's network and distribution."""
    mdp: FiniteMDP | ContinuousMDP | None = None
    """The decision process of this case; None takes that of `prove`."""
    updates: int = 1
    """Number of updates whose steps are added up."""
    moved: float = 0.0
    """Length of the step that the policy takes between collecting and learning."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """Settings of the algorithm that replace those of `sampling.plain`."""


def _reinforce(**settings: Any) -> Reinforce:
    defaults: dict[str, Any] = {"gamma": GAMMA, "discount_weighting": True, "bootstrap_truncated": False}
    return Reinforce(**(defaults | settings))


def _whole(**settings: Any) -> Reinforce:
    return _reinforce(returns="episode", discount_weighting=False, **settings)


def _later(name: str, **settings: Any) -> Case:
    """Return a case of PPO in which the policy is no longer the one that collected."""
    return Case(name, PPO(gamma=GAMMA, horizon=8, gae_lambda=0.0, **settings), "exact", moved=0.5)


def _continuous(name: str, distribution: DistributionName, **settings: Any) -> Case:
    """Return a case with a continuous action, whose cost makes the standard deviation matter."""
    network = replace(LINEAR, distribution=distribution, **settings)
    mdp = ContinuousMDP(random_mdp(actions=2), cost=0.3)
    return Case(name, _reinforce(baseline="none", entropy_coef=0.1), network=network, mdp=mdp)


CASES = (
    Case("REINFORCE", _reinforce(baseline="none")),
    Case("whole-episode returns", _whole(baseline="none")),
    Case("leave-one-out", _reinforce(baseline="leave-one-out")),
    Case("episode, leave-one-out", _whole(baseline="leave-one-out")),
    Case("V(s) untrained", _reinforce()),
    Case("V(s) trained", _reinforce(), "trained"),
    Case("V(s) exact", _reinforce(), "exact"),
    Case("V(s) wrong", _reinforce(), "wrong"),
    Case("episode, V(s) exact", _whole(), "exact"),
    Case("hidden layer", _reinforce(baseline="none"), network=replace(LINEAR, hidden=(4,))),
    Case("entropy bonus", _reinforce(baseline="none", entropy_coef=0.3)),
    Case("without γ^t", _reinforce(baseline="none", discount_weighting=False)),
    Case("time limit, V(s) exact", _reinforce(bootstrap_truncated=True), "exact"),
    Case("time limit, V(s) wrong", _reinforce(bootstrap_truncated=True), "wrong"),
    Case("baseline: mean", _reinforce(baseline="mean")),
    Case("baseline: means of steps", _reinforce(baseline="time")),
    Case("baseline: optimal", _reinforce(baseline="optimal")),
    Case("divided by steps", _reinforce(baseline="none"), settings={"average": "steps"}),
    Case("actor-critic, V exact", ActorCritic(gamma=GAMMA), "exact", updates=8),
    Case("actor-critic, V wrong", ActorCritic(gamma=GAMMA), "wrong", updates=8),
    Case("actor-critic, Q untrained", ActorCritic(gamma=GAMMA, critic="q"), updates=8),
    Case("traces, V exact", ActorCritic(gamma=GAMMA, policy_trace=0.8), "exact", updates=8),
    Case("traces, V wrong", ActorCritic(gamma=GAMMA, policy_trace=0.8), "wrong", updates=8),
    Case("n-step returns, V exact", A2C(gamma=GAMMA, horizon=8, estimator="n-step", n=3), "exact"),
    Case("n-step returns, V wrong", A2C(gamma=GAMMA, horizon=8, estimator="n-step", n=3), "wrong"),
    Case("A2C, GAE(0), V wrong", A2C(gamma=GAMMA, horizon=8, gae_lambda=0.0), "wrong"),
    Case("A2C, GAE(0.9), V exact", A2C(gamma=GAMMA, horizon=8, gae_lambda=0.9), "exact"),
    Case("A2C, GAE(0.9), V trained", A2C(gamma=GAMMA, horizon=8, gae_lambda=0.9), "trained"),
    Case("A2C, GAE(0.9), V wrong", A2C(gamma=GAMMA, horizon=8, gae_lambda=0.9), "wrong"),
    Case("A2C, GAE(1), V untrained", A2C(gamma=GAMMA, horizon=8, gae_lambda=1.0)),
    Case("A2C, V-trace, V wrong", A2C(gamma=GAMMA, horizon=8, estimator="v-trace", gae_lambda=0.9), "wrong"),
    Case("PPO, first step, V exact", PPO(gamma=GAMMA, horizon=8, gae_lambda=0.9), "exact"),
    Case(
        "PPO, first step, V wrong",
        PPO(gamma=GAMMA, horizon=8, gae_lambda=0.9),
        "wrong",
        network=replace(LINEAR, hidden=(4,)),
    ),
    Case("PPO, entropy bonus", PPO(gamma=GAMMA, horizon=8, entropy_coef=0.3), "exact"),
    _later("PPO, later step", clip=0.05),
    _later("PPO, later step, penalty", clip=None, kl_penalty=1.0, entropy_coef=0.3),
    Case("natural gradient", NaturalGradient(gamma=GAMMA, horizon=8, gae_lambda=0.9), "exact"),
    Case("TRPO", TRPO(gamma=GAMMA, horizon=8, gae_lambda=0.9), "exact"),
    Case(
        "two choices at once",
        _reinforce(baseline="none", entropy_coef=0.1),
        mdp=replace(random_mdp(actions=4), choices=(2, 2)),
    ),
    _continuous("Gaussian", "gaussian"),
    _continuous("Gaussian, σ of the state", "gaussian", hidden=(4,), state_dependent_std=True),
    _continuous("squashed Gaussian", "squashed"),
    _continuous("Beta", "beta"),
    _continuous("gSDE", "gsde", sde_period=1),
)
"""What `policygrad prove` covers, each compared with its exact expectation where there is a formula for it."""
