"""The choice of where runs and their actors are: this machine, or a Ray cluster."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager

from policygrad.parallel import Actors
from policygrad.runs.experiment import Experiment
from policygrad.runs.running import StartActors
from policygrad.runs.settings import Settings
from policygrad.scheduling.cluster import RayScheduler, actors_on, connected
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


@contextmanager
def actors_for(settings: Settings, say: Callable[[str], None]) -> Generator[StartActors | None]:
    """Yield what starts the actors of a run on a cluster, which ends with the block; None if the run has no cluster.

    Starting them raises ValueError or ConnectionError if the cluster cannot be used.
    """
    if settings.on is None:
        yield None
        return
    on, actors = settings.on, settings.actors
    with ExitStack() as opened:

        def start(experiment: Experiment, seed: int) -> Actors:
            # only now, so that whatever is wrong with the run itself is said without waiting for a cluster
            return actors_on(opened.enter_context(connected(on, actors)), say)(experiment, seed)

        yield start
