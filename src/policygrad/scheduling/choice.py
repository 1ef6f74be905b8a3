"""The choice of the scheduler: this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Generator
from contextlib import contextmanager

from policygrad.scheduling.cluster import RayScheduler, connected
from policygrad.scheduling.local import LocalScheduler
from policygrad.scheduling.scheduler import Scheduler


@contextmanager
def scheduler_for(on: str | None, cores: int | None) -> Generator[Scheduler]:
    """Yield the scheduler that trains jobs, which ends with the block.

    Args:
        on: see `Settings.on`.
        cores: number of cores that all jobs use together; None uses all of this machine or of the cluster.

    Raises:
        ValueError, ConnectionError: the cluster cannot be used.
    """
    if on is None:
        yield LocalScheduler(cores or os.cpu_count() or 1)
        return
    with connected(on, cores) as ray:
        yield RayScheduler(ray, cores)
