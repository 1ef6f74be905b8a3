"""The trust-region part of the fused engine. Importing it compiles `fisher`, or loads it from the cache."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from policygrad._support.threads import Workers
from policygrad.engines.fused import fisher
from policygrad.engines.fused.heads import Head, module_of
from policygrad.engines.fused.net import Placed
from policygrad.engines.fused.placing import with_other_parameters
from policygrad.policies import Policy
from policygrad.types import F32, PolicyOutputs

Parts = list[tuple[int, int]]
"""Bounds [first, last) of the rows of each thread, as `Workers.parts` returns them."""


def policy_outputs(
    observation: F32,
    action: F32,
    policy: Policy,
    head: Head,
    actors: list[Placed],
    before: PolicyOutputs | None,
    workers: Workers,
    parts: Parts,
) -> PolicyOutputs:
    """See `TrustRegionEngine.policy_outputs`; `actors` are the policy with a separate workspace per thread."""
    describe, divergence = module_of(policy).describe.address, module_of(policy).divergence.address
    B, width = len(observation), int(head.sizes.sum()) or 2 * action.shape[1]
    log_prob, entropy, kl = np.zeros((3, B), np.float32)
    distribution = np.empty((B, width), np.float32)

    def run(part: int) -> None:
        rows = slice(*parts[part])
        fisher.policy_outputs(
            observation[rows], action[rows], head, describe, actors[part].address,
            log_prob[rows], entropy[rows], distribution[rows],
        )  # fmt: skip
        if before is not None:
            fisher.divergences(divergence, before.distribution[rows], distribution[rows], kl[rows])

    workers.map(run, len(parts))
    return PolicyOutputs(log_prob, entropy, kl, distribution)


def fisher_vector_product(
    observation: F32, policy: Policy, head: Head, actors: list[Placed], workers: Workers, parts: Parts
) -> Callable[[F32], F32]:
    """See `TrustRegionEngine.fisher_vector_product`; `actors` are the policy with a separate workspace per thread.

    The forward pass, its derivative along v and the backward pass are one call of compiled code.
    """
    apply_fisher = module_of(policy).apply_fisher.address
    actors = actors[: len(parts)]
    directions = [with_other_parameters(actor) for actor in actors]

    def product(vector: F32) -> F32:
        def run(part: int) -> None:
            rows, along = observation[slice(*parts[part])], directions[part]
            along.net.parameters[:] = vector
            fisher.fisher_vector_product(
                rows, head, apply_fisher, actors[part].address, along.address, 1 / len(observation)
            )

        workers.map(run, len(parts))
        result = actors[0].net.gradient.copy()
        for actor in actors[1:]:
            result += actor.net.gradient
        return result

    return product
