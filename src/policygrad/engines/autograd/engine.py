"""`AutogradEngine` supports any torch module on any device, by automatic differentiation of the loss."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policygrad._support.isolation import in_ordinary_torch
from policygrad.engines import common
from policygrad.engines.autograd.evaluating import evaluating, modules_with_modes
from policygrad.engines.autograd.gradients import flat_gradient, set_gradient
from policygrad.engines.autograd.sample_losses import Constants, constants_of, sample_losses
from policygrad.engines.autograd.scores import fisher_vector_product, squared_scores
from policygrad.engines.autograd.torch_optimizers import (
    make_optimizer,
    optimizer_state,
    restore_optimizer,
    take_step,
)
from policygrad.engines.fusible import is_fusible
from policygrad.interfaces import Step, Update
from policygrad.losses import Loss
from policygrad.policies import (
    Policy,
    SharedValueNetwork,
    as_tensors,
    is_standard,
    kl_estimate,
    leave_inference_mode,
)
from policygrad.types import (
    F32,
    F64,
    I64,
    Array,
    Batch,
    Inputs,
    Outputs,
    PolicyOutputs,
    Rollout,
    State,
    check_inputs,
)


class AutogradEngine:
    """An engine for any torch module on any device; see `interfaces.Engine`.

    Args:
        policy: the policy; its network may be any module.
        value: V(s), any module [B, D] -> [B] or [B, 1] on the policy's device; None if no V(s) is learned.
        optimizer: `adam`, `rmsprop` or `sgd`.
    """

    name = "autograd"
    # custom modules may share layers in ways that cannot be detected
    networks_are_separate = False

    def __init__(self, policy: Policy, value: nn.Module | None, optimizer: str) -> None:
        leave_inference_mode(policy, value)
        self.policy = policy
        self.value = value
        self.num_choices = policy.num_choices
        self.has_modes = not (is_standard(policy.network) and (value is None or is_fusible(value)))
        self._device = policy.device
        self._policy_optimizer = make_optimizer(optimizer, policy)
        self._value_optimizer = make_optimizer(optimizer, value) if value is not None else None
        self._policy_modules = modules_with_modes(policy, is_standard(policy.network))
        self._value_modules = modules_with_modes(value, value is None or is_fusible(value))
        if isinstance(value, SharedValueNetwork):
            # such a network uses the policy's hidden layers
            self._value_modules = self._policy_modules

    def act(self, inputs: Inputs, noise: F64) -> Array:
        """See `Engine.act`."""
        check_inputs(inputs, "engine.act(Inputs(observation), noise)")
        with evaluating(self._policy_modules):
            return self.policy.choose(inputs, noise)

    @in_ordinary_torch
    @torch.no_grad()
    def values(self, inputs: Inputs) -> F32:
        """See `Engine.values`."""
        check_inputs(inputs, "engine.values(Inputs(observation))")
        with evaluating(self._value_modules):
            return self._values(inputs).numpy(force=True)

    def values_along(self, rollout: Rollout) -> tuple[F64, F64]:
        """See `Engine.values_along`."""
        return common.values_along(self.values, rollout)

    @in_ordinary_torch
    @torch.no_grad()
    def evaluate(self, inputs: Inputs, action: Array) -> tuple[F32, F32]:
        """See `Engine.evaluate`."""
        check_inputs(inputs, "engine.evaluate(Inputs(observation), action)")
        with evaluating(self._policy_modules):
            parameters, distribution = self._forward(inputs), self.policy.distribution
        log_prob = distribution.log_prob(parameters, self._tensor(action))
        return log_prob.numpy(force=True), distribution.entropy(parameters).numpy(force=True)

    @in_ordinary_torch
    def squared_scores(self, inputs: Inputs, action: Array) -> F32:
        """See `ScoringEngine.squared_scores`."""
        with evaluating(self._policy_modules):
            return squared_scores(self.policy, self._tensor(inputs.observation), self._tensor(action))

    @in_ordinary_torch
    @torch.no_grad()
    def policy_outputs(
        self, inputs: Inputs, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """See `TrustRegionEngine.policy_outputs`."""
        with evaluating(self._policy_modules):
            distribution, now = self.policy.distribution, self._forward(inputs)
        log_prob, entropy = distribution.log_prob(now, self._tensor(action)), distribution.entropy(now)
        kl = torch.zeros_like(entropy) if before is None else distribution.kl(before.distribution, now)
        outputs = PolicyOutputs(_array(log_prob), _array(entropy), _array(kl), now)
        if before is None:
            common.check_policy_outputs(self.policy, inputs, outputs.log_prob, outputs.entropy)
        return outputs

    def policy_parameters(self) -> F32:
        """See `TrustRegionEngine.policy_parameters`."""
        return common.policy_parameters(self.policy)

    def set_policy_parameters(self, parameters: F32) -> None:
        """See `TrustRegionEngine.set_policy_parameters`."""
        common.set_policy_parameters(self.policy, parameters)

    @in_ordinary_torch
    def fisher_vector_product(self, inputs: Inputs) -> Callable[[F32], F32]:
        """See `TrustRegionEngine.fisher_vector_product`."""
        with evaluating(self._policy_modules):
            return fisher_vector_product(self.policy, as_tensors(inputs, self._device))

    @in_ordinary_torch
    def gradient(self, batch: Batch, loss: Loss, coefficients: Mapping[str, float]) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        update = Update(batch, loss, coefficients, Step(0.0, None if self.value is None else 0.0))
        self._backward(update, constants_of(update, common.columns_of(update)[0], self._device), None)
        return flat_gradient(self.policy), flat_gradient(self.value)

    @in_ordinary_torch
    def apply(self, policy_gradient: F32, value_gradient: F32, step: Step) -> tuple[float, float]:
        """See `Engine.apply`."""
        set_gradient(self.policy, self._tensor(policy_gradient))
        set_gradient(self.value, self._tensor(value_gradient))
        norms = [0.0, 0.0]
        self._step(step, norms)
        return norms[0], norms[1]

    @in_ordinary_torch
    def update(self, update: Update) -> Outputs:
        """See `Engine.update`."""
        batch, step, length = update.batch, update.step, update.batch.length
        columns, old_log_prob = common.columns_of(update)
        parts: list[I64 | None] = [None]
        if update.minibatches is not None:
            order, bounds = update.minibatches
            common.check_minibatches(update.minibatches, batch.segments)
            indices = (order[:, None] * length + np.arange(length)).ravel()
            parts = [indices[start * length : stop * length] for start, stop in pairwise(bounds)]
        constants = constants_of(update, columns, self._device)
        latest = np.zeros((3, len(batch)), np.float32) if update.outputs is None else update.outputs
        norms, policy_steps = [0.0, 0.0], 0
        for part in parts:
            now = replace(update, step=step)
            outputs = self._backward(now, constants, part)
            uses_policy, uses_value = self._uses(now)
            rows = slice(None) if part is None else part
            for row, output, is_new in zip(
                latest, outputs, (uses_policy, uses_policy, uses_value), strict=True
            ):
                if is_new:
                    row[rows] = output
            if step.policy_rate is not None and update.max_kl is not None:
                kl = kl_estimate(outputs[0], columns[old_log_prob][rows]).mean()
                step = step if kl <= update.max_kl else step._replace(policy_rate=None)
            self._step(step, norms)
            policy_steps += step.policy_rate is not None
        return Outputs(latest, columns, norms[0], norms[1], policy_steps)

    def _step(self, step: Step, norms: list[float]) -> None:
        """Take a step of each network that has a rate, along the gradient stored in it; write the norms to `norms`."""
        steps = (
            (0, "policy", self.policy, self._policy_optimizer, step.policy_rate),
            (1, "value", self.value, self._value_optimizer, step.value_rate),
        )
        active = [one for one in steps if one[4] is not None]
        for i, name, module, _, _ in active:
            gradient = flat_gradient(module)
            norms[i] = float(np.sqrt(np.sum(gradient.astype(np.float64) ** 2)))
            if not np.isfinite(norms[i]):
                common.check_gradient(name, module or nn.Module(), gradient)
        for i, _, module, optimizer, rate in active:
            assert module is not None
            assert optimizer is not None
            factor = common.clip_factor(
                norms[i], math.inf if step.max_grad_norm is None else step.max_grad_norm
            )
            for p in module.parameters():
                if p.grad is not None:
                    p.grad.mul_(factor)
            for group in optimizer.param_groups:
                group["lr"] = rate
            take_step(optimizer)
        if step.policy_rate is not None:
            self.policy.project()

    def state(self) -> State:
        """See `Engine.state`."""
        optimizers = (self._policy_optimizer, self._value_optimizer)
        return common.engine_state(self.value, *(optimizer_state(o) for o in optimizers))

    @in_ordinary_torch
    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        optimizers = (self._policy_optimizer, self._value_optimizer)
        for optimizer, saved in zip(optimizers, common.restore_value(self.value, state), strict=True):
            restore_optimizer(optimizer, saved)

    def _backward(self, update: Update, constants: Constants, rows: I64 | None) -> F32:
        """Compute the gradients of the networks that are used, and store them in the parameters.

        Args:
            update: the batch, the loss and the learning rates.
            constants: see `constants_of`.
            rows: indices of the samples to use; None is all of them.

        Returns:
            log π, H and V of the rows [3, R], zeros for a network that is not used.
        """
        batch = update.batch
        inputs, action, weight = batch.inputs, batch.action, batch.weight
        if rows is not None:
            inputs, action = inputs.rows(rows), action[rows]
            weight = None if weight is None else weight[rows]
        zeros = torch.zeros(len(inputs), dtype=torch.float32, device=self._device)
        log_prob = entropy = value = zeros
        uses_policy, uses_value = self._uses(update)
        if uses_policy:
            parameters = self._forward(inputs)
            log_prob = self.policy.distribution.log_prob(parameters, self._tensor(action))
            entropy = self.policy.distribution.entropy(parameters)
            self.policy.zero_grad(set_to_none=True)
        if uses_value and self.value is not None:
            value = self._values(inputs)
            self.value.zero_grad(set_to_none=True)
        outputs = np.stack([output.numpy(force=True) for output in (log_prob, entropy, value)])
        common.check_outputs(outputs, self.policy, inputs)
        losses = sample_losses(update, constants, rows, outputs, (log_prob, entropy, value))
        if losses.requires_grad:
            if weight is None:
                losses.mean().backward()
            else:
                weights = self._tensor(weight).to(losses.dtype)
                ((weights * losses).sum() / weights.sum()).backward()
        return outputs

    def _uses(self, update: Update) -> tuple[bool, bool]:
        """Return whether the (policy, value network) is computed, for its own step or for the other's gradient."""
        both = not update.loss.separates and self.value is not None
        return both or update.step.policy_rate is not None, both or update.step.value_rate is not None

    def _forward(self, inputs: Inputs) -> Any:
        return self.policy(as_tensors(inputs, self._device))

    def _values(self, inputs: Inputs) -> Tensor:
        assert self.value is not None, "this engine was made without a value network"
        values: Tensor = self.value(self._tensor(inputs.seen_by_critic))
        B = len(inputs)
        if values.shape not in ((B,), (B, 1)):
            raise ValueError(
                f"the value network returned shape {tuple(values.shape)}; expected ({B},) or ({B}, 1)"
            )
        return values.reshape(B)

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self._device)


def _array(tensor: Tensor) -> F32:
    return tensor.detach().numpy(force=True).copy()
