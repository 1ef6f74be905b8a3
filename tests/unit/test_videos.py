"""Videos and windows: every picture in its place and at its pace, and nothing half-written."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Generator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from PIL import Image, ImageTk

import policygrad as pg
from policygrad.cli import main
from policygrad.policies import make_policy
from policygrad.watching import has_display, video
from tests.helpers import Countdown


class Drawn(Countdown):
    """A Countdown whose picture is brighter with each step: 5 per step."""

    metadata: dict[str, Any] = {"render_modes": ["rgb_array", "human"], "render_fps": 30}  # noqa: RUF012
    rendered_in_window = 0

    def __init__(self, length: int = 6, fps: float = 30, render_mode: str | None = None) -> None:
        super().__init__([length])
        self.metadata = {"render_modes": ["rgb_array", "human"], "render_fps": fps}
        self.render_mode = render_mode

    def render(self) -> Any:
        return np.full((21, 33, 3), 5 * self.t, np.uint8)

    def step(self, action: int):
        if self.render_mode == "human":
            Drawn.rendered_in_window += 1
        return super().step(action)


class Failing(Drawn):
    def step(self, action: int):
        if self.t == 3:
            raise RuntimeError("broken")
        return super().step(action)


@pytest.fixture(scope="module")
def policy() -> pg.Policy:
    env = Drawn()
    return make_policy(env.observation_space, env.action_space, pg.Network(), np.random.default_rng(0))


def gif(file: Path) -> tuple[list[int], list[int]]:
    """Return the brightness of each picture, and for how many milliseconds it is shown."""
    with Image.open(file) as image:
        brightness, durations = list[int](), list[int]()
        for i in range(image.n_frames):  # type: ignore[attr-defined]
            image.seek(i)
            brightness.append(int(np.asarray(image.convert("RGB"))[:, :, 0].mean().round()))
            durations.append(image.info["duration"])
    return brightness, durations


def test_a_gif_shows_every_picture_at_the_pace_of_the_environment(policy: pg.Policy, tmp_path: Path):
    file = tmp_path / "new folder" / "a.gif"
    shown = pg.record_video(policy, Drawn, file, env_kwargs={"length": 7})
    brightness, durations = gif(file)
    assert brightness == [5 * t for t in range(8)]
    # 30 per second are not a whole number of hundredths of a second, but three of them are
    assert durations == [30, 40, 30, 30, 40, 30, 30, 1000]
    assert shown.lengths.tolist() == [7]
    assert list(file.parent.iterdir()) == [file]


def test_the_pace_can_be_set_and_a_fast_gif_leaves_pictures_out(policy: pg.Policy, tmp_path: Path):
    pg.record_video(policy, Drawn, tmp_path / "a.gif", fps=10)
    assert gif(tmp_path / "a.gif") == ([0, 5, 10, 15, 20, 25, 30], [100] * 6 + [1000])
    pg.record_video(policy, Drawn, tmp_path / "b.gif", env_kwargs={"fps": 120})
    assert gif(tmp_path / "b.gif") == ([0, 15, 30], [20, 30, 1000])
    for wrong in (0, -1, "fast", float("nan")):
        with pytest.raises(ValueError, match="fps must be a positive number"):
            pg.record_video(policy, Drawn, tmp_path / "c.gif", fps=wrong)  # type: ignore[arg-type]


class FakeFfmpeg:
    """Stands for imageio_ffmpeg, and writes the frames that it is sent."""

    def __init__(self) -> None:
        self.frames: list[np.ndarray] = []
        self.fps = 0.0

    def write_frames(
        self, path: str, size: tuple[int, int], *, fps: float, **_: Any
    ) -> Generator[None, Any, None]:
        self.fps = fps
        with Path(path).open("wb") as file:
            while True:
                frame = yield
                assert frame.shape == (size[1], size[0], 3)
                assert frame.flags.c_contiguous
                self.frames.append(frame)
                file.write(b"frame")


@pytest.fixture
def ffmpeg(monkeypatch: pytest.MonkeyPatch) -> FakeFfmpeg:
    fake = FakeFfmpeg()
    module = ModuleType("imageio_ffmpeg")
    module.write_frames = fake.write_frames  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", module)
    monkeypatch.setattr(video, "find_spec", lambda name: object())
    return fake


def test_an_mp4_is_given_every_picture_with_even_sizes(policy: pg.Policy, tmp_path: Path, ffmpeg: FakeFfmpeg):
    pg.record_video(policy, Drawn, tmp_path / "a.mp4", episodes=2)
    assert [int(frame[0, 0, 0]) for frame in ffmpeg.frames] == [0, 5, 10, 15, 20, 25, 30] * 2
    assert ffmpeg.frames[0].shape == (20, 32, 3)
    assert ffmpeg.fps == 30
    assert (tmp_path / "a.mp4").read_bytes() == b"frame" * 14
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.skipif(importlib.util.find_spec("imageio_ffmpeg") is None, reason="needs imageio-ffmpeg")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # its reader closes no files
def test_ffmpeg_writes_an_mp4_that_it_can_read(policy: pg.Policy, tmp_path: Path):
    from imageio_ffmpeg import read_frames

    pg.record_video(policy, Drawn, tmp_path / "a.mp4", width=480)
    facts, *frames = read_frames(str(tmp_path / "a.mp4"))
    assert (facts["size"], facts["fps"]) == ((32, 20), 30)
    brightness = [np.frombuffer(frame, np.uint8).mean() for frame in frames]
    np.testing.assert_allclose(brightness, [0, 5, 10, 15, 20, 25, 30], atol=2)


@pytest.mark.parametrize("name", ["a.gif", "a.mp4"])
def test_an_error_leaves_the_earlier_video_and_nothing_else(
    name: str, policy: pg.Policy, tmp_path: Path, ffmpeg: FakeFfmpeg
):
    (tmp_path / name).write_bytes(b"earlier")
    with pytest.raises(RuntimeError, match="broken"):
        pg.record_video(policy, Failing, tmp_path / name)
    assert (tmp_path / name).read_bytes() == b"earlier"
    assert len(list(tmp_path.iterdir())) == 1


def test_names_that_are_no_videos_are_refused_before_anything_runs(
    policy: pg.Policy, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(video, "find_spec", lambda name: None)
    (tmp_path / "folder.gif").mkdir()
    for name, message in (
        ("a.avi", "expected the name of a video that ends in .gif or .mp4"),
        ("folder.gif", "is a folder"),
        ("a.mp4", r"Run pip install 'policygrad\[video\]', or choose a name that ends in .gif"),
    ):
        with pytest.raises(ValueError, match=message):
            pg.record_video(policy, Failing, tmp_path / name)


class FakeTk:
    """Stands for tkinter, with a window that the user closes after some pictures."""

    class TclError(Exception):
        pass

    def __init__(self, closed_after: int) -> None:
        self.closed_after, self.brightness, self.destroyed = closed_after, list[int](), False

    def configure(self, image: Any) -> None:
        self.brightness.append(image)

    def update(self) -> None:
        if len(self.brightness) > self.closed_after:
            raise self.TclError

    def destroy(self) -> None:
        self.destroyed = True

    def title(self, _: str) -> None: ...
    def pack(self) -> None: ...


@pytest.fixture
def screen(monkeypatch: pytest.MonkeyPatch) -> FakeTk:
    tk = FakeTk(closed_after=100)
    fake = SimpleNamespace(TclError=FakeTk.TclError, Tk=lambda: tk, Label=lambda *_, **__: tk)
    monkeypatch.setitem(sys.modules, "tkinter", fake)
    monkeypatch.setattr(
        ImageTk, "PhotoImage", lambda image, master: int(np.asarray(image)[0, 0, 0]), raising=False
    )
    monkeypatch.setenv("DISPLAY", ":0")
    return tk


def test_a_window_shows_every_picture_and_closing_it_ends_the_play(policy: pg.Policy, screen: FakeTk):
    drawn = lambda: Drawn(render_mode="rgb_array")  # noqa: E731
    shown = pg.watch(policy, drawn, fps=10_000)
    assert shown is not None
    assert shown.lengths.tolist() == [6]
    assert screen.brightness == [0, 5, 10, 15, 20, 25, 30]
    assert screen.destroyed
    screen.closed_after = 9
    assert pg.watch(policy, drawn, fps=10_000) is None
    assert len(screen.brightness) == 10


def test_an_environment_with_a_window_of_its_own_uses_that(policy: pg.Policy, screen: FakeTk):
    Drawn.rendered_in_window = 0
    pg.watch(policy, Drawn)
    assert Drawn.rendered_in_window == 6
    assert not screen.brightness


def test_a_window_that_needs_a_missing_package_says_which(policy: pg.Policy, screen: FakeTk):
    class Missing(Drawn):
        def reset(self, **options: Any) -> Any:
            raise gym.error.DependencyNotInstalled("pygame is not installed")

    with pytest.raises(ValueError, match="Missing cannot open its window: pygame is not installed"):
        pg.watch(policy, Missing)


def test_without_a_display_or_tk_there_is_no_window(
    policy: pg.Policy, screen: FakeTk, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "tkinter", None)
    with pytest.raises(ValueError, match="a window needs Tk"):
        pg.watch(policy, lambda: Drawn(render_mode="rgb_array"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.delenv("DISPLAY")
    monkeypatch.setenv("WAYLAND_DISPLAY", "wayland-0")
    assert has_display()
    monkeypatch.delenv("WAYLAND_DISPLAY")
    assert not has_display()
    with pytest.raises(ValueError, match="there is no display for a window"):
        pg.watch(policy, Drawn)
    monkeypatch.setattr(sys, "platform", "darwin")
    assert has_display()


def test_the_commands_record_videos(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    out = tmp_path / "run"
    run = pg.train("CartPole-v1", "ppo", steps=500, select=False, out=out, progress=False)
    assert main(["watch", str(out), "--episodes", "2", "--policy", "greedy", "--width", "60"]) == 0
    printed = capsys.readouterr().out
    expected = pg.watching.film(run.policy, "CartPole-v1", episodes=2, greedy=True).evaluation.returns
    assert f"returns of the greedy episodes: {expected[0]:g}, {expected[1]:g}\n" in printed
    assert f"saved: {out / 'watch.gif'}" in printed
    with Image.open(out / "watch.gif") as image:
        assert image.size == (60, 27)
    file = tmp_path / "b.gif"
    assert main(["watch", str(out / "policy.safetensors"), "--out", str(file), "--env", "CartPole-v1"]) == 0
    assert "returns of the sampled episodes" in capsys.readouterr().out
    file.unlink()
    assert main(["evaluate", str(out), "--episodes", "2", "--video", str(file)]) == 0
    assert "video of one sampled episode" in capsys.readouterr().out
    assert file.exists()
    assert main(["evaluate", str(out), "--video", str(tmp_path / "c.txt")]) == 2
    assert main(["watch", str(out), "--out", str(tmp_path / "c.txt")]) == 2
    assert capsys.readouterr().err.count("ends in .gif or .mp4") == 2
