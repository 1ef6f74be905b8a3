"""What people see of a run: a line of text, a table in a notebook, a data frame, and a plot."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

from policygrad._support.display import FrameName, data_frame, table_in_html
from policygrad.runs.curves import curve_figure
from policygrad.types import F64, I64

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class RunLike(Protocol):
    """A run in memory or on disk."""

    environment: str
    seed: int
    ended: Any
    threshold: float | None
    solved_at: int | None

    @property
    def history(self) -> dict[str, F64]:
        """Each metric as an array with one entry per update."""
        ...

    @property
    def episode_returns(self) -> F64:
        """[episodes] float64: return of each training episode."""
        ...

    @property
    def episode_steps(self) -> I64:
        """[episodes] int64: steps used by the end of the update in which each episode ended."""
        ...


class RunView:
    """Displays of a run, for `Run` and `SavedRun`."""

    def plot(self: RunLike) -> Figure:
        """Return a plot of the episodes' returns and their running mean against environment steps."""
        return curve_figure(
            self.history,
            (self.episode_steps, self.episode_returns),
            f"{self.environment}, seed {self.seed}",
            self.threshold,
            self.solved_at,
        )

    def frame(self: RunLike, library: FrameName | None = None) -> Any:
        """Return the history as a data frame with one row per update.

        Args:
            library: `pandas` or `polars`; by default the first of them that is installed.

        Raises:
            ModuleNotFoundError: the library is not installed.
        """
        return data_frame(self.history, library)

    def _repr_html_(self: RunLike) -> str:
        last = {name: values[-1] for name, values in self.history.items() if len(values)}
        mean = last.get("return_100", math.nan)
        rows = [
            ("environment", self.environment),
            ("seed", str(self.seed)),
            ("ended by", str(self.ended)),
            ("steps", f"{int(last.get('steps', 0)):,}"),
            ("seconds", f"{last.get('seconds', 0.0):.2f}"),
            ("mean of the last 100 training returns", f"{mean:.1f}"),
        ]
        if self.threshold is not None:
            solved = "no" if self.solved_at is None else f"after {self.solved_at:,} steps"
            rows.append((f"solved (that mean ≥ {self.threshold:g})", solved))
        return table_in_html((), rows)
