"""Squared scores of individual samples, and products with the policy's Fisher matrix, by automatic differentiation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap  # pyright: ignore[reportPrivateImportUsage]

from policygrad._support.isolation import in_ordinary_torch
from policygrad.policies import Policy
from policygrad.types import F32, Inputs


def squared_scores(policy: Policy, observation: Tensor, action: Tensor) -> F32:
    """Return ‖∇ log π(a|s)‖² of each sample, [B] float32.

    Args:
        policy: in evaluation mode.
        observation: [B, D] float32.
        action: [B] or [B, K], as stored.
    """
    parameters = {name: p.detach() for name, p in policy.named_parameters()}

    def log_prob(parameters: dict[str, Tensor], observation: Tensor, action: Tensor) -> Tensor:
        outputs = functional_call(policy, parameters, (Inputs(cast(Any, observation[None])),))
        return policy.distribution.log_prob(outputs, action[None])[0]

    per_sample: Any = vmap(grad(log_prob), in_dims=(None, 0, 0), chunk_size=256)
    scores: dict[str, Tensor] = per_sample(parameters, observation, action)
    return sum(s.flatten(1).square().sum(1) for s in scores.values()).numpy(force=True)  # pyright: ignore


def fisher_vector_product(policy: Policy, inputs: Inputs) -> Callable[[F32], F32]:
    """Return the product with the Fisher matrix of a policy as a function of a vector [P].

    The mean KL is differentiated twice (Schulman et al. 2015, appendix C). The graph of its gradient is built once,
    and each product is one backward pass through it. The policy must be in evaluation mode, in which the KL is
    measured too: with dropout the two networks would differ, and the KL would not be smallest where their parameters
    are equal.

    Args:
        policy: in evaluation mode.
        inputs: tensors with B rows.
    """
    now = policy(inputs)
    with torch.no_grad():
        fixed = policy(inputs)
    parameters = list(policy.parameters())
    learned = [p for p in parameters if p.requires_grad]
    options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
    kl = policy.distribution.kl(fixed, now).mean()
    gradients = torch.autograd.grad(kl, learned, create_graph=True, **options)

    @in_ordinary_torch
    def product(vector: F32) -> F32:
        parts = torch.from_numpy(vector).to(policy.device).split([p.numel() for p in parameters])
        along = [v.view_as(p) for v, p in zip(parts, parameters, strict=True) if p.requires_grad]
        # a parameter that the distribution does not depend on has a gradient without a graph
        pairs = [
            (gradient, v) for gradient, v in zip(gradients, along, strict=True) if gradient.requires_grad
        ]
        outputs, along = [gradient for gradient, _ in pairs], [v for _, v in pairs]
        products = iter(torch.autograd.grad(outputs, learned, along, retain_graph=True, **options))
        rows = [next(products) if p.requires_grad else torch.zeros_like(p) for p in parameters]
        return torch.cat([row.reshape(-1) for row in rows]).numpy(force=True)

    return product
