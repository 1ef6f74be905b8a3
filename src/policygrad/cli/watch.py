"""`policygrad watch`: show a saved policy at play, in a window or in a video."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from policygrad._support.console import say, stdout
from policygrad.cli.parse import parse
from policygrad.cli.saved_policy import SavedPolicy
from policygrad.watching import check_video, has_display, record_video, watch

FILE_NAME = "watch.gif"
"""Name of the video in the run folder if there is no display."""


@dataclass(frozen=True)
class Watch(SavedPolicy):
    """Show a saved policy at play: in a window, or in a GIF or MP4 file.

    Without a display, and without --out, the file is watch.gif in the run folder.
    """

    out: Path | None = None
    """Video to write, whose name ends in .gif, or in .mp4 (which needs policygrad[video])."""
    episodes: int = 3
    """Number of episodes."""
    seed: int = 0
    """Seed of the environment and of sampled actions."""
    policy: Literal["saved", "greedy", "sampled"] = "saved"
    """Whether to take greedy or sampled actions; `saved` takes what was better at the end of training."""
    fps: float | None = None
    """Pictures per second. By default, the environment says how many."""
    width: int = 480
    """Largest width of a video in pixels."""


def watch_command(arguments: list[str]) -> int:
    """Run `policygrad watch` and return its exit status."""
    args = parse(Watch, arguments, "policygrad watch")
    out = args.out
    if out is not None:
        check_video(out)
    elif not has_display():
        out = (args.run if args.run.is_dir() else args.run.parent) / FILE_NAME
    policy, name, options = args.opened()
    greedy = policy.greedy if args.policy == "saved" else args.policy == "greedy"
    options |= {"episodes": args.episodes, "fps": args.fps, "greedy": greedy, "seed": args.seed, "say": say}
    shown = (
        watch(policy, name, **options)
        if out is None
        else record_video(policy, name, out, width=args.width, **options)
    )
    if shown is not None:
        returns = ", ".join(f"{x:g}" for x in shown.returns[:10].round(1).tolist())
        more = ", …" if len(shown.returns) > 10 else ""
        how = "greedy" if greedy else "sampled"
        say(f"returns of the {how} episodes: {returns}{more}", stdout)
        if out is not None:
            say(f"saved: {out}", stdout)
    return 0
