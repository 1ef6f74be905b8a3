"""What a diagnosis is made from: a run's settings, its metrics, and what playing with its policy shows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np

from policygrad.doctor.probe import Probe
from policygrad.types import F64

WINDOW = 100
"""Number of episodes over which returns are averaged, unless a run has fewer than ten times as many."""
IMPROVED = 1.0
"""Rise of the mean return, in standard deviations of a return, from which a policy counts as improved."""
NEARLY = 0.9
"""Share of the way from the first returns to the threshold from which a policy counts as having learned the task."""
LOST = 0.5
"""Share of the improvement that has to be gone at the end of a run for it to count as lost."""
ENOUGH_EPISODES = 20
"""Number of episodes below which a rise of the returns may be luck."""
ENOUGH_MEANS = 10
"""Number of updates in which episodes ended, below which any rise of the returns may be progress."""
PARTS = ("algorithm", "network", "normalization")
"""Entries of `config.json` that contain settings themselves."""


@dataclass(frozen=True)
class Evidence:
    """Everything that the doctor knows about a run."""

    history: Mapping[str, F64]
    """Each metric as an array with one entry per update; NaN where it was not logged."""
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Settings of the run, as in `config.json`; empty if they are unknown."""
    threshold: float | None = None
    """Mean return that counts as solved; None if there is none."""
    probe: Probe | None = None
    """What playing with the policy shows; None if nothing was played."""

    def metric(self, name: str) -> F64:
        """Return a metric [updates]; NaN in every update if it was not logged."""
        return self.history.get(name, np.full(len(self.history["steps"]), np.nan))

    def recent(self, name: str, share: float = 0.5) -> float:
        """Return the median of a metric over the last updates, a `share` of them; NaN if it was not logged there."""
        values = self.metric(name)[-max(1, round(share * self.updates)) :]
        values = values[~np.isnan(values)]
        return float(np.median(values)) if len(values) else math.nan

    def setting(self, name: str, otherwise: Any = None) -> Any:
        """Return a setting of the run, its algorithm, its network or its normalization; None counts as not set."""
        for part in (self.config, *(self.config.get(name) for name in PARTS)):
            if isinstance(part, Mapping) and part.get(name) is not None:
                return part[name]
        return otherwise

    @property
    def updates(self) -> int:
        """Number of updates in the history."""
        return len(self.history["steps"]) if self.history else 0

    @property
    def steps(self) -> int:
        """Number of samples learned from."""
        return int(self.history["steps"][-1]) if self.updates else 0

    @property
    def episodes(self) -> int:
        """Number of training episodes that ended."""
        return int(self.metric("episodes")[-1]) if self.updates else 0

    @property
    def samples_per_update(self) -> float:
        """Mean number of samples per update."""
        return self.steps / max(self.updates, 1)

    @cached_property
    def _ended(self) -> tuple[F64, F64]:
        """Return (mean return, number of episodes) of each row in which episodes ended."""
        returns = self.metric("return")
        counts = np.diff(self.metric("episodes"), prepend=0)
        some = ~np.isnan(returns) & (counts > 0)
        return returns[some], counts[some]

    @cached_property
    def _ends(self) -> tuple[slice, slice]:
        """Return the rows with the first and with the last episodes: `WINDOW` of each, or a tenth of all."""
        _, counts = self._ended
        wanted = min(WINDOW, self.episodes / 10)
        total = np.cumsum(counts)
        first = int(np.searchsorted(total, wanted)) + 1
        last = int(np.searchsorted(np.cumsum(counts[::-1]), wanted)) + 1
        return slice(0, first), slice(-last, None)

    def _mean(self, rows: slice) -> float:
        returns, counts = self._ended
        return float(np.average(returns[rows], weights=counts[rows])) if len(returns) else math.nan

    @property
    def first_return(self) -> float:
        """Mean return of the first training episodes; NaN if none has ended."""
        return self._mean(self._ends[0])

    @property
    def last_return(self) -> float:
        """Mean return of the last training episodes; NaN if none has ended."""
        return self._mean(self._ends[1])

    @cached_property
    def best_return(self) -> float:
        """Best mean of 100 training returns; the last mean if there are not that many, and NaN if there are none."""
        full = self.metric("return_100")[self.metric("episodes") >= WINDOW]
        return float(np.nanmax(full)) if len(full) and not np.isnan(full).all() else self.last_return

    @cached_property
    def spread(self) -> float:
        """Standard deviation of the return of an episode at the beginning and at the end of the run.

        It is estimated from the differences between the means of successive updates, which a trend hardly affects. A
        mean of n returns has 1/n of their variance.
        """
        returns, counts = self._ended
        variances = list[float]()
        for rows in self._ends:
            means, weights = returns[rows], 1 / counts[rows]
            if len(means) > 1:
                variances.append(float(np.mean(np.diff(means) ** 2 / (weights[1:] + weights[:-1]))))
        return math.sqrt(float(np.mean(variances))) if variances else math.nan

    @property
    def improvement(self) -> float:
        """Rise of the mean return in standard deviations of a return; 0 if it is unknown."""
        return self._in_deviations(self.last_return)

    @property
    def best_improvement(self) -> float:
        """The same up to the best mean of 100 returns."""
        return self._in_deviations(self.best_return)

    def _in_deviations(self, mean: float) -> float:
        rise = mean - self.first_return
        if self.episodes < ENOUGH_EPISODES or not rise > 0 or math.isnan(self.spread):
            return 0.0
        return rise / self.spread if self.spread > 0 else math.inf

    @property
    def deviation_of_targets(self) -> float:
        """Standard deviation of the targets of V(s) in the second half of the run; NaN if it is unknown.

        With the value loss L = ½ (bias² + Var(G − V)) and the explained variance E = 1 − Var(G − V)/Var(G), it follows
        that Var(G) = (2L − bias²)/(1 − E).
        """
        loss, bias, explained = (
            self.metric(name)[-max(1, self.updates // 2) :]
            for name in ("value_loss", "value_bias", "explained_variance")
        )
        known = explained < 1
        if not known.any():
            return math.nan
        variance = (2 * loss - bias**2)[known] / (1 - explained[known])
        return math.sqrt(max(float(np.median(variance)), 0.0))

    @property
    def reached(self) -> bool:
        """True if the mean of 100 training returns reached the threshold at some time."""
        return self.threshold is not None and self.episodes >= WINDOW and self.best_return >= self.threshold

    @property
    def lost(self) -> bool:
        """True if returns had risen clearly, and most of the rise was gone at the end."""
        rise = self.best_return - self.first_return
        return self.best_improvement >= IMPROVED and self.best_return - self.last_return > LOST * rise

    @property
    def learned(self) -> bool:
        """True if returns rose to the threshold or nearly so, or rose clearly without one, and if this was not lost."""
        if self.threshold is None:
            return self.improvement >= IMPROVED and not self.lost
        nearly = self.first_return + NEARLY * (self.threshold - self.first_return)
        is_near = self.updates > 0 and self.metric("return_100")[-1] >= min(nearly, self.threshold)
        return (self.reached or bool(is_near)) and not self.lost

    @property
    def fruitless(self) -> bool:
        """True if returns did not even rise clearly."""
        if self.reached or self.best_improvement >= IMPROVED:
            return False
        # few means, of many episodes each, differ by the progress between them, so that their spread is unknown
        return len(self._ended[0]) >= ENOUGH_MEANS or not self.last_return > self.first_return
