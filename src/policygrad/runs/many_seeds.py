"""Training one experiment with many seeds: independent runs in parallel threads or processes, each on one core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import nn

from policygrad._support.threads import single_thread
from policygrad.engines import unsupported_reason
from policygrad.envs import Shaping, make
from policygrad.envs.kernel import Kernel
from policygrad.envs.registry import KERNELS, find
from policygrad.envs.shaping import compiled_potential
from policygrad.presets import DEFAULT_ENVS
from policygrad.runs.curves import drawing_may_fail, save_curves
from policygrad.runs.experiment import Experiment
from policygrad.runs.folder import SUMMARY
from policygrad.runs.interruption import Interruption
from policygrad.runs.locked_folder import LockedFolder, read_json
from policygrad.runs.progress import CombinedProgress, Progress
from policygrad.runs.resume import holds_resumable_run
from policygrad.runs.run import Run
from policygrad.runs.sending import Parcel, SendingError, packed
from policygrad.runs.worker import trained
from policygrad.runs.worker_process import WorkerProcesses
from policygrad.training.reason import reason_of_algorithm

SMALL_UPDATE = 512
"""Number of steps per update below which Python takes longer than the learning, so that threads wait for each other.

On two cores, threads are 0.6 to 0.7 times as fast as one core with a step of 8 environments or one episode per update,
and 1.8 times with some 800 steps. Processes take two seconds to start."""
EPISODE = 100
"""Length of an episode that is assumed if it is not known."""


def run_seeds(
    experiment: Experiment,
    seeds: Sequence[int],
    display: Progress,
    at_a_time: int,
    interruption: Interruption,
) -> list[Run]:
    """Train with each seed, `at_a_time` of them in parallel; see `policygrad.train`.

    Each run is identical to one that is trained alone. In `out` each run has a folder, seed-0 and so on, and together
    they have a summary and a plot. With `resume`, each run is resumed from its checkpoint, or started.

    Raises:
        ValueError: a network or an environment object is given, which all runs would share; or processes are
            requested, but the experiment cannot be sent to them.
    """
    settings = experiment.settings
    if isinstance(settings.policy, nn.Module) or isinstance(settings.value, nn.Module):
        raise ValueError(
            "with seeds, each run needs its own networks. Give a function or class that makes one "
            "(policy=make_policy), or their architecture, network=Network(...)."
        )
    if not experiment.can_repeat:
        raise ValueError(
            "with seeds, each run needs its own environments. Give an id, a Kernel or a factory."
        )
    at_a_time = min(at_a_time, len(seeds))
    parcel, how = _parcel(experiment, at_a_time)
    display.say(how)
    if settings.out is None:
        return _run_all(experiment, seeds, display, at_a_time, interruption, parcel, None)
    with LockedFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume) as folder:
        opening = replace(settings, vectorize="sync")
        environments = make(experiment.env, settings.num_envs, opening, otherwise=DEFAULT_ENVS)
        config = experiment.config(seeds[0], environments) | {"seeds": list(seeds)}
        environments.close()
        with interruption.saving:
            resuming = folder.can_resume and holds_resumable_run(folder.path, config)
            folder.begin(config, {"parallel": how}, resuming=resuming)
            return _run_all(experiment, seeds, display, at_a_time, interruption, parcel, folder)


def _parcel(experiment: Experiment, at_a_time: int) -> tuple[Parcel | None, str]:
    """Return the experiment as it is sent to processes, or None for threads; and which of them is used, in words."""
    parallel, reason = experiment.settings.parallel, in_python(experiment)
    in_threads = f"seeds: {at_a_time} at a time, in threads"
    if parallel == "threads":
        return None, f"{in_threads} (requested)"
    if parallel == "auto" and at_a_time == 1:
        return None, "seeds: one after another"
    if parallel == "auto" and reason is None:
        return None, f"{in_threads} (everything is compiled)"
    try:
        parcel = packed(experiment)
    except SendingError as error:
        if parallel == "processes":
            raise
        return None, f"{in_threads} ({error})"
    return parcel, f"seeds: {at_a_time} at a time, each in a process ({reason or 'requested'})"


def in_python(experiment: Experiment) -> str | None:
    """Return what runs in Python, so that threads would wait for each other; None if everything is compiled."""
    settings, env = experiment.settings, experiment.env
    compiled = isinstance(find(env) if isinstance(env, str) else env, Kernel)
    if isinstance(env, str) and env in KERNELS:
        compiled = settings.backend in ("auto", "compiled") and not settings.needs_python
    if not compiled:
        return "Python steps the environments"
    given = settings.policy is not None or settings.value is not None
    if settings.engine == "autograd" or (given and _needs_torch(experiment)):
        return "torch computes the networks"
    shaping = cast("Shaping | None", settings.shaping)
    if shaping is not None and compiled_potential(shaping) is None:
        return "Python shapes the rewards"
    small = _steps_per_update(experiment) < SMALL_UPDATE
    return "Python performs small updates" if small and reason_of_algorithm(experiment.algorithm) else None


def _needs_torch(experiment: Experiment) -> bool:
    """Return True if the fused engine does not support the given networks, of which this makes one pair."""
    settings = experiment.settings
    environments = make(experiment.env, 1, replace(settings, vectorize="sync"), otherwise=DEFAULT_ENVS)
    # networks that are made later must not depend on this pair
    with torch.random.fork_rng(devices=[]):
        policy, value = experiment.networks(environments, seed=0)
    environments.close()
    return unsupported_reason(policy, value) is not None


def _steps_per_update(experiment: Experiment) -> int:
    """Return about how many steps an update has, which for whole episodes depends on their lengths."""
    algorithm = experiment.algorithm
    horizon = 1 if getattr(algorithm, "learns_online", False) else getattr(algorithm, "horizon", EPISODE)
    return horizon * (experiment.settings.num_envs or 1)


def _run_all(
    experiment: Experiment,
    seeds: Sequence[int],
    display: Progress,
    at_a_time: int,
    interruption: Interruption,
    parcel: Parcel | None,
    folder: LockedFolder | None,
) -> list[Run]:
    combined = CombinedProgress(display, at_a_time)
    processes = None if parcel is None else WorkerProcesses(parcel)

    def train_one(seed: int) -> Run | None:
        if interruption.requested:
            return None
        order, shown = (seed, None if folder is None else _seed_path(folder, seed)), combined.for_seed(seed)
        try:
            if processes is not None:
                try:
                    return processes.run(order, shown, interruption)
                except SendingError as error:
                    if experiment.settings.parallel == "processes":
                        raise
                    combined.say(f"the seeds are trained in threads instead, because {error}")
            return trained(experiment, order, shown, interruption)
        except BaseException:
            interruption.request()
            raise

    # each run checks whether it should end, because an exception here would not reach its thread
    with (
        interruption.saving,
        display,
        single_thread(),
        processes or nullcontext(),
        ThreadPoolExecutor(at_a_time) as pool,
    ):
        futures = [pool.submit(train_one, seed) for seed in seeds]
        try:
            wait(futures)
        except BaseException:
            # the third Ctrl-C ends whatever hangs
            if processes is not None:
                processes.kill()
            raise
    # an error in one run must not cost the results of the others
    errors = [error for future in futures if (error := future.exception()) is not None]
    finished = [future.result() for future in futures if future.exception() is None]
    runs = [run for run in finished if run is not None]
    if folder is not None:
        if runs:
            _report(folder, runs, seeds, combined.say)
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
    left = [seed for seed in seeds if seed not in summaries and (_seed_path(folder, seed) / SUMMARY).exists()]
    summaries |= {seed: read_json(_seed_path(folder, seed) / SUMMARY) for seed in left}
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


def _seed_path(folder: LockedFolder, seed: int) -> Path:
    return folder.path / f"seed-{seed}"


def summary(summaries: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """Return a summary as plain JSON values: each seed's `Run.summary`, and how many were solved and when."""
    solved = [each["solved_at"] for each in summaries.values() if each["solved_at"] is not None]
    return {
        "seeds": {str(seed): each for seed, each in summaries.items()},
        "solved": len(solved),
        "median_solved_at": float(np.median(solved)) if solved else None,
    }
