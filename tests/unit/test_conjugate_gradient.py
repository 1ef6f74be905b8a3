"""The conjugate gradient method against solutions of dense systems."""

from __future__ import annotations

import numpy as np
import pytest

from policygrad.algorithms.conjugate_gradient import conjugate_gradient

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.mark.parametrize("P", [1, 2, 7, 40])
def test_it_solves_a_positive_definite_system(P: int):
    rng = np.random.default_rng(P)
    root = rng.standard_normal((P, P))
    A, b = root @ root.T + 0.5 * np.eye(P), rng.standard_normal(P)
    products = 0

    def product(v: np.ndarray) -> np.ndarray:
        nonlocal products
        products += 1
        return A @ v

    solution = conjugate_gradient(product, b, iterations=3 * P, tolerance=1e-10)
    np.testing.assert_allclose(solution.x, np.linalg.solve(A, b), rtol=1e-6, atol=1e-8)
    np.testing.assert_allclose(solution.residual, b - A @ solution.x, atol=1e-9)
    assert np.linalg.norm(solution.residual) <= 1e-10 * np.linalg.norm(b)
    assert products <= 2 * P


def test_it_stops_at_the_given_iterations_or_tolerance():
    A, b = np.diag(np.arange(1.0, 51)), np.ones(50)
    few = conjugate_gradient(lambda v: A @ v, b, iterations=3)
    enough = conjugate_gradient(lambda v: A @ v, b, iterations=50, tolerance=0.1)
    assert np.linalg.norm(few.residual) > 0.1 * np.linalg.norm(b)
    assert 1e-3 * np.linalg.norm(b) < np.linalg.norm(enough.residual) <= 0.1 * np.linalg.norm(b)
    # each iterate minimizes over a larger space, so the error in the norm of A decreases
    errors = [
        (e := conjugate_gradient(lambda v: A @ v, b, iterations=k).x - 1 / np.arange(1.0, 51)) @ A @ e
        for k in range(10)
    ]
    assert (np.diff(errors) < 0).all()
    nothing = conjugate_gradient(lambda v: A @ v, np.zeros(50), iterations=10)
    assert not nothing.x.any()
