"""One experiment with many seeds: independent runs side by side, a core each."""

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
    """Train with each seed, `at_a_time` of them on threads; see `launch.train`.

    Each run is what it would be alone. In `out` each has a folder, seed-0 and so on, and together they have
    a summary and a picture. With `resume` each goes on where it stood, or begins.

    Raises:
        ValueError: a network or an environment object is given, which all the runs would share.
    """
    settings = experiment.settings
    if isinstance(settings.policy, nn.Module) or isinstance(settings.value, nn.Module):
        raise ValueError(
            "with seeds each run needs networks of its own: give a function or class that makes one "
            "(policy=make_policy), or their shape, network=Network(...)"
        )
    if not experiment.can_repeat:
        raise ValueError(
            "with seeds each run needs environments of its own: give an id, a Kernel or a factory"
        )
    if settings.out is None:
        return _run_all(experiment, seeds, display, at_a_time, interruption, None)
    with LockedFolder(settings.out, overwrite=settings.overwrite, resume=settings.resume) as place:
        opening = replace(settings, vectorize="sync")
        environments = make(experiment.env, settings.num_envs, opening, otherwise=DEFAULT_ENVS)
        config = experiment.config(seeds[0], environments) | {"seeds": list(seeds)}
        environments.close()
        with interruption.saving:
            place.begin(config, {}, resuming=place.can_resume and holds_resumable_run(place.path, config))
            return _run_all(experiment, seeds, display, at_a_time, interruption, place)


def _run_all(
    experiment: Experiment,
    seeds: Sequence[int],
    display: Progress,
    at_a_time: int,
    interruption: Interruption,
    place: LockedFolder | None,
) -> list[Run]:
    together = CombinedProgress(display, at_a_time)

    def one(seed: int) -> Run | None:
        if interruption.asked:
            return None
        folder = None if place is None else _folder(place, seed)
        share = together.one(seed)
        try:
            return experiment.run(seed, share, interruption, out=folder, alone=False)
        except StoppedError as error:
            together.say(f"seed {seed}: {error}")
            return error.run
        except BaseException:
            interruption.ask()
            raise

    # the runs look whether they are to end; an exception here would not reach their threads
    with (
        interruption.saving,
        display,
        single_thread(),
        ThreadPoolExecutor(min(at_a_time, len(seeds))) as pool,
    ):
        futures = [pool.submit(one, seed) for seed in seeds]
        wait(futures)
    # what one of them raised must not cost the others' results
    errors = [error for future in futures if (error := future.exception()) is not None]
    finished = [future.result() for future in futures if future.exception() is None]
    runs = [run for run in finished if run is not None]
    if place is not None:
        if runs:
            _report(place, runs, seeds, together.say)
        failed = bool(errors) or any(run.ended in ("error", "non-finite") for run in runs)
        kept = place.settle(discard=not any(run.updates for run in runs), keep_replaced=failed)
        if kept is not None:
            together.say(f"the runs that were at {place.path} before are now at {kept}")
    if errors:
        with suppress(AttributeError):
            errors[0].runs = runs  # pyright: ignore[reportAttributeAccessIssue]
        raise errors[0]
    if not runs:
        raise KeyboardInterrupt
    return runs


def _report(place: LockedFolder, runs: list[Run], seeds: Sequence[int], say: Callable[[str], None]) -> None:
    summaries: dict[int, dict[str, Any]] = {run.seed: run.summary() for run in runs}
    # those that were not begun again, because somebody ended it before, stand as they stood
    left = [seed for seed in seeds if seed not in summaries and (_folder(place, seed) / SUMMARY).exists()]
    summaries |= {seed: read_json(_folder(place, seed) / SUMMARY) for seed in left}
    place.write_json(SUMMARY, summary({seed: summaries[seed] for seed in seeds if seed in summaries}))
    picture = place.path / "curves.png"
    if left and picture.exists():
        say(f"{picture} is as it was: not all seeds were gone on with")
    elif with_episodes := [run for run in runs if run.episodes]:
        with drawing_may_fail():
            save_curves(
                picture,
                [run.history for run in with_episodes],
                f"{runs[0].environment}, {len(runs)} seeds",
                runs[0].threshold,
            )


def _folder(place: LockedFolder, seed: int) -> Path:
    return place.path / f"seed-{seed}"


def summary(of_seeds: Mapping[int, dict[str, Any]]) -> dict[str, Any]:
    """What the runs came to, as plain JSON: each seed's `Run.summary`, and how many were solved and when."""
    solved = [each["solved_at"] for each in of_seeds.values() if each["solved_at"] is not None]
    return {
        "seeds": {str(seed): each for seed, each in of_seeds.items()},
        "solved": len(solved),
        "median_solved_at": float(np.median(solved)) if solved else None,
    }
