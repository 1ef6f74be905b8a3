"""The estimators and algorithms of the library that `prove` covers."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from policygrad.algorithms import A2C, PPO, ActorCritic, Algorithm, Reinforce
from policygrad.proof.sampling import ValueKind

GAMMA = 0.9


@dataclass(frozen=True)
class Case:
    """An algorithm, and the setting in which its estimates are made."""

    name: str
    algorithm: Algorithm
    value: ValueKind = "untrained"
    """V(s) of the estimates, if the algorithm uses one."""
    hidden: tuple[int, ...] = ()
    """Widths of the policy's hidden layers."""
    updates: int = 1
    """Number of updates whose steps are added up."""
    settings: dict[str, Any] = field(default_factory=dict[str, Any])
    """Settings of the algorithm that replace those of `sampling.plain`."""


def _reinforce(**settings: Any) -> Reinforce:
    defaults: dict[str, Any] = {"gamma": GAMMA, "discount_weighting": True, "bootstrap_truncated": False}
    return Reinforce(**(defaults | settings))


def _whole(**settings: Any) -> Reinforce:
    return _reinforce(returns="episode", discount_weighting=False, **settings)


CASES = (
    Case("REINFORCE", _reinforce(baseline="none")),
    Case("whole-episode returns", _whole(baseline="none")),
    Case("leave-one-out", _reinforce(baseline="leave-one-out")),
    Case("episode, leave-one-out", _whole(baseline="leave-one-out")),
    Case("V(s) untrained", _reinforce()),
    Case("V(s) exact", _reinforce(), "exact"),
    Case("V(s) wrong", _reinforce(), "wrong"),
    Case("episode, V(s) exact", _whole(), "exact"),
    Case("hidden layer", _reinforce(baseline="none"), hidden=(4,)),
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
    Case("A2C, GAE(0.9), V wrong", A2C(gamma=GAMMA, horizon=8, gae_lambda=0.9), "wrong"),
    Case("A2C, GAE(1), V untrained", A2C(gamma=GAMMA, horizon=8, gae_lambda=1.0)),
    Case("A2C, V-trace, V wrong", A2C(gamma=GAMMA, horizon=8, estimator="v-trace", gae_lambda=0.9), "wrong"),
    Case("PPO, first step, V exact", PPO(gamma=GAMMA, horizon=8, gae_lambda=0.9), "exact"),
    Case("PPO, first step, V wrong", PPO(gamma=GAMMA, horizon=8, gae_lambda=0.9), "wrong", hidden=(4,)),
    Case("PPO, entropy bonus", PPO(gamma=GAMMA, horizon=8, entropy_coef=0.3), "exact"),
)
"""What `policygrad prove` covers, each compared with its exact expectation where there is a formula for it."""
