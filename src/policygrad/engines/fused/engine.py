"""The engine for MLPs on the CPU: machine code that changes the torch parameters in place."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from torch import nn

from policygrad._support.checks import check_choice
from policygrad._support.threads import Workers
from policygrad.algorithms.algorithm import Optimizer
from policygrad.engines import common
from policygrad.engines.fused import forward_loop, heads, optimizers, traces, update_loop
from policygrad.engines.fused.net import Placed
from policygrad.engines.fused.placing import make_nets, own_workspace, own_workspaces
from policygrad.engines.fusible import unsupported_reason
from policygrad.engines.gradient_noise import GradientNoise
from policygrad.interfaces import AlongTraces, Networks, Step, Update
from policygrad.losses import Loss
from policygrad.policies import Policy, leave_inference_mode
from policygrad.types import (
    F32,
    F64,
    Array,
    Batch,
    Inputs,
    Minibatches,
    Outputs,
    PolicyOutputs,
    State,
    check_inputs,
)

SPLIT_AT = 512
"""Smallest number of samples per core for which a batch is split, because waking a thread takes about 50 µs."""
WHOLE_BATCH = Minibatches(np.zeros(0, np.int64), np.zeros(1, np.int64))
"""The `order` and `bounds` of `update_loop.update` for one step on all samples."""
NO_WEIGHTS = np.zeros(0, np.float32)
"""The `weight` of `update_loop.update` that gives each sample the weight 1."""


class FusedEngine(common.CommonEngine):
    """An engine for MLPs on the CPU; see `interfaces.Engine`.

    The arguments are those of `AutogradEngine`. `fusible.unsupported_reason` says which networks are not supported.
    Batches of `SPLIT_AT` samples per core or more are split between `workers` in fixed shares, whose gradients are
    added in order, so the same number of cores gives bit-identical results.
    """

    name = "fused"
    has_modes = False

    def __init__(
        self, policy: Policy, value: nn.Module | None, optimizer: str, workers: Workers | None = None
    ) -> None:
        reason = unsupported_reason(policy, value)
        if reason is not None:
            raise ValueError(f"the fused engine does not support this: {reason}. Use engine='autograd'.")
        check_choice("optimizer", optimizer, Optimizer)
        leave_inference_mode(policy, value)
        self.policy = policy
        self.value = value
        self.head = heads.head_of(policy)
        stored = policy.distribution
        self._single, self._columns = stored.stored_shape == (), math.prod(stored.stored_shape)
        self._dtype = stored.stored_dtype
        self.gradient_noise = GradientNoise.of(policy)
        self._actor, self._critic = make_nets(policy.network, value, self.gradient_noise)
        self.networks_are_separate = not self._critic.net.trunk
        self.num_choices = policy.num_choices
        self._optimizer = common.OPTIMIZERS[optimizer]
        self._workers = workers or Workers()
        others = [own_workspaces(self._actor, self._critic) for _ in range(self._workers.cores - 1)]
        # one pair of networks per core; the optimizer's step uses the first
        self._nets = [(self._actor, self._critic), *others]
        self._actors, self._critics = ([nets[i] for nets in self._nets] for i in (0, 1))

    def actor_for_reading(self) -> Placed:
        """Return the policy network with a separate workspace, for another thread, which must not take steps."""
        return own_workspace(self._actor)

    def act(self, inputs: Inputs, noise: F64) -> Array:
        """See `Engine.act`."""
        check_inputs(inputs, "engine.act(Inputs(observation), noise)")
        observation = inputs.observation
        action = np.empty((len(observation), self._columns), np.float32)
        forward_loop.act(observation, noise.reshape(len(noise), -1), self.head, self._actor.address, action)
        return (action[:, 0] if self._single else action).astype(self._dtype, copy=False)

    def values(self, inputs: Inputs) -> F32:
        """See `Engine.values`."""
        check_inputs(inputs, "engine.values(Inputs(observation))")
        observation = inputs.seen_by_critic
        value = np.empty(len(observation), np.float32)
        parts = self._workers.parts(len(observation), SPLIT_AT)

        def run(part: int) -> None:
            first, last = parts[part]
            forward_loop.values(observation[first:last], self._critics[part].address, value[first:last])

        self._workers.map(run, len(parts))
        return value

    def evaluate(self, inputs: Inputs, action: Array) -> tuple[F32, F32]:
        """See `Engine.evaluate`."""
        check_inputs(inputs, "engine.evaluate(Inputs(observation), action)")
        observation = inputs.observation
        action = common.as_column_matrix(action)
        log_prob, entropy = np.empty((2, len(observation)), np.float32)
        parts = self._workers.parts(len(observation), SPLIT_AT)

        def run(part: int) -> None:
            rows, actor = slice(*parts[part]), self._actors[part].address
            forward_loop.evaluations(
                observation[rows], action[rows], self.head, actor, log_prob[rows], entropy[rows]
            )

        self._workers.map(run, len(parts))
        return log_prob, entropy

    def squared_scores(self, inputs: Inputs, action: Array) -> F32:
        """See `ScoringEngine.squared_scores`."""
        # imported here, so that it is compiled only if the optimal baseline needs it
        from policygrad.engines.fused import scores

        squared = np.zeros(len(inputs), np.float32)
        action = common.as_column_matrix(action)
        scores.squared_scores(inputs.observation, action, self.head, self._actor.address, squared)
        return squared

    def step_along_traces(self, along: AlongTraces) -> tuple[float, float]:
        """See `TracingEngine.step_along_traces`."""
        numbers, report = _numbers(along.step), np.zeros(3)
        if traces.step(along, self.head, self.nets, self._optimizer, numbers, report) != update_loop.DONE:
            self.check_finite(along.outputs, along.batch.inputs, policy=True, value=True)
        return float(report[0]), float(report[1])

    def policy_outputs(
        self, inputs: Inputs, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """See `TrustRegionEngine.policy_outputs`."""
        # imported here, so that it is compiled only if a trust region needs it
        from policygrad.engines.fused import trust_region

        action = common.as_column_matrix(action)
        parts = self._workers.parts(len(inputs), SPLIT_AT)
        outputs = trust_region.policy_outputs(
            inputs.observation, action, self.policy, self.head, self._actors, before, self._workers, parts
        )
        if before is None:
            common.check_policy_outputs(self.policy, inputs, outputs.log_prob, outputs.entropy)
        return outputs

    def fisher_vector_product(self, inputs: Inputs) -> Callable[[F32], F32]:
        """See `TrustRegionEngine.fisher_vector_product`."""
        from policygrad.engines.fused import trust_region

        workers, parts = self._workers, self._workers.parts(len(inputs), SPLIT_AT)
        x = inputs.observation
        return trust_region.fisher_vector_product(x, self.policy, self.head, self._actors, workers, parts)

    def gradient(
        self,
        batch: Batch,
        loss: Loss,
        coefficients: Mapping[str, float],
        networks: Networks = "both",
        outputs: F32 | None = None,
    ) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        has_value = self.value is not None
        update = Update(batch, loss, coefficients, common.step_of(networks, has_value))
        outputs = np.zeros((3, len(batch)), np.float32) if outputs is None else outputs
        self._run(update, outputs, *common.columns_of(update), update_loop.GRADIENT, np.zeros(3))
        common.check_outputs(outputs, self.policy, batch.inputs)
        value_gradient = self._critic.net.gradient if has_value else np.zeros(0, np.float32)
        return self._actor.net.gradient.copy(), value_gradient.copy()

    def apply(self, policy_gradient: F32, value_gradient: F32, step: Step) -> tuple[float, float]:
        """See `Engine.apply`."""
        gradients = policy_gradient, value_gradient
        for placed, gradient, rate in zip(self.nets, gradients, step[:2], strict=True):
            if rate is not None:
                placed.net.gradient[:] = gradient
        report = np.zeros(3)
        policy_rate, value_rate, max_norm = _numbers(step)
        rates, nets = (policy_rate, value_rate), (self._actor.address, self._critic.address)
        if update_loop.step_of_both(*nets, *rates, self._optimizer, max_norm, report) != update_loop.DONE:
            modules = ("policy", self.policy.network), ("value", self.value or nn.Module())
            for (name, module), gradient, rate in zip(modules, gradients, step[:2], strict=True):
                if rate is not None:
                    common.check_gradient(name, module, gradient)
        return float(report[0]), float(report[1])

    def update(self, update: Update) -> Outputs:
        """See `Engine.update`."""
        batch, step = update.batch, update.step
        if update.minibatches is not None:
            common.check_minibatches(update.minibatches, batch.segments)
        outputs = np.zeros((3, len(batch)), np.float32) if update.outputs is None else update.outputs
        columns, old_log_prob = common.columns_of(update)
        updates = [update]
        may_separate = (
            update.minibatches is not None and self._workers.cores > 1 and self.networks_are_separate
        )
        if may_separate and None not in step[:2] and update.loss.separates:
            one_by_one = (step._replace(value_rate=None), step._replace(policy_rate=None))
            updates = [replace(update, step=one) for one in one_by_one]
        reports = np.zeros((len(updates), 3))

        def run(i: int) -> int:
            what = update_loop.GRADIENT | update_loop.STEP
            return self._run(updates[i], outputs, columns, old_log_prob, what, reports[i])

        if any(status != update_loop.DONE for status in self._workers.map(run, len(updates))):
            rates = (step.policy_rate, step.value_rate)
            self.check_finite(outputs, batch.inputs, *(rate is not None for rate in rates))
        policy_norm, value_norm, policy_steps = reports.sum(0).tolist()
        return Outputs(outputs, columns, policy_norm, value_norm, int(policy_steps))

    def check_finite(self, outputs: F32, inputs: Inputs, policy: bool, value: bool) -> None:
        """Raise NonFiniteError if outputs [3, B], or the gradient of a network that takes a step, are not finite."""
        common.check_outputs(outputs, self.policy, inputs)
        for name, module, placed, steps in (
            ("policy", self.policy.network, self._actor, policy),
            ("value", self.value, self._critic, value),
        ):
            if module is not None and steps:
                common.check_gradient(name, module, placed.net.gradient)

    @property
    def nets(self) -> tuple[Placed, Placed]:
        """The (policy, value network) for compiled code."""
        return self._actor, self._critic

    def state(self) -> State:
        """See `Engine.state`."""
        states = (optimizers.state(placed.net) for placed in self.nets)
        return common.engine_state(self.value, *states, noise=self.gradient_noise)

    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        restored = common.restore_engine(self.value, state, self.gradient_noise)
        for placed, saved in zip(self.nets, restored, strict=True):
            optimizers.restore(placed.net, saved)

    def _run(
        self, update: Update, outputs: F32, columns: F32, old_log_prob: int, what: int, report: F64
    ) -> int:
        """Run `what` of an update; write the outputs [3, B] and the report, and return the status.

        `what`, the report and the status are those of `update_loop.update`; `columns` and `old_log_prob` are those of
        `common.columns_of`.
        """
        batch, step, length, B = update.batch, update.step, update.batch.length, outputs.shape[1]
        minibatches = update.minibatches or WHOLE_BATCH
        weight = NO_WEIGHTS if batch.weight is None else batch.weight
        scale = 1 / (B if batch.weight is None else float(batch.weight.sum(dtype=np.float64)))
        action = common.as_column_matrix(batch.action)
        address, coefficients = update.loss.address, update.loss.numbers(update.coefficients)
        max_kl = math.inf if update.max_kl is None else update.max_kl
        policy_rate, value_rate, max_norm = _numbers(step)
        both = not update.loss.separates and self.value is not None
        nets, inputs = self._nets, batch.inputs
        rows = inputs.observation, inputs.seen_by_critic, action, outputs, columns, weight

        def run(what: int, first: int, last: int, part: int = 0) -> int:
            actor, critic = nets[part]
            return update_loop.update(
                update_loop.take_steps.address, *rows, first, last, length, both, address, coefficients, scale,
                *minibatches, what, self.head, actor.address, policy_rate, critic.address, value_rate,
                self._optimizer, max_norm, max_kl, old_log_prob, report,
            )  # fmt: skip

        parts = self._workers.parts(B // length, -(-SPLIT_AT // length))
        if len(parts) == 1 or minibatches is not WHOLE_BATCH:
            return run(what, 0, B)

        def gradient(i: int) -> int:
            first, last = parts[i]
            return run(update_loop.GRADIENT, length * first, length * last, i)

        self._workers.map(gradient, len(parts))
        for other in nets[1 : len(parts)]:
            for first, more, rate in zip(nets[0], other, step[:2], strict=True):
                if rate is not None:
                    first.net.gradient[:] += more.net.gradient
        return run(update_loop.STEP, 0, B) if what & update_loop.STEP else update_loop.DONE


def _numbers(step: Step) -> tuple[float, float, float]:
    """Return the learning rates of the (policy, value network) and the largest norm, as compiled code takes them."""
    policy_rate, value_rate = (update_loop.LEFT_OUT if rate is None else rate for rate in step[:2])
    return policy_rate, value_rate, math.inf if step.max_grad_norm is None else step.max_grad_norm
