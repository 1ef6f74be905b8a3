"""The engine for MLPs on the CPU: machine code that writes into the very memory of the torch parameters."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from torch import nn

from policygrad.algorithms.algorithm import Optimizer
from policygrad.checks import check_choice
from policygrad.engines import common
from policygrad.engines.fused import heads, loop, optimizers
from policygrad.engines.fused.net import Placed
from policygrad.engines.fused.placing import make_nets, own_room, own_rooms, with_other_parameters
from policygrad.engines.fusible import why_not
from policygrad.engines.signatures import cotangents_address
from policygrad.policies import Policy, leave_inference_mode
from policygrad.threads import Workers
from policygrad.types import (
    F32,
    F64,
    Array,
    Batch,
    Cotangents,
    Minibatches,
    Outputs,
    PolicyOutputs,
    Sample,
    State,
)

SPLIT_AT = 512
"""Samples a core from which on it pays to wake another: that takes some 50 µs."""
WHOLE_BATCH = Minibatches(np.zeros(0, np.int64), np.zeros(1, np.int64))
"""As `loop.update` has it: no order is one step on all samples."""


class FusedEngine:
    """See `interfaces.Engine`. Arguments as of `AutogradEngine`; `fusible.why_not` says what it cannot take.

    Batches of `SPLIT_AT` samples a core or more are split between `workers` in fixed shares, whose gradients
    are added in their order: the same number of cores gives the same bits.
    """

    name = "fused"
    has_modes = False

    def __init__(
        self, policy: Policy, value: nn.Module | None, optimizer: str, workers: Workers | None = None
    ) -> None:
        reason = why_not(policy, value)
        if reason is not None:
            raise ValueError(f"the fused engine cannot take this: {reason}; use engine='autograd'")
        check_choice("optimizer", optimizer, Optimizer)
        leave_inference_mode(policy, value)
        self.policy = policy
        self.value = value
        self.head = heads.head_of(policy)
        stored = policy.distribution
        self._single, self._columns = stored.stored_shape == (), math.prod(stored.stored_shape)
        self._dtype = stored.stored_dtype
        self._actor, self._critic = make_nets(policy.network, value)
        self.networks_are_apart = not self._critic.net.trunk
        self.num_choices = policy.num_choices
        self._optimizer = optimizers.CODES[optimizer]
        self._workers = workers or Workers()
        others = [own_rooms(self._actor, self._critic) for _ in range(self._workers.cores - 1)]
        # of each core, the first one's with the optimiser's step
        self._nets = [(self._actor, self._critic), *others]
        self._actors, self._critics = ([nets[i] for nets in self._nets] for i in (0, 1))

    def actor_for_reading(self) -> Placed:
        """The policy network with a workspace of its own: for another thread, which may not step."""
        return own_room(self._actor)

    def act(self, observation: F32, noise: F64) -> Array:
        """See `Engine.act`."""
        action = np.empty((len(observation), self._columns), np.float32)
        loop.act(observation, noise.reshape(len(noise), -1), self.head, self._actor.address, action)
        return (action[:, 0] if self._single else action).astype(self._dtype, copy=False)

    def values(self, observation: F32) -> F32:
        """See `Engine.values`."""
        value = np.empty(len(observation), np.float32)
        parts = self._workers.parts(len(observation), SPLIT_AT)

        def run(part: int) -> None:
            first, last = parts[part]
            loop.values(observation[first:last], self._critics[part].address, value[first:last])

        self._workers.map(run, len(parts))
        return value

    def evaluate(self, observation: F32, action: Array) -> tuple[F32, F32]:
        """See `Engine.evaluate`."""
        action = common.as_column_matrix(action)
        log_prob, entropy = np.empty((2, len(observation)), np.float32)
        parts = self._workers.parts(len(observation), SPLIT_AT)

        def run(part: int) -> None:
            mine = slice(*parts[part])
            loop.evaluations(
                observation[mine],
                action[mine],
                self.head,
                self._actors[part].address,
                log_prob[mine],
                entropy[mine],
            )

        self._workers.map(run, len(parts))
        return log_prob, entropy

    def squared_scores(self, observation: F32, action: Array) -> F32:
        """See `Engine.squared_scores`."""
        # its own import: compiled only where the optimal baseline asks for it
        from policygrad.engines.fused import scores

        squared = np.zeros(len(observation), np.float32)
        action = common.as_column_matrix(action)
        scores.squared_scores(observation, action, self.head, self._actor.address, squared)
        return squared

    def policy_outputs(
        self, observation: F32, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """See `Engine.policy_outputs`."""
        # compiled only where a trust region asks for it
        from policygrad.engines.fused import fisher

        B, width = len(observation), int(self.head.sizes.sum()) or 2 * self._columns
        log_prob, entropy, kl = np.zeros((3, B), np.float32)
        distribution = np.empty((B, width), np.float32)
        action = common.as_column_matrix(action)
        parts = self._workers.parts(B, SPLIT_AT)

        def run(part: int) -> None:
            rows = slice(*parts[part])
            fisher.policy_outputs(
                observation[rows], action[rows], self.head, self._actors[part].address,
                log_prob[rows], entropy[rows], distribution[rows],
            )  # fmt: skip
            if before is not None:
                fisher.divergence(self.head, before.distribution[rows], distribution[rows], kl[rows])

        self._workers.map(run, len(parts))
        if before is None:
            common.check_policy_outputs(self.policy, observation, log_prob, entropy)
        return PolicyOutputs(log_prob, entropy, kl, distribution)

    def policy_parameters(self) -> F32:
        """See `Engine.policy_parameters`."""
        return common.policy_parameters(self.policy)

    def set_policy_parameters(self, parameters: F32) -> None:
        """See `Engine.set_policy_parameters`."""
        common.set_policy_parameters(self.policy, parameters)

    def fisher_vector_product(self, observation: F32) -> Callable[[F32], F32]:
        """See `Engine.fisher_vector_product`: forward, its derivative along v, and backward, in one call."""
        from policygrad.engines.fused import fisher

        parts = self._workers.parts(len(observation), SPLIT_AT)
        actors = self._actors[: len(parts)]
        rooms = [with_other_parameters(actor) for actor in actors]

        def product(vector: F32) -> F32:
            def run(part: int) -> None:
                rows, along = observation[slice(*parts[part])], rooms[part]
                along.net.parameters[:] = vector
                fisher.fisher_vector_product(
                    rows, self.head, actors[part].address, along.address, 1 / len(observation)
                )

            self._workers.map(run, len(parts))
            result = actors[0].net.gradient.copy()
            for actor in actors[1:]:
                result += actor.net.gradient
            return result

        return product

    def gradient(self, batch: Batch, cotangents: Cotangents, coefficients: F32) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        samples, has_value = common.samples_of(batch), self.value is not None
        self._run(batch, samples, cotangents, coefficients, loop.GRADIENT, 0.0, 0.0 if has_value else None)
        common.check_outputs(samples, self.policy, batch.observation)
        value_gradient = self._critic.net.gradient if has_value else np.zeros(0, np.float32)
        return self._actor.net.gradient.copy(), value_gradient.copy()

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
        self._actor.net.gradient[:] = policy_gradient
        self._critic.net.gradient[:] = value_gradient
        report = np.zeros(3)
        limit = math.inf if max_grad_norm is None else max_grad_norm
        rates = (policy_rate, value_rate)
        nets = self._actor.address, self._critic.address
        if loop.step_of_both(*nets, *rates, self._optimizer, limit, report) != loop.DONE:
            _check_gradient("policy", self.policy.network, policy_gradient)
            _check_gradient("value", self.value or nn.Module(), value_gradient)
        return float(report[0]), float(report[1])

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
        """See `Engine.update`."""
        common.check_max_kl(max_kl, batch)
        if minibatches is not None:
            common.check_minibatches(minibatches, len(batch))
        samples = common.samples_of(batch)
        rates = [(policy_rate, value_rate)]
        may_part = apart and self.networks_are_apart and self._workers.cores > 1
        if may_part and minibatches is not None and None not in rates[0]:
            rates = [(policy_rate, None), (None, value_rate)]
        reports = np.zeros((len(rates), 3))

        def run(i: int) -> int:
            return self._run(
                batch, samples, cotangents, coefficients, loop.GRADIENT | loop.STEP, *rates[i],
                max_grad_norm, minibatches or WHOLE_BATCH, max_kl, reports[i],
            )  # fmt: skip

        if set(self._workers.map(run, len(rates))) != {loop.DONE}:
            common.check_outputs(samples, self.policy, batch.observation)
            for name, module, placed, rate in (
                ("policy", self.policy.network, self._actor, policy_rate),
                ("value", self.value, self._critic, value_rate),
            ):
                if module is not None and rate is not None:
                    _check_gradient(name, module, placed.net.gradient)
        policy_norm, value_norm, policy_steps = (reports[0] if len(rates) == 1 else reports.sum(0)).tolist()
        return Outputs(
            samples.log_prob, samples.entropy, samples.value, policy_norm, value_norm, int(policy_steps)
        )

    def state(self) -> State:
        """See `Engine.state`."""
        return common.engine_state(self.value, *(optimizers.state(placed.net) for placed in self._nets[0]))

    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        for placed, of_one in zip(self._nets[0], common.restore_value(self.value, state), strict=True):
            optimizers.restore(placed.net, of_one)

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
        max_kl: float | None = None,
        report: F64 | None = None,
    ) -> int:
        action = common.as_column_matrix(batch.action)
        address = cotangents_address(cotangents)
        report = np.zeros(3) if report is None else report
        parts = self._workers.parts(len(batch), SPLIT_AT)
        nets = self._nets
        seen = batch.observation if batch.critic_observation is None else batch.critic_observation

        def run(what: int, part: int = 0, rows: slice | None = None) -> int:
            actor, critic = nets[part]
            columns = (batch.observation, seen, action, samples)
            if rows is not None:
                columns = (
                    batch.observation[rows],
                    seen[rows],
                    action[rows],
                    Sample(*(c[rows] for c in samples)),
                )
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
                math.inf if max_kl is None else max_kl,
                report,
            )

        if len(parts) == 1 or minibatches is not WHOLE_BATCH:
            return run(what)
        self._workers.map(lambda i: run(loop.GRADIENT, i, slice(*parts[i])), len(parts))
        for other in nets[1 : len(parts)]:
            for first, more, rate in zip(nets[0], other, (policy_rate, value_rate), strict=True):
                if rate is not None:
                    first.net.gradient[:] += more.net.gradient
        return run(loop.STEP) if what & loop.STEP else loop.DONE


def _check_gradient(name: str, module: nn.Module, gradient: F32) -> None:
    """Raise NonFiniteError with the parameter's name where its gradient is not finite."""
    offset = 0
    for p_name, p in module.named_parameters():
        part = gradient[offset : offset + p.numel()]
        common.check_finite([(f"the gradient of {name} parameter {p_name}", part)])
        offset += p.numel()
