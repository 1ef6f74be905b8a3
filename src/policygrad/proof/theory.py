"""What theory says of an algorithm's estimates: their exact expectation, and the gradient that they are for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from policygrad.advantages import estimators
from policygrad.algorithms import PPO, TRPO, ActorCritic, Algorithm, NaturalGradient, WithRecipe
from policygrad.algorithms.recipe import Recipe
from policygrad.proof.expectation import by_returns, by_td_errors, steps_of_a_fragment
from policygrad.proof.solution import Solution, TimeLimit, going_on, reached_by_step
from policygrad.types import F64

WITHOUT_BIAS = (estimators.NO_BASELINE, estimators.VALUE, estimators.LEAVE_ONE_OUT)
"""Baselines that do not depend on the episode that they are subtracted from."""


@dataclass(frozen=True)
class Theory:
    """What the estimates of an algorithm should average to."""

    reference: F64
    """[P]: the gradient that the estimates are for. With whole episodes it is ∇J(θ). With a number of steps it is the
    usual form Σ_s weight(s) Σ_a ∇π(a|s) A(s, a), with the states that are collected, and without γ^t unless the
    algorithm's settings include it."""
    expected: F64 | None
    """[P]: the exact expectation of the estimates; None if there is no formula for it."""

    @property
    def words(self) -> str:
        """What theory says, in a word."""
        if self.expected is None:
            return "biased, no formula"
        distance = np.linalg.norm(self.expected - self.reference)
        return "unbiased" if distance <= 1e-5 * np.linalg.norm(self.reference) else "biased, known"


def time_limit_of(algorithm: Algorithm) -> TimeLimit:
    """Return what a time limit means for the values that the estimates of an algorithm stand for."""
    recipe = algorithm.recipe if isinstance(algorithm, WithRecipe) else None
    ends = recipe is not None and recipe.horizon is None and recipe.estimator.bootstrap == "never"
    return "termination" if ends else "truncation"


def theory_of(
    algorithm: Algorithm,
    exact: Solution,
    value: F64,
    updates: int,
    *,
    claim: bool,
    moved: Solution | None = None,
) -> Theory:
    """Return the theory of an algorithm with `plain` settings.

    Args:
        algorithm: an algorithm with a recipe, or the actor-critic.
        exact: the exact solution for its policy, with `time_limit_of` the algorithm.
        value: V(s) [S] of the estimates, or Q(s, a) [S, A].
        updates: number of updates that an estimate adds up.
        moved: the exact solution for the policy that learns, if it is no longer the one that collected.
        claim: compare it with an unbiased estimator that has the exact values, whatever it computes itself.

    Raises:
        ValueError: there is no theory for an algorithm of this kind.
    """
    if moved is not None:
        if not isinstance(algorithm, PPO) or algorithm.gae_lambda != 0 or updates > 1:
            raise ValueError(
                "moved needs PPO with gae_lambda=0 and one update: there is no other theory for it"
            )
        return _of_a_later_step(algorithm, exact, moved, value)
    if isinstance(algorithm, NaturalGradient | TRPO):
        return Theory(_natural_step(algorithm, exact), None)
    recipe = algorithm.recipe if isinstance(algorithm, WithRecipe) else None
    if recipe is not None and recipe.horizon is None:
        one = _of_episodes(algorithm, recipe, exact, value, claim)
        return Theory(updates * one.reference, None if one.expected is None else updates * one.expected)
    if recipe is None and not isinstance(algorithm, ActorCritic):
        raise ValueError(
            f"there is no theory for {type(algorithm).__name__}: prove knows ActorCritic, and algorithms that are a "
            "recipe, with their subclasses"
        )
    return _of_steps(algorithm, recipe, exact, value, updates, claim)


def _of_episodes(algorithm: Algorithm, recipe: Recipe, exact: Solution, value: F64, claim: bool) -> Theory:
    """Return the theory of an algorithm that averages over whole episodes."""
    mdp, pi, gamma = exact.mdp, exact.probabilities, exact.gamma
    reached = reached_by_step(mdp, pi)
    discounted = gamma ** np.arange(len(reached))[:, None] * reached
    bootstraps = recipe.estimator.bootstrap != "never"
    right = by_returns(mdp, pi, gamma, exact.value if bootstraps else np.zeros(len(mdp.start)))
    bonus = exact.direction(reached, np.broadcast_to(_entropy_bonus(algorithm, exact), right.shape))
    # whole-episode returns are discounted from the start
    whole_returns = getattr(algorithm, "returns", "") == "episode"
    weight = discounted if recipe.discount_weighting or whole_returns else reached
    reference = exact.direction(discounted, right) + bonus
    if not recipe.per_episode:
        return Theory(reference, None)
    if claim:
        # what the settings say, whatever the recipe does
        if getattr(algorithm, "discount_weighting", False):
            weight = discounted
        return Theory(reference, exact.direction(weight, right) + bonus)
    baseline = int(recipe.estimator.parameters[1])
    if baseline not in WITHOUT_BIAS:
        return Theory(reference, None)
    judged = by_returns(mdp, pi, gamma, value) if bootstraps else right
    return Theory(reference, exact.direction(weight, judged) + bonus)


