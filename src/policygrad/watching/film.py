"""A short film of a policy at play, as an array of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from policygrad._support.checks import check_names, whole
from policygrad.envs import EnvLike, EnvOptions
from policygrad.evaluation import Evaluation
from policygrad.policies import Policy
from policygrad.types import Array
from policygrad.watching.stage import DEFAULT_FPS, play


@dataclass(frozen=True, eq=False)
class Film:
    """Pictures of whole episodes, one after another."""

    frames: Array
    """[F, H, W, 3] uint8: the pictures."""
    fps: float
    """Pictures per second at which the film shows the environment's own pace."""
    evaluation: Evaluation
    """The returns and the lengths of the episodes."""


def film(
    policy: Policy,
    env: EnvLike,
    *,
    episodes: int = 1,
    most: int = 150,
    width: int = 240,
    greedy: bool | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Film:
    """Return pictures of a policy that plays whole episodes. The policy is left exactly as it was.

    If there are more than `most` pictures, every second one is kept, or every fourth, and so on, at a frame rate that
    is lower by the same factor. Environments that cannot draw themselves are shown by their observations over time.

    Args:
        policy, env: as in `evaluate`; a vector environment cannot be watched.
        episodes: number of episodes, 1 or more.
        most: largest number of pictures, 2 or more.
        width: largest width of the pictures in pixels; wider ones are reduced.
        greedy: take the most probable action instead of a sampled one; None takes what `policy.greedy` says.
        seed: seed of the environment and the actions.
        say: called with a message if the observations are drawn.
        options: how the environment is opened, as in `train`.

    Raises:
        ValueError: a number is too small, the spaces differ from the policy's, or only vector environments exist.
    """
    check_names("film", EnvOptions, options)
    pictures = Thinned(whole("most", most, at_least=2), whole("width", width, at_least=1))
    evaluation = play(
        policy,
        env,
        pictures,
        episodes=episodes,
        greedy=greedy,
        seed=seed,
        say=say,
        options=EnvOptions(**options),
    )
    frames = [fitted(picture, pictures.kept[-1].shape) for picture in pictures.kept]
    return Film(np.stack(frames), pictures.fps, evaluation)


class Thinned:
    """Keeps all pictures up to `most`, and then every second one, every fourth, and so on.

    Args:
        most: largest number of pictures that are kept.
        width: largest width of a picture; wider ones are reduced.
        most_fps: largest number of pictures per second.
    """

    def __init__(self, most: int, width: int, most_fps: float = math.inf) -> None:
        self._most, self._width, self._most_fps = most, width, most_fps
        self._count, self._every, self._fps = 0, 1, DEFAULT_FPS
        self.kept: list[Array] = []
        """The pictures, [H, W, 3] uint8 each."""

    def __call__(self, picture: Callable[[], Array], fps: float) -> None:
        """Take the next picture. It is not drawn if it is not kept."""
        if not self._count:
            self._fps, self._every = fps, max(math.ceil(fps / self._most_fps), 1)
        if self._count % self._every == 0 and len(self.kept) == self._most:
            self.kept, self._every = self.kept[::2], 2 * self._every
        if self._count % self._every == 0:
            self.kept.append(reduced(picture(), self._width))
        self._count += 1

    @property
    def fps(self) -> float:
        """Pictures per second of those that were kept."""
        return self._fps / self._every


def reduced(picture: Array, width: int) -> Array:
    """Return a picture [H, W, 3] that is at most `width` pixels wide, in the same proportions."""
    H, W, _ = picture.shape
    if width >= W:
        # copied, because some environments return the memory that they draw to
        return picture.copy()
    from PIL import Image

    size = width, max(round(H * width / W), 1)
    return np.asarray(Image.fromarray(picture).resize(size, Image.Resampling.LANCZOS))


def fitted(picture: Array, shape: tuple[int, ...]) -> Array:
    """Return a picture of another shape [H, W, 3]: it is cropped, or filled up with white.

    An environment that fails to draw itself at first is drawn differently from then on.
    """
    if picture.shape == shape:
        return picture
    frame = np.full(shape, 255, np.uint8)
    h, w = min(shape[0], picture.shape[0]), min(shape[1], picture.shape[1])
    frame[:h, :w] = picture[:h, :w]
    return frame
