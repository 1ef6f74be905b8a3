"""The actors of a run as their leader sees them, and which parameters they still need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import nn

from policygrad.parallel.actors import Actors, Request
from policygrad.parallel.numbering import Rows, rows_by_actor
from policygrad.parallel.share import Parameters
from policygrad.policies import Policy, flat_parameters
from policygrad.types import I64


class Team:
    """Asks the actors of a run, and sends them the parameters that have changed since they were last asked.

    Args:
        actors: the actors.
        policy, value: the networks of the leader.
        num_envs: number of environments of all actors together.
    """

    def __init__(self, actors: Actors, policy: Policy, value: nn.Module | None, num_envs: int) -> None:
        self.actors, self._policy, self.num_envs = actors, policy, num_envs
        # looked up once, because that takes longer than to send them
        self._flat = flat_parameters(policy.network), None if value is None else flat_parameters(value)
        self._policy_changed = self._value_changed = self._normalizer_changed = True
        self._rows: tuple[I64, list[tuple[I64, Rows]]] | None = None

    @property
    def count(self) -> int:
        """Number of actors."""
        return self.actors.count

    def ask(self, method: str, arguments: Sequence[tuple[Any, ...]] | None = None) -> list[Any]:
        """Ask all actors for the same thing, each with arguments of its own, and return their answers in order."""
        parameters = self._changed()
        each = [()] * self.count if arguments is None else arguments
        answers = self.actors.ask([Request(method, one, parameters) for one in each])
        self._policy_changed = self._value_changed = self._normalizer_changed = False
        return answers

    def _changed(self) -> Parameters | None:
        if not (self._policy_changed or self._value_changed or self._normalizer_changed):
            return None
        policy, value = (
            None if flat is None or not changed else flat.numpy(force=True).copy()
            for flat, changed in zip(self._flat, (self._policy_changed, self._value_changed), strict=True)
        )
        normalizer = None
        if self._normalizer_changed:
            buffers = self._policy.observation_shift, self._policy.observation_scale
            normalizer = buffers[0].numpy().copy(), buffers[1].numpy().copy()
        return Parameters(policy, value, normalizer)

    def note_step(self, *, policy: bool, value: bool) -> None:
        """Note that a step has changed the parameters of these networks."""
        self._policy_changed |= policy
        self._value_changed |= value

    def note_change(self) -> None:
        """Note that any parameter, and the normalizer, may have changed."""
        self._policy_changed = self._value_changed = self._normalizer_changed = True

    def rows(self, numbers: I64) -> list[tuple[I64, Rows]]:
        """Return, for each actor, where its samples are among these numbers [B, 1], and their rows in its table."""
        # the same numbers are used several times in succession
        if self._rows is None or self._rows[0] is not numbers:
            self._rows = numbers, rows_by_actor(numbers[:, 0], self.count)
        return self._rows[1]
