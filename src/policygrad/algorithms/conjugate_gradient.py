"""The conjugate gradient method, which solves a linear system using only products with its matrix."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from policygrad.types import F64


class Solution(NamedTuple):
    """Result of `conjugate_gradient`."""

    x: F64
    """[P] float64: the approximate solution."""
    residual: F64
    """[P] float64: b − A x, as updated in each step."""


def conjugate_gradient(
    product: Callable[[F64], F64], b: F64, *, iterations: int, tolerance: float = 0.0
) -> Solution:
    """Solve A x = b for a symmetric positive definite A, given as the function `product`, v -> A v.

        α = rᵀr / pᵀAp,    x += α p,    r −= α A p,    p = r + (r'ᵀr' / rᵀr) p,    from x = 0, p = r = b

    Hestenes & Stiefel 1952, eq. 3:1. After k steps x minimizes ½ xᵀAx − bᵀx over the span of b, Ab, …, A^{k−1}b.
    Stopping early therefore leaves out the directions in which A is weak and b is small. After P steps x is exact up to
    rounding.

    >>> conjugate_gradient(lambda v: np.array([2.0, 4.0]) * v, np.array([2.0, 2.0]), iterations=2).x
    array([1. , 0.5])

    Args:
        product: function from [P] float64 to [P] float64.
        b: [P] float64.
        iterations: maximum number of steps, each with one product.
        tolerance: stop once ‖r‖ ≤ tolerance · ‖b‖.
    """
    x, r, p = np.zeros_like(b), b.copy(), b.copy()
    squared = float(r @ r)
    enough = tolerance**2 * squared
    for _ in range(iterations):
        if squared <= enough:
            break
        along = product(p)
        curvature = float(p @ along)
        # the curvature is positive for a positive definite matrix, unless only rounding errors are left of it
        if not curvature > 0:
            break
        alpha = squared / curvature
        x += alpha * p
        r -= alpha * along
        before, squared = squared, float(r @ r)
        p = r + squared / before * p
    return Solution(x, r)
