"""The runs of the scoreboard: each row is a study, and each of its runs becomes a small file that is committed."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
from scoreboard_rows import TEST_EPISODES, Row

import policygrad as pg
from policygrad._support.files import write_atomically
from policygrad.algorithms import WithLoss, described
from policygrad.presets import preset_for
from policygrad.runs.interruption import Interruption
from policygrad.runs.manifest import manifest
from policygrad.runs.progress import Progress
from policygrad.runs.saved_run import SavedRun
from policygrad.runs.settings import Settings
from policygrad.scheduling import Job, LocalScheduler, Outcome

Record = dict[str, Any]
POINTS = 200
"""Number of points of a learning curve that are kept."""
FINISHED = ("budget", "non-finite")
"""Endings that another attempt would only repeat. Errors are tried again, as the machine may have caused them."""


def settings_of(row: Row) -> Record:
    """Return everything except the seed that a run of the row depends on, as plain JSON."""
    preset = replace(preset_for(row.environment, row.algorithm), steps=row.steps)
    settings = asdict(preset) | {
        # presets use the algorithms' own losses, which are code and not settings
        "algorithm": {k: v for k, v in asdict(preset.algorithm).items() if k not in WithLoss.without_flags},
        "environment": row.environment,
        "algorithm_name": row.algorithm,
        "eval_every": row.eval_every,
        "eval_episodes": TEST_EPISODES if row.eval_every else None,
        "evaluation_episodes": row.episodes,
    }
    return json.loads(json.dumps(settings, default=_plain))


def _plain(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return f"{value.__module__}.{value.__qualname__}" if hasattr(value, "__qualname__") else repr(value)


def path_of(folder: Path, row: Row, seed: int) -> Path:
    return folder / row.name / f"seed-{seed}.json"


OTHER_UNITS = ("Pendulum-v1", "InvertedPendulum-v5")
"""Environments whose action boxes are not from −1 to 1, so that the units of the box make a difference."""


def settings_then(record: Record, row: Row) -> Record:
    """Return the settings of a run. Settings that did not exist yet get the values that were in effect."""
    settings = record["settings"]
    network = {"scale_actions": row.environment not in OTHER_UNITS} | settings["network"]
    return settings | {"network": network}


def read(folder: Path, row: Row) -> tuple[list[Record], int]:
    """Return the runs of the row with the current settings by seed, and the number of runs with other settings."""
    found = [json.loads(path.read_text()) for path in (folder / row.name).glob("seed-*.json")]
    settings = settings_of(row)
    current = [record for record in found if settings_then(record, row) == settings]
    return sorted(current, key=lambda record: record["seed"]), len(found) - len(current)


def to_do(folder: Path, runs: Iterable[tuple[Row, int]], say: Callable[[str], None]) -> list[tuple[Row, int]]:
    """Return the runs, given by row and seed, without a file, and those whose file has other settings or an error."""
    found = []
    for row, seed in runs:
        path = path_of(folder, row, seed)
        if path.exists():
            record = json.loads(path.read_text())
            changed = _changes(settings_then(record, row), settings_of(row))
            if changed:
                say(f"{row.name}, seed {seed}: running again with other settings: {', '.join(changed)}")
            elif record["ended"] in FINISHED:
                continue
            else:
                say(f"{row.name}, seed {seed}: running again after {record['error']}")
        found.append((row, seed))
    return found


def _changes(old: Record, new: Record, within: str = "") -> list[str]:
    """Return the differences, each as `name: old → new`."""
    found = []
    for name in dict.fromkeys([*old, *new]):
        a, b = old.get(name), new.get(name)
        if isinstance(a, dict) and isinstance(b, dict):
            found += _changes(a, b, f"{within}{name}.")
        elif a != b:
            found.append(f"{within}{name}: {a} → {b}")
    return found


def run_row(row: Row, seeds: Sequence[int], folder: Path, cores: int, done: Callable[[Record], None]) -> None:
    """Train seeds of a row in a study, and call `done` with the record of each run that has ended.

    Runs that had finished in an earlier call are not trained again, and interrupted ones are resumed. If the
    study cannot begin, for example because the environment is not installed, each run gets a record of the error.

    Args:
        row: the row.
        seeds: the seeds to train.
        folder: folder of the studies of all rows.
        cores: number of runs to train at a time.
        done: called with each record when the study has ended for any reason.

    Raises:
        FileExistsError: another process is training this row.
        KeyboardInterrupt, SystemExit: the study was interrupted. All runs have been saved.
    """
    out, scheduler = study_folder(folder, row), WatchedScheduler(cores)
    error: BaseException | None = None
    try:
        pg.study(
            row.environment,
            {row.title: row.algorithm},
            out=out,
            seeds=seeds,
            episodes=row.episodes,
            cores=cores,
            resume=True,
            scheduler=scheduler,
            # a process that dies, for example from lack of memory, does not end the others
            parallel="processes",
            **training_settings(row),
        )
    except FileExistsError:
        raise
    except BaseException as caught:
        error = caught
    for seed in seeds:
        record = saved_record(row, seed, out)
        if record is None and isinstance(error, Exception):
            record = _failed(row, seed, manifest(with_git=False), f"{type(error).__name__}: {error}")
        if record is not None:
            done(record)
    if error is not None and not isinstance(error, Exception):
        raise error
    if scheduler.interrupted:
        raise KeyboardInterrupt


def training_settings(row: Row) -> dict[str, Any]:
    """Return the settings of `train` that differ from the preset."""
    return {"steps": row.steps, "eval_every": row.eval_every, "eval_episodes": TEST_EPISODES}


def study_folder(folder: Path, row: Row) -> Path:
    """Return the folder of the row's study, which is another one if any setting changes."""
    algorithm, settings = Settings(**training_settings(row)).resolved(row.environment, row.algorithm)
    everything = {"algorithm": described(algorithm), **settings.config(), "episodes": row.episodes}
    digest = hashlib.sha256(json.dumps(everything, sort_keys=True, default=_plain).encode()).hexdigest()
    return folder / f"{row.name}-{digest[:12]}"


