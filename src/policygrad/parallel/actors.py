"""The interface of the actors of a run, and actors in the process of the run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

from policygrad._support.threads import Workers
from policygrad.parallel.share import Parameters, Share


class Request(NamedTuple):
    """What an actor is asked."""

    method: str
    """Name of a method of `Share`."""
    arguments: tuple[Any, ...] = ()
    parameters: Parameters | None = None
    """Parameters to adopt before the call; None leaves the actor's own as they are."""


class Actors(Protocol):
    """The actors of a run, in an order that never changes."""

    count: int
    may_be_lost: bool
    """True if an actor may end while the leader does not."""

    def ask(self, requests: Sequence[Request]) -> list[Any]:
        """Ask each actor something, and return their answers once all of them have answered.

        Raises:
            ActorLostError: an actor no longer answers. Those that do have answered.
            Exception: whatever an actor raises.
        """
        ...

    def replace_lost(self) -> None:
        """Start new actors in place of those that no longer answer, with the state of a run that begins."""
        ...

    def close(self) -> None:
        """End the actors."""
        ...


class LocalActors:
    """Actors in this process, which work side by side in threads, as far as there are cores."""

    may_be_lost = False

    def __init__(self, shares: Sequence[Share], workers: Workers) -> None:
        self.count = len(shares)
        self._shares, self._workers = shares, workers

    def ask(self, requests: Sequence[Request]) -> list[Any]:
        """See `Actors.ask`."""
        return self._workers.map(lambda i: self._shares[i].answer(*requests[i]), self.count)

    def replace_lost(self) -> None:
        """Do nothing, because no actor can be lost without this process."""

    def close(self) -> None:
        """Close the environments."""
        for share in self._shares:
            share.close()
