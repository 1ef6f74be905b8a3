"""The function `study`: environments × configurations × seeds, trained side by side in one folder."""

from __future__ import annotations

import difflib
import re
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import fields
from itertools import zip_longest
from pathlib import Path
from typing import Any, cast

from policygrad._support.checks import whole
from policygrad.runs.interruption import Interruption
from policygrad.runs.locked_folder import CONFIG, METRICS_FILE, LockedFolder, read_json
from policygrad.runs.settings import Settings
from policygrad.scheduling import Job, Outcome, Scheduler, StudyProgress, scheduler_for
from policygrad.studies.cell import Cell
from policygrad.studies.configurations import configurations_by_name, environments_by_name
from policygrad.studies.saved_study import KIND, SavedStudy, open_study
from policygrad.studies.seeds import check_repeatable

EPISODES = 100
"""Fresh episodes per way of acting with which a study scores each run, by default."""


def study(
    environments: Any,
    configurations: Any = "reinforce",
    *,
    out: str | Path,
    seeds: int | Sequence[int] = 20,
    vary: Mapping[str, Sequence[Any]] | None = None,
    episodes: int = EPISODES,
    cores: int | None = None,
    on: str | None = None,
    overwrite: bool = False,
    resume: bool = False,
    progress: bool | None = None,
    scheduler: Scheduler | None = None,
    **settings: Any,
) -> SavedStudy:
    """Train each configuration on each environment with each seed, and return the study that this makes on disk.

    Each run is identical to one that `train` trains alone. A run that fails is recorded with its traceback, and the
    others continue. A study that was interrupted or killed is completed by the same call with `resume=True`: finished
    runs are kept, and the others continue from their checkpoints.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study("CartPole-v1", ["reinforce", "a2c"], seeds=2, steps=500, episodes=4, out=f"{folder}/x")
    SavedStudy(1 environment × 2 configurations, 4 of 4 runs finished)

    Args:
        environments: an environment as in `train` (but not an object that all runs would share), several, or a dict of
            them by name.
        configurations: an algorithm by name or as a configuration, a dict such as `{"algorithm": "ppo", "hidden":
            (32, 32)}` with settings of the algorithm, the network or the run, several of these, or a dict of them by
            name. What a configuration leaves out comes from the preset of the environment.
        out: folder of the study. Each run is in `environment/configuration/seed-0` and so on.
        seeds: number of seeds, which start at the setting `seed` (0), or the seeds themselves.
        vary: values by the name of a setting, of which all combinations are added to each configuration.
        episodes: fresh episodes with which the best policy of each run is scored, per way of acting (greedy and
            sampled). With 0, runs are not scored.
        cores: number of cores that all runs use together; by default all. Each run uses one, or `cores_per_run`.
        on: where the runs are trained, as in `train`: on this machine without Ray, or on a Ray cluster.
        overwrite: replace an earlier study in `out`.
        resume: complete the study in `out`, or start it if there is none. Environments, configurations and seeds may
            be added.
        progress: show progress. By default it is shown on a terminal and in a notebook.
        scheduler: what trains the runs; by default the one that `on` names.
        settings: further settings of `train`, which all runs share.

    Raises:
        ValueError, TypeError: a setting is wrong; nothing has been trained.
        ConnectionError: the cluster cannot be used; nothing has been trained.
        FileExistsError: there is already something at `out`.
        CheckpointError: a file of the study to resume is damaged.
        KeyboardInterrupt: Ctrl-C was pressed before training began.
        SystemExit: SIGTERM or SIGHUP ended the study, as in `train`. All runs have been saved.
    """
    with ExitStack() as opened:
        numbers = _seeds(seeds, settings.pop("seed", None))
        settings = {**settings, "on": on}
        cells = _cells(environments, configurations, vary or {}, Path(out), numbers, episodes, settings)
        cores = None if cores is None else whole("cores", cores, at_least=1)
        scheduler = scheduler or opened.enter_context(scheduler_for(on, cores))
        folder = opened.enter_context(LockedFolder(out, overwrite=overwrite, resume=resume))
        how = scheduler.describe(_interleaved([_all_jobs(cell) for cell in cells]))
        before = _study_to_resume(folder)
        for cell in cells:
            opened.callback(cell.close)
            if before:
                # checked before anything is written
                cell.reserve()
        _begin(folder, cells, episodes, how, before)
        for cell in cells:
            cell.begin(how)
        jobs = _interleaved([cell.jobs() for cell in cells])
        by_name = {cell.name: cell for cell in cells}
        at_a_time = scheduler.at_a_time(jobs)
        with StudyProgress(jobs, at_a_time, progress) as display, Interruption(display.say) as interruption:
            display.say(f"{len(jobs)} runs to train, {len(cells) * len(numbers) - len(jobs)} finished; {how}")
            outcomes = scheduler.outcomes(jobs, display.display_of, interruption, keep_going=True)
            # closed even if an outcome cannot be noted, so that all runs have ended before the folder is released
            with closing(cast("Generator[Outcome]", outcomes)):
                for outcome in outcomes:
                    by_name[outcome.job.name].note(outcome)
                    display.end(outcome)
            with interruption.saving:
                learned = any(file.stat().st_size for file in folder.path.rglob(METRICS_FILE))
                failed = any(cell.failures for cell in cells)
                for cell in cells:
                    cell.close()
                nothing = not learned and not failed
                kept = folder.close(discard=nothing, keep_replaced=failed)
                if kept is not None:
                    display.say(f"the earlier study at {folder.path} was moved to {kept}")
    if interruption.status is not None:
        raise SystemExit(interruption.status)
    if nothing and interruption.signaled:
        raise KeyboardInterrupt
    return open_study(out)


