"""The data of a report's charts and of its pages of single runs, as JSON values."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from policygrad.metrics import METRICS
from policygrad.reports.cell_numbers import CellNumbers
from policygrad.reports.metric_lines import at_the_end, digits, is_healthy, metric_lines, ordered
from policygrad.reports.run_states import SeedRecord
from policygrad.reports.settings_table import flat_settings
from policygrad.studies.saved_study import SavedStudy
from policygrad.types import F64

VALUES = 250_000
"""Number of values of metrics that a page contains, which determines the number of points per line."""
MOST_POINTS, FEWEST_POINTS = 160, 24
"""Largest and smallest number of points of a metric's line; both are even."""


def chart_data(
    study: SavedStudy, numbers: Sequence[CellNumbers], records: Sequence[SeedRecord]
) -> dict[str, Any]:
    """Return the data of all charts.

    Args:
        study: the study.
        numbers: the numbers of its cells, in their order.
        records: its seeds.
    """
    runs = [record.run for record in records if record.run is not None]
    count = sum(len(run.history) for run in runs)
    most = int(np.clip(VALUES // max(count, 1) // 2 * 2, FEWEST_POINTS, MOST_POINTS))
    logged = dict.fromkeys(name for run in runs for name in run.history)
    return {
        "environments": study.environments,
        "configurations": study.configurations,
        "cells": [_cell(study, one) for one in numbers],
        "runs": [_run(study, record, most) for record in records],
        "metrics": {name: _metric(name) for name in ordered(logged)},
    }


def _cell(study: SavedStudy, numbers: CellNumbers) -> dict[str, Any]:
    cell, survival = numbers.cell, numbers.survival
    data: dict[str, Any] = {
        "environment": study.environments.index(cell.environment),
        "configuration": study.configurations.index(cell.configuration),
        "threshold": cell.threshold,
        "scores": {seed: _short(score) for seed, score in numbers.scores.items()},
        "settings": list(flat_settings(cell.config).items()),
    }
    if numbers.summary is not None:
        iqm = numbers.summary.iqm
        data["iqm"] = [_short(x) for x in (iqm.value, iqm.low, iqm.high)]
    if numbers.curve is not None:
        band = numbers.curve.band
        data["curve"] = {
            "x": _whole(numbers.curve.steps),
            **{name: digits(getattr(band, name)) for name in ("value", "low", "high")},
            "lowest": numbers.curve.lowest,
            "highest": numbers.curve.highest,
        }
    if survival is not None:
        data["solved"] = {
            "x": _whole(survival.time),
            "share": digits(1 - survival.survival),
            "low": digits(1 - survival.high),
            "high": digits(1 - survival.low),
            "end": survival.longest,
        }
    return data


def _run(study: SavedStudy, record: SeedRecord, most: int) -> dict[str, Any]:
    run = record.run
    data: dict[str, Any] = {
        "id": record.id,
        "cell": study.cells.index(record.cell),
        "seed": record.seed,
        "state": record.state,
        "sentence": record.sentence,
        "facts": record.facts,
        "findings": record.findings,
        "failure": record.failure,
        "threshold": None if run is None else run.threshold,
        "solvedAt": None if run is None else run.solved_at,
        "x": [],
        "lines": {},
    }
    if run is None:
        return data
    history = run.history
    data |= metric_lines(history, most)
    ends = {name: at_the_end(history[name]) for name in data["lines"]}
    data["ends"] = {name: _short(value) for name, value in ends.items()}
    data["healthy"] = {name: is_healthy(name, value) for name, value in ends.items()}
    if {"noise_scale", "gradient_snr"} <= data["lines"].keys():
        # the noise scale is the number of samples of a step divided by the squared signal-to-noise ratio
        samples = history["noise_scale"] * history["gradient_snr"]
        known = samples[np.isfinite(samples)]
        data["samplesPerStep"] = round(float(known[-1])) if len(known) else None
    return data


def _metric(name: str) -> dict[str, Any]:
    metric = METRICS.get(name)
    if metric is None:
        return {"unit": "", "formula": "", "healthy": "not registered in the program that wrote this page"}
    low, high = metric.low, metric.high
    return {
        "unit": metric.unit,
        "formula": metric.formula,
        "healthy": metric.healthy,
        "low": low,
        "high": high,
    }


def _short(x: float) -> float | int | None:
    return digits(np.array([x]))[0]


def _whole(x: F64) -> list[int]:
    return np.round(x).astype(np.int64).tolist()
