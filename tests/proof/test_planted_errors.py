"""Errors that implementations of policy gradients have had, each handed to `prove` as by a user, and each found.

An error is an estimator, a loss, or an algorithm. Beside each stands what is right, which `prove` does not object to.
"""

# the estimators have the signature of `advantages.estimators`, and are compiled
# pyright: basic

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.advantages import Estimator
from policygrad.envs.continuous_mdp import ContinuousMDP
from policygrad.envs.textbook import random_mdp
from policygrad.losses import clip, exp, maximum, minimum
from policygrad.proof import Case, Proof, prove

GAMMA, LAMBDA = 0.7, 0.8
ESTIMATES = 1_000


def with_estimator(algorithm: Any, estimator: Estimator) -> Any:
    """Return a user's algorithm with an estimator of his own."""

    class Mine(type(algorithm)):  # type: ignore[misc]
        @property
        def recipe(self) -> Any:
            return replace(super().recipe, estimator=estimator)

    return Mine(**{field.name: getattr(algorithm, field.name) for field in fields(algorithm)})


def episodes(function: Callable[..., None], **settings: Any) -> Any:
    """REINFORCE on whole episodes, with γ^t, and with an estimator of returns."""
    defaults: dict[str, Any] = {"gamma": GAMMA, "baseline": "none", "discount_weighting": True}
    algorithm = pg.Reinforce(**(defaults | settings))
    return with_estimator(algorithm, Estimator(function, (GAMMA,), "never", reads_value=False))


def fragments(function: Callable[..., None], *numbers: float) -> Any:
    """A2C on fragments of eight steps, with an estimator of advantages."""
    return Estimator(function, numbers or (GAMMA, LAMBDA), "everywhere")


def returns(reward, value, next_value, extra, terminated, done, valid, numbers, advantage, target):
    """The right one: G_t = r_t + γ G_{t+1}."""
    for n in range(reward.shape[1]):
        total = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            total = reward[t, n] + numbers[0] * total
            advantage[t, n] = target[t, n] = total


def gae(reward, value, next_value, extra, terminated, done, valid, numbers, advantage, target):
    """The right one: A_t = δ_t + γλ A_{t+1}."""
    for n in range(reward.shape[1]):
        total = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            following = 0.0 if terminated[t, n] else next_value[t, n]
            total = reward[t, n] + numbers[0] * following - value[t, n] + (
                0.0 if done[t, n] else numbers[0] * numbers[1] * total
            )  # fmt: skip
            advantage[t, n] = target[t, n] = total


