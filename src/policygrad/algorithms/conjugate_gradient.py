"""The conjugate gradient: a linear system solved by products with its matrix alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from policygrad.types import F64


class Solution(NamedTuple):
    """Where the conjugate gradient stopped."""

    x: F64
    """[P]."""
    residual: F64
    """[P] b − A x, as carried along."""


def conjugate_gradient(
    product: Callable[[F64], F64], b: F64, *, iterations: int, tolerance: float = 0.0
) -> Solution:
    """x with A x = b for a symmetric positive definite A, from `product`, v -> A v.

        α = rᵀr / pᵀAp,    x += α p,    r −= α A p,    p = r + (r'ᵀr' / rᵀr) p,    from x = 0, p = r = b

    Hestenes & Stiefel 1952, eq. 3:1. After k steps x minimises ½ xᵀAx − bᵀx over the span of b, Ab, …, A^{k−1}b,
    so that stopping early leaves out the directions in which A is weak and b small. Exact after P steps, but
    for rounding.

    >>> conjugate_gradient(lambda v: np.array([2.0, 4.0]) * v, np.array([2.0, 2.0]), iterations=2).x
    array([1. , 0.5])

    Args:
        product: float64 [P] to float64 [P].
        b: [P] float64.
        iterations: the most steps, each one product.
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
        # not so of a positive definite matrix, but where rounding is all that is left of it
        if not curvature > 0:
            break
        alpha = squared / curvature
        x += alpha * p
        r -= alpha * along
        before, squared = squared, float(r @ r)
        p = r + squared / before * p
    return Solution(x, r)
