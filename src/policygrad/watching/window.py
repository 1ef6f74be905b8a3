"""Watching a policy at play in a window."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np

from policygrad._support.checks import check_names
from policygrad.envs import EnvLike, EnvOptions
from policygrad.evaluation import Evaluation
from policygrad.policies import Policy
from policygrad.types import Array
from policygrad.watching.stage import at_pace, play


def has_display() -> bool:
    """Return True if a window can be opened."""
    if sys.platform in ("win32", "darwin"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def watch(
    policy: Policy,
    env: EnvLike,
    *,
    episodes: int = 1,
    fps: float | None = None,
    greedy: bool | None = None,
    seed: int = 0,
    say: Callable[[str], None] = lambda message: None,
    **options: Any,
) -> Evaluation | None:
    """Show a policy that plays whole episodes in a window. The policy is left exactly as it was.

    Environments of Gymnasium that have a window (render mode `human`) open theirs. The others, including compiled ones,
    are shown in a window of Tk, and closing it ends the function.

    Args:
        policy, env: as in `evaluate`; a vector environment cannot be watched.
        episodes: number of episodes, 1 or more.
        fps: pictures per second in a window of Tk; by default those of the environment.
        greedy: take the most probable action instead of a sampled one; None takes what `policy.greedy` says.
        seed: seed of the environment and the actions.
        say: called with a message if the environment cannot draw itself, so that its observations are drawn.
        options: how the environment is opened, as in `train`.

    Returns:
        The returns of the episodes; None if the window was closed before they ended.

    Raises:
        ValueError: there is no display, or Tk is not installed; or as in `film`.
    """
    check_names("watch", EnvOptions, options)
    if not has_display():
        raise ValueError(
            "there is no display for a window. Record a video with record_video (--out file.gif)"
        )
    window = Window()
    try:
        return play(
            policy,
            env,
            at_pace(window, fps),
            episodes=episodes,
            greedy=greedy,
            seed=seed,
            say=say,
            options=EnvOptions(**options),
            mode="human",
        )
    except WindowClosed:
        return None
    finally:
        window.close()


class WindowClosed(Exception):  # noqa: N818
    """The user has closed the window."""


class Window:
    """A window of Tk, which opens with the first picture."""

    def __init__(self) -> None:
        self._root: Any = None
        self._label: Any = None
        self._photo: Any = None
        self._error: type[Exception] = Exception
        self._due = 0.0

    def __call__(self, picture: Callable[[], Array], fps: float) -> None:
        """Show a picture, and wait until the next one is due.

        Raises:
            WindowClosed: the user has closed the window.
            ValueError: Tk is not installed, or cannot open a window.
        """
        root: Any = self._opened() if self._root is None else self._root
        try:
            from PIL import Image, ImageTk

            # kept, because Tk shows it only as long as it exists
            self._photo = ImageTk.PhotoImage(Image.fromarray(np.ascontiguousarray(picture())), master=root)
            self._label.configure(image=self._photo)
            self._due = max(self._due + 1 / fps, time.monotonic())
            while True:
                root.update()
                left = self._due - time.monotonic()
                if left <= 0:
                    return
                time.sleep(min(left, 0.02))
        except self._error as error:
            raise WindowClosed from error

    def _opened(self) -> Any:
        try:
            import tkinter
        except ImportError as error:
            raise ValueError(
                f"a window needs Tk, which this Python does not have ({error}). Install it (on Debian: apt install "
                "python3-tk), or record a video with record_video (--out file.gif)"
            ) from error
        self._error = tkinter.TclError
        try:
            self._root = tkinter.Tk()
        except tkinter.TclError as error:
            raise ValueError(
                f"no window can be opened: {error}. Record a video with record_video (--out file.gif)"
            ) from error
        self._root.title("policygrad")
        self._label = tkinter.Label(self._root, borderwidth=0)
        self._label.pack()
        self._due = time.monotonic()
        return self._root

    def close(self) -> None:
        """Close the window, if it is open."""
        if self._root is not None:
            # the user may have closed it
            with suppress(self._error):
                self._root.destroy()
            self._root = None
