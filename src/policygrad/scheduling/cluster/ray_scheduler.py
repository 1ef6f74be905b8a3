"""The scheduler of a Ray cluster: jobs on the cores of all nodes, which continue elsewhere if a node dies."""

from __future__ import annotations

import os
import time
import uuid
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from policygrad._support.console import say
from policygrad.errors import RunProcessError
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Progress
from policygrad.runs.run import Run
from policygrad.scheduling.cluster.cluster_worker import CHANGES, Assignment
from policygrad.scheduling.cluster.crew import Crew, Member, WorkerDiedError
from policygrad.scheduling.cluster.folders import apply, contents
from policygrad.scheduling.cluster.nodes import cores_of_nodes
from policygrad.scheduling.cores import check_room, fitting
from policygrad.scheduling.job import Job, Outcome, what_is_left
from policygrad.scheduling.sending import Parcel, packed
from policygrad.scheduling.worker import Order
from policygrad.scheduling.worker_process import run_in, shown

CHECK = 0.5
"""Seconds between two checks of whether training should end, or a node has joined."""
NOTICE = 10.0
"""Seconds until the user is told that no run has begun."""
MOST_DEATHS = 3
"""Number of times that a worker may end unexpectedly with a job, although its node lives, until the job is given up."""
LONGEST_WAIT = 60.0
"""Seconds to wait for a node with enough cores after the last one is gone."""


