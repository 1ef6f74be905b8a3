"""Pictures that are drawn in the units of a problem, without a display."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Point: TypeAlias = tuple[float, float]
SMOOTHING = 2
"""Pictures are drawn this many times as large, and then reduced to smooth their edges."""


class Canvas:
    """A white picture to draw on.

    Args:
        width: width of the picture in pixels.
        x, y: the intervals of the problem's units that the picture shows. They also determine its height, so that
            both axes have the same scale.
    """

    def __init__(self, width: int, x: tuple[float, float], y: tuple[float, float]) -> None:
        # imported here because most programs draw nothing
        from PIL import Image, ImageDraw

        self._left, self._top = x[0], y[1]
        self._scale = SMOOTHING * width / (x[1] - x[0])
        self._size = width, round(width * (y[1] - y[0]) / (x[1] - x[0]))
        self._picture = Image.new("RGB", (SMOOTHING * self._size[0], SMOOTHING * self._size[1]), "white")
        self._draw = ImageDraw.Draw(self._picture)

    def polygon(self, corners: Sequence[Point], color: str) -> None:
        """Fill a polygon."""
        self._draw.polygon([self._place(corner) for corner in corners], fill=color)

    def line(self, points: Sequence[Point], width: float, color: str) -> None:
        """Draw a line with round ends through the points; its width is in units of the problem."""
        self._draw.line(
            [self._place(point) for point in points], color, max(round(width * self._scale), 1), "curve"
        )
        for end in (points[0], points[-1]):
            self.disk(end, width / 2, color)

    def disk(self, center: Point, radius: float, color: str) -> None:
        """Fill a circle."""
        (x, y), r = self._place(center), radius * self._scale
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=color)

    def text(self, where: Point, words: str, height: float, color: str = "black") -> None:
        """Write words whose top left corner is at a point; their height is in units of the problem."""
        from PIL import ImageFont

        font = ImageFont.load_default(max(height * self._scale, 1.0))
        self._draw.text(self._place(where), words, fill=color, font=font)

    def pixels(self) -> NDArray[np.uint8]:
        """Return the picture as [height, width, 3] uint8."""
        return np.asarray(self._picture.reduce(SMOOTHING))

    def _place(self, point: Point) -> Point:
        return (point[0] - self._left) * self._scale, (self._top - point[1]) * self._scale
