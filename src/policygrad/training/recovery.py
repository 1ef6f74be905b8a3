"""Continuing a run that has lost an actor, as if the actor had never been lost."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import TypeVar

from policygrad.errors import ActorLostError
from policygrad.parallel import Team
from policygrad.types import State

T = TypeVar("T")


class Recovery:
    """Repeats what a lost actor has interrupted, from the last state that is known.

    Args:
        team: the actors.
        state: returns the state of training, between two updates.
        restore: restores such a state, and returns True if the episodes that were under way continue.
        say: called with messages.
    """

    def __init__(
        self,
        team: Team,
        state: Callable[[], State],
        restore: Callable[[State], bool],
        say: Callable[[str], None],
    ) -> None:
        self._team, self._state, self._restore, self._say = team, state, restore, say
        self._known: State | None = None

    def state(self) -> State:
        """Return the state, for which the actors are asked only once between two updates."""
        if self._known is None:
            self._known = self._undisturbed(self._state)
        return self._known

    def restored(self, restore: Callable[[], bool]) -> bool:
        """Let a function restore another state, and return what it returns."""
        self._known = None
        return self._undisturbed(restore)

    def updated(self, update: Callable[[], T]) -> T:
        """Let a function perform updates, and return what it returns."""
        self.state()
        result, self._known = self._undisturbed(lambda: (update(), self._state()))
        return result

    def _undisturbed(self, action: Callable[[], T]) -> T:
        lost = False
        while True:
            try:
                if lost:
                    self._replace()
                return action()
            except ActorLostError as error:
                self._say(f"{error}. Another actor takes its place, and the update is repeated")
                lost = True

    def _replace(self) -> None:
        self._team.actors.replace_lost()
        self._team.note_change()
        # what the state contains may be changed in place
        if self._known is not None and not self._restore(deepcopy(self._known)):
            self._say("the episodes that were in progress cannot be resumed, so new ones begin")
