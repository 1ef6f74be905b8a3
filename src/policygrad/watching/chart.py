"""A drawing of observations over time, for environments that cannot draw themselves."""

from __future__ import annotations

from typing import Any

import numpy as np

from policygrad._support.canvas import Canvas
from policygrad.spaces import Space, flatten_one, is_composite, observed_part
from policygrad.types import F64, Array

WIDTH, ROW = 480, 56
MOST_ROWS = 8
"""Largest number of entries of an observation that are drawn."""
SHOWN = 200
"""Number of steps that are drawn: the latest."""
INK, LINE, PALE = "#222222", "#2b5c8a", "#c9ced6"


class Chart:
    """Draws the observations of an episode over time, one row for each of their first entries.

    Args:
        space: the observation space.
        title: what is written above the rows.
    """

    def __init__(self, space: Space, title: str) -> None:
        self._space, _ = observed_part(space)
        self._title = title
        self._seen: list[F64] = []
        self._low = self._high = np.zeros(0)

    def begin(self, observation: Any) -> None:
        """Start again, with the first observation of an episode."""
        self._seen.clear()
        self.add(observation)

    def add(self, observation: Any) -> None:
        """Add the observation after a step."""
        numbers = self._numbers(observation)
        if not self._low.size:
            self._low, self._high = numbers, numbers
        self._low, self._high = np.fmin(self._low, numbers), np.fmax(self._high, numbers)
        self._seen.append(numbers)

    def pixels(self) -> Array:
        """Return the drawing, [H, W, 3] uint8."""
        rows = max(len(self._low), 1)
        canvas = Canvas(WIDTH, (0.0, WIDTH), (-ROW * rows - 28.0, 0.0))
        canvas.text((8, -6), f"{self._title}: observations, step {len(self._seen) - 1}", 13, INK)
        seen = np.array(self._seen[-SHOWN:])
        x = 8 + (WIDTH - 90) * np.arange(len(seen)) / (SHOWN - 1)
        for i, values in enumerate(seen.T):
            bottom = -28.0 - ROW * (i + 1) + 8
            canvas.line([(8, bottom - 4), (WIDTH - 8, bottom - 4)], 1, PALE)
            low, high = float(self._low[i]), float(self._high[i])
            share = (values - low) / (high - low) if high > low else np.full(len(values), 0.5)
            points = [(float(a), bottom + float(b) * (ROW - 16)) for a, b in zip(x, share, strict=True)]
            canvas.line([points[0], *points], 2, LINE)
            canvas.disk(points[-1], 3, LINE)
            canvas.text((WIDTH - 74, bottom + ROW / 2), f"{values[-1]:.4g}", 13, INK)
        return canvas.pixels()

    def _numbers(self, observation: Any) -> F64:
        """Return the first entries of an observation as [rows] float64."""
        composite = is_composite(self._space)
        flat = flatten_one(self._space, observation) if composite else np.ravel(np.asarray(observation))
        return flat[:MOST_ROWS].astype(np.float64)
