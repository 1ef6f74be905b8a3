"""Videos of a policy at play, as GIF or MP4 files."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from policygrad._support.checks import check_names, whole
from policygrad._support.files import write_atomically
from policygrad.envs import EnvLike, EnvOptions
from policygrad.evaluation import Evaluation
from policygrad.policies import Policy
from policygrad.types import Array
from policygrad.watching.film import Thinned, fitted, reduced
from policygrad.watching.stage import Show, at_pace, play

MOST_GIF_FPS = 50.0
"""Pictures per second of a GIF file. Browsers show a faster one ten times a second."""
MOST_IN_GIF = 1_000
"""Pictures in a GIF file, which has to be in memory as a whole."""
LAST_SHOWN = 1.0
"""Seconds for which a GIF file shows its last picture before it begins again."""


def record_video(
    policy: Policy,
    env: EnvLike,
    path: str | Path,
    *,
    episodes: int = 1,
    width: int = 480,
    fps: float | None = None,
    greedy: bool | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Evaluation:
    """Write a video of a policy that plays whole episodes. The policy is left exactly as it was.

    The episodes are those that `evaluate` runs with the same seed in a single environment. A compiled environment
    draws the start of its episodes differently.

    Args:
        policy, env: as in `evaluate`; a vector environment cannot be watched.
        path: a name that ends in `.gif`, or in `.mp4`, which needs the extra `video`. The file is replaced once the new
            one is complete.
        episodes: number of episodes, 1 or more.
        width: largest width of the video in pixels.
        fps: pictures per second; by default those of the environment. A GIF file has at most 50, and at most 1,000
            pictures, so it may leave some out.
        greedy: take the most probable action instead of a sampled one; None takes what `policy.greedy` says.
        seed: seed of the environment and the actions.
        say: called with a message if the environment cannot draw itself, so that its observations are drawn.
        options: how the environment is opened, as in `train`.

    Returns:
        The returns of the episodes in the video.

    Raises:
        ValueError: the name has another ending, ffmpeg is not installed, or as in `film`.
    """
    check_names("record_video", EnvOptions, options)
    path = Path(path).expanduser()
    check_video(path)
    width = whole("width", width, at_least=2)

    def play_to(write: Show) -> Evaluation:
        return play(
            policy,
            env,
            at_pace(write, fps),
            episodes=episodes,
            greedy=greedy,
            seed=seed,
            say=say,
            options=EnvOptions(**options),
        )

    if _kind(path) == ".mp4":
        with _mp4(path, width) as write:
            return play_to(write)
    pictures = Thinned(MOST_IN_GIF, width, MOST_GIF_FPS)
    evaluation = play_to(pictures)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, gif_of(pictures.kept, pictures.fps), on_disk=False)
    return evaluation


def check_video(path: Path) -> None:
    """Raise ValueError unless a video can be written under this name."""
    if _kind(path) not in (".gif", ".mp4"):
        raise ValueError(f"{path}: expected the name of a video that ends in .gif or .mp4")
    if path.is_dir():
        raise ValueError(f"{path} is a folder; expected the name of a video that ends in .gif or .mp4")
    if _kind(path) == ".mp4" and find_spec("imageio_ffmpeg") is None:
        raise ValueError(
            f"{path}: MP4 needs ffmpeg. Run pip install 'policygrad[video]', or choose a name that ends in .gif"
        )


def _kind(path: Path) -> str:
    return path.suffix.lower()


def gif_of(pictures: list[Array], fps: float) -> bytes:
    """Return a GIF file that shows pictures, [H, W, 3] uint8 each, again and again.

    A GIF counts in hundredths of a second, so that 30 pictures per second are shown for 3, 3 and 4 of them in turn.
    """
    from PIL import Image

    # one byte per pixel
    frames = [
        Image.fromarray(fitted(picture, pictures[0].shape)).quantize(256, dither=Image.Dither.NONE)
        for picture in pictures
    ]
    ends = np.round(100 * np.arange(len(frames) + 1) / fps)
    durations = 10 * np.diff(ends)
    durations[-1] = max(durations[-1], 1000 * LAST_SHOWN)
    data = io.BytesIO()
    frames[0].save(
        data, "GIF", save_all=True, append_images=frames[1:], duration=durations.astype(int).tolist(), loop=0
    )
    return data.getvalue()


@contextmanager
def _mp4(path: Path, width: int) -> Generator[Show]:
    """Yield a function that adds a picture to an MP4 file, which is at `path` once the block is left without error."""
    import imageio_ffmpeg  # pyright: ignore[reportMissingImports]

    path.parent.mkdir(parents=True, exist_ok=True)
    ffmpeg: Any = imageio_ffmpeg
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    file: Any = None
    shape: tuple[int, ...] = ()

    def write(picture: Callable[[], Array], fps: float) -> None:
        nonlocal file, shape
        frame = reduced(picture(), width)
        if file is None:
            # H.264 needs even sizes
            shape = tuple(n - n % 2 for n in frame.shape[:2])
            file = ffmpeg.write_frames(
                str(temporary), shape[::-1], fps=fps, macro_block_size=2, output_params=["-f", "mp4"],
                ffmpeg_log_level="error",
            )  # fmt: skip
            file.send(None)
        file.send(np.ascontiguousarray(fitted(frame, (*shape, 3))))

    try:
        try:
            yield write
        finally:
            if file is not None:
                file.close()
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