@dataclass(eq=False)
class _Task:
    """A job that is not done yet."""

    job: Job
    began: bool = False
    deaths: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Node of each worker that ended unexpectedly with the job, and why."""


class RayScheduler:
    """Trains jobs on the nodes of a Ray cluster: see `Scheduler`.

    Args:
        ray: the module, connected to the cluster.
        cores: number of cores that all jobs use together; None uses all of the cluster.
        brings: bring run folders to this machine even from nodes that see its files.
    """

    def __init__(self, ray: Any, cores: int | None, *, brings: bool = False) -> None:
        self._ray = ray
        self._most = cores
        self._brings = brings
        # the experiment is kept, so that its id remains its own
        self._packed: dict[int, tuple[Experiment, Parcel]] = {}
        self._numbers = count()

    @property
    def _cores(self) -> int:
        total = sum(cores_of_nodes(self._ray).values())
        return total if self._most is None else min(self._most, total)

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """Return about how many of the jobs are trained at a time.

        Raises:
            ConnectionError: the cluster has no cores.
            ValueError: a job wants more cores than a node has.
        """
        if not self._cores:
            raise ConnectionError(
                "no node of the Ray cluster has a core. Start a node with ray start --num-cpus=N"
            )
        check_room(jobs, max(cores_of_nodes(self._ray).values()), "a node of the Ray cluster has")
        check_room(jobs, self._cores, "the runs use together")
        return min(fitting(jobs, self._cores), len(jobs))

    def describe(self, jobs: Sequence[Job]) -> str:
        """Return the size of the cluster in words.

        Raises:
            SendingError: an experiment cannot be sent to another process.
        """
        for job in jobs:
            self._parcel(job.experiment)
        nodes, cores = len(cores_of_nodes(self._ray)), self._cores
        return (
            f"on a Ray cluster of {nodes} {'node' if nodes == 1 else 'nodes'} with {cores} "
            f"{'core' if cores == 1 else 'cores'}, {self.at_a_time(jobs)} at a time"
        )

    def _parcel(self, experiment: Experiment) -> Parcel:
        if id(experiment) not in self._packed:
            self._packed[id(experiment)] = experiment, packed(experiment)
        return self._packed[id(experiment)][1]

    def outcomes(
        self,
        jobs: Sequence[Job],
        display_of: Callable[[Job], Progress],
        interruption: Interruption,
        *,
        keep_going: bool,
    ) -> Iterator[Outcome]:
        """Train the jobs and yield the outcome of each when it ends."""
        if not jobs:
            return
        self.at_a_time(jobs)
        with (
            interruption.saving,
            _token([job.out for job in jobs if job.out is not None and not self._brings]) as token,
            closing(Crew(self._ray, self._most, token)) as crew,
        ):
            outcomes = self._trained(jobs, crew, display_of, interruption)
            try:
                for outcome in outcomes:
                    if outcome.error is not None and not (
                        keep_going and isinstance(outcome.error, Exception)
                    ):
                        interruption.request()
                    yield outcome
            except GeneratorExit:
                interruption.request()
                for _ in outcomes:
                    pass
                raise

    def _trained(
        self,
        jobs: Sequence[Job],
        crew: Crew,
        display_of: Callable[[Job], Progress],
        interruption: Interruption,
    ) -> Iterator[Outcome]:
        waiting = deque(_Task(job) for job in jobs)
        busy = dict[Member, tuple[_Task, Progress]]()
        room_until, told = time.monotonic() + LONGEST_WAIT, False
        notice_at = time.monotonic() + NOTICE
        while waiting or busy:
            if not (busy or told or interruption.requested) and time.monotonic() > notice_at:
                say(f"{len(waiting)} runs wait for free cores of the Ray cluster, or for a process to start")
                told = True
            if interruption.requested:
                while waiting:
                    yield Outcome(waiting.popleft().job, None)
            else:
                crew.staff([task.job.experiment.cores for task in waiting])
                for task in list(waiting):
                    member = crew.idle(task.job.experiment.cores)
                    if member is not None:
                        waiting.remove(task)
                        busy[member] = task, display_of(task.job)
                        self._begin(crew, member, task)
                if busy or any(crew.has_room(task.job.experiment.cores) for task in waiting):
                    room_until = time.monotonic() + LONGEST_WAIT
                why = self._reason_to_give_up(crew, room_until)
                while waiting and why is not None:
                    job = waiting.popleft().job
                    yield Outcome(
                        job,
                        None,
                        RunProcessError(f"{job.title} was not trained: {why}. {what_is_left(job.out)}."),
                    )
            for member in crew.answered(CHECK):
                try:
                    answer = crew.result(member)
                except WorkerDiedError as death:
                    if member in busy:
                        task, _ = busy.pop(member)
                        task.deaths.append((member.node, str(death)))
                        unexplained = [why for node, why in task.deaths if crew.is_alive(node)]
                        if len(unexplained) >= MOST_DEATHS:
                            yield Outcome(task.job, None, _given_up(task.job, unexplained[-1]))
                        else:
                            waiting.appendleft(task)
                    continue
                if member not in busy or member.call is not None:
                    # it has started, or was called again
                    continue
                task, display = busy[member]
                outcome = self._taken(answer or [], member, task.job, display)
                if outcome is None:
                    crew.call(member, "messages", member.received, interruption.requested)
                else:
                    del busy[member]
                    yield outcome

    def _begin(self, crew: Crew, member: Member, task: _Task) -> None:
        job, parcel = task.job, self._parcel(task.job.experiment)
        data = None if parcel.key in member.known else parcel.data
        order = Order(
            parcel.key,
            data,
            job.seed,
            job.out,
            job.episodes,
            job.name,
            again=task.began and job.out is not None,
        )
        files = None if job.out is None or member.sees_folder else contents(job.out)
        task.began = True
        crew.begin(member, Assignment(next(self._numbers), order, files))

    def _taken(
        self, messages: list[tuple[str, Any]], member: Member, job: Job, display: Progress
    ) -> Outcome | None:
        """Show what a worker reports, and return the outcome of its job once it has ended."""
        for kind, content in messages:
            member.received += 1
            if kind == CHANGES:
                assert job.out is not None
                apply(content, job.out)
            elif not shown(kind, content, display):
                try:
                    return Outcome(job, _at_home(run_in(kind, content, display), job))
                except BaseException as error:
                    return Outcome(job, _at_home(getattr(error, "run", None), job), error)
        return None

    def _reason_to_give_up(self, crew: Crew, room_until: float) -> str | None:
        if len(crew.failed_starts) >= MOST_DEATHS:
            return f"workers do not start on the Ray cluster: {crew.failed_starts[-1]}"
        if time.monotonic() > room_until:
            return "no node of the Ray cluster that still lives has enough cores"
        return None


def _at_home(run: Run | None, job: Job) -> Run | None:
    """Return a run with the folder that it has on this machine."""
    if run is not None and run.out is not None:
        run.out = job.out
    return run


def _given_up(job: Job, why: str) -> RunProcessError:
    return RunProcessError(
        f"the worker that trained {job.title} ended unexpectedly {MOST_DEATHS} times, although its node still lives. "
        f"This is often due to a lack of memory. {what_is_left(job.out)}. Ray says: {why}"
    )


@contextmanager
def _token(folders: Sequence[Path]) -> Generator[Path | None]:
    """Write a file into the common folder of these run folders, by which other nodes recognize that they see it."""
    if not folders:
        yield None
        return
    common = Path(os.path.commonpath([folder.parent for folder in folders]))
    token = common / f".seen-by-nodes-{uuid.uuid4().hex}"
    common.mkdir(parents=True, exist_ok=True)
    token.touch()
    try:
        yield token
    finally:
        with suppress(OSError):
            token.unlink()
