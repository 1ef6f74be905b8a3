"""`AutogradEngine` supports any torch module on any device, by automatic differentiation of the networks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from policygrad._support.isolation import in_ordinary_torch
from policygrad._support.state import unpack
from policygrad.engines import common
from policygrad.engines.autograd.evaluating import evaluating, modules_with_modes
from policygrad.engines.autograd.gradients import clear_gradient, flat_gradient, set_gradient
from policygrad.engines.autograd.learned_network import LearnedNetwork
from policygrad.engines.autograd.loss_derivatives import MinibatchDerivatives, derivatives_on
from policygrad.engines.autograd.policy_heads import evaluated
from policygrad.engines.autograd.scores import fisher_vector_product, squared_scores
from policygrad.engines.fusible import is_fusible
from policygrad.engines.gradient_noise import GradientNoise
from policygrad.interfaces import Networks, Step, Update
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
    State,
    check_inputs,
)


class AutogradEngine(common.CommonEngine):
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
        self._policy = LearnedNetwork("policy", policy, optimizer)
        self._value = None if value is None else LearnedNetwork("value", value, optimizer)
        self._networks = (self._policy, self._value)
        self.gradient_noise = GradientNoise.of(policy)
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

    @in_ordinary_torch
    @torch.no_grad()
    def evaluate(self, inputs: Inputs, action: Array) -> tuple[F32, F32]:
        """See `Engine.evaluate`."""
        check_inputs(inputs, "engine.evaluate(Inputs(observation), action)")
        with evaluating(self._policy_modules):
            outputs = evaluated(self.policy, inputs, action, self._device)
        return outputs.log_prob, outputs.entropy

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

    @in_ordinary_torch
    def fisher_vector_product(self, inputs: Inputs) -> Callable[[F32], F32]:
        """See `TrustRegionEngine.fisher_vector_product`."""
        with evaluating(self._policy_modules):
            return fisher_vector_product(self.policy, as_tensors(inputs, self._device))

    @in_ordinary_torch
    def gradient(
        self,
        batch: Batch,
        loss: Loss,
        coefficients: Mapping[str, float],
        networks: Networks = "both",
        outputs: F32 | None = None,
    ) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        update = Update(batch, loss, coefficients, common.step_of(networks, self.value is not None))
        derivatives = derivatives_on(self._device, loss, coefficients)
        computed = self._backward(update, update.step, derivatives, common.columns_of(update)[0], None)
        if outputs is not None:
            self._note(outputs, computed, slice(None), self._uses(loss, update.step))
        gradients = [
            flat_gradient([] if network is None else network.parameters) for network in self._networks
        ]
        return gradients[0].numpy(force=True), gradients[1].numpy(force=True)

    @in_ordinary_torch
    def apply(self, policy_gradient: F32, value_gradient: F32, step: Step) -> tuple[float, float]:
        """See `Engine.apply`."""
        for network, gradient, rate in zip(
            self._networks, (policy_gradient, value_gradient), step[:2], strict=True
        ):
            if network is not None and rate is not None:
                set_gradient(network.parameters, self._tensor(gradient))
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
        derivatives = derivatives_on(self._device, update.loss, update.coefficients)
        latest = np.zeros((3, len(batch)), np.float32) if update.outputs is None else update.outputs
        norms, policy_steps = [0.0, 0.0], 0
        for part in parts:
            outputs = self._backward(update, step, derivatives, columns, part)
            rows = slice(None) if part is None else part
            self._note(latest, outputs, rows, self._uses(update.loss, step))
            if step.policy_rate is not None and update.max_kl is not None:
                kl = kl_estimate(outputs[0], columns[old_log_prob][rows]).mean()
                step = step if kl <= update.max_kl else step._replace(policy_rate=None)
            if step.policy_rate is not None:
                self.gradient_noise.add(self._policy_gradient, len(batch) if part is None else len(part))
            self._step(step, norms)
            policy_steps += step.policy_rate is not None
        return Outputs(latest, columns, norms[0], norms[1], policy_steps)

    def _note(self, latest: F32, outputs: F32, rows: slice | I64, uses: tuple[bool, bool]) -> None:
        """Write the outputs [3, R] of the networks that were used to these rows of the latest outputs [3, B]."""
        # one row at a time, because NumPy's indexing of two axes is slower
        for row, output, is_new in zip(latest, outputs, (uses[0], *uses), strict=True):
            if is_new:
                row[rows] = output

    def _policy_gradient(self) -> F32:
        return flat_gradient(self._policy.parameters).numpy(force=True)

    def _step(self, step: Step, norms: list[float]) -> None:
        """Take a step of each network that has a rate, along the gradient stored in it; write the norms to `norms`."""
        limit = math.inf if step.max_grad_norm is None else step.max_grad_norm
        active = [(i, rate) for i, rate in enumerate((step.policy_rate, step.value_rate)) if rate is not None]
        for i, _ in active:
            norms[i] = self._network(i).gradient_norm()
        for i, rate in active:
            self._network(i).optimizer.step(rate, common.clip_factor(norms[i], limit))
        if step.policy_rate is not None:
            self.policy.project()

    def state(self) -> State:
        """See `Engine.state`."""
        states = [{} if network is None else network.optimizer.state() for network in self._networks]
        return common.engine_state(self.value, *states, noise=self.gradient_noise)

    @in_ordinary_torch
    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        restored = common.restore_engine(self.value, state, self.gradient_noise)
        for network, saved in zip(self._networks, restored, strict=True):
            if network is None:
                unpack(saved)
            else:
                network.optimizer.restore(saved)

    def _backward(
        self, update: Update, step: Step, derivatives: MinibatchDerivatives, columns: F32, rows: I64 | None
    ) -> F32:
        """Compute the gradients of the networks that are used, and store them in the parameters.

        Args:
            update: the batch and the loss.
            step: the learning rates.
            derivatives: see `derivatives_on`.
            columns: [C, B], see `common.columns_of`.
            rows: indices of the samples to use; None is all of them.

        Returns:
            log π, H and V of the rows [3, R], zeros for a network that is not used.
        """
        inputs, action, weight = update.batch.inputs, update.batch.action, update.batch.weight
        if rows is not None:
            inputs, action, columns = inputs.rows(rows), action[rows], columns.take(rows, 1)
            weight = None if weight is None else weight[rows]
        outputs = np.zeros((3, len(inputs)), np.float32)
        policy, value = None, None
        uses_policy, uses_value = self._uses(update.loss, step)
        if uses_policy:
            clear_gradient(self._policy.parameters)
            policy = evaluated(self.policy, inputs, action, self._device)
            outputs[0], outputs[1] = policy.log_prob, policy.entropy
        if uses_value and self._value is not None:
            clear_gradient(self._value.parameters)
            value = self._values(inputs)
            outputs[2] = value.numpy(force=True)
        if not np.isfinite(outputs).all():
            common.check_outputs(outputs, self.policy, inputs)
        slopes, names = derivatives(outputs, columns, weight), update.loss.outputs
        pairs = [] if policy is None else policy.pull_back(slopes, names)
        if value is not None and "value" in names:
            pairs.append((value, slopes[2]))
        # outputs that depend on no parameter have no graph
        learned = [(tensor, slope) for tensor, slope in pairs if tensor.requires_grad]
        if learned:
            slopes = [slope.to(tensor.dtype) for tensor, slope in learned]
            torch.autograd.backward([tensor for tensor, _ in learned], slopes)
        return outputs

    def _network(self, i: int) -> LearnedNetwork:
        network = self._networks[i]
        assert network is not None, "this engine was made without a value network"
        return network

    def _uses(self, loss: Loss, step: Step) -> tuple[bool, bool]:
        """Return whether the (policy, value network) is computed, for its own step or for the other's gradient."""
        both = not loss.separates and self.value is not None
        return both or step.policy_rate is not None, both or step.value_rate is not None

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
