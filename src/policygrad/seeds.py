"""One experiment with many seeds: independent runs side by side, a core each."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import numpy as np

from policygrad.curve import save_curves
from policygrad.envs import make
from policygrad.experiment import Experiment
from policygrad.progress import Progress, Together
from policygrad.run import Run, StoppedError
from policygrad.run_folder import Place, has_begun
from policygrad.threads import single_thread


def run_seeds(
    experiment: Experiment,
    seeds: Sequence[int],
    display: Progress,
    at_a_time: int,
    *,
    out: str | Path | None = None,
    overwrite: bool = False,
    resume: bool = False,
) -> list[Run]:
    """Train with each seed, `at_a_time` of them on threads; see `launch.train`.

    Each run is what it would be alone. In `out` each has a folder, seed-0 and so on, and together they have
    a summary and a picture. With `resume` each goes on where it stood, or begins.

    Raises:
        ValueError: a network or an environment object is given, which all the runs would share.
    """
    if experiment.policy is not None or experiment.value is not None:
        raise ValueError(
            "with seeds each run needs networks of its own: give their shape, network=Network(...)"
        )
    if not experiment.can_repeat:
        raise ValueError(
            "with seeds each run needs environments of its own: give an id, a Kernel or a factory"
        )
    place = None
    if out is not None:
        environments = make(experiment.env, experiment.num_envs, backend=experiment.backend)
        config = experiment.config(seeds[0], environments) | {"seeds": list(seeds)}
        environments.close()
        go_on = resume and has_begun(Path(out), config)
        place = Place(out, config, {}, overwrite=overwrite or resume, go_on=go_on)
    together, end = Together(display, at_a_time), threading.Event()

    def one(seed: int) -> Run | None:
        if end.is_set():
            return None
        folder = None if place is None else place.path / f"seed-{seed}"
        share = together.one(seed)
        try:
            return experiment.run(
                seed, share, out=folder, resume=resume, alone=False, asked_to_end=end.is_set
            )
        except StoppedError as error:
            together.say(f"seed {seed}: {error}")
            return error.run
        except BaseException:
            end.set()
            raise

    with display, single_thread(), ThreadPoolExecutor(min(at_a_time, len(seeds))) as pool:
        futures = [pool.submit(one, seed) for seed in seeds]
        try:
            wait(futures)
        except KeyboardInterrupt:
            together.say("interrupted: saving what there is")
            end.set()
            wait(futures)
    # what one of them raised must not cost the others' results
    errors = [error for future in futures if (error := future.exception()) is not None]
    finished = [future.result() for future in futures if future.exception() is None]
    runs = [run for run in finished if run is not None]
    if place is not None:
        if runs:
            _report(place, runs)
        failed = bool(errors) or any(run.ended in ("error", "non-finite") for run in runs)
        kept = place.settle(discard=not any(run.rows for run in runs), keep_replaced=failed)
        if kept is not None:
            together.say(f"the runs that were at {place.path} before are now at {kept}")
    if errors:
        raise errors[0]
    return runs


def _report(place: Place, runs: list[Run]) -> None:
    with_episodes = [run for run in runs if run.episode_returns]
    if with_episodes:
        save_curves(
            place.path / "curves.png",
            [(np.array(run.episode_steps), np.array(run.episode_returns)) for run in with_episodes],
            f"{runs[0].environment}, {len(runs)} seeds",
            runs[0].threshold,
        )
    place.write_json("summary.json", summary(runs))


def summary(runs: Sequence[Run]) -> dict[str, Any]:
    """What the runs came to, as plain JSON: each seed's, and how many were solved and when."""
    solved = [run.solved_at for run in runs if run.solved_at is not None]
    return {
        "seeds": {
            str(run.seed): {
                "ended": run.ended,
                "steps": run.steps,
                "seconds": run.seconds,
                "solved_at": run.solved_at,
                "best_mean_return": run.best_mean if np.isfinite(run.best_mean) else None,
            }
            for run in runs
        },
        "solved": len(solved),
        "median_solved_at": float(np.median(solved)) if solved else None,
    }
