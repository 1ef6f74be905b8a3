"""The matrix products of the fused engine, and the activations that are computed with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import types

from policygrad._support.compiling import compiled
from policygrad.engines.fused.layer_views import flat
from policygrad.engines.fused.matmul import (
    ACTIVATE,
    ADD,
    IDENTITY,
    OVERWRITE,
    PULL_BACK,
    RELU,
    TANH,
    multiply,
    multiply_transposed,
    product_address,
)
from policygrad.engines.signatures import MATRIX, VECTOR


@compiled(types.void(MATRIX, MATRIX, MATRIX, types.int64, types.int64, VECTOR, types.int64))
def product(a: Any, b: Any, c: Any, what: int, f: int, vector: Any, address: int) -> None:
    rows, columns, depth = a.shape[0], b.shape[1], a.shape[1]
    multiply(address, flat(a), flat(b), flat(c), rows, columns, depth, what, f, vector)


@compiled(types.void(MATRIX, MATRIX, MATRIX, types.boolean, types.int64))
def transposed_product(a: Any, b: Any, c: Any, accumulate: bool, address: int) -> None:
    multiply_transposed(address, flat(a), flat(b), flat(c), a.shape[1], b.shape[1], a.shape[0], accumulate)


def within(shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Return a vector of sevens, and zeros of this shape inside it: a write out of bounds changes a seven."""
    room = np.full(int(np.prod(shape)) + 40, 7.0, np.float32)
    room[20:-20] = 0
    return room, room[20:-20].reshape(shape)


def test_products_of_every_shape_are_accurate():
    """Products equal those in float64, for sizes that fill tiles and sizes that do not, and stay within bounds."""
    rng = np.random.default_rng(0)
    activations = (
        (IDENTITY, lambda x: x, np.ones_like),
        (RELU, lambda x: np.maximum(x, 0), lambda y: y > 0),
        (TANH, np.tanh, lambda y: 1 - y * y),
    )
    for _ in range(300):
        M, K, N = rng.integers(1, 70, 3)
        a, b = (rng.standard_normal(shape).astype(np.float32) for shape in ((M, K), (K, N)))
        exact = a.astype(np.float64) @ b
        (room, c), (more_room, vector) = within((M, N)), within((N,))
        product(a, b, c, OVERWRITE, IDENTITY, vector, product_address())
        np.testing.assert_allclose(c, exact, rtol=1e-4, atol=1e-4)
        product(a, b, c, ADD, IDENTITY, vector, product_address())
        np.testing.assert_allclose(c, 2 * exact, rtol=1e-4, atol=2e-4)
        turned = np.ascontiguousarray(a.T)
        for accumulate, times in ((False, 1), (True, 2)):
            transposed_product(turned, b, c, accumulate, product_address())
            np.testing.assert_allclose(c, times * exact, rtol=1e-4, atol=2e-4)
        vector[:] = rng.standard_normal(N)
        for code, f, derivative in activations:
            product(a, b, c, ACTIVATE, code, vector, product_address())
            np.testing.assert_allclose(c, f(exact + vector), rtol=1e-4, atol=1e-4)
            if code == IDENTITY:
                continue
            slopes, before = derivative(c.astype(np.float64)), vector.astype(np.float64)
            product(a, b, c, PULL_BACK, code, vector, product_address())
            np.testing.assert_allclose(c, exact * slopes, rtol=1e-4, atol=1e-4)
            np.testing.assert_allclose(vector, before + (exact * slopes).sum(0), rtol=1e-4, atol=2e-3)
        for around in (room, more_room):
            assert (around[:20] == 7).all()
            assert (around[-20:] == 7).all()


def test_tanh_is_accurate_and_propagates_nan():
    x = np.concatenate([np.linspace(-12, 12, 200_001), [np.nan, -np.inf, np.inf, 1e30]]).astype(np.float32)
    y, ones, none = np.empty((1, x.size), np.float32), np.zeros((1, 1), np.float32), np.zeros(x.size, "f4")
    product(ones, x[None], y, ACTIVATE, TANH, x, product_address())
    exact = np.tanh(x[:-4].astype(np.float64))
    assert np.abs(y[0, :-4] - exact).max() < 1e-6
    off_zero = exact != 0
    assert np.abs(y[0, :-4][off_zero] / exact[off_zero] - 1).max() < 1e-6
    # a derivative 1 − h² is never negative
    assert np.abs(y[0, :-4]).max() <= 1
    assert np.isnan(y[0, -4])
    product(ones, none[None], y, ACTIVATE, TANH, x, product_address())
    np.testing.assert_allclose(y[0, -3:], [-1, 1, 1], atol=1e-6)
