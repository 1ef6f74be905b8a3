"""Sharing cores among jobs, of which some want more than one."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager

from policygrad.scheduling.job import Job


def check_room(jobs: Sequence[Job], cores: int, where: str) -> None:
    """Raise ValueError if a job wants more cores than there are.

    Args:
        jobs: the jobs.
        cores: the number of cores that one job can have at most.
        where: what has these cores, for the message, such as "the study uses".
    """
    most = max((job.experiment.cores for job in jobs), default=0)
    if most > cores:
        raise ValueError(
            f"cores_per_run (--cores-per-run) is {most}, but {where} at most {cores}. Use fewer cores per run, or more "
            "cores."
        )


def fitting(jobs: Sequence[Job], cores: int) -> int:
    """Return how many jobs fit on so many cores, if each has the mean number of cores of all; at least 1."""
    wanted = sum(job.experiment.cores for job in jobs)
    return max(1, cores * len(jobs) // max(wanted, 1))


class Cores:
    """A number of cores, which several threads take and give back."""

    def __init__(self, count: int) -> None:
        self._free = count
        self._turn = threading.Lock()
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, count: int) -> Generator[None]:
        """Wait for so many cores, which are not free for others within the block.

        The other threads wait behind this one, so that one that wants many cores is not overtaken forever.
        """
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._free >= count)
            self._free -= count
        try:
            yield
        finally:
            with self._changed:
                self._free += count
                self._changed.notify_all()
