"""Films of a policy at play: what they show, how long they are, and environments that cannot draw themselves."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from gymnasium.vector import SyncVectorEnv

import policygrad as pg
from policygrad.envs import KERNELS, KernelEnv
from policygrad.envs.textbook import TEXTBOOK
from policygrad.policies import make_policy
from policygrad.watching import film
from tests.helpers.environments import Countdown


class Drawn(Countdown):
    """A Countdown whose picture is as bright as the step is late, and 20 pixels wide."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 8}  # noqa: RUF012

    def __init__(self, length: int = 10, render_mode: str | None = None) -> None:
        super().__init__([length])
        self.render_mode = render_mode
        self._pixels = np.zeros((10, 20, 3), np.uint8)

    def render(self) -> Any:
        self._pixels[:] = self.t
        return self._pixels


class Faulty(Drawn):
    """It cannot draw itself, although it says so."""

    def render(self) -> Any:
        raise RuntimeError("no graphics driver")


def policy_for(env: Any) -> pg.Policy:
    return make_policy(env.observation_space, env.action_space, pg.Network(), np.random.default_rng(0))


@pytest.fixture(scope="module")
def policy() -> pg.Policy:
    return policy_for(Countdown([1]))


def test_a_film_shows_the_first_state_and_every_later_one(policy: pg.Policy):
    shown = film(policy, Drawn, env_kwargs={"length": 12})
    assert shown.frames.shape == (13, 10, 20, 3)
    assert shown.frames.dtype == np.uint8
    assert shown.frames[:, 0, 0, 0].tolist() == list(range(13))
    assert shown.fps == 8
    assert shown.evaluation.lengths.tolist() == [12]


def test_a_film_of_several_episodes_shows_them_one_after_another(policy: pg.Policy):
    shown = film(policy, Drawn, episodes=3, env_kwargs={"length": 2})
    assert shown.frames[:, 0, 0, 0].tolist() == [0, 1, 2] * 3
    assert len(shown.evaluation.returns) == 3


def test_a_long_film_keeps_its_pace_with_fewer_pictures(policy: pg.Policy):
    shown = film(policy, Drawn, most=5, env_kwargs={"length": 17})
    assert shown.frames[:, 0, 0, 0].tolist() == [0, 4, 8, 12, 16]
    assert shown.fps == 2


def test_wide_pictures_are_reduced_in_proportion(policy: pg.Policy):
    shown = film(policy, Drawn, width=10)
    assert shown.frames.shape[1:] == (5, 10, 3)
    assert shown.frames[:, 2, 5, 0].tolist() == list(range(11))


def test_a_film_shows_the_episode_that_evaluate_runs_and_leaves_the_policy_as_it_was():
    policy = policy_for(KERNELS["CartPole-v1"])
    before = policy.snapshot().parameters.copy()
    for greedy in (True, False):
        options: Any = {"greedy": greedy, "seed": 3, "backend": "gymnasium"}
        shown = film(policy, "CartPole-v1", width=20, **options)
        expected = pg.evaluate(policy, "CartPole-v1", 1, num_envs=1, progress=False, **options)
        assert shown.evaluation.returns.tolist() == expected.returns.tolist()
    policy.greedy = True
    assert film(policy, "CartPole-v1").evaluation.greedy
    assert (policy.snapshot().parameters == before).all()


def test_the_same_seed_gives_the_same_film():
    policy = policy_for(KERNELS["CartPole-v1"])
    first, again, other = (film(policy, "CartPole-v1", width=60, seed=seed).frames for seed in (1, 1, 2))
    assert (first == again).all()
    assert first.shape != other.shape or (first != other).any()


@pytest.mark.parametrize(
    ("env", "reason"),
    [
        (lambda: Countdown([4]), "it has no render mode rgb_array"),
        (lambda: Drawn(4), "it was made without render_mode='rgb_array'"),
        (Drawn(4), "it was made without render_mode='rgb_array'"),
        (lambda render_mode: Faulty(4, render_mode), "render raised RuntimeError: no graphics driver"),
    ],
)
def test_observations_are_drawn_where_the_environment_cannot_draw_itself(
    policy: pg.Policy, env: Any, reason: str
):
    said = list[str]()
    shown = film(policy, env, say=said.append)
    assert len(said) == 1
    assert "cannot draw itself, so its observations are drawn: " in said[0]
    assert said[0].endswith(reason)
    assert len(shown.frames) == 5
    assert (shown.frames[0] != shown.frames[-1]).any()


