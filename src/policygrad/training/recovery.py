"""Continuing a run that has lost an actor, as if the actor had never been lost."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

from policygrad.errors import ActorLostError
from policygrad.interfaces import Collector
from policygrad.parallel import Team
from policygrad.types import State

T = TypeVar("T")

MOST_LOSSES = 3
"""Number of times that actors may be lost in one update, until the run is given up."""


class Recovery:
    """Repeats what a lost actor has interrupted, from the state before it.

    Args:
        team: the actors.
        collector: asks the actors for their state.
        whole: returns the state of training between two updates, given that of the collector.
        restore: restores such a state, and returns True if the episodes that were under way continue.
        say: called with messages.
    """

    def __init__(
        self,
        team: Team,
        collector: Collector,
        whole: Callable[[State], State],
        restore: Callable[[State], bool],
        say: Callable[[str], None],
    ) -> None:
        self._team, self._collector, self._whole = team, collector, whole
        self._restore, self._say = restore, say
        self._known: State | None = None
        self._before: State | None = None

    def collector_state(self) -> State:
        """Return the state of the collector, for which the actors are asked only once between two updates."""
        if self._known is None:
            self._known = self._undisturbed(self._collector.state)
        return self._known

    def restored(self, restore: Callable[[], bool]) -> bool:
        """Let a function restore another state, and return what it returns."""
        self._before = None
        continues, self._known = self._undisturbed(lambda: (restore(), self._collector.state()))
        return continues

    def updated(self, update: Callable[[], T]) -> T:
        """Let a function perform updates, and return what it returns."""
        # what only the leader has may have changed since the last update, by a function of the user
        self._before = self._whole(self.collector_state())
        result, self._known = self._undisturbed(lambda: (update(), self._collector.state()))
        return result

    def _undisturbed(self, action: Callable[[], T]) -> T:
        losses = 0
        while True:
            try:
                if losses:
                    self._replace()
                return action()
            except ActorLostError as error:
                losses += 1
                if losses == MOST_LOSSES:
                    raise ActorLostError(
                        f"actors were lost {losses} times in the same update, at last because {error}. This is often "
                        "due to a lack of memory, or to an environment that ends its process"
                    ) from error
                self._say(f"{error}. Another actor takes its place, and the update is repeated")

    def _replace(self) -> None:
        self._team.actors.replace_lost()
        self._team.note_change()
        # what the state contains may be changed in place
        if self._before is not None and not self._restore(deepcopy(self._before)):
            self._say("the episodes that were in progress cannot be resumed, so new ones begin")
