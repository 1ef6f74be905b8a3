"""Studies on disk that nobody has trained, for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from policygrad.metrics import METRICS
from policygrad.runs.manifest import manifest


def write_json(file: Path, data: Any) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(data))


def write_run(
    folder: Path,
    config: Mapping[str, Any],
    rng: np.random.Generator,
    *,
    seed: int = 0,
    score: float | None = 100.0,
    updates: int = 10,
    metrics: Sequence[str] = ("return", "return_100", "entropy", "kl"),
    **summary: Any,
) -> None:
    """Write the folder of a run with random metrics. Without a score, the run has not ended.

    Args:
        folder: where to write.
        config: `config.json`.
        rng: source of the metrics.
        seed: seed of the run.
        score: mean return of 100 greedy episodes.
        updates: number of rows of metrics.
        metrics: names of the metrics besides `steps`, `episodes` and `seconds`.
        summary: further entries of `summary.json`, or other values of them.
    """
    write_json(folder / "config.json", {**config, "seed": seed})
    write_json(folder / "manifest.json", manifest(with_git=False))
    table = np.exp(rng.normal(size=(updates, len(metrics))).cumsum(axis=0) / 10)
    rows = [
        {
            "steps": 100.0 * (i + 1),
            "episodes": i + 1.0,
            "seconds": (i + 1) / 8,
            **dict(zip(metrics, values, strict=True)),
        }
        for i, values in enumerate(table.tolist())
    ]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if score is None:
        return
    ended = {"ended": "budget", "threshold": None, "solved_at": None, "solved_seconds": None, "findings": []}
    write_json(folder / "summary.json", ended | summary)
    scored = {"mean": score, "std": 1.0, "episodes": 100, "cut": 0, "failures": None}
    write_json(folder / "scores.json", {"greedy": scored, "sampled": scored})


def write_study(folder: Path, scores: Mapping[str, Mapping[str, Sequence[float | None]]], **run: Any) -> Path:
    """Write a study, and return its folder.

    Args:
        folder: where to write.
        scores: by environment and configuration, the score of each seed; see `write_run`.
        run: arguments of `write_run`.
    """
    rng, cells = np.random.default_rng(0), list[dict[str, str]]()
    for i, (environment, configurations) in enumerate(scores.items()):
        for j, (configuration, several) in enumerate(configurations.items()):
            path = f"environment-{i}/configuration-{j}"
            cells.append({"environment": environment, "configuration": configuration, "folder": path})
            config = {
                "environment": environment,
                "environment_id": None,
                "algorithm": {"name": "ppo", "learning_rate": 0.001 * (j + 1)},
                "steps": 1000,
            }
            write_json(
                folder / path / "config.json", {**config, "seed": 0, "seeds": list(range(len(several)))}
            )
            for seed, score in enumerate(several):
                write_run(folder / path / f"seed-{seed}", config, rng, seed=seed, score=score, **run)
    write_json(folder / "config.json", {"kind": "study", "episodes": 100, "cells": cells})
    write_json(folder / "manifest.json", manifest(with_git=False))
    return folder


ALL_METRICS = tuple(name for name in METRICS if name not in ("steps", "episodes", "seconds"))
"""Names of all metrics that a run may log, besides those that only grow."""
