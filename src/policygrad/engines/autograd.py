"""The engine for any torch module on any device: automatic differentiation, fed with three numbers a sample."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap  # pyright: ignore[reportPrivateImportUsage]

from policygrad.engines import common
from policygrad.engines.fusible import is_fusible
from policygrad.engines.signatures import call_cotangents
from policygrad.engines.torch_optimizers import make_optimizer, optimizer_state, restore_optimizer, take_step
from policygrad.policies import (
    Policy,
    SharedValueNetwork,
    evaluation_mode,
    is_standard,
    kl_estimate,
    leave_inference_mode,
)
from policygrad.surroundings import in_ordinary_torch
from policygrad.types import F32, F64, Array, Batch, Cotangents, Minibatches, Outputs, PolicyOutputs, State


class AutogradEngine:
    """See `interfaces.Engine`.

    Args:
        policy: acts; its network is any module.
        value: V(s), any module [B, D] -> [B] or [B, 1], on the policy's device; None where none is learned.
        optimizer: `adam`, `rmsprop` or `sgd`.
    """

    name = "autograd"
    # modules of one's own may share layers in ways that nobody can see
    networks_are_apart = False

    def __init__(self, policy: Policy, value: nn.Module | None, optimizer: str) -> None:
        leave_inference_mode(policy, value)
        self.policy = policy
        self.value = value
        self.num_choices = policy.num_choices
        self.has_modes = not (is_standard(policy.network) and (value is None or is_fusible(value)))
        self._device = policy.device
        self._policy_optimizer = make_optimizer(optimizer, policy)
        self._value_optimizer = make_optimizer(optimizer, value) if value is not None else None
        self._policy_modules = _modules_with_modes(policy, is_standard(policy.network))
        self._value_modules = _modules_with_modes(value, value is None or is_fusible(value))
        if isinstance(value, SharedValueNetwork):
            # its hidden layers are the policy's
            self._value_modules = self._policy_modules

    def act(self, observation: F32, noise: F64) -> Array:
        """See `Engine.act`."""
        with _evaluating(self._policy_modules):
            return self.policy.choose(observation, noise)

    @in_ordinary_torch
    @torch.no_grad()
    def values(self, observation: F32) -> F32:
        """See `Engine.values`."""
        with _evaluating(self._value_modules):
            return self._values(self._tensor(observation)).numpy(force=True)

    @in_ordinary_torch
    @torch.no_grad()
    def evaluate(self, observation: F32, action: Array) -> tuple[F32, F32]:
        """See `Engine.evaluate`."""
        with _evaluating(self._policy_modules):
            parameters, distribution = self.policy(self._tensor(observation)), self.policy.distribution
        log_prob = distribution.log_prob(parameters, self._tensor(action))
        return log_prob.numpy(force=True), distribution.entropy(parameters).numpy(force=True)

    @in_ordinary_torch
    def squared_scores(self, observation: F32, action: Array) -> F32:
        """See `Engine.squared_scores`."""
        parameters = {name: p.detach() for name, p in self.policy.named_parameters()}

        def log_prob(parameters: dict[str, Tensor], observation: Tensor, action: Tensor) -> Tensor:
            outputs = functional_call(self.policy, parameters, (observation[None],))
            return self.policy.distribution.log_prob(outputs, action[None])[0]

        per_sample: Any = vmap(grad(log_prob), in_dims=(None, 0, 0), chunk_size=256)
        with _evaluating(self._policy_modules):
            scores: dict[str, Tensor] = per_sample(
                parameters, self._tensor(observation), self._tensor(action)
            )
        return sum(s.flatten(1).square().sum(1) for s in scores.values()).numpy(force=True)  # pyright: ignore

    @in_ordinary_torch
    @torch.no_grad()
    def policy_outputs(
        self, observation: F32, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """See `Engine.policy_outputs`."""
        with _evaluating(self._policy_modules):
            distribution, now = self.policy.distribution, self.policy(self._tensor(observation))
        log_prob, entropy = distribution.log_prob(now, self._tensor(action)), distribution.entropy(now)
        kl = torch.zeros_like(entropy) if before is None else distribution.kl(before.distribution, now)
        found = PolicyOutputs(_array(log_prob), _array(entropy), _array(kl), now)
        if before is None:
            common.check_policy_outputs(self.policy, observation, found.log_prob, found.entropy)
        return found

    def policy_parameters(self) -> F32:
        """See `Engine.policy_parameters`."""
        return common.policy_parameters(self.policy)

    def set_policy_parameters(self, parameters: F32) -> None:
        """See `Engine.set_policy_parameters`."""
        common.set_policy_parameters(self.policy, parameters)

    @in_ordinary_torch
    def fisher_vector_product(self, observation: F32) -> Callable[[F32], F32]:
        """See `Engine.fisher_vector_product`.

        The mean KL differentiated twice, as in Schulman et al. 2015, appendix C: its gradient's graph is made
        once, and each product is one backward pass through it. In evaluation mode, as the KL is measured: with
        dropout the two networks would differ, and what is differentiated would not be least where they meet.
        """
        with _evaluating(self._policy_modules):
            now = self.policy(self._tensor(observation))
            with torch.no_grad():
                fixed = self.policy(self._tensor(observation))
        every = list(self.policy.parameters())
        learned = [p for p in every if p.requires_grad]
        options: dict[str, Any] = {"allow_unused": True, "materialize_grads": True}
        kl = self.policy.distribution.kl(fixed, now).mean()
        slopes = torch.autograd.grad(kl, learned, create_graph=True, **options)

        @in_ordinary_torch
        def product(vector: F32) -> F32:
            parts = self._tensor(vector).split([p.numel() for p in every])
            along = [v.view_as(p) for v, p in zip(parts, every, strict=True) if p.requires_grad]
            # a parameter that the distribution does not depend on has a slope without a graph
            pairs = [(slope, v) for slope, v in zip(slopes, along, strict=True) if slope.requires_grad]
            outputs, along = [slope for slope, _ in pairs], [v for _, v in pairs]
            found = iter(torch.autograd.grad(outputs, learned, along, retain_graph=True, **options))
            rows = [next(found) if p.requires_grad else torch.zeros_like(p) for p in every]
            return torch.cat([row.reshape(-1) for row in rows]).numpy(force=True)

        return product

    @in_ordinary_torch
    def gradient(self, batch: Batch, cotangents: Cotangents, coefficients: F32) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        self._backward(batch, cotangents, coefficients, policy=True, value=self.value is not None)
        return _flat_gradient(self.policy), _flat_gradient(self.value)

    @in_ordinary_torch
    def apply(
        self,
        policy_gradient: F32,
        value_gradient: F32,
        *,
        policy_rate: float,
        value_rate: float,
        max_grad_norm: float | None,
    ) -> tuple[float, float]:
        """See `Engine.apply`."""
        for module, gradient in ((self.policy, policy_gradient), (self.value, value_gradient)):
            parameters = list(module.parameters()) if module is not None else []
            parts = self._tensor(gradient).split([p.numel() for p in parameters])
            for p, part in zip(parameters, parts, strict=True):
                p.grad = part.reshape(p.shape).clone()
        norms = [0.0, 0.0]
        self._step(policy_rate, value_rate, max_grad_norm, norms)
        return norms[0], norms[1]

    @in_ordinary_torch
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
        max_kl: float | None = None,
        apart: bool = False,
    ) -> Outputs:
        """See `Engine.update`; one core does it all, whether `apart` or not."""
        common.check_max_kl(max_kl, batch)
        given = Minibatches(np.arange(len(batch)), np.array([0, len(batch)]))
        if minibatches is not None:
            common.check_minibatches(minibatches, len(batch))
            given = minibatches
        found, norms, policy_steps = np.zeros((3, len(batch)), np.float32), [0.0, 0.0], 0
        for start, stop in pairwise(given.bounds):
            rows = given.order[start:stop]
            part = batch if minibatches is None else common.rows_of(batch, rows)
            use_policy, use_value = policy_rate is not None, value_rate is not None
            outputs = self._backward(part, cotangents, coefficients, policy=use_policy, value=use_value)
            for column, output, used in zip(found, outputs, (use_policy, use_policy, use_value), strict=True):
                if used:
                    column[rows] = output
            if use_policy and max_kl is not None and part.old_log_prob is not None:
                kl = kl_estimate(outputs[0], part.old_log_prob).mean()
                policy_rate = policy_rate if kl <= max_kl else None
            self._step(policy_rate, value_rate, max_grad_norm, norms)
            policy_steps += policy_rate is not None
        return Outputs(found[0], found[1], found[2], norms[0], norms[1], policy_steps)

    def _step(
        self,
        policy_rate: float | None,
        value_rate: float | None,
        max_grad_norm: float | None,
        norms: list[float],
    ) -> None:
        """A step of each network that has a rate, along the gradient that stands there; sets their norms."""
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
            take_step(optimizer)
        if policy_rate is not None:
            self.policy.project()

    def state(self) -> State:
        """See `Engine.state`."""
        optimizers = (self._policy_optimizer, self._value_optimizer)
        return common.engine_state(self.value, *(optimizer_state(o) for o in optimizers))

    @in_ordinary_torch
    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        optimizers = (self._policy_optimizer, self._value_optimizer)
        for optimizer, of_one in zip(optimizers, common.restore_value(self.value, state), strict=True):
            restore_optimizer(optimizer, of_one)

    def _backward(
        self, batch: Batch, cotangents: Cotangents, coefficients: F32, *, policy: bool, value: bool
    ) -> tuple[F32, F32, F32]:
        """Fill the parameters' gradients; returns (log_prob, entropy, value), each [B]."""
        observation = self._tensor(batch.observation)
        zeros = torch.zeros(len(batch), dtype=torch.float32, device=self._device)
        log_prob = entropy = values = zeros
        if policy:
            parameters = self.policy(observation)
            log_prob = self.policy.distribution.log_prob(parameters, self._tensor(batch.action))
            entropy = self.policy.distribution.entropy(parameters)
            self.policy.zero_grad(set_to_none=True)
        if value and self.value is not None:
            seen = batch.critic_observation
            values = self._values(observation if seen is None else self._tensor(seen))
            self.value.zero_grad(set_to_none=True)
        outputs = {"log_prob": _array(log_prob), "entropy": _array(entropy), "value": _array(values)}
        sample = common.samples_of(batch)._replace(**outputs)
        common.check_outputs(sample, self.policy, batch.observation)
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


def _modules_with_modes(module: nn.Module | None, is_ours: bool) -> list[nn.Module]:
    """A network and all its submodules; none of this library's own, which are the same in either mode."""
    return [] if module is None or is_ours else list(module.modules())


def _evaluating(modules: list[nn.Module]) -> AbstractContextManager[None]:
    """The first module, with all others in it, in evaluation mode; in a rollout it is already."""
    return evaluation_mode(modules[0]) if any(m.training for m in modules) else nullcontext()


def _array(tensor: Tensor) -> F32:
    return tensor.detach().numpy(force=True).copy()


def _flat_gradient(module: nn.Module | None) -> F32:
    """All gradients in `parameters()` order, zeros where there is none; empty without a module."""
    if module is None:
        return np.zeros(0, np.float32)
    parts = [torch.zeros_like(p) if p.grad is None else p.grad for p in module.parameters()]
    return torch.cat([p.reshape(-1) for p in parts]).numpy(force=True)
