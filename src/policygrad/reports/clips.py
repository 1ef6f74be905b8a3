"""Short animations of the policies of a study at play, one per cell."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

from policygrad.envs import EnvOptions
from policygrad.errors import PolicyFileError
from policygrad.policies import Policy
from policygrad.policies.policy_file import load
from policygrad.reports.cell_numbers import CellNumbers
from policygrad.reports.wording import counted, number
from policygrad.runs.saved_run import SavedRun, own_network

if TYPE_CHECKING:
    from PIL.Image import Image

LARGEST = 60_000
"""Maximum size of an animation in bytes."""
ALL_TOGETHER = 1_000_000
"""Maximum size of all animations of a page in bytes."""
WIDTH, MOST = 240, 150
"""Width of an animation in pixels, and its maximum number of pictures."""
DRAWN = 480
"""Width up to which pictures are kept while an episode is played; most environments draw no larger ones."""
QUALITIES = (60, 40, 20)


@dataclass(frozen=True)
class Clip:
    """An animation of the best policy of a run, or why there is none."""

    seed: int
    words: str
    """What is seen, or why nothing is."""
    animation: str = ""
    """WebP file in base64; empty if there is none."""
    still: str = ""
    """WebP file in base64 of the first picture."""
    width: int = 0
    height: int = 0


def clips(cells: Sequence[CellNumbers]) -> Iterator[Clip | None]:
    """Return a clip of each cell, and None for cells without finished runs.

    The clip shows the run with the median score, so that it is neither the luckiest nor the worst.
    """
    count = sum(bool(cell.scores) for cell in cells)
    for numbers in cells:
        if not numbers.scores:
            yield None
            continue
        ranked = sorted(numbers.scores, key=numbers.scores.__getitem__)
        seed = ranked[len(ranked) // 2]
        run = next(run for run in numbers.cell.finished if run.seed == seed)
        yield _clip(run, min(LARGEST, ALL_TOGETHER // count))


def _clip(run: SavedRun, largest: int) -> Clip:
    from policygrad.watching import film

    name, config = run.config.get("environment_id"), run.config
    if name is None:
        words = "There is no animation, because the environment was given as an object, which is not saved."
        return Clip(run.seed, words)
    options: dict[str, Any] = {f.name: config[f.name] for f in fields(EnvOptions) if f.name in config}
    said = list[str]()
    try:
        taken = film(_policy_of(run), name, most=MOST, width=DRAWN, seed=run.seed, say=said.append, **options)
        animation, still, (width, height) = as_webp(taken.frames, taken.fps, largest)
    except Exception as error:
        # the environment or what draws it may be missing on this machine; a report must not fail for it
        return Clip(run.seed, f"There is no animation: {type(error).__name__}: {error}")
    steps = counted(int(taken.evaluation.lengths[0]), "step")
    words = f"One episode: return {number(float(taken.evaluation.returns[0]))} in {steps}."
    if said:
        words += " The environment cannot draw itself, so its observations are drawn."
    return Clip(run.seed, words, animation, still, width, height)


def _policy_of(run: SavedRun) -> Policy:
    try:
        return run.policy
    except PolicyFileError:
        network = own_network(run.config)
        if network is None:
            raise
        return load(run.path, network)


def as_webp(frames: Any, fps: float, largest: int) -> tuple[str, str, tuple[int, int]]:
    """Return an animation of at most `largest` bytes, its first picture, and its size in pixels.

    The quality is lowered until it fits, and then every second picture is left out.

    Args:
        frames: [F, H, W, 3] uint8.
        fps: pictures per second.
        largest: in bytes.
    """
    pictures = [_reduced(frame) for frame in frames]
    seconds, quality = len(pictures) / fps, iter(QUALITIES)
    data = _encoded(pictures, seconds, next(quality))
    while len(data) > largest and len(pictures) > 1:
        lower = next(quality, None)
        if lower is None:
            lower, pictures = QUALITIES[-1], pictures[::2]
        data = _encoded(pictures, seconds, lower)
    still = _encoded(pictures[:1], seconds, QUALITIES[0])
    return base64.b64encode(data).decode(), base64.b64encode(still).decode(), pictures[0].size


def _reduced(frame: Any) -> Image:
    from PIL import Image

    picture = Image.fromarray(frame)
    if picture.width <= WIDTH:
        return picture
    size = WIDTH, max(round(picture.height * WIDTH / picture.width), 1)
    return picture.resize(size, Image.Resampling.BILINEAR, reducing_gap=1.5)


def _encoded(pictures: Sequence[Image], seconds: float, quality: int) -> bytes:
    """Return a WebP file that lasts so many seconds, and a second more at its last picture."""
    data, each = io.BytesIO(), max(round(1000 * seconds / len(pictures)), 20)
    durations = [each] * (len(pictures) - 1) + [each + 1000]
    first, rest = pictures[0], list(pictures[1:])
    if rest:
        first.save(
            data,
            "WEBP",
            save_all=True,
            append_images=rest,
            duration=durations,
            loop=0,
            quality=quality,
            method=2,
        )
    else:
        first.save(data, "WEBP", quality=quality, method=2)
    return data.getvalue()
