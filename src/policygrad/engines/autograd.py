"""The engine for any torch module on any device: automatic differentiation, fed with three numbers a sample."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap  # pyright: ignore[reportPrivateImportUsage]

from policygrad.engines import common
from policygrad.engines.signatures import call_cotangents
from policygrad.policies import GaussianPolicy, GSDEPolicy, Policy
from policygrad.types import F32, F64, Array, Batch, Cotangents, Minibatches, Outputs


class AutogradEngine:
    """See `types.Engine`.

    Args:
        policy: acts; its network is any module.
        value: V(s), any module [B, D] -> [B] or [B, 1], on the policy's device; None where none is learned.
        optimizer: `adam`, `rmsprop` or `sgd`.
    """

    name = "autograd"

    def __init__(self, policy: Policy, value: nn.Module | None, optimizer: str) -> None:
        self.policy = policy
        self.value = value
        self._device = policy.observation_shift.device
        self._policy_optimizer = _optimizer(optimizer, policy)
        self._value_optimizer = _optimizer(optimizer, value) if value is not None else None

    @torch.no_grad()
    def act(self, observation: F32, noise: F64) -> Array:
        """See `Engine.act`."""
        parameters = self.policy(self._tensor(observation))
        return self.policy.distribution.sample(parameters, self._tensor(noise)).numpy(force=True)

    @torch.no_grad()
    def values(self, observation: F32) -> F32:
        """See `Engine.values`."""
        return self._values(self._tensor(observation)).numpy(force=True)

    def squared_scores(self, observation: F32, action: Array) -> F32:
        """See `Engine.squared_scores`."""
        parameters = {name: p.detach() for name, p in self.policy.named_parameters()}

        def log_prob(parameters: dict[str, Tensor], observation: Tensor, action: Tensor) -> Tensor:
            outputs = functional_call(self.policy, parameters, (observation[None],))
            return self.policy.distribution.log_prob(outputs, action[None])[0]

        per_sample: Any = vmap(grad(log_prob), in_dims=(None, 0, 0), chunk_size=256)
        scores: dict[str, Tensor] = per_sample(parameters, self._tensor(observation), self._tensor(action))
        return sum(s.flatten(1).square().sum(1) for s in scores.values()).numpy(force=True)  # pyright: ignore

    def gradient(self, batch: Batch, cotangents: Cotangents, coefficients: F32) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        self._backward(batch, cotangents, coefficients, policy=True, value=self.value is not None)
        return _flat_gradient(self.policy), _flat_gradient(self.value)

    def update(
        self,
        batch: Batch,
        cotangents: Cotangents,
        coefficients: F32,
        *,
        policy_rate: float | None,
        value_rate: float | None,
        max_grad_norm: float | None,
        minibatches: Minibatches | None = None,
    ) -> Outputs:
        """See `Engine.update`."""
        if minibatches is not None:
            options: dict[str, Any] = {"policy_rate": policy_rate, "value_rate": value_rate}
            options["max_grad_norm"] = max_grad_norm
            common.check_minibatches(minibatches, len(batch))
            found, last = np.zeros((3, len(batch)), np.float32), (0.0, 0.0)
            for start, stop in pairwise(minibatches.bounds):
                rows = minibatches.order[start:stop]
                step = self.update(common.rows_of(batch, rows), cotangents, coefficients, **options)
                found[:, rows] = step.log_prob, step.entropy, step.value
                last = step.policy_grad_norm, step.value_grad_norm
            return Outputs(found[0], found[1], found[2], *last)
        outputs = self._backward(
            batch, cotangents, coefficients, policy=policy_rate is not None, value=value_rate is not None
        )
        norms = [0.0, 0.0]
        steps = (
            (0, "policy", self.policy, self._policy_optimizer, policy_rate),
            (1, "value", self.value, self._value_optimizer, value_rate),
        )
        active = [step for step in steps if step[4] is not None]
        for i, name, module, _, _ in active:
            gradient = _flat_gradient(module)
            norms[i] = float(np.sqrt(np.sum(gradient.astype(np.float64) ** 2)))
            if not np.isfinite(norms[i]):
                common.check_finite(
                    (f"the gradient of {name} parameter {p_name}", p.grad.numpy(force=True))
                    for p_name, p in (module or nn.Module()).named_parameters()
                    if p.grad is not None
                )
        for i, _, module, optimizer, rate in active:
            assert module is not None
            assert optimizer is not None
            factor = common.clip_factor(norms[i], max_grad_norm)
            for p in module.parameters():
                if p.grad is not None:
                    p.grad.mul_(factor)
            for group in optimizer.param_groups:
                group["lr"] = rate
            optimizer.step()
        if policy_rate is not None and isinstance(self.policy.network, GaussianPolicy | GSDEPolicy):
            self.policy.network.project()
        return Outputs(*outputs, *norms)

    def _backward(
        self, batch: Batch, cotangents: Cotangents, coefficients: F32, *, policy: bool, value: bool
    ) -> tuple[F32, F32, F32]:
        """Fill the parameters' gradients; returns (log_prob, entropy, value), each [B]."""
        observation = self._tensor(batch.observation)
        zeros = torch.zeros(len(batch), device=self._device)
        log_prob = entropy = values = zeros
        if policy:
            parameters = self.policy(observation)
            log_prob = self.policy.distribution.log_prob(parameters, self._tensor(batch.action))
            entropy = self.policy.distribution.entropy(parameters)
            self.policy.zero_grad(set_to_none=True)
        if value and self.value is not None:
            values = self._values(observation)
            self.value.zero_grad(set_to_none=True)
        outputs = {"log_prob": _array(log_prob), "entropy": _array(entropy), "value": _array(values)}
        sample = common.samples_of(batch)._replace(**outputs)
        common.check_outputs(sample)
        w, e, c = (np.empty(len(batch), np.float32) for _ in range(3))
        call_cotangents(cotangents, sample, coefficients, w, e, c)
        pairs = [
            (tensor, self._tensor(cotangent))
            for tensor, cotangent in ((log_prob, w), (entropy, e), (values, c))
            if tensor.requires_grad
        ]
        torch.autograd.backward([t for t, _ in pairs], [g for _, g in pairs])
        return sample.log_prob, sample.entropy, sample.value

    def _values(self, observation: Tensor) -> Tensor:
        assert self.value is not None, "this engine was made without a value network"
        values: Tensor = self.value(observation)
        B = len(observation)
        if values.shape not in ((B,), (B, 1)):
            raise ValueError(f"the value network gave {tuple(values.shape)}; expected ({B},) or ({B}, 1)")
        return values.reshape(B)

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _optimizer(name: str, module: nn.Module) -> torch.optim.Optimizer:
    parameters = [p for p in module.parameters() if p.requires_grad]
    if name == "adam":
        return torch.optim.Adam(parameters, betas=(common.ADAM_BETA1, common.ADAM_BETA2), eps=common.ADAM_EPS)
    if name == "rmsprop":
        return torch.optim.RMSprop(parameters, alpha=common.RMSPROP_ALPHA, eps=common.RMSPROP_EPS)
    return torch.optim.SGD(parameters)


def _array(tensor: Tensor) -> F32:
    return tensor.detach().numpy(force=True).copy()


def _flat_gradient(module: nn.Module | None) -> F32:
    """All gradients in `parameters()` order, zeros where there is none; empty without a module."""
    if module is None:
        return np.zeros(0, np.float32)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    return torch.cat([p.reshape(-1) for p in parts]).numpy(force=True)
