"""The engine for MLPs on the CPU: machine code that writes into the very memory of the torch parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import nn

from policygrad.engines import common
from policygrad.engines.fused import heads, loop, mlp, optimizers
from policygrad.engines.fusible import why_not
from policygrad.engines.signatures import cotangents_address
from policygrad.policies import MLP, GaussianPolicy, Policy, ValueNetwork, flat_parameters
from policygrad.types import F32, F64, I64, Array, Batch, Cotangents, Outputs

ACTIVATIONS = {"relu": mlp.RELU, "tanh": mlp.TANH}


class FusedEngine:
    """See `types.Engine`. Arguments as of `AutogradEngine`; `fusible.why_not` says what it cannot take."""

    name = "fused"

    def __init__(self, policy: Policy, value: nn.Module | None, optimizer: str) -> None:
        reason = why_not(policy, value)
        if reason is not None:
            raise ValueError(f"the fused engine cannot take this: {reason}; use engine='autograd'")
        self.policy = policy
        self.value = value
        network: Any = policy.network
        self._head = heads.GAUSSIAN if isinstance(network, GaussianPolicy) else heads.CATEGORICAL
        self._columns = policy.distribution.action_dim if self._head == heads.GAUSSIAN else 1
        self._actor = _Flat(policy.network, network.network)
        # without a value network one of a single weight stands in, which is never computed
        self._critic = _Flat(value, value.network) if isinstance(value, ValueNetwork) else _Flat(None, None)
        self._work = np.empty(2 * max(self._actor.workspace, self._critic.workspace), np.float32)
        self._optimizer = optimizers.CODES[optimizer]

    def act(self, observation: F32, noise: F64) -> Array:
        """See `Engine.act`."""
        action = np.empty((len(observation), self._columns), np.float32)
        loop.act(observation, noise.reshape(len(noise), -1), *self._policy_arguments(), self._work, action)
        return action if self._head == heads.GAUSSIAN else action[:, 0].astype(np.int64)

    def values(self, observation: F32) -> F32:
        """See `Engine.values`."""
        value = np.empty(len(observation), np.float32)
        loop.values(observation, *self._value_arguments(), self._work, value)
        return value

    def squared_scores(self, observation: F32, action: Array) -> F32:
        """See `Engine.squared_scores`."""
        # its own import: compiled only where the optimal baseline asks for it
        from policygrad.engines.fused import scores

        squared = np.zeros(len(observation), np.float32)
        scores.squared_scores(
            observation, common.as_column_matrix(action), *self._policy_arguments(), self._work, squared
        )
        return squared

    def gradient(self, batch: Batch, cotangents: Cotangents, coefficients: F32) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        self._backward(batch, cotangents, coefficients, policy=True, value=self.value is not None)
        value_gradient = self._critic.gradient if self.value is not None else np.zeros(0, np.float32)
        return self._actor.gradient.copy(), value_gradient.copy()

    def update(
        self,
        batch: Batch,
        cotangents: Cotangents,
        coefficients: F32,
        *,
        policy_rate: float | None,
        value_rate: float | None,
        max_grad_norm: float | None,
    ) -> Outputs:
        """See `Engine.update`."""
        outputs = self._backward(
            batch, cotangents, coefficients, policy=policy_rate is not None, value=value_rate is not None
        )
        norms = [
            flat.checked_norm(name) if rate is not None else 0.0
            for flat, name, rate in (
                (self._actor, "policy", policy_rate),
                (self._critic, "value", value_rate),
            )
        ]
        for flat, norm, rate in zip(
            (self._actor, self._critic), norms, (policy_rate, value_rate), strict=True
        ):
            if rate is not None:
                flat.step(self._optimizer, rate, common.clip_factor(norm, max_grad_norm))
        if policy_rate is not None and isinstance(self.policy.network, GaussianPolicy):
            log_std = self._actor.parameters[: self._columns]
            np.clip(log_std, *self.policy.network.log_std_bounds, out=log_std)
        return Outputs(*outputs, *norms)

    def _backward(
        self, batch: Batch, cotangents: Cotangents, coefficients: F32, *, policy: bool, value: bool
    ) -> tuple[F32, F32, F32]:
        """Fill the gradients; returns (log_prob, entropy, value), each [B]."""
        B = len(batch)
        outputs = (np.zeros(B, np.float32), np.zeros(B, np.float32), np.zeros(B, np.float32))
        actor, critic = self._policy_arguments(), self._value_arguments()
        loop.gradients(
            batch.observation,
            common.as_column_matrix(batch.action),
            batch.advantage,
            batch.target,
            cotangents_address(cotangents),
            coefficients,
            policy,
            *actor,
            value,
            *critic,
            self._work,
            *outputs,
            self._actor.gradient,
            self._critic.gradient,
        )
        common.check_finite(zip(common.OUTPUT_NAMES, outputs, strict=True))
        return outputs

    def _policy_arguments(self) -> tuple[int, F32, I64, int]:
        return self._head, self._actor.parameters, self._actor.sizes, self._actor.activation

    def _value_arguments(self) -> tuple[F32, I64, int]:
        return self._critic.parameters, self._critic.sizes, self._critic.activation


class _Flat:
    """One network as the machine code sees it: parameters, gradient and moments, all flat."""

    def __init__(self, module: nn.Module | None, perceptron: MLP | None) -> None:
        self.module = module
        sizes = perceptron.sizes if perceptron is not None else (1, 1)
        self.parameters: F32 = (
            flat_parameters(module).numpy() if module is not None else np.zeros(2, np.float32)
        )
        self.gradient, self.first, self.second = (np.zeros_like(self.parameters) for _ in range(3))
        self.count = 0
        self.sizes: I64 = np.array(sizes, np.int64)
        self.activation = ACTIVATIONS[perceptron.activation] if perceptron is not None else mlp.TANH
        self.workspace = mlp.workspace_size(sizes, loop.ROWS)

    def checked_norm(self, name: str) -> float:
        """The gradient's norm; raises NonFiniteError with the parameter's name where it is not finite."""
        norm = float(optimizers.norm(self.gradient))
        if not np.isfinite(norm) and self.module is not None:
            offset = 0
            for p_name, p in self.module.named_parameters():
                part = self.gradient[offset : offset + p.numel()]
                common.check_finite([(f"the gradient of {name} parameter {p_name}", part)])
                offset += p.numel()
        return norm

    def step(self, code: int, rate: float, factor: float) -> None:
        """One optimiser step along the gradient times `factor`."""
        self.count += 1
        optimizers.step(
            code, self.parameters, self.gradient, self.first, self.second, self.count, rate, factor
        )
