"""An actor's share of a run: some of its environments, their latest steps, and a copy of the networks."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import nn

from policygrad.envs import Environments
from policygrad.interfaces import Collector, Networks, ScoringEngine, TrustRegionEngine
from policygrad.losses import Loss
from policygrad.parallel.numbering import Rows
from policygrad.policies import Policy, flat_parameters
from policygrad.policies.normalization import Moments
from policygrad.rollout.noise import ActionNoise
from policygrad.types import (
    F32,
    F64,
    I64,
    Array,
    Batch,
    Bool,
    Inputs,
    Minibatches,
    PolicyOutputs,
    Rollout,
    State,
)

NOTHING: F32 = np.zeros(0, np.float32)
"""What an actor returns that has none of the rows it was asked about."""


class ActorEngine(TrustRegionEngine, ScoringEngine, Protocol):
    """An engine that computes everything that the leader may ask for."""


class ActorCollector(Collector, Protocol):
    """A collector whose noise can be skipped."""

    noise: ActionNoise


class Parameters(NamedTuple):
    """The parameters of the networks, as the leader sends them."""

    policy: F32 | None
    """[P] float32, or None if they have not changed."""
    value: F32 | None
    """[P'] float32, or None if they have not changed."""
    normalizer: tuple[F64, F64] | None = None
    """Shift and scale of the observations, [D] float64 each, or None if they have not changed."""


class Collected(NamedTuple):
    """An actor's steps without their observations; the arrays are those of `Rollout`."""

    action: Array
    reward: F64
    original_reward: F64
    terminated: Bool
    truncated: Bool
    valid: Bool
    final_index: I64
    moments: tuple[F64, F64, F64] | None
    """Moments of the observations, if they are normalized: see `Moments.arrays`."""
    info: Mapping[str, Sequence[float]]
    """Values of `info` of the episodes that ended, by name."""


class Steps(NamedTuple):
    """The samples and the loss of several optimizer steps."""

    rows: Rows
    """The actor's samples."""
    names: tuple[str, ...]
    columns: F32
    """[C, B] float32: columns of the samples, with these names."""
    loss: int
    """Index of the loss."""
    coefficients: Mapping[str, float]
    minibatches: Minibatches | None
    """The actor's samples of each step, of which there may be none; None is one step on all samples."""


class Share:
    """Answers what the leader of a run asks an actor.

    Args:
        environments: the actor's environments.
        policy, value: the networks.
        engine: computes them. Its optimizers are not used.
        collector: a function that makes the collector, given one that is called with all observations.
        losses: the losses that the algorithm may minimize, in an order that is the same everywhere.
    """

    def __init__(
        self,
        environments: Environments,
        policy: Policy,
        value: nn.Module | None,
        engine: ActorEngine,
        collector: Callable[[Callable[[Array], None] | None], ActorCollector],
        losses: Sequence[Loss],
    ) -> None:
        self._environments, self._policy, self._engine = environments, policy, engine
        self._flat = flat_parameters(policy.network), None if value is None else flat_parameters(value)
        self._losses = losses
        self._seen = None if policy.observation_moments is None else Moments(policy.observation_size)
        self._collector = collector(None if self._seen is None else self._watch)
        self._observations, self._actions = list[F32](), list[Array]()
        self._table: tuple[F32, Array] | None = None
        self._steps: Steps | None = None
        self._batch: Batch | None = None
        self._start: PolicyOutputs | None = None
        self._fisher: Callable[[F32], F32] | None = None

    def answer(self, method: str, arguments: tuple[Any, ...], parameters: Parameters | None) -> Any:
        """Adopt the parameters of the networks, and return what a method of this object returns."""
        if parameters is not None:
            for flat, new in zip(self._flat, parameters[:2], strict=True):
                if flat is not None and new is not None:
                    flat.copy_(torch.from_numpy(new))
            if parameters.normalizer is not None:
                self._policy.set_normalizer(*parameters.normalizer)
        return getattr(self, method)(*arguments)

    def _watch(self, raw: Array) -> None:
        assert self._seen is not None
        self._seen.add(raw)

    def echo(self, content: bytes) -> bytes:
        """Return what was sent, to measure the connection."""
        return content

    def collect_steps(self, horizon: int) -> Collected:
        """Take the next steps of each environment."""
        self._forget()
        return self._collected(self._collector.steps(horizon))

    def collect_round(self, first: bool, idle: int) -> Collected:
        """Run a whole episode in each environment.

        Args:
            first: this is the first round of an update.
            idle: number of steps that other actors have taken since this one finished its last round.
        """
        if first:
            self._forget()
        self.skip_noise(idle)
        return self._collected(self._collector.episodes())

    def skip_noise(self, steps: int) -> None:
        """Leave out the noise of steps that only other actors have taken."""
        if steps:
            self._collector.noise.advance(steps)

    def _forget(self) -> None:
        self._observations, self._actions, self._table, self._steps = [], [], None, None
        self._batch = self._start = self._fisher = None

    def _collected(self, rollout: Rollout) -> Collected:
        T, N = rollout.valid.shape
        self._observations += [rollout.rows.reshape((T + 1) * N, -1), rollout.final_observation]
        action = rollout.action.reshape(T * N, *rollout.action.shape[2:])
        # as many rows as there are observations, so that the same index belongs to both
        rest = np.zeros((N + len(rollout.final_index), *action.shape[1:]), action.dtype)
        self._actions += [action, rest]
        moments, info = None, self._environments.ended_info
        if self._seen is not None:
            moments, self._seen = self._seen.arrays(), Moments(self._policy.observation_size)
        return Collected(
            rollout.action,
            rollout.reward,
            rollout.original_reward,
            rollout.terminated,
            rollout.truncated,
            rollout.valid,
            rollout.final_index,
            moments,
            {} if info is None else info.take(),
        )

    def _rows(self, rows: Rows) -> tuple[Inputs, Array]:
        if self._table is None:
            self._table = np.concatenate(self._observations), np.concatenate(self._actions)
        observations, actions = self._table
        return Inputs(observations[rows]), actions[rows]

    def samples(self, rows: Rows) -> F32:
        """Return the observations [B, D] of rows, as the networks see them."""
        return self._rows(rows)[0].observation

    def values(self, rows: Rows) -> F32:
        """Return V(s) of rows."""
        inputs, _ = self._rows(rows)
        return self._engine.values(inputs) if len(inputs) else NOTHING

    def evaluate(self, rows: Rows) -> tuple[F32, F32]:
        """Return log π(a|s) and the entropy of rows."""
        inputs, action = self._rows(rows)
        return self._engine.evaluate(inputs, action) if len(inputs) else (NOTHING, NOTHING)

    def squared_scores(self, rows: Rows) -> F32:
        """See `ScoringEngine.squared_scores`."""
        inputs, action = self._rows(rows)
        return self._engine.squared_scores(inputs, action) if len(inputs) else NOTHING

    def begin_steps(self, steps: Steps) -> None:
        """Prepare the samples of optimizer steps."""
        inputs, action = self._rows(steps.rows)
        self._steps = steps
        # an actor without samples has no batch
        columns = dict(zip(steps.names, steps.columns, strict=True))
        self._batch = Batch(inputs, action, columns) if len(inputs) else None

    def gradient(self, step: int, networks: Networks) -> tuple[F32, F32, F32] | None:
        """Return the gradients of the mean loss over this actor's samples of a step, and their outputs [3, B].

        An actor without samples in this step returns None.
        """
        batch = self._batch
        if self._steps is None or batch is None:
            return None
        if self._steps.minibatches is not None:
            order, bounds = self._steps.minibatches
            rows = order[bounds[step] : bounds[step + 1]]
            if not len(rows):
                return None
            columns = {name: column[rows] for name, column in batch.columns.items()}
            batch = Batch(batch.inputs.rows(rows), batch.action[rows], columns)
        outputs = np.zeros((3, len(batch)), np.float32)
        loss = self._losses[self._steps.loss]
        gradients = self._engine.gradient(batch, loss, self._steps.coefficients, networks, outputs)
        policy, value = (
            gradient if used else gradient[:0]
            for gradient, used in zip(gradients, (networks != "value", networks != "policy"), strict=True)
        )
        return policy, value, outputs

    def policy_outputs(self, rows: Rows, again: bool) -> tuple[F32, F32, F32]:
        """Return log π, the entropy, and with `again` the KL from what the policy was when it was first asked."""
        inputs, action = self._rows(rows)
        if not len(inputs):
            return NOTHING, NOTHING, NOTHING
        now = self._engine.policy_outputs(inputs, action, self._start if again else None)
        if not again:
            self._start = now
        return now.log_prob, now.entropy, now.kl

    def begin_fisher(self, rows: Rows) -> None:
        """Prepare products with the Fisher matrix over rows."""
        inputs, _ = self._rows(rows)
        self._fisher = self._engine.fisher_vector_product(inputs) if len(inputs) else np.zeros_like

    def fisher(self, vector: F32) -> F32:
        """Return F v, where F is averaged over this actor's rows."""
        assert self._fisher is not None
        return self._fisher(vector)

    def state(self, idle: int) -> State:
        """Return the state of the collector, after leaving out the noise of steps that only others have taken."""
        self.skip_noise(idle)
        return self._collector.state()

    def restore(self, state: State) -> bool:
        """See `Collector.restore`."""
        self._forget()
        return self._collector.restore(state)

    def close(self) -> None:
        """Close the environments."""
        self._environments.close()
