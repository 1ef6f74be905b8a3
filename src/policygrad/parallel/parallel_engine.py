"""The engine of a run with actors, each of which computes with its own samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np

from policygrad.engines import common
from policygrad.interfaces import Networks, Step, TrustRegionEngine, Update
from policygrad.losses import Loss
from policygrad.parallel.share import Steps
from policygrad.parallel.team import Team
from policygrad.policies import kl_estimate
from policygrad.types import F32, F64, I64, Array, Batch, Inputs, Minibatches, Outputs, PolicyOutputs, State

SMALL_STEP = 256
"""Number of samples of a step per actor below which the leader computes the step alone, from all samples.

A step that actors compute together takes some 0.3 ms more than the computation itself, in which one core computes the
gradients of about 300 samples of two networks with two layers of 64."""


class ParallelEngine(common.CommonEngine):
    """Lets the actors compute outputs and gradients, and takes the optimizer's steps itself.

    The inputs that it receives contain numbers in place of observations: see `numbering`. Gradients are means over
    each actor's samples, which are weighted by their numbers and added in the order of the actors. Where steps use
    fewer than `SMALL_STEP` samples per actor, the actors send their samples instead.

    Args:
        engine: the leader's own engine, which takes the steps.
        team: the actors.
        losses: the losses that the algorithm may minimize, in the same order as on the actors.
    """

    def __init__(self, engine: TrustRegionEngine, team: Team, losses: Sequence[Loss]) -> None:
        own = cast(Any, engine)
        self.policy, self.value, self.gradient_noise = own.policy, own.value, own.gradient_noise
        self.name, self.num_choices = engine.name, engine.num_choices
        self.networks_are_separate, self.has_modes = engine.networks_are_separate, engine.has_modes
        self._engine, self._team, self._losses = engine, team, losses
        self._samples: tuple[Array, Inputs] | None = None

    def act(self, inputs: Inputs, noise: F64) -> Array:
        """See `Engine.act`; here the inputs are observations."""
        return self._engine.act(inputs, noise)

    def values(self, inputs: Inputs) -> F32:
        """See `Engine.values`."""
        return self._gathered("values", inputs)

    def evaluate(self, inputs: Inputs, action: Array) -> tuple[F32, F32]:
        """See `Engine.evaluate`; the actions are those that the actors took."""
        log_prob, entropy = self._gathered("evaluate", inputs, 2)
        return log_prob, entropy

    def squared_scores(self, inputs: Inputs, action: Array) -> F32:
        """See `ScoringEngine.squared_scores`."""
        return self._gathered("squared_scores", inputs)

    def _gathered(self, method: str, inputs: Inputs, columns: int = 1, *arguments: Any) -> F32:
        """Return what the actors compute for their rows, in the order of the inputs: [B], or [columns, B]."""
        parts = self._rows(inputs)
        answers = self._team.ask(method, [(rows, *arguments) for _, rows in parts])
        gathered = np.empty((columns, len(inputs)), np.float32)
        for (places, _), answer in zip(parts, answers, strict=True):
            gathered[:, places] = answer
        return gathered if columns > 1 else gathered[0]

    def _rows(self, inputs: Inputs) -> Any:
        return self._team.rows(cast(I64, inputs.observation))

    def gradient(
        self,
        batch: Batch,
        loss: Loss,
        coefficients: Mapping[str, float],
        networks: Networks = "both",
        outputs: F32 | None = None,
    ) -> tuple[F32, F32]:
        """See `Engine.gradient`."""
        step = common.step_of(networks, self.value is not None)
        outputs = np.zeros((3, len(batch)), np.float32) if outputs is None else outputs
        steps = _Steps(self, Update(batch, loss, coefficients, step, outputs=outputs))
        return steps.gradient(0, networks)

    def apply(self, policy_gradient: F32, value_gradient: F32, step: Step) -> tuple[float, float]:
        """See `Engine.apply`."""
        norms = self._engine.apply(policy_gradient, value_gradient, step)
        self._note(step)
        return norms

    def _note(self, step: Step) -> None:
        self._team.note_step(policy=step.policy_rate is not None, value=step.value_rate is not None)

    def update(self, update: Update) -> Outputs:
        """See `Engine.update`."""
        if update.minibatches is not None:
            common.check_minibatches(update.minibatches, update.batch.segments)
        if self._is_small(update):
            outputs = self._engine.update(replace(update, batch=self._with_samples(update.batch)))
            self._note(update.step)
            return outputs
        if update.outputs is None:
            update = replace(update, outputs=np.zeros((3, len(update.batch)), np.float32))
        return _Steps(self, update).take()

    def _is_small(self, update: Update) -> bool:
        """Return True if the steps use so few samples that it is faster to take them here; it must not vary."""
        steps = 1 if update.minibatches is None else len(update.minibatches.bounds) - 1
        samples = len(update.batch) if update.minibatches is None else len(update.minibatches.order)
        return samples < SMALL_STEP * self._team.count * steps

    def _with_samples(self, batch: Batch) -> Batch:
        """Return a batch with the observations in place of their numbers."""
        numbers = batch.inputs.observation
        if self._samples is None or self._samples[0] is not numbers:
            parts = self.rows_of(batch)
            answers: list[F32] = self._team.ask("samples", [(rows,) for _, rows in parts])
            observation = np.empty((len(batch), answers[0].shape[1]), np.float32)
            for (places, _), answer in zip(parts, answers, strict=True):
                observation[places] = answer
            # several updates use the same samples
            self._samples = numbers, Inputs(observation)
        return replace(batch, inputs=self._samples[1])

    def policy_outputs(
        self, inputs: Inputs, action: Array, before: PolicyOutputs | None = None
    ) -> PolicyOutputs:
        """See `TrustRegionEngine.policy_outputs`; `before` is what was returned first in this update."""
        log_prob, entropy, kl = self._gathered("policy_outputs", inputs, 3, before is not None)
        return PolicyOutputs(log_prob, entropy, kl, None)

    def set_policy_parameters(self, parameters: F32) -> None:
        """See `TrustRegionEngine.set_policy_parameters`."""
        self._engine.set_policy_parameters(parameters)
        self._team.note_step(policy=True, value=False)

    def fisher_vector_product(self, inputs: Inputs) -> Callable[[F32], F32]:
        """See `TrustRegionEngine.fisher_vector_product`."""
        parts = self._rows(inputs)
        self._team.ask("begin_fisher", [(rows,) for _, rows in parts])
        counts = [len(places) for places, _ in parts]

        def product(vector: F32) -> F32:
            products = self._team.ask("fisher", [(vector,)] * len(parts))
            return _mean(products, counts)

        return product

    def state(self) -> State:
        """See `Engine.state`."""
        return self._engine.state()

    def restore(self, state: State) -> None:
        """See `Engine.restore`."""
        self._engine.restore(state)
        self._team.note_change()

    def ask(self, method: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """See `Team.ask`."""
        return self._team.ask(method, arguments)

    def index_of(self, loss: Loss) -> int:
        """Return the index of a loss; raise ValueError if the algorithm does not have it."""
        for i, known in enumerate(self._losses):
            if known is loss:
                return i
        raise ValueError("actors minimize only the losses of the recipe; this one is not among them")

    def rows_of(self, batch: Batch) -> Any:
        """Return the rows of a batch for each actor; raise ValueError for a batch that actors do not support."""
        if batch.length != 1 or batch.weight is not None:
            raise ValueError("actors support batches of single steps without weights only")
        return self._rows(batch.inputs)


class _Steps:
    """The optimizer steps of one update."""

    def __init__(self, engine: ParallelEngine, update: Update) -> None:
        self._engine, self._update = engine, update
        self._names, self._old_log_prob = common.names_of_columns(update.loss, update.max_kl)
        self._columns = update.batch.matrix(self._names)
        B = len(update.batch)
        order, bounds = update.minibatches or Minibatches(np.arange(B), np.array([0, B]))
        self._order, self._bounds = order, bounds
        parts = engine.rows_of(update.batch)
        owner, place = np.empty(B, np.int32), np.empty(B, np.int64)
        for actor, (places, _) in enumerate(parts):
            owner[places], place[places] = actor, np.arange(len(places))
        self._owner = owner[order]
        loss, arguments = engine.index_of(update.loss), list[tuple[Steps]]()
        for actor, (places, rows) in enumerate(parts):
            own = None
            if update.minibatches is not None:
                is_own = self._owner == actor
                until = np.concatenate([[0], np.cumsum(is_own)])
                own = Minibatches(place[order[is_own]], until[bounds])
            columns = self._columns[:, places]
            arguments.append((Steps(rows, self._names, columns, loss, update.coefficients, own),))
        self._actors = len(parts)
        engine.ask("begin_steps", arguments)

    def gradient(self, i: int, networks: Networks) -> tuple[F32, F32]:
        """Return the gradients of a step, and write the outputs of its samples."""
        outputs = self._update.outputs
        assert outputs is not None
        answers = self._engine.ask("gradient", [(i, networks)] * self._actors)
        samples = slice(self._bounds[i], self._bounds[i + 1])
        order, owner = self._order[samples], self._owner[samples]
        both = not self._update.loss.separates and self._engine.value is not None
        written = [k for k in range(3) if both or networks != ("policy" if k == 2 else "value")]
        counts = list[int]()
        for actor, answer in enumerate(answers):
            places = order[owner == actor]
            counts.append(len(places))
            if answer is not None:
                for k in written:
                    outputs[k, places] = answer[2][k]
        policy, value = (
            _mean([np.zeros(0, np.float32) if answer is None else answer[k] for answer in answers], counts)
            for k in range(2)
        )
        return policy, value

    def take(self) -> Outputs:
        """Take all steps."""
        engine, update, step = self._engine, self._update, self._update.step
        outputs = update.outputs
        assert outputs is not None
        norms, policy_steps = [0.0, 0.0], 0
        for i in range(len(self._bounds) - 1):
            if step.policy_rate is None and step.value_rate is None:
                break
            networks: Networks = (
                "both" if None not in step[:2] else "value" if step.policy_rate is None else "policy"
            )
            policy, value = self.gradient(i, networks)
            samples = self._order[self._bounds[i] : self._bounds[i + 1]]
            if step.policy_rate is not None and update.max_kl is not None:
                old = self._columns[self._old_log_prob, samples]
                if kl_estimate(outputs[0, samples], old).mean() > update.max_kl:
                    step = step._replace(policy_rate=None)
            if step.policy_rate is not None:
                engine.gradient_noise.add(lambda policy=policy: policy, len(samples))
                policy_steps += 1
            taken = engine.apply(policy, value, step)
            for k, rate in enumerate(step[:2]):
                if rate is not None:
                    norms[k] = taken[k]
        return Outputs(outputs, self._columns, norms[0], norms[1], policy_steps)


def _mean(parts: Sequence[F32], counts: Sequence[int]) -> F32:
    """Return the mean of vectors, each of which is itself a mean over a number of samples, added in order."""
    total = np.zeros(max(len(part) for part in parts))
    for part, count in zip(parts, counts, strict=True):
        if len(part):
            total += part * np.float64(count / sum(counts))
    return total.astype(np.float32)
