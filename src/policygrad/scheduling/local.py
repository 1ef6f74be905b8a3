"""The scheduler of this machine: one job per core, in a thread or in a process of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from policygrad._support.threads import single_thread
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Progress
from policygrad.runs.run import Run
from policygrad.scheduling.cores import Cores, check_room, fitting
from policygrad.scheduling.job import Job, Outcome
from policygrad.scheduling.placement import placed
from policygrad.scheduling.sending import Parcel, SendingError
from policygrad.scheduling.worker_process import WorkerProcesses


class LocalScheduler:
    """Trains jobs in parallel, as many as fit on so many cores: see `Scheduler`."""

    def __init__(self, cores: int) -> None:
        self._cores = cores
        # the experiment is kept, so that its id remains its own
        self._placed: dict[int, tuple[Experiment, Parcel | None, str]] = {}

    def at_a_time(self, jobs: Sequence[Job]) -> int:
        """Return how many of the jobs are trained at a time.

        Raises:
            ValueError: one of them wants more cores than there are.
        """
        check_room(jobs, self._cores, "the study uses")
        return min(fitting(jobs, self._cores), len(jobs))

    def describe(self, jobs: Sequence[Job]) -> str:
        """Return whether the jobs are trained in threads or processes, and why."""
        at_a_time = self.at_a_time(jobs)
        ways = Counter(self._place(job.experiment, at_a_time)[1] for job in jobs)
        if len(ways) == 1:
            return next(iter(ways))
        return "; ".join(f"{count} runs: {way}" for way, count in ways.items())

    def _place(self, experiment: Experiment, at_a_time: int) -> tuple[Parcel | None, str]:
        if id(experiment) not in self._placed:
            self._placed[id(experiment)] = (experiment, *placed(experiment, at_a_time))
        return self._placed[id(experiment)][1:]

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
        at_a_time = self.at_a_time(jobs)
        parcels = [self._place(job.experiment, at_a_time)[0] for job in jobs]
        processes, cores = WorkerProcesses(), Cores(self._cores)

        def train(job: Job, parcel: Parcel | None) -> Outcome:
            with cores.taken(job.experiment.cores):
                # a job checks whether it should begin, because an exception here would not reach its thread
                if interruption.requested:
                    return Outcome(job, None)
                try:
                    return Outcome(job, _trained(job, parcel, processes, display_of(job), interruption))
                except BaseException as error:
                    if not (keep_going and isinstance(error, Exception)):
                        interruption.request()
                    return Outcome(job, getattr(error, "run", None), error)

        with (
            interruption.saving,
            single_thread(),
            processes,
            ThreadPoolExecutor(min(self._cores, len(jobs))) as pool,
        ):
            futures = [pool.submit(train, *each) for each in zip(jobs, parcels, strict=True)]
            try:
                for future in as_completed(futures):
                    yield future.result()
            except GeneratorExit:
                interruption.request()
                raise
            except BaseException:
                # the third Ctrl-C ends whatever hangs
                processes.kill()
                raise


def _trained(
    job: Job,
    parcel: Parcel | None,
    processes: WorkerProcesses,
    display: Progress,
    interruption: Interruption,
) -> Run | None:
    if parcel is not None:
        try:
            return processes.run(job, parcel, display, interruption)
        except SendingError as error:
            if job.experiment.settings.parallel == "processes":
                raise
            display.say(f"the seeds are trained in threads instead, because {error}")
    return job.train(display, interruption)
