"""Training one experiment with many seeds: independent runs in parallel, each on one core."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from policygrad._support.threads import single_thread
from policygrad.envs import make
from policygrad.presets import DEFAULT_ENVS
from policygrad.runs.curves import drawing_may_fail, save_curves
from policygrad.runs.experiment import Experiment
from policygrad.runs.folder import SUMMARY
from policygrad.runs.interruption import Interruption
from policygrad.runs.locked_folder import LockedFolder, read_json
from policygrad.runs.progress import CombinedProgress, Progress
from policygrad.runs.resume import holds_resumable_run
from policygrad.runs.run import Run, StoppedError


def run_seeds(
    experiment: Experiment,
    seeds: Sequence[int],
    display: Progress,
    at_a_time: int,
    interruption: Interruption,
) -> list[Run]:
    """Train with each seed, `at_a_time` of them in parallel threads; see `policygrad.train`.

    Each run is identical to one that is trained alone. In `out` each run has a folder, seed-0 and so on, and together
    they have a summary and a plot. With `resume`, each run is resumed from its checkpoint, or started.

    Raises:
        ValueError: a network or an environment object is given, which all runs would share.
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
    if settings.out is None:
        return _run_all(experiment, seeds, display, at_a_time, interruption, None)
    with LockedFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume) as folder:
        opening = replace(settings, vectorize="sync")
        environments = make(experiment.env, settings.num_envs, opening, otherwise=DEFAULT_ENVS)
        config = experiment.config(seeds[0], environments) | {"seeds": list(seeds)}
        environments.close()
        with interruption.saving:
            folder.begin(config, {}, resuming=folder.can_resume and holds_resumable_run(folder.path, config))
            return _run_all(experiment, seeds, display, at_a_time, interruption, folder)


def _run_all(
    experiment: Experiment,
    seeds: Sequence[int],
    display: Progress,
    at_a_time: int,
    interruption: Interruption,
    folder: LockedFolder | None,
) -> list[Run]:
    combined = CombinedProgress(display, at_a_time)

    def train_one(seed: int) -> Run | None:
        if interruption.requested:
            return None
        out = None if folder is None else _seed_path(folder, seed)
        try:
            return experiment.run(seed, combined.for_seed(seed), interruption, out=out, alone=False)
        except StoppedError as error:
            combined.say(f"seed {seed}: {error}")
            return error.run
        except BaseException:
            interruption.request()
            raise

    # each run checks whether it should end, because an exception here would not reach its thread
    with (
        interruption.saving,
        display,
        single_thread(),
        ThreadPoolExecutor(min(at_a_time, len(seeds))) as pool,
    ):
        futures = [pool.submit(train_one, seed) for seed in seeds]
        wait(futures)
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
