"""The accuracy of the elementary functions that the fused heads are compiled with."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types
from scipy import special

from policygrad._support.compiling import compiled
from policygrad.engines.fused.heads.functions import exp, gammas, log, log1p_of_unit, log_slope, tanh
from policygrad.engines.signatures import VECTOR


@compiled(types.void(VECTOR, types.float32[:, ::1]))
def of_heads(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[0, i] = exp(x[i])
        y[1, i] = log(x[i])
        y[2, i] = tanh(x[i])
        y[3, i] = log1p_of_unit(x[i])
        y[4, i] = log_slope(x[i])


EXP, LOG, TANH_OF_HEADS, LOG1P, LOG_SLOPE = range(5)


def of_heads_at(function: int, x: np.ndarray) -> np.ndarray:
    y = np.empty((5, x.size), np.float32)
    of_heads(x, y)
    return y[function].astype(np.float64)


def floats(low: float, high: float, every: int = 97) -> np.ndarray:
    """Return every 97th float32 between two positive ones, and both ends; most floats are near 0."""
    first, last = (int(np.float32(end).view(np.int32)) for end in (low, high))
    return np.append(np.arange(first, last, every, dtype=np.int32), np.int32(last)).view(np.float32)


def on_both_sides(x: np.ndarray) -> np.ndarray:
    return np.concatenate([-x, x])


def test_exp_is_as_accurate_as_documented():
    for low, high, bound in ((1e-10, 2, 4e-7), (2, 87, 5e-6)):
        x = on_both_sides(floats(low, high))
        assert np.abs(of_heads_at(EXP, x) / np.exp(x.astype(np.float64)) - 1).max() < bound
    outside = np.array([-1e30, -200, -87, 0, 88, 200, 1e30, np.nan], np.float32)
    found = of_heads_at(EXP, outside)
    np.testing.assert_array_equal(found[[0, 1, 3, 5, 6]], found[[2, 2, 3, 4, 4]])
    np.testing.assert_allclose(found[[2, 3, 4]], np.exp([-87.0, 0.0, 88.0]), rtol=5e-6)
    assert np.isnan(found[-1])


def test_log_is_as_accurate_as_documented():
    x = np.concatenate([floats(1.2e-38, 3.4e38, 997), floats(0.5, 2), 1 + 2.0 ** -np.arange(24, dtype="f4")])
    exact = np.log(x.astype(np.float64))
    assert (np.abs(of_heads_at(LOG, x) - exact) / np.maximum(1, np.abs(exact))).max() < 2e-7


def test_tanh_is_as_accurate_as_documented():
    x = on_both_sides(floats(1e-10, 100))
    assert np.abs(of_heads_at(TANH_OF_HEADS, x) - np.tanh(x.astype(np.float64))).max() < 1e-6


def test_log1p_on_the_unit_interval_is_as_accurate_as_documented():
    # the largest errors are near 1
    x = np.concatenate([[np.float32(0)], floats(1e-30, 0.9, 997), floats(0.9, 1, 3)])
    error = np.abs(of_heads_at(LOG1P, x) - np.log1p(x.astype(np.float64)))
    assert error.max() < 2e-7
    assert error[0] == 0


def test_the_log_slope_of_tanh_is_as_accurate_as_documented():
    """The reference has all digits of float64; it is checked against the plain formula where that has them too."""
    x = on_both_sides(floats(1e-10, 100))
    size = np.abs(x).astype(np.float64)
    exact = 2 * (np.log(2) - size - np.log1p(np.exp(-2 * size)))
    near = size < 8
    np.testing.assert_allclose(exact[near], np.log1p(-np.square(np.tanh(size[near]))), rtol=1e-8, atol=1e-8)
    assert (np.abs(of_heads_at(LOG_SLOPE, x) - exact) / np.maximum(1, np.abs(exact))).max() < 6e-7


@compiled(types.void(types.float64[::1], types.float64[:, ::1]))
def gammas_of(x: Any, y: Any) -> None:
    for i in range(x.size):
        y[0, i], y[1, i], y[2, i] = gammas(x[i])


def test_the_gamma_functions_are_as_accurate_as_documented():
    x = np.concatenate(
        [
            np.linspace(1, 30, 50_001),
            1 + 10.0 ** -np.arange(1, 16),
            [np.nextafter(8, 0)],
            10.0 ** np.arange(2, 9),
        ]
    )
    y = np.empty((3, len(x)))
    gammas_of(x, y)
    for found, exact in zip(
        y, (special.gammaln(x), special.digamma(x), special.polygamma(1, x)), strict=True
    ):
        assert (np.abs(found - exact) <= 1e-11 * np.maximum(1, np.abs(exact))).all()
