"""All that a report shows: numbers and sentences for the template, and data for its charts."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from policygrad.reports.answer import SCORE_WORDS, Answer, answer, headline, progress, together
from policygrad.reports.cell_numbers import CellNumbers, cell_numbers
from policygrad.reports.chart_data import chart_data
from policygrad.reports.circumstances import circumstances
from policygrad.reports.clips import Clip, clips
from policygrad.reports.ranking import Ranking, ranking
from policygrad.reports.run_states import SeedRecord, seed_records
from policygrad.reports.settings_table import SettingsTable, settings_tables
from policygrad.reports.wording import number
from policygrad.statistics import Estimate
from policygrad.studies.saved_cell import SavedCell
from policygrad.studies.saved_study import SavedStudy

TABLE_ROWS = 6
"""Number of rows of a learning curve's table."""
CLOSE = 1.05
"""A learning curve's table continues with the last values up to this multiple of the last step."""


@dataclass(frozen=True)
class Row:
    """A row of the comparison table."""

    index: int
    """Index of the configuration, which determines its color."""
    numbers: CellNumbers
    improvement: Estimate | None
    """Probability that a run of this configuration scores higher than one of the best; None for the best itself."""


@dataclass(frozen=True)
class EnvironmentPart:
    """What the page shows about one environment."""

    name: str
    index: int
    threshold: float | None
    rows: list[Row]
    curve_rows: list[Row]
    """Those of the configurations that have a learning curve."""
    curve_table: list[tuple[int, list[str]]]
    """Steps, and the learning curve of each of these configurations with its interval, in words."""


@dataclass(frozen=True)
class Contents:
    """All that the page of a study or run shows."""

    study: SavedStudy
    title: str
    alone: bool
    """True if the page is about a single run."""
    headline: str
    progress: list[str]
    together: str | None
    answers: list[Answer]
    score_words: str
    environments: list[EnvironmentPart]
    runs: list[SeedRecord]
    clips: list[tuple[SavedCell, Clip]]
    settings: list[SettingsTable]
    circumstances: list[tuple[str, str]]
    methods: list[str]
    """How the intervals were computed."""
    data: dict[str, Any]
    """Data of the charts, as JSON values."""


def contents(study: SavedStudy, *, film: bool) -> Contents:
    """Compute all that the report of a study shows.

    Args:
        study: the study, which may be a single run (`opening.open_any`).
        film: also film the policies.
    """
    by = study.score_name
    numbers = [cell_numbers(cell, by) for cell in study.cells]
    rankings = [
        ranking(name, [one for one in numbers if one.cell.environment == name]) for name in study.environments
    ]
    records = [record for cell in study.cells for record in seed_records(cell, study.path)]
    filmed = clips(numbers) if film else ()
    return Contents(
        study=study,
        title=study.path.name,
        alone=len(records) == 1 and len(study.cells) == 1,
        headline=headline(rankings),
        progress=progress(study),
        together=together(rankings),
        answers=[answer(one) for one in rankings],
        score_words=SCORE_WORDS[by],
        environments=[_environment(study, one, numbers) for one in rankings],
        runs=records,
        clips=[(one.cell, clip) for one, clip in zip(numbers, filmed, strict=False) if clip is not None],
        settings=settings_tables(study),
        circumstances=circumstances(study),
        methods=_methods(numbers, rankings),
        data=chart_data(study, numbers, records),
    )


def _environment(study: SavedStudy, ranked: Ranking, numbers: Sequence[CellNumbers]) -> EnvironmentPart:
    own = [one for one in numbers if one.cell.environment == ranked.environment]
    unranked = [one for one in own if one.summary is None]
    rows = [
        Row(study.configurations.index(name), one, ranked.improvement.get(name))
        for one in [*ranked.cells, *unranked]
        for name in [one.cell.configuration]
    ]
    drawn = [row for row in rows if row.numbers.curve is not None]
    threshold = next((one.cell.threshold for one in own if one.cell.threshold is not None), None)
    index = study.environments.index(ranked.environment)
    return EnvironmentPart(ranked.environment, index, threshold, rows, drawn, _curve_table(drawn))


def _curve_table(rows: Sequence[Row]) -> list[tuple[int, list[str]]]:
    if not rows:
        return []
    longest = max(float(row.numbers.curve.steps[-1]) for row in rows if row.numbers.curve is not None)
    steps = np.linspace(longest / TABLE_ROWS, longest, TABLE_ROWS).tolist()
    return [(round(step), [_point(row.numbers, step) for row in rows]) for step in steps]


def _point(numbers: CellNumbers, step: float) -> str:
    """Return the learning curve at a step, with its interval, in words; "—" where not all runs have values."""
    assert numbers.curve is not None
    steps, band = numbers.curve.steps, numbers.curve.band
    # the last update of a run may end a little before that of another
    if not steps[0] <= step <= CLOSE * steps[-1]:
        return "—"
    value, low, high = (float(np.interp(step, steps, line)) for line in (band.value, band.low, band.high))
    return number(value) if math.isnan(low) else f"{number(value)} [{number(low)}, {number(high)}]"


def _methods(numbers: Sequence[CellNumbers], rankings: Sequence[Ranking]) -> list[str]:
    """Return which methods the intervals of the page were computed with."""
    found = dict[str, set[str]]()
    for one in numbers:
        if one.summary is not None:
            for name in ("iqm", "mean", "median"):
                estimate: Estimate = getattr(one.summary, name)
                found.setdefault(name.replace("iqm", "IQM"), set()).add(estimate.method)
        if one.curve is not None:
            found.setdefault("learning curves", set()).add(one.curve.band.method)
    for ranked in rankings:
        for comparison in ranked.against.values():
            found.setdefault("differences of means", set()).add(comparison.method)
        for improvement in ranked.improvement.values():
            found.setdefault("probability of improvement", set()).add(improvement.method)
    return [f"{what}: {'; '.join(sorted(methods))}" for what, methods in found.items()]
