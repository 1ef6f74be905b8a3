"""The collector of a run with actors, which joins the steps of their environments."""

from __future__ import annotations

from typing import Any, cast

import numpy as np

from policygrad.envs.ended_info import EndedInfo
from policygrad.parallel.numbering import numbers
from policygrad.parallel.share import Collected
from policygrad.parallel.team import Team
from policygrad.policies import Policy
from policygrad.types import F32, Rollout, State


class ParallelCollector:
    """Collects with all actors; see `interfaces.Collector`. Numbers take the place of observations: see `numbering`.

    Args:
        team: the actors.
        policy: the policy, whose statistics of observations are continued.
        ended_info: receives values of `info`, if any are logged.
    """

    def __init__(self, team: Team, policy: Policy, ended_info: EndedInfo | None = None) -> None:
        self._team, self._policy, self._ended_info = team, policy, ended_info
        self._idle = [0] * team.count
        self._used = [0] * team.count

    def steps(self, horizon: int) -> Rollout:
        """See `Collector.steps`."""
        return self._joined("collect_steps", [(horizon,)] * self._team.count, begin=True)

    def episodes(self, per_env: int = 1) -> Rollout:
        """See `Collector.episodes`."""
        return Rollout.side_by_side([self._round(first=i == 0) for i in range(per_env)])

    def _round(self, *, first: bool) -> Rollout:
        arguments = [(first, idle) for idle in self._idle]
        self._idle = [0] * self._team.count
        return self._joined("collect_round", arguments, begin=first)

    def _joined(self, method: str, arguments: list[tuple[Any, ...]], *, begin: bool) -> Rollout:
        if begin:
            # a function of the user may have changed the policy since the last update
            self._team.note_change()
            self._used = [0] * self._team.count
        collected: list[Collected] = self._team.ask(method, arguments)
        longest = max(len(one.valid) for one in collected)
        rollouts = list[Rollout]()
        for actor, one in enumerate(collected):
            self._idle[actor] = longest - len(one.valid)
            rollouts.append(self._numbered(actor, one))
            if one.moments is not None and self._policy.observation_moments is not None:
                self._policy.observation_moments.combine(*one.moments)
            if self._ended_info is not None:
                self._ended_info.extend(one.info)
        return Rollout.side_by_side(rollouts)

    def _numbered(self, actor: int, one: Collected) -> Rollout:
        """Return an actor's steps with the numbers of its observations."""
        (T, N), finals = one.valid.shape, len(one.final_index)
        count = (T + 1) * N
        rows = numbers(actor, self._used[actor], count + finals)
        self._used[actor] += count + finals
        return Rollout(
            # only the engine reads observations, and that of the actors knows what the numbers mean
            rows=cast(F32, rows[:count].reshape(T + 1, N, 1)),
            action=one.action,
            reward=one.reward,
            original_reward=one.original_reward,
            final_observation=cast(F32, rows[count:, None]),
            final_index=one.final_index,
            terminated=one.terminated,
            truncated=one.truncated,
            valid=one.valid,
        )

    def state(self) -> State:
        """See `Collector.state`."""
        states = self._team.ask("state", [(idle,) for idle in self._idle])
        self._idle = [0] * self._team.count
        return {str(actor): state for actor, state in enumerate(states)}

    def restore(self, state: State) -> bool:
        """See `Collector.restore`."""
        self._idle = [0] * self._team.count
        if self._ended_info is not None:
            # those of an update that is repeated
            self._ended_info.take()
        continues = self._team.ask("restore", [(state[str(actor)],) for actor in range(self._team.count)])
        return bool(np.all(continues))
