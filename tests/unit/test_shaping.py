"""Reward shaping: potentials, their discount, and checks of what a shaping function returns."""

from __future__ import annotations

import numpy as np
import pytest

from policygrad.envs import PotentialShaping
from policygrad.envs.shaping import apply_shaping
from policygrad.errors import NonFiniteError


def test_potential_shaping_telescopes_to_minus_the_first_potential():
    """Ng, Harada & Russell 1999."""
    T, gamma = 6, 0.9
    states = np.random.default_rng(0).standard_normal((T + 1, 1, 2))
    terminated = np.zeros((T, 1), bool)
    terminated[-1] = True
    shaping = PotentialShaping(lambda s: s.sum(-1) ** 2, gamma)
    added = shaping(np.zeros((T, 1)), states[:-1], states[1:], terminated, np.zeros((T, 1), bool))
    discounted = (gamma ** np.arange(T)[:, None] * added).sum()
    np.testing.assert_allclose(discounted, -(states[0, 0].sum() ** 2))


def test_a_truncated_state_keeps_its_potential():
    s, s2 = np.array([[[1.0]]]), np.array([[[5.0]]])
    shaping = PotentialShaping(lambda s: s[..., 0], 0.5)
    no, yes = np.zeros((1, 1), bool), np.ones((1, 1), bool)
    assert shaping(np.zeros((1, 1)), s, s2, no, yes).item() == 0.5 * 5 - 1
    assert shaping(np.zeros((1, 1)), s, s2, yes, no).item() == -1


def test_the_discount_can_be_set_once():
    open_one = PotentialShaping(lambda s: s[..., 0])
    assert open_one.with_gamma(0.9).gamma == 0.9
    assert open_one.with_gamma(0.9).with_gamma(0.9).gamma == 0.9
    with pytest.raises(ValueError, match=r"has gamma 0\.9, but the algorithm has gamma 0\.5"):
        open_one.with_gamma(0.9).with_gamma(0.5)
    with pytest.raises(ValueError, match="gamma is not set"):
        open_one(np.zeros((1, 1)), *np.zeros((2, 1, 1, 1)), *np.zeros((2, 1, 1), bool))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            lambda r, s, s2, te, tr: r[..., None],
            r"the shaped reward has shape \(3, 2, 1\); expected \(3, 2\)",
        ),
        (
            lambda r, s, s2, te, tr: np.where(r == 5, np.nan, r),
            r"the shaped reward is not finite for \(5\.0, ",
        ),
    ],
)
def test_the_result_of_a_shaping_function_is_checked(function, message: str):
    reward = np.arange(6.0).reshape(3, 2)
    state, flag = np.zeros((3, 2, 1)), np.zeros((3, 2), bool)
    with pytest.raises((ValueError, NonFiniteError), match=message):
        apply_shaping(function, reward, state, state, flag, flag)


def test_a_potential_of_the_wrong_shape_is_refused():
    shaping = PotentialShaping(lambda s: s, 0.9)
    with pytest.raises(ValueError, match=r"potential\(observation\) has shape"):
        shaping(np.zeros((3, 2)), *np.zeros((2, 3, 2, 1)), *np.zeros((2, 3, 2), bool))
