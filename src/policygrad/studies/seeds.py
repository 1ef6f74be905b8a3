"""Training one experiment with many seeds, whose runs share a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from policygrad.envs import make
from policygrad.presets import DEFAULT_ENVS
from policygrad.runs.curves import drawing_may_fail, save_curves
from policygrad.runs.experiment import Experiment
from policygrad.runs.folder import SUMMARY
from policygrad.runs.interruption import Interruption
from policygrad.runs.locked_folder import LockedFolder, read_json
from policygrad.runs.progress import Progress
from policygrad.runs.resume import holds_resumable_run
from policygrad.runs.run import Run
from policygrad.scheduling import CombinedProgress, Job, Outcome, Scheduler, scheduler_for
from policygrad.studies.saved_cell import seed_folder


def run_seeds(
    experiment: Experiment,
    seeds: Sequence[int],
    display: Progress,
    interruption: Interruption,
) -> list[Run]:
    """Train with each seed, in parallel; see `policygrad.train`.

    Each run is identical to one that is trained alone. In `out` each run has a folder, seed-0 and so on, and together
    they have a summary and a plot. With `resume`, each run is resumed from its checkpoint, or started.

    Raises:
        ValueError: a network or an environment object is given, which all runs would share; or processes are
            requested, but the experiment cannot be sent to them.
        ConnectionError: the cluster cannot be used.
    """
    check_repeatable(experiment)
    with scheduler_for(experiment.settings.on, experiment.settings.cores) as scheduler:
        return _scheduled(experiment, seeds, scheduler, display, interruption)


def _scheduled(
    experiment: Experiment,
    seeds: Sequence[int],
    scheduler: Scheduler,
    display: Progress,
    interruption: Interruption,
) -> list[Run]:
    settings = experiment.settings
    jobs = [Job(experiment, seed) for seed in seeds]
    at_a_time = scheduler.at_a_time(jobs)
    how = f"seeds: {scheduler.describe(jobs)}"
    display.say(how)
    if settings.out is None:
        return _train(jobs, scheduler, display, at_a_time, interruption, None)
    with LockedFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume) as folder:
        config = config_of_seeds(experiment, seeds)
        with interruption.saving:
            resuming = folder.can_resume and holds_resumable_run(folder.path, config)
            folder.begin(config, {"parallel": how}, resuming=resuming)
            jobs = [replace(job, out=seed_folder(folder.path, job.seed)) for job in jobs]
            return _train(jobs, scheduler, display, at_a_time, interruption, folder)


def check_repeatable(experiment: Experiment) -> None:
    """Raise ValueError if the experiment contains an object that all its runs would share."""
    if isinstance(experiment.settings.policy, nn.Module) or isinstance(experiment.settings.value, nn.Module):
        raise ValueError(
            "with seeds, each run needs its own networks. Give a function or class that makes one "
            "(policy=make_policy), or their architecture, network=Network(...)."
        )
    if not experiment.can_repeat:
        raise ValueError(
            "with seeds, each run needs its own environments. Give an id, a Kernel or a factory."
        )
    experiment.check_actors()


def config_of_seeds(experiment: Experiment, seeds: Sequence[int]) -> dict[str, Any]:
    """Return the contents of `config.json` for the common folder of these seeds."""
    opening = replace(experiment.settings, vectorize="sync")
    environments = make(experiment.env, experiment.settings.num_envs, opening, otherwise=DEFAULT_ENVS)
    try:
        return experiment.config(seeds[0], environments) | {"seeds": list(seeds)}
    finally:
        environments.close()


def _train(
    jobs: Sequence[Job],
    scheduler: Scheduler,
    display: Progress,
    at_a_time: int,
    interruption: Interruption,
    folder: LockedFolder | None,
) -> list[Run]:
    combined = CombinedProgress(display, at_a_time)
    outcomes = list[Outcome]()
    with interruption.saving, display:
        outcomes += scheduler.outcomes(jobs, combined.display_of, interruption, keep_going=False)
    # an error in one run must not cost the results of the others
    by_seed = {outcome.job.seed: outcome for outcome in outcomes}
    errors = [error for job in jobs if (error := by_seed[job.seed].error) is not None]
    runs = [
        outcome.run
        for job in jobs
        if (outcome := by_seed[job.seed]).run is not None and outcome.error is None
    ]
    if folder is not None:
        if runs:
            _report(folder, runs, [job.seed for job in jobs], combined.say)
        failed = bool(errors) or any(run.ended in ("error", "non-finite") for run in runs)
        kept = folder.close(discard=not any(run.updates for run in runs), keep_replaced=failed)
        if kept is not None:
            combined.say(f"the earlier runs at {folder.path} were moved to {kept}")
    if errors:
        with suppress(AttributeError):
            errors[0].runs = runs  # pyright: ignore[reportAttributeAccessIssue]
        raise errors[0]
    if not runs:
        raise KeyboardInterrupt
    return runs


def _report(folder: LockedFolder, runs: list[Run], seeds: Sequence[int], say: Callable[[str], None]) -> None:
    summaries: dict[int, dict[str, Any]] = {run.seed: run.summary() for run in runs}
    # seeds that were not resumed, because of an interruption, keep their earlier summaries
    files = {seed: seed_folder(folder.path, seed) / SUMMARY for seed in seeds}
    left = [seed for seed in seeds if seed not in summaries and files[seed].exists()]
    summaries |= {seed: read_json(files[seed]) for seed in left}
    folder.write_json(SUMMARY, summary({seed: summaries[seed] for seed in seeds if seed in summaries}))
    picture = folder.path / "curves.png"
    if left and picture.exists():
        say(f"{picture} was not updated, because not all seeds were resumed")
    elif with_episodes := [run for run in runs if run.episodes]:
        with drawing_may_fail():
            save_curves(
                picture,
                [run.history for run in with_episodes],
                f"{runs[0].environment}, {len(runs)} seeds",
                runs[0].threshold,
            )


def summary(summaries: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Return a summary as plain JSON values: each seed's `Run.summary`, and how many were solved and when."""
    solved = [each["solved_at"] for each in summaries.values() if each["solved_at"] is not None]
    return {
        "seeds": {str(seed): each for seed, each in summaries.items()},
        "solved": len(solved),
        "median_solved_at": float(np.median(solved)) if solved else None,
    }