def _seeds(seeds: Any, first: int | None) -> list[int]:
    if isinstance(seeds, str):
        raise TypeError(f"seeds must be a number of seeds, or a list of seeds; got {seeds!r}")
    if isinstance(seeds, Iterable):
        if first is not None:
            raise ValueError(
                "seed is the first of a number of seeds; leave it out if you give the seeds themselves"
            )
        numbers = [whole("seeds", seed, at_least=0) for seed in seeds]
        if not numbers or len(set(numbers)) < len(numbers):
            raise ValueError(f"seeds must be different numbers, one or more; got {numbers}")
        return numbers
    first = whole("seed", 0 if first is None else first, at_least=0)
    return list(range(first, first + whole("seeds", seeds, at_least=1)))


def _cells(
    environments: Any,
    configurations: Any,
    vary: Mapping[str, Sequence[Any]],
    out: Path,
    seeds: list[int],
    episodes: int,
    settings: Mapping[str, Any],
) -> list[Cell]:
    """Return the cells of a study, after all settings have been checked."""
    whole("episodes", episodes, at_least=0)
    known = [setting.name for setting in fields(Settings)]
    for name in settings:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.7)
            hint = (
                f"did you mean {near[0]}?"
                if near
                else "a setting of the algorithm or of the network belongs to a configuration, as in "
                f"{{'algorithm': 'ppo', {name!r}: ...}}, or to vary={{{name!r}: [...]}}"
            )
            raise TypeError(f"study has no setting {name!r}: {hint}")
    shared = {**settings, "seeds": len(seeds), "out": out, "resume": True, "progress": False}
    cells = list[Cell]()
    configured = configurations_by_name(configurations, vary)
    for environment, env in environments_by_name(environments).items():
        for name, configuration in configured.items():
            experiment = configuration.experiment(env, shared)
            check_repeatable(experiment)
            path = out / _as_folder(environment) / _as_folder(name)
            cells.append(Cell(experiment, environment, name, path, seeds, episodes))
    for identities in ([cell.folder for cell in cells], [cell.name for cell in cells]):
        if len(set(identities)) < len(identities):
            raise ValueError(
                "two pairs of an environment and a configuration have the same name or folder: give them names that "
                f"differ in more than spaces and punctuation; got {', '.join(cell.name for cell in cells)}"
            )
    return cells


def _study_to_resume(folder: LockedFolder) -> dict[str, Any]:
    """Return the `config.json` of the study that is resumed; empty if there is none.

    Raises:
        ValueError: there is something else.
    """
    if not folder.can_resume or not (folder.path / CONFIG).exists():
        return {}
    before = read_json(folder.path / CONFIG)
    if before.get("kind") != KIND:
        raise ValueError(
            f"{folder.path} holds a run or several seeds, and not a study. Choose another folder (--out)."
        )
    return before


def _begin(
    folder: LockedFolder, cells: list[Cell], episodes: int, how: str, before: Mapping[str, Any]
) -> None:
    """Write the first files of the study, with the cells of an earlier, larger study that is resumed."""
    entries = [
        {
            "environment": cell.environment,
            "configuration": cell.configuration,
            "folder": str(cell.folder.relative_to(cell.folder.parents[1])),
        }
        for cell in cells
    ]
    kept = [entry for entry in before.get("cells", []) if entry not in entries]
    config: dict[str, Any] = {
        "kind": KIND,
        "episodes": episodes,
        "seeds": sorted({*before.get("seeds", []), *cells[0].seeds}),
        "cells": [*kept, *entries],
    }
    folder.begin(config, {"parallel": how}, resuming=bool(before))


def _all_jobs(cell: Cell) -> list[Job]:
    return [Job(cell.experiment, seed) for seed in cell.seeds]


def _interleaved(groups: list[list[Job]]) -> list[Job]:
    """Return the jobs of all cells, the first of each cell first, so that a study can be looked at early."""
    return [job for jobs in zip_longest(*groups) for job in jobs if job is not None]


def _as_folder(name: str) -> str:
    """Return a name as that of a folder.

    >>> _as_folder("ALE/Pong-v5"), _as_folder("ppo learning_rate=0.001")
    ('ALE_Pong-v5', 'ppo_learning_rate=0.001')
    """
    return re.sub(r"[^\w.,=+-]+", "_", name).strip(".") or "_"
