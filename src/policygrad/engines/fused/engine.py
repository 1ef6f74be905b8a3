"""The engine for MLPs on the CPU: machine code that writes into the very memory of the torch parameters."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch import nn

from policygrad.engines import common
from policygrad.engines.fused import heads, loop, matmul, mlp, optimizers
from policygrad.engines.fused.net import Net, Placed
from policygrad.engines.fusible import why_not
from policygrad.engines.signatures import cotangents_address
from policygrad.policies import MLP, GaussianPolicy, Policy, ValueNetwork, flat_parameters
from policygrad.threads import Workers
from policygrad.types import F32, F64, Array, Batch, Cotangents, Minibatches, Outputs, Sample

ACTIVATIONS = {"relu": matmul.RELU, "tanh": matmul.TANH}


SPLIT_AT = 512
"""Samples a core from which on it pays to wake another: that takes some 50 µs."""
WHOLE_BATCH = Minibatches(np.zeros(0, np.int64), np.zeros(1, np.int64))
"""As `loop.update` has it: no order is one step on all samples."""


class FusedEngine:
    """See `types.Engine`. Arguments as of `AutogradEngine`; `fusible.why_not` says what it cannot take.

    Batches of `SPLIT_AT` samples a core or more are split between `workers` in fixed shares, whose gradients
    are added in their order: the same number of cores gives the same bits.
    """

    name = "fused"

    def __init__(
        self, policy: Policy, value: nn.Module | None, optimizer: str, workers: Workers | None = None
    ) -> None:
        reason = why_not(policy, value)
        if reason is not None:
            raise ValueError(f"the fused engine cannot take this: {reason}; use engine='autograd'")
        self.policy = policy
        self.value = value
        network: Any = policy.network
        self.head = heads.GAUSSIAN if isinstance(network, GaussianPolicy) else heads.CATEGORICAL
        self._columns = policy.distribution.action_dim if self.head == heads.GAUSSIAN else 1
        # without a value network one of a single weight stands in, which is never computed
        self._actor = make_net(network, network.network)
        self._critic = (
            make_net(value, value.network) if isinstance(value, ValueNetwork) else make_net(None, None)
        )
        self._optimizer = optimizers.CODES[optimizer]
        self._workers = workers or Workers()
        self._others = [
            (own_room(self._actor), own_room(self._critic)) for _ in range(self._workers.cores - 1)
        ]

    def actor_for_reading(self) -> Placed:
        """The policy network with a workspace of its own: for another thread, which may not step."""
        return own_room(self._actor)

    def act(self, observation: F32, noise: F64) -> Array:
        """See `Engine.act`."""
        action = np.empty((len(observation), self._columns), np.float32)
        loop.act(observation, noise.reshape(len(noise), -1), self.head, self._actor.address, action)
        return action if self.head == heads.GAUSSIAN else action[:, 0].astype(np.int64)

    def values(self, observation: F32) -> F32:
        """See `Engine.values`."""
        value = np.empty(len(observation), np.float32)
        parts = self._workers.parts(len(observation), SPLIT_AT)
        critics = [self._critic, *(critic for _, critic in self._others)]

        def run(part: int) -> None:
            first, last = parts[part]
            loop.values(observation[first:last], critics[part].address, value[first:last])

        self._workers.map(run, len(parts))
        return value

    def squared_scores(self, observation: F32, action: Array) -> F32:
        """See `Engine.squared_scores`."""
        # its own import: compiled only where the optimal baseline asks for it
        from policygrad.engines.fused import scores

        squared = np.zeros(len(observation), np.float32)
        action = common.as_column_matrix(action)
        scores.squared_scores(observation, action, self.head, self._actor.address, squared)
        return squared

    def gradient(self, batch: Batch, cotangents: Cotangents, coefficients: F32) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        samples, has_value = common.samples_of(batch), self.value is not None
        self._run(batch, samples, cotangents, coefficients, loop.GRADIENT, 0.0, 0.0 if has_value else None)
        common.check_outputs(samples)
        value_gradient = self._critic.net.gradient if has_value else np.zeros(0, np.float32)
        return self._actor.net.gradient.copy(), value_gradient.copy()

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
            common.check_minibatches(minibatches, len(batch))
        samples, norms = common.samples_of(batch), np.zeros(2)
        ending = self._run(
            batch, samples, cotangents, coefficients, loop.GRADIENT | loop.STEP, policy_rate, value_rate,
            max_grad_norm, minibatches or WHOLE_BATCH, norms,
        )  # fmt: skip
        if ending != loop.DONE:
            common.check_outputs(samples)
            for name, module, placed, rate in (
                ("policy", self.policy.network, self._actor, policy_rate),
                ("value", self.value, self._critic, value_rate),
            ):
                if module is not None and rate is not None:
                    _check_gradient(name, module, placed.net.gradient)
        return Outputs(samples.log_prob, samples.entropy, samples.value, *norms.tolist())

    def _run(
        self,
        batch: Batch,
        samples: Sample,
        cotangents: Cotangents,
        coefficients: F32,
        what: int,
        policy_rate: float | None,
        value_rate: float | None,
        max_grad_norm: float | None = None,
        minibatches: Minibatches = WHOLE_BATCH,
        norms: F64 | None = None,
    ) -> int:
        action = common.as_column_matrix(batch.action)
        address = cotangents_address(cotangents)
        norms = np.zeros(2) if norms is None else norms
        parts = self._workers.parts(len(batch), SPLIT_AT)
        nets = [(self._actor, self._critic), *self._others]

        def run(what: int, part: int = 0, rows: slice | None = None) -> int:
            actor, critic = nets[part]
            columns = (batch.observation, action, samples)
            if rows is not None:
                columns = batch.observation[rows], action[rows], Sample(*(c[rows] for c in samples))
            return loop.update(
                *columns,
                address,
                coefficients,
                *minibatches,
                what,
                self.head,
                actor.address,
                loop.LEFT_OUT if policy_rate is None else policy_rate,
                critic.address,
                loop.LEFT_OUT if value_rate is None else value_rate,
                self._optimizer,
                math.inf if max_grad_norm is None else max_grad_norm,
                norms,
            )

        if len(parts) == 1 or minibatches is not WHOLE_BATCH:
            return run(what)
        self._workers.map(lambda i: run(loop.GRADIENT, i, slice(*parts[i])), len(parts))
        for other in nets[1 : len(parts)]:
            for first, more, rate in zip(nets[0], other, (policy_rate, value_rate), strict=True):
                if rate is not None:
                    first.net.gradient[:] += more.net.gradient
        return run(loop.STEP) if what & loop.STEP else loop.DONE


def own_room(placed: Placed) -> Placed:
    """The same network and optimiser state, with a gradient and a workspace apart: for another thread."""
    apart = {name: np.empty_like(getattr(placed.net, name)) for name in ("transposed", "work", "gradient")}
    return Placed(placed.net._replace(**apart))


def make_net(module: nn.Module | None, perceptron: MLP | None) -> Placed:
    """A network's parameters in place, with all that an engine needs beside them; of None a stand-in."""
    sizes = perceptron.sizes if perceptron is not None else (1, 1)
    parameters: F32 = (
        flat_parameters(module).numpy()
        if module is not None
        else np.zeros(mlp.parameter_count(sizes), np.float32)
    )
    bounds = module.log_std_bounds if isinstance(module, GaussianPolicy) else (0.0, 0.0)
    product, ahead_pass, back_pass = mlp.addresses()
    net = Net(
        parameters=parameters,
        ahead=len(parameters) - mlp.parameter_count(sizes),
        sizes=np.array(sizes, np.int64),
        activation=ACTIVATIONS[perceptron.activation] if perceptron is not None else matmul.TANH,
        transposed=np.empty(mlp.parameter_count(sizes), np.float32),
        work=np.empty(mlp.workspace_size(sizes, loop.ROWS), np.float32),
        gradient=np.zeros_like(parameters),
        first=np.zeros_like(parameters),
        second=np.zeros_like(parameters),
        count=np.zeros(1, np.int64),
        lowest=bounds[0],
        highest=bounds[1],
        product=product,
        ahead_pass=ahead_pass,
        back_pass=back_pass,
    )
    return Placed(net)


def _check_gradient(name: str, module: nn.Module, gradient: F32) -> None:
    """Raise NonFiniteError with the parameter's name where its gradient is not finite."""
    offset = 0
    for p_name, p in module.named_parameters():
        part = gradient[offset : offset + p.numel()]
        common.check_finite([(f"the gradient of {name} parameter {p_name}", part)])
        offset += p.numel()