def mean_score_times_sum_of_returns(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    """mean(log π) · ΣG gives each action the returns of all, and divides by the length of the episode."""
    for n in range(reward.shape[1]):
        total, total_of_returns, length = 0.0, 0.0, 0
        for t in range(reward.shape[0] - 1, -1, -1):
            total = reward[t, n] + k[0] * total
            if valid[t, n]:
                total_of_returns += total
                length += 1
        for t in range(reward.shape[0]):
            advantage[t, n] = target[t, n] = total_of_returns / length


def returns_shifted_by_one(reward, value, next_value, extra, terminated, done, valid, k, advantage, target):
    for n in range(reward.shape[1]):
        total = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            advantage[t, n] = target[t, n] = total
            total = reward[t, n] + k[0] * total


def last_reward_is_dropped(reward, value, next_value, extra, terminated, done, valid, k, advantage, target):
    for n in range(reward.shape[1]):
        total = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            total = (0.0 if terminated[t, n] else reward[t, n]) + k[0] * total
            advantage[t, n] = target[t, n] = total


def returns_without_discount(reward, value, next_value, extra, terminated, done, valid, k, advantage, target):
    for n in range(reward.shape[1]):
        total = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            total = reward[t, n] + total
            advantage[t, n] = target[t, n] = total


def discounted_twice(reward, value, next_value, extra, terminated, done, valid, k, advantage, target):
    """Returns discounted from the start of the episode, although samples are multiplied by γ^t as well."""
    for n in range(reward.shape[1]):
        total = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            total = k[0] ** t * reward[t, n] + total
            advantage[t, n] = target[t, n] = total


def normalized_within_each_episode(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    for n in range(reward.shape[1]):
        total, s, q, length = 0.0, 0.0, 0.0, 0
        for t in range(reward.shape[0] - 1, -1, -1):
            total = reward[t, n] + k[0] * total
            advantage[t, n] = target[t, n] = total
            if valid[t, n]:
                s, q, length = s + total, q + total * total, length + 1
        mean = s / length
        for t in range(reward.shape[0]):
            advantage[t, n] = (advantage[t, n] - mean) / np.sqrt(q / length - mean * mean + 1e-8)


def leave_one_out_with_its_own_share(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    total, count = 0.0, 0
    for n in range(reward.shape[1]):
        later = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            later = reward[t, n] + k[0] * later
            advantage[t, n] = target[t, n] = later
            if valid[t, n]:
                total += later
                count += 1
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            advantage[t, n] -= total / count


def baseline_is_the_best_return(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    """The best of two episodes is often the sample's own."""
    for n in range(reward.shape[1]):
        later = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            later = reward[t, n] + k[0] * later
            target[t, n] = later
    for n in range(reward.shape[1]):
        other = n - 1 if n % 2 else min(n + 1, reward.shape[1] - 1)
        for t in range(reward.shape[0]):
            advantage[t, n] = target[t, n] - max(target[0, n], target[0, other])


def advantages_are_clipped(reward, value, next_value, extra, terminated, done, valid, k, advantage, target):
    for n in range(reward.shape[1]):
        later = 0.0
        for t in range(reward.shape[0] - 1, -1, -1):
            later = min(max(reward[t, n], -1.0), 1.0) + k[0] * later
            advantage[t, n] = target[t, n] = later


def only_good_actions(reward, value, next_value, extra, terminated, done, valid, k, advantage, target):
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            following = 0.0 if terminated[t, n] else next_value[t, n]
            advantage[t, n] = max(0.0, reward[t, n] + k[0] * following - value[t, n])
            target[t, n] = 0.0


def bootstraps_through_termination(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            advantage[t, n] = reward[t, n] + k[0] * next_value[t, n] - value[t, n]
            target[t, n] = 0.0


def time_limit_is_a_termination(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            following = 0.0 if done[t, n] else next_value[t, n]
            advantage[t, n] = reward[t, n] + k[0] * following - value[t, n]
            target[t, n] = 0.0


def value_of_the_reset_at_a_truncation(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    """V of the next row, which is the first of another episode, in place of V of the last state."""
    T = reward.shape[0]
    for n in range(reward.shape[1]):
        for t in range(T):
            following = value[t + 1, n] if done[t, n] and t + 1 < T else next_value[t, n]
            following = 0.0 if terminated[t, n] else following
            advantage[t, n] = reward[t, n] + k[0] * following - value[t, n]
            target[t, n] = 0.0


def value_of_the_last_action_at_a_truncation(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    """V of the state in which the last action was taken, in place of V of the state that it led to."""
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            following = value[t, n] if done[t, n] else next_value[t, n]
            following = 0.0 if terminated[t, n] else following
            advantage[t, n] = reward[t, n] + k[0] * following - value[t, n]
            target[t, n] = 0.0


def gamma_is_dropped(reward, value, next_value, extra, terminated, done, valid, k, advantage, target):
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            following = 0.0 if terminated[t, n] else next_value[t, n]
            advantage[t, n] = reward[t, n] + following - value[t, n]
            target[t, n] = 0.0


def baseline_is_the_value_of_the_next_state(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    """V(s′) depends on the action."""
    for n in range(reward.shape[1]):
        for t in range(reward.shape[0]):
            following = 0.0 if terminated[t, n] else next_value[t, n]
            advantage[t, n] = reward[t, n] + k[0] * following - following
            target[t, n] = 0.0


def n_step_bootstrap_is_discounted_once(
    reward, value, next_value, extra, terminated, done, valid, k, advantage, target
):
    T = reward.shape[0]
    for n in range(reward.shape[1]):
        for t in range(T):
            following = 0.0 if terminated[t, n] else next_value[t, n]
            advantage[t, n] = reward[t, n] + k[0] * following - value[t, n]
            if t + 1 < T and not done[t, n]:
                following = 0.0 if terminated[t + 1, n] else next_value[t + 1, n]
                # the last discount should be γ²
                advantage[t, n] = reward[t, n] + k[0] * reward[t + 1, n] + k[0] * following - value[t, n]
            target[t, n] = 0.0


def own_loss(loss: Callable[[Any, Any], Any], **settings: Any) -> pg.Reinforce:
    defaults: dict[str, Any] = {"gamma": GAMMA, "baseline": "none", "discount_weighting": True}
    return pg.Reinforce(loss=loss, **(defaults | settings))


def the_right_loss(s: Any, k: Any) -> Any:
    return -k.policy_scale * (s.advantage * s.log_prob + k.entropy_coef * s.entropy)


def the_wrong_sign(s: Any, k: Any) -> Any:
    return k.policy_scale * s.advantage * s.log_prob


def the_entropy_has_the_wrong_sign(s: Any, k: Any) -> Any:
    return -k.policy_scale * (s.advantage * s.log_prob - k.entropy_coef * s.entropy)


def the_baseline_depends_on_the_action(s: Any, k: Any) -> Any:
    return -k.policy_scale * (s.advantage - 0.05 * s.old_log_prob) * s.log_prob


def probability_in_place_of_its_logarithm(s: Any, k: Any) -> Any:
    return -k.policy_scale * s.advantage * exp(s.log_prob)


def half_of_the_gradient(s: Any, k: Any) -> Any:
    return -k.policy_scale * s.advantage * s.log_prob / 2


def a_ratio_that_is_squared(s: Any, k: Any) -> Any:
    return -(exp(s.log_prob - s.old_log_prob) ** 2) * s.advantage + (s.value - s.target) ** 2


def the_right_ratio(s: Any, k: Any) -> Any:
    return -exp(s.log_prob - s.old_log_prob) * s.advantage + (s.value - s.target) ** 2


class ForgetsTheDiscountWeights(pg.Reinforce):
    """Its settings say γ^t, and its recipe leaves it out."""

    @property
    def recipe(self) -> Any:
        return replace(super().recipe, discount_weighting=False)


class RewardsOfAnotherStep(pg.A2C):
    """Its own `learn` shifts the rewards."""

    def learn(self, engine: Any, rollout: Any, learner: Any) -> dict[str, float]:
        return super().learn(engine, replace(rollout, reward=np.roll(rollout.reward, 1, 0)), learner)


class ClipsStoredActions(pg.Reinforce):
    """log π of the action that the environment received, and not of the one that was sampled."""

    def learn(self, engine: Any, rollout: Any, learner: Any) -> dict[str, float]:
        clipped = replace(rollout, action=np.clip(rollout.action, -1, 1))
        return super().learn(engine, clipped, learner)


def later(loss: Callable[[Any, Any], Any], moved: float, **settings: Any) -> Case:
    """PPO with a loss of a user's own, at a policy that has moved since it collected."""
    algorithm = pg.PPO(loss=loss, gamma=GAMMA, gae_lambda=0.0, horizon=8, **settings)
    return Case("mine", algorithm, "exact", moved=moved)


def with_penalty(divergence: Callable[[Any, Any], Any]) -> Case:
    """PPO with a KL penalty of a user's own."""

    def loss(s: Any, k: Any) -> Any:
        log_ratio = s.log_prob - s.old_log_prob
        ratio = exp(log_ratio)
        surrogate = ratio * s.advantage - k.kl_penalty * divergence(ratio, log_ratio)
        return -surrogate + k.value_coef * (s.value - s.target) ** 2

    return later(loss, 3.0, kl_penalty=3.0)


def clipped(chosen: Callable[[Any, Any], Any]) -> Case:
    """PPO with a choice of a user's own between the surrogate and the clipped surrogate."""

    def loss(s: Any, k: Any) -> Any:
        ratio = exp(s.log_prob - s.old_log_prob)
        surrogate = chosen(ratio * s.advantage, clip(ratio, 1 - k.clip, 1 + k.clip) * s.advantage)
        return -surrogate + k.value_coef * (s.value - s.target) ** 2

    return later(loss, 1.0, clip=0.3)


GAUSSIAN: dict[str, Any] = {"mdp": ContinuousMDP(random_mdp(actions=2), cost=0.3), "estimates": 2_000}
SETTINGS: dict[str, dict[str, Any]] = {
    "leave-one-out with its own share": {"num_envs": 2, "estimates": 10_000},
    "a time limit is a termination": {"estimates": 4_000},
    "V(reset) at a truncation": {"estimates": 4_000},
    "n-step returns discount V once": {"estimates": 4_000},
    "a Gaussian": GAUSSIAN,
    "log π of the clipped action": GAUSSIAN,
    "the entropy of a Gaussian has the wrong sign": GAUSSIAN,
}
"""Errors that take more estimates to find, because they are small, and those of a continuous action."""
ENTROPY: dict[str, Any] = {"entropy_coef": 0.3}
RIGHT: dict[str, Any] = {
    "returns": episodes(returns),
    "advantages": fragments(gae),
    "loss": own_loss(the_right_loss),
    "entropy": own_loss(the_right_loss, **ENTROPY),
    "ratio": pg.A2C(loss=the_right_ratio, gamma=GAMMA, horizon=8),
    "a Gaussian": own_loss(the_right_loss, **ENTROPY),
    "KL penalty": with_penalty(lambda ratio, log_ratio: ratio - 1 - log_ratio),
    "clipped": clipped(minimum),
}
PLANTED: dict[str, Any] = {
    "mean(log π) · ΣG": episodes(mean_score_times_sum_of_returns),
    "returns shifted by one": episodes(returns_shifted_by_one),
    "the last reward is dropped": episodes(last_reward_is_dropped),
    "no discount in the returns": episodes(returns_without_discount),
    "discounted twice": episodes(discounted_twice),
    "normalized within each episode": episodes(normalized_within_each_episode),
    "leave-one-out with its own share": episodes(leave_one_out_with_its_own_share),
    "the baseline is the best return": episodes(baseline_is_the_best_return),
    "rewards are clipped": episodes(advantages_are_clipped),
    "only good actions are learned from": fragments(only_good_actions),
    "bootstraps through a termination": fragments(bootstraps_through_termination),
    "a time limit is a termination": fragments(time_limit_is_a_termination, 0.95, LAMBDA),
    "V(reset) at a truncation": fragments(value_of_the_reset_at_a_truncation, 0.95, LAMBDA),
    "V(s_T) at a truncation": fragments(value_of_the_last_action_at_a_truncation, 0.95, LAMBDA),
    "γ dropped": fragments(gamma_is_dropped),
    "the baseline is V(s′)": fragments(baseline_is_the_value_of_the_next_state),
    "n-step returns discount V once": fragments(n_step_bootstrap_is_discounted_once),
    "the sign": own_loss(the_wrong_sign),
    "the sign of the entropy": own_loss(the_entropy_has_the_wrong_sign, **ENTROPY),
    "a baseline that looks at the action": own_loss(the_baseline_depends_on_the_action),
    "π in place of log π": own_loss(probability_in_place_of_its_logarithm),
    "half of the gradient": own_loss(half_of_the_gradient),
    "a squared ratio": pg.A2C(loss=a_ratio_that_is_squared, gamma=GAMMA, horizon=8),
    "γ^t forgotten": ForgetsTheDiscountWeights(gamma=GAMMA, baseline="none", discount_weighting=True),
    "log π of the clipped action": ClipsStoredActions(gamma=GAMMA, baseline="none", discount_weighting=True),
    "the entropy of a Gaussian has the wrong sign": own_loss(the_entropy_has_the_wrong_sign, **ENTROPY),
    "KL the wrong way round": with_penalty(lambda ratio, log_ratio: ratio * log_ratio),
    "the KL penalty forgets the ratio": with_penalty(lambda ratio, log_ratio: -log_ratio / 2),
    "a clipped ratio without the minimum": clipped(lambda surrogate, limited: limited),
    "the maximum in place of the minimum": clipped(maximum),
    "rewards of another step": RewardsOfAnotherStep(gamma=GAMMA, horizon=8),
}


def proof_of(what: Any, **settings: Any) -> Proof:
    return prove([what] if isinstance(what, Case) else what, **({"estimates": ESTIMATES} | settings))


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_is_not_objected_to(name: str):
    assert proof_of(RIGHT[name], **SETTINGS.get(name, {})), name


@pytest.mark.parametrize("name", PLANTED)
def test_each_planted_error_is_found(name: str):
    assert not proof_of(PLANTED[name], **SETTINGS.get(name, {})), name
