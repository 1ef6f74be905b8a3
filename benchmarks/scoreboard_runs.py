"""The runs of the scoreboard. Each has its own process and file; finished runs are kept and not repeated."""

from __future__ import annotations

import json
import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import asdict, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from scoreboard_rows import TEST_EPISODES, Row

import policygrad as pg
from policygrad._support.files import write_atomically
from policygrad.algorithms import WithLoss
from policygrad.presets import preset_for
from policygrad.runs.manifest import manifest
from policygrad.runs.run import Run, StoppedError

Record = dict[str, Any]
Job = tuple[Row, int]
POINTS = 200
"""Number of points of a learning curve that are kept."""
INTERRUPTED = 130
"""Exit code of a process that was ended with Ctrl-C, as in a shell."""
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


def to_do(folder: Path, jobs: Iterable[Job], say: Callable[[str], None]) -> list[Job]:
    """Return the jobs without a file, and those whose file has other settings or an error."""
    found = []
    for row, seed in jobs:
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


def train_one(row: Row, seed: int) -> Record:
    """Train a run and return its record. A failed run is recorded with its error and the results until then.

    Raises:
        KeyboardInterrupt: the run was interrupted, so it has no result.
    """
    began = time.perf_counter()
    where = manifest(with_git=False)
    record: Record = {
        "row": row.name,
        "seed": seed,
        "version": pg.__version__,
        "machine": {name: where[name] for name in ("processor", "cores", "system", "python", "packages")},
        "started": where["started"],
        "settings": settings_of(row),
    }
    run = None
    try:
        run = pg.train(
            row.environment,
            row.algorithm,
            seed=seed,
            steps=row.steps,
            cores=1,
            eval_every=row.eval_every,
            eval_episodes=TEST_EPISODES,
            progress=False,
        )
        if run.ended == "interrupted":
            raise KeyboardInterrupt
        figures: Record = {"ended": run.ended, "error": None} | _evaluated(run, row, seed)
    except StoppedError as error:
        run = error.run
        figures = {"ended": "non-finite", "error": str(error)}
    except Exception as error:  # after any error the other runs continue, and the record contains the reason
        figures = {"ended": "error", "error": f"{type(error).__name__}: {error}"}
    if run is not None and run.updates:
        figures |= _figures(run)
    return record | figures | {"wall_seconds": round(time.perf_counter() - began, 2)}


def _evaluated(run: Run, row: Row, seed: int) -> Record:
    """Return the greedy returns over fresh episodes of the best policy and of the last one."""
    best, last = (
        pg.evaluate(policy, row.environment, row.episodes, greedy=True, seed=seed).mean
        for policy in (run.policy, run.last_policy)
    )
    return {"greedy": best, "greedy_last": last}


def _figures(run: Run) -> Record:
    history = run.history
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
        "episodes": len(run.episodes),
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


def work(folder: Path, row: Row, seed: int) -> None:
    """Train a run in this process and write its record."""
    try:
        write(folder, row, train_one(row, seed))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def run_all(folder: Path, jobs: list[Job], at_a_time: int, done: Callable[[Row, Record], None]) -> None:
    """Run each job in a separate process, and call `done` in this process when it ends.

    If a process dies without an error, for example from lack of memory, a record of that is written.
    """
    context = get_context("spawn")
    running: set[Any] = set()
    stopping = threading.Event()

    def run_one(row: Row, seed: int) -> tuple[Row, Record | None]:
        if stopping.is_set():
            return row, None
        path = path_of(folder, row, seed)
        # the file of an earlier run must not be mistaken for that of this run, which replaces it
        earlier = path.stat().st_mtime_ns if path.exists() else None
        process = context.Process(target=work, args=(folder, row, seed))
        process.start()
        running.add(process)
        process.join()
        if stopping.is_set() or process.exitcode in (INTERRUPTED, -signal.SIGINT):
            return row, None
        if not path.exists() or path.stat().st_mtime_ns == earlier:
            died = {"ended": "error", "error": f"the process ended with code {process.exitcode}"}
            record = {"row": row.name, "seed": seed, "version": pg.__version__, "settings": settings_of(row)}
            write(folder, row, record | died)
        return row, json.loads(path.read_text())

    pool = ThreadPoolExecutor(at_a_time)
    try:
        for future in as_completed([pool.submit(run_one, *job) for job in jobs]):
            row, record = future.result()
            if record is None:
                raise KeyboardInterrupt
            done(row, record)
    finally:
        # this returns at once if all runs have finished; otherwise it ends those in progress
        stopping.set()
        for process in list(running):
            process.kill()
        pool.shutdown(cancel_futures=True)
