"""Studies on disk: `open_study` reads the folder of a study, or of `train --seeds`, also while it is training."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from policygrad._support.display import FrameName, data_frame, table_in_html
from policygrad.runs.locked_folder import CONFIG, MANIFEST, read_json
from policygrad.runs.saved_run import SavedRun
from policygrad.studies.analysis import CellSummary, summarize
from policygrad.studies.plots import study_figure
from policygrad.studies.saved_cell import SavedCell, ScoreName
from policygrad.studies.study_comparison import StudyComparison, compare_cells

if TYPE_CHECKING:
    from matplotlib.figure import Figure

KIND = "study"
"""Entry `kind` in the `config.json` of a study."""


def open_study(path: str | Path) -> SavedStudy:
    """Read the study in a folder, or the runs of `train(seeds=...)`. Runs are read when they are first used.

    Raises:
        FileNotFoundError: there is no study at `path`.
        CheckpointError: a file is damaged.
    """
    path = Path(path).expanduser().absolute()
    if not (path / CONFIG).is_file():
        raise FileNotFoundError(f"there is no study at {path}: expected a folder with {CONFIG}")
    config = read_json(path / CONFIG)
    if config.get("kind") == KIND:
        cells = [
            SavedCell(entry["environment"], entry["configuration"], path / entry["folder"])
            for entry in config["cells"]
        ]
    elif "seeds" in config:
        # one cell of a study knows what the study calls it
        names = config.get(
            "study", {"environment": config["environment"], "configuration": config["algorithm"]["name"]}
        )
        cells = [SavedCell(names["environment"], names["configuration"], path)]
    else:
        raise FileNotFoundError(f"{path} holds a single run and not a study: use open_run")
    return SavedStudy(path, tuple(cells))


@dataclass(frozen=True, repr=False)
class SavedStudy:
    """A study on disk. What it contains is read when it is first used."""

    path: Path
    """Folder of the study."""
    cells: tuple[SavedCell, ...]
    """Each configuration on each environment."""

    @property
    def environments(self) -> list[str]:
        """Names of the environments, in order."""
        return list(dict.fromkeys(cell.environment for cell in self.cells))

    @property
    def configurations(self) -> list[str]:
        """Names of the configurations, in order."""
        return list(dict.fromkeys(cell.configuration for cell in self.cells))

    @property
    def runs(self) -> list[SavedRun]:
        """All runs that have begun."""
        return [run for cell in self.cells for run in cell.runs]

    @property
    def missing(self) -> int:
        """Number of runs that have neither finished nor failed: the study was interrupted, or is still training."""
        return sum(
            len(set(cell.seeds) - {run.seed for run in cell.finished} - set(cell.failed))
            for cell in self.cells
        )

    @property
    def score_name(self) -> ScoreName:
        """The default score of all cells: greedy actions if every finished run has been scored, else `last_100`."""
        names = {cell.score_name for cell in self.cells if cell.finished}
        return "greedy" if names == {"greedy"} else "last_100"

    @cached_property
    def manifest(self) -> dict[str, Any]:
        """Versions, machine and circumstances of the study."""
        return read_json(self.path / MANIFEST)

    def cell(self, environment: str, configuration: str) -> SavedCell:
        """Return the runs of one configuration on one environment.

        Raises:
            KeyError: there is no such cell.
        """
        for cell in self.cells:
            if (cell.environment, cell.configuration) == (environment, configuration):
                return cell
        raise KeyError(
            f"{self.path} has no {environment} {configuration}; it has {', '.join(cell.name for cell in self.cells)}"
        )

    def summaries(self, by: ScoreName | None = None) -> list[CellSummary]:
        """Return the scores of each cell, and when it was solved. Cells without scores are left out."""
        by = self.score_name if by is None else by
        return [summary for cell in self.cells if (summary := summarize(cell, by)) is not None]

    def compare(self, a: str, b: str, by: ScoreName | None = None, *, level: float = 0.95) -> StudyComparison:
        """Compare two configurations of this study: see `policygrad.compare`."""
        return compare_cells((a, self.cells_of(a)), (b, self.cells_of(b)), by=by, level=level)

    def cells_of(self, configuration: str) -> dict[str, SavedCell]:
        """Return the cells of a configuration by environment.

        Raises:
            ValueError: there is no such configuration.
        """
        found = {cell.environment: cell for cell in self.cells if cell.configuration == configuration}
        if not found:
            raise ValueError(
                f"{self.path} has no configuration {configuration!r}; it has {', '.join(self.configurations)}"
            )
        return found

    def plot(self, metric: str = "return_100") -> Figure:
        """Return the curves of all configurations: the interquartile mean over seeds with 95 % intervals.

        A curve ends where the first of its runs does, which is early if runs end when they are solved (`stop_at`).

        Args:
            metric: name of a metric that the runs have logged.
        """
        what = "mean of the last 100 returns" if metric == "return_100" else metric
        return study_figure(self.cells, metric, what)

    def frame(self, library: FrameName | None = None) -> Any:
        """Return a data frame with one row per finished run: see `Run.frame`."""
        rows = [
            {
                "environment": cell.environment,
                "configuration": cell.configuration,
                "seed": run.seed,
                "steps": run.steps,
                "seconds": run.seconds,
                "solved_at": run.solved_at,
                "last_100": run.updates.latest["return_100"],
                **{way: run.scores[way]["mean"] if run.scores else None for way in ("greedy", "sampled")},
            }
            for cell in self.cells
            for run in cell.finished
        ]
        return data_frame({name: [row[name] for row in rows] for name in (rows[0] if rows else {})}, library)

    def _repr_html_(self) -> str:
        return f"<p>{self!r}</p>" + table_in_html(self.headings(), self.table())

    def table(self) -> list[tuple[str, ...]]:
        """Return the rows of a table of the study, as text: see `headings`."""
        return [_row(cell, self.score_name) for cell in self.cells]

    def headings(self) -> tuple[str, ...]:
        """Return the headings of `table`.

        Its columns are names, the interquartile mean of the scores, and how many runs were solved after how many steps
        in the median. Without a threshold, the last column is the number of runs.
        """
        return "environment", "configuration", f"{self.score_name} IQM, 95 %", "solved, after"

    def __repr__(self) -> str:
        total = sum(len(cell.seeds) for cell in self.cells)
        finished = sum(len(cell.finished) for cell in self.cells)
        failed = sum(len(cell.failed) for cell in self.cells)
        return (
            f"SavedStudy({_counted(self.environments, 'environment')} × "
            f"{_counted(self.configurations, 'configuration')}, {finished} of {total} runs finished"
            f"{f', {failed} failed' if failed else ''})"
        )


def _row(cell: SavedCell, by: ScoreName) -> tuple[str, ...]:
    runs, seeds = len(cell.finished), len(cell.seeds)
    of_all = "" if runs == seeds else f" (of {seeds})"
    if (summary := summarize(cell, by)) is None:
        return cell.environment, cell.configuration, "—", f"{runs} of {seeds} runs"
    iqm, median = summary.iqm, summary.steps_to_solved.median
    interval = "" if math.isnan(iqm.low) else f" [{iqm.low:.4g}, {iqm.high:.4g}]"
    after = "" if median is None else f", {median:,.0f}"
    solved = f"{runs} runs" if cell.threshold is None else f"{summary.solved} of {runs}"
    return cell.environment, cell.configuration, f"{iqm.value:.4g}{interval}", f"{solved}{of_all}{after}"


def _counted(things: Sequence[Any], name: str) -> str:
    return f"{len(things)} {name}{'' if len(things) == 1 else 's'}"
