"""The natural policy gradient against the exact one: (F + λI)⁻¹ g from linear systems in float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.envs.textbook import random_mdp
from policygrad.proof import solve
from policygrad.proof.expectation import steps_of_a_fragment
from policygrad.proof.sampling import Sampler, plain

HORIZON, DAMPING = 8, 1e-3


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("hidden", [(), (4,)])
def test_natural_steps_of_large_batches_point_along_the_exact_natural_gradient(
    hidden: tuple[int, ...], engine: Any
):
    """F and g are estimated from the same samples, so the step is biased, but by less the larger the batch is."""
    mdp = random_mdp()
    algorithm = plain(
        pg.NaturalGradient(
            gamma=0.9, horizon=HORIZON, gae_lambda=0.9, damping=DAMPING, cg_iterations=40, max_kl=1e-4
        )
    )
    found = {}
    for num_envs in (16, 2_048):
        sampler = Sampler(
            algorithm,
            mdp,
            network=pg.Network(hidden=hidden),
            value="exact",
            num_envs=num_envs,
            engine=engine,
            seed=1,
        )
        found[num_envs] = sampler.estimates(8).gradients
        exact = solve(mdp, sampler.policy, 0.9)
        sampler.close()
    # where the samples are: fragments of this length, from the beginning of an episode on
    collected = steps_of_a_fragment(mdp, exact.probabilities, HORIZON).sum((0, 1)) / HORIZON
    gradient = exact.direction(collected, exact.advantage)
    weight = collected[:, None] * exact.probabilities
    fisher = np.einsum("sa,sai,saj->ij", weight, exact.scores, exact.scores)
    natural = np.linalg.solve(fisher + DAMPING * np.eye(len(fisher)), gradient)
    cosines = {n: np.mean([cosine(step, natural) for step in steps]) for n, steps in found.items()}
    assert cosines[2_048] > 0.98
    assert cosines[2_048] > cosines[16]
    # the plain gradient is another direction
    assert cosine(gradient, natural) < 0.95