def _of_steps(
    algorithm: Algorithm, recipe: Recipe | None, exact: Solution, value: F64, updates: int, claim: bool
) -> Theory:
    """Return the theory of an algorithm that averages over the steps of each update."""
    mdp, pi, gamma = exact.mdp, exact.probabilities, exact.gamma
    T = 1 if recipe is None or recipe.horizon is None else recipe.horizon
    collected = steps_of_a_fragment(mdp, pi, T * updates) / T
    weight = collected
    if getattr(algorithm, "discount_weighting", False):
        weight = collected * gamma ** np.arange(mdp.horizon)[:, None]
    shape = (*collected.shape, pi.shape[1])
    bonus = exact.direction(collected, np.broadcast_to(_entropy_bonus(algorithm, exact), shape))
    reference = exact.direction(weight, np.broadcast_to(exact.advantage, shape)) + bonus
    if claim:
        return Theory(reference, reference)
    if recipe is None:
        # Q(s, a) judges each action by itself
        return Theory(reference, exact.direction(weight, np.broadcast_to(value, shape)) + bonus)
    traces = next((one.traces for one in recipe.passes if one.traces is not None), None)
    numbers, function = recipe.estimator.parameters, recipe.estimator.function
    decay, left = gamma * numbers[1], np.tile(np.arange(T, 0, -1), updates)
    if traces is not None:
        # a TD error reaches all earlier steps, however many updates ago
        decay, left = gamma * traces.policy, np.arange(updates, 0, -1)
    elif function is estimators.n_step(1.0, 1).function:
        decay, left = gamma, np.minimum(left, int(numbers[1]))
    judged = by_td_errors(mdp, pi, gamma, decay, value, int(left.max()))[left - 1]
    return Theory(reference, exact.direction(weight, judged) + bonus)


def _of_a_later_step(algorithm: PPO, exact: Solution, moved: Solution, value: F64) -> Theory:
    """Return the theory of PPO's gradient at a policy that has moved: Schulman et al. 2017, eq. 7 and 8.

    With λ = 0 an advantage depends on s, a and s′ only, so that the minimum can be averaged exactly. The gradient that
    the estimates are for has the exact advantages in its place.
    """
    mdp, old = exact.mdp, exact.probabilities
    weight = _visited(algorithm, exact)
    ratio = np.where(old > 0, moved.probabilities / np.where(old > 0, old, 1), 1.0)
    # a loss of one's own may have no clipping
    clip = np.inf if algorithm.clip is None or algorithm.recipe.clip is None else algorithm.clip
    error = mdp.reward + exact.gamma * value * going_on(mdp) - value[:, None, None]

    def judged(advantage: F64) -> F64:
        """Return what ∇log π is multiplied by, without the part that a clipped ratio removes; [S, A, ...]."""
        beyond = np.where(advantage > 0, ratio[..., None] > 1 + clip, ratio[..., None] < 1 - clip)
        return np.where(beyond, 0.0, advantage)

    others = _entropy_bonus(algorithm, moved) - algorithm.kl_penalty * (1 - 1 / ratio)
    averaged = (mdp.transition * judged(error)).sum(-1)
    return Theory(
        moved.direction(weight, judged(exact.advantage[..., None])[..., 0] + others),
        moved.direction(weight, averaged + others),
    )


def _natural_step(algorithm: NaturalGradient | TRPO, exact: Solution) -> F64:
    """Return the exact natural step d = sqrt(2δ / xᵀ(F + λ)x) x with (F + λ)x = g, [P]: Schulman et al. 2015."""
    weight = _visited(algorithm, exact)
    gradient = exact.direction(weight, exact.advantage)
    fisher = exact.fisher_for(weight)
    natural = np.linalg.solve(fisher + algorithm.damping * np.eye(len(fisher)), gradient)
    length = np.sqrt(2 * algorithm.max_kl / (natural @ gradient))
    return (length * natural).astype(np.float64)


def _visited(algorithm: PPO | NaturalGradient | TRPO, exact: Solution) -> F64:
    """Return the share of each state in the samples of an update, [S]."""
    T = algorithm.horizon
    return steps_of_a_fragment(exact.mdp, exact.probabilities, T).sum((0, 1)) / T


def _entropy_bonus(algorithm: Algorithm, exact: Solution) -> F64:
    """Return what Q(s, a) is to the return, for the term β H(π(·|s)): −β log π(a|s), [S, A]."""
    log_prob = np.where(exact.probabilities > 0, exact.log_density.detach().numpy(), 0.0)
    return -float(getattr(algorithm, "entropy_coef", 0.0)) * log_prob