class WatchedScheduler(LocalScheduler):
    """Trains on the cores of this machine, and knows whether that was interrupted: after Ctrl-C, a study returns."""

    _interruption: Interruption | None = None

    def outcomes(
        self,
        jobs: Sequence[Job],
        display_of: Callable[[Job], Progress],
        interruption: Interruption,
        *,
        keep_going: bool,
    ) -> Iterator[Outcome]:
        """Train the jobs and yield the outcome of each when it ends."""
        self._interruption = interruption
        return super().outcomes(jobs, display_of, interruption, keep_going=keep_going)

    @property
    def interrupted(self) -> bool:
        """True if training was asked to end early."""
        return self._interruption is not None and self._interruption.requested


def saved_record(row: Row, seed: int, out: Path) -> Record | None:
    """Return the record of a run from the row's study in `out`; None if the run has not ended."""
    try:
        cell = pg.open_study(out).cell(row.environment, row.title)
    except FileNotFoundError:
        return None
    run = next((run for run in cell.runs if run.seed == seed), None)
    if seed in cell.failures:
        where = manifest(with_git=False) if run is None else run.manifest
        return _failed(row, seed, where, cell.failures[seed]["error"])
    if run is None or run.ended not in FINISHED:
        return None
    begun = _begun(row, seed, run.manifest)
    if run.ended == "non-finite":
        error = f"training stopped after {run.steps:,} steps: a NaN or an infinity appeared"
        return begun | {"ended": run.ended, "error": error} | _figures(run)
    if not run.scores:
        return None
    figures = {"ended": run.ended, "error": None, "greedy": run.scores["greedy"]["mean"]}
    return begun | figures | _figures(run)


def _failed(row: Row, seed: int, where: dict[str, Any], error: str) -> Record:
    return _begun(row, seed, where) | {"ended": "error", "error": error}


def _begun(row: Row, seed: int, where: dict[str, Any]) -> Record:
    """Return what every record begins with; `where` is the manifest of the run, which may have been resumed."""
    return {
        "row": row.name,
        "seed": seed,
        "version": where["packages"]["policygrad"],
        "machine": {name: where[name] for name in ("processor", "cores", "system", "python", "packages")},
        "started": [*where.get("before", []), where][0]["started"],
        "settings": settings_of(row),
    }


def _figures(run: SavedRun) -> Record:
    history = run.history
    if not len(run.updates):
        return {}
    steps, returns = history["steps"], history["return_100"]
    tested = np.isfinite(history.get("eval_return", np.full(len(steps), math.nan)))
    tests = history["eval_return"][tested] if tested.any() else np.zeros(0)
    known = np.flatnonzero(np.isfinite(returns))
    kept = known[np.unique(np.linspace(0, len(known) - 1, min(POINTS, len(known))).astype(int))]
    last = float(returns[-1])
    return {
        "steps": run.steps,
        "seconds": round(run.seconds, 3),
        "steps_per_second": round(run.steps / run.seconds, 1),
        "solved_at": run.solved_at,
        "episodes": run.summary["episodes"],
        "last_100": last if math.isfinite(last) else None,
        "test_max": float(tests.max()) if len(tests) else None,
        "tests": [steps[tested].astype(int).tolist(), np.round(tests, 3).tolist()],
        "curve": [steps[kept].astype(int).tolist(), np.round(returns[kept], 3).tolist()],
    }


def write(folder: Path, row: Row, record: Record) -> None:
    """Write the record atomically, with one line per entry, so that differences are readable."""
    path = path_of(folder, row, record["seed"])
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [
        f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
        for name, value in record.items()
    ]
    write_atomically(path, ("{\n" + ",\n".join(lines) + "\n}\n").encode())
