"""The interface of everything that trains jobs: this machine's cores, or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Progress
from policygrad.scheduling.job import Job, Outcome


class Scheduler(Protocol):
    """Trains jobs, several at a time. A run's results do not depend on where it is trained."""

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """Return about how many of these jobs are trained at a time, for estimates of the time left."""
        ...

    def describe(self, jobs: Sequence[Job]) -> str:
        """Return how these jobs are trained, in words, for the user and for the manifest."""
        ...

    def outcomes(
        self,
        jobs: Sequence[Job],
        display_of: Callable[[Job], Progress],
        interruption: Interruption,
        *,
        keep_going: bool,
    ) -> Iterator[Outcome]:
        """Train the jobs and yield the outcome of each when it ends, in any order.

        When an interruption is requested, running jobs save and end, and the rest are not begun. All runs have ended
        when the iterator does, even if it is closed early.

        Args:
            jobs: the jobs, in the order in which they are begun.
            display_of: returns the display that a job reports to.
            interruption: says when to end.
            keep_going: the other jobs continue if one fails; otherwise, they save and end.
        """
        ...
