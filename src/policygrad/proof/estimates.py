"""The mean and variance of an estimator of the gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy.special import ndtri

from policygrad._support.seeding import EpisodeSeeds, stream
from policygrad._support.threads import single_thread
from policygrad.algorithms import Reinforce
from policygrad.engines import EngineName, make_engine
from policygrad.envs import make
from policygrad.envs.finite import FiniteMDP, kernel
from policygrad.envs.textbook import three_states
from policygrad.policies import DiscretePolicy, Policy, ValueNetwork
from policygrad.proof.exact import exact_gradient
from policygrad.rollout import make_collector
from policygrad.types import F64

GAMMA = 0.9
UNBIASED: dict[str, Reinforce] = {
    f"{returns}, {baseline}": Reinforce(
        gamma=GAMMA,
        returns=returns,
        baseline=baseline,
        discount_weighting=returns == "reward-to-go",
        average="episodes",
        normalize_advantages=False,
        bootstrap_truncated=False,
    )
    for returns in ("episode", "reward-to-go")
    for baseline in ("none", "leave-one-out", "value")
}
"""All variants of REINFORCE whose expectation is exactly ∇J.

Whole-episode returns Σ_t γ^t r_t are discounted already; rewards-to-go must be multiplied by γ^t.
"""


@dataclass(frozen=True)
class Estimates:
    """Independent estimates of a gradient, together with the exact gradient."""

    samples: F64
    """[R, P] float64: R estimates of P parameters."""
    exact: F64
    """[P] float64: the exact gradient."""

    def intervals(self, confidence: float = 0.999) -> tuple[F64, F64]:
        """Return normal intervals (low, high), each [P], for the mean estimate of each parameter separately."""
        R = len(self.samples)
        half = float(ndtri(0.5 + confidence / 2)) * self.samples.std(0, ddof=1) / math.sqrt(R)
        return self.samples.mean(0) - half, self.samples.mean(0) + half

    def unbiased(self, confidence: float = 0.999) -> bool:
        """Return True if the exact derivative of every parameter is within its interval."""
        low, high = self.intervals(confidence)
        slack = 1e-6 * np.abs(self.exact).max()
        return bool(((low - slack <= self.exact) & (self.exact <= high + slack)).all())

    @property
    def variance(self) -> float:
        """Total variance of one estimate: the trace of its covariance."""
        return float(self.samples.var(0, ddof=1).sum())

    @property
    def bias(self) -> float:
        """Relative bias ‖mean − exact‖ / ‖exact‖."""
        return float(np.linalg.norm(self.samples.mean(0) - self.exact) / np.linalg.norm(self.exact))


def estimate(
    algorithm: Reinforce,
    *,
    mdp: FiniteMDP | None = None,
    repeats: int = 2000,
    episodes: int = 8,
    engine: EngineName = "auto",
    seed: int = 0,
) -> Estimates:
    """Estimate ∇J `repeats` times with the collector, algorithm and engine that training uses, without learning.

    Args:
        algorithm: the variant; its `gamma` is also the discount of the objective.
        mdp: the decision process; by default the one with three states.
        repeats: R, the number of estimates.
        episodes: number of whole episodes per estimate.
        engine: as in `train`.
        seed: seed of all random numbers.

    Returns:
        The estimates of ∇J, each the negative gradient of the algorithm's loss.

    Raises:
        TypeError: the algorithm is not a `Reinforce`.
    """
    if not isinstance(algorithm, Reinforce):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"estimate needs a Reinforce or a subclass, for its batch and its loss; got {type(algorithm).__name__}"
        )
    mdp = mdp or three_states()
    environments = make(kernel(mdp, "the decision process"), episodes)
    S, A = mdp.transition.shape[:2]
    rng = stream(seed, "init")
    policy = Policy(
        DiscretePolicy(S, A, (), rng=rng), environments.observation_space, environments.action_space
    )
    value = ValueNetwork(S, (), rng=rng) if algorithm.uses_value else None
    chosen = make_engine(policy, value, "sgd", engine)
    collector = make_collector(
        environments,
        policy,
        chosen,
        seeds=EpisodeSeeds(stream(seed, "env")),
        action_rng=stream(seed, "action"),
    )
    samples: list[F64] = []
    with single_thread():
        for _ in range(repeats):
            batch = algorithm.batch(collector.episodes(), chosen)
            coefficients = algorithm.loss_coefficients(len(batch), episodes, 0.0)
            samples.append(-chosen.gradient(batch, algorithm.traced_loss, coefficients)[0].astype(np.float64))
    environments.close()
    return Estimates(np.stack(samples), exact_gradient(mdp, policy, algorithm.gamma))