def test_a_kernel_draws_itself_if_it_can():
    kernel = next(iter(TEXTBOOK.values()))
    said = list[str]()
    film(policy_for(kernel), kernel, say=said.append)
    assert "cannot draw itself" in said[0]
    with pytest.raises(ValueError, match="because the Kernel has no render function"):
        KernelEnv(kernel, "rgb_array")
    env = KernelEnv(KERNELS["Pendulum-v1"], "rgb_array")
    env.reset(seed=0)
    picture = env.render()
    assert picture is not None
    assert picture.shape == (360, 360, 3)
    assert KernelEnv(KERNELS["Pendulum-v1"]).render() is None


def test_only_single_environments_can_be_filmed(policy: pg.Policy):
    with pytest.raises(
        ValueError, match="SyncVectorEnv is a vector environment; watching needs a single one"
    ):
        film(policy, lambda: SyncVectorEnv([lambda: Countdown([2])]))
    with pytest.raises(
        ValueError, match="SyncVectorEnv is a vector environment; watching needs a single one"
    ):
        film(policy, SyncVectorEnv([lambda: Countdown([2])]))
    with pytest.raises(TypeError, match=r"expected a policygrad\.Policy"):
        film(policy.network, Drawn)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="most must be 2 or more"):
        film(policy, Drawn, most=1)


def brightness(name: str, *state: float) -> np.ndarray:
    draw = KERNELS[name].render
    assert draw is not None
    return draw(np.array(state)).astype(np.int64).sum(2)


def test_a_moved_cart_is_the_same_picture_moved():
    at_left, at_right = brightness("CartPole-v1", -0.7, 0, 0.1, 0), brightness("CartPole-v1", 0.7, 0, 0.1, 0)
    # 480 pixels show 5.6 units; rows above the track have nothing but the cart and the pole
    assert (at_left[:140, :-120] == at_right[:140, 120:]).all()


def test_a_falling_pole_leans_where_it_falls():
    leaning = brightness("CartPole-v1", 0, 0, 0.2, 0)[:100]
    dark = np.argwhere(leaning < leaning.max())[:, 1].mean()
    assert dark > 245
    assert np.argwhere(brightness("CartPole-v1", 0, 0, -0.2, 0)[:100] < leaning.max())[:, 1].mean() < 235


def test_a_pendulum_is_upright_at_zero_and_turns_counterclockwise():
    pale = 3 * 255
    for theta, half in ((0.0, (slice(0, 180), slice(None))), (np.pi / 2, (slice(None), slice(0, 180)))):
        dark = brightness("Pendulum-v1", theta, 0, 2) < pale
        assert dark[half].sum() > 0.8 * dark.sum()


@pytest.mark.parametrize("angles", [(np.pi, 0.5), (2.5, 0.3), (0.2, 0.1), (2.5, -0.5), (1.0, 1.0)])
def test_an_acrobot_rises_above_the_line_where_its_episode_ends(angles: tuple[float, float]):
    over = bool(-np.cos(angles[0]) - np.cos(sum(angles)) > 1.0)
    # the line is at row 98 and the links are wider than their axes
    above = brightness("Acrobot-v1", *angles, 0, 0, 2)[:84]
    assert (above < 3 * 255).any() == over


def test_a_car_drives_to_the_right_and_up():
    blue = [KERNELS["MountainCar-v0"].render(np.array([x, 0.0])) for x in (-0.5, 0.3)]  # type: ignore[misc]
    places = [np.argwhere((picture == (0x2B, 0x5C, 0x8A)).all(2)).mean(0) for picture in blue]
    assert places[1][1] - places[0][1] == pytest.approx(0.8 / 1.9 * 480, abs=12)
    assert places[1][0] < places[0][0] - 60
