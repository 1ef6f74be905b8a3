"""Seeds in processes that are ended from outside: what they learned is saved, and the runs can be resumed at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import policygrad as pg
from policygrad.runs import checkpoint
from tests.helpers import Countdown, same_parameters

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")

ROOT = Path(__file__).parents[2]
OPTIONS: dict[str, Any] = {
    "seeds": 2,
    "cores": 2,
    "num_envs": 2,
    "network": pg.Network(hidden=(8,)),
    "select": False,
}


class Deadly(gym.Wrapper):
    """The first environment that reaches step 150 kills its process, unless a process has been killed before."""

    def __init__(self, flag: Path) -> None:
        super().__init__(gym.make("CartPole-v1"))
        self.flag, self.steps = flag, 0

    def step(self, action: int):
        self.steps += 1
        if self.steps == 150 and not self.flag.exists():
            self.flag.write_text("")
            os.kill(os.getpid(), signal.SIGKILL)
        # slow enough that the other run has not ended by then
        time.sleep(0.002)
        return super().step(action)


@pytest.mark.long
def test_a_process_that_is_killed_ends_the_others_and_all_can_be_resumed(tmp_path: Path):
    options = OPTIONS | {"steps": 3_000, "vectorize": "sync", "parallel": "processes"}
    saved = options | {"out": tmp_path / "runs"}
    train = partial(pg.train, lambda: Deadly(tmp_path / "flag"), pg.Reinforce())
    with pytest.raises(pg.RunProcessError) as caught:
        train(**saved)
    killed = next(seed for seed in range(2) if f"seed {seed} " in str(caught.value))
    folder = tmp_path / "runs" / f"seed-{killed}"
    assert str(caught.value) == (
        f"the process that trained seed {killed} ended unexpectedly (exit code -9, SIGKILL). This is often due to a "
        f"lack of memory. What its run had saved is in {folder}; repeat the call with resume=True (--resume) to "
        "continue."
    )
    (other,) = caught.value.runs  # type: ignore[attr-defined]
    assert (other.seed, other.ended) == (1 - killed, "interrupted")
    assert is_current(other.out)
    assert list(json.loads((tmp_path / "runs" / "summary.json").read_text())["seeds"]) == [str(other.seed)]
    checkpoint.load_checkpoint(folder / "checkpoint.safetensors")
    for run, undisturbed in zip(train(**saved, resume=True), train(**options), strict=True):
        assert run.ended == "budget"
        assert same_parameters(run.last_policy, undisturbed.last_policy)
        assert run.episode_returns.tolist() == undisturbed.episode_returns.tolist()


def test_without_a_folder_the_error_says_that_nothing_is_left(tmp_path: Path):
    with pytest.raises(pg.RunProcessError, match="Nothing of its run is left"):
        pg.train(lambda: Deadly(tmp_path / "flag"), pg.Reinforce(), **OPTIONS, steps=3_000, vectorize="sync")


def is_current(out: Path) -> bool:
    """Return True if the checkpoint covers all rows of the history."""
    rows = (out / "metrics.jsonl").read_text().count("\n")
    return rows > 0 and checkpoint.load_checkpoint(out / "checkpoint.safetensors")["run"]["rows"] == rows


class Slow(Countdown):
    def __init__(self) -> None:
        super().__init__([3])

    def step(self, action: int):
        time.sleep(0.002)
        return super().step(action)


SCRIPT = """
import sys
import policygrad as pg
from tests.unit.test_ended_processes import OPTIONS, Slow

runs = pg.train(
    lambda: Slow(), pg.Reinforce(episodes_per_env=4), steps=10**9, vectorize=sys.argv[1], out="runs", progress=True,
    **OPTIONS,
)
print([run.ended for run in runs])
"""


def _restore_signals() -> None:
    """A shell lets background processes ignore Ctrl-C, nohup lets them ignore SIGHUP, and children inherit both."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


class Script:
    """A script that trains two seeds in processes without an end, in a process group of its own."""

    def __init__(self, folder: Path, vectorize: str = "sync") -> None:
        (folder / "script.py").write_text(SCRIPT)
        self.runs = [folder / "runs" / f"seed-{seed}" for seed in range(2)]
        paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "script.py", vectorize],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
            preexec_fn=_restore_signals,
        )

    def __enter__(self) -> Script:
        deadline = time.monotonic() + 600
        try:
            while not all(self.rows(run) > 5 for run in self.runs):
                assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    @staticmethod
    def rows(run: Path) -> int:
        file = run / "metrics.jsonl"
        return file.read_text().count("\n") if file.exists() else 0

    def descendants(self) -> list[int]:
        """Return the ids of the processes that train, and of those in which environments run."""
        return _descendants(self.process.pid)


def _descendants(pid: int) -> list[int]:
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    children = [int(child) for task in tasks for child in task.read_text().split()]
    return children + [below for child in children for below in _descendants(child)]


def assert_gone(processes: list[int]) -> None:
    deadline = time.monotonic() + 60
    while left := [pid for pid in processes if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.05)


def resumed(folder: Path) -> list[pg.Run]:
    """Resume the runs of a `Script`. They end at once, because they have used more than one step."""
    algorithm = pg.Reinforce(episodes_per_env=4)
    return pg.train(
        Slow,
        algorithm,
        **OPTIONS,
        steps=1,
        vectorize="sync",
        parallel="threads",
        out=folder / "runs",
        resume=True,
    )


@pytest.mark.long
@pytest.mark.parametrize("vectorize", ["sync", "processes"])
def test_if_the_parent_is_killed_its_processes_save_and_stop_and_can_be_resumed_at_once(
    tmp_path: Path, vectorize: str
):
    with Script(tmp_path, vectorize) as script:
        processes = script.descendants()
        assert len(processes) == (2 if vectorize == "sync" else 6)
        script.process.send_signal(signal.SIGKILL)
        rows = [script.rows(run) for run in script.runs]
        script.process.wait()
        runs = resumed(tmp_path)
        assert_gone(processes)
    for run, count in zip(runs, rows, strict=True):
        # if nothing had been saved at the end, the rows of up to five seconds would be lost
        assert len(run.updates) >= count
        assert run.history["steps"].tolist() == [24 * (i + 1) for i in range(len(run.updates))]


@pytest.mark.long
@pytest.mark.parametrize(
    ("number", "to_group"),
    [(signal.SIGINT, True), (signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGHUP, False)],
)
def test_signals_end_all_processes_after_their_updates(
    tmp_path: Path, number: signal.Signals, to_group: bool
):
    """A terminal and some schedulers send signals to a whole group of processes."""
    with Script(tmp_path) as script:
        processes = script.descendants()
        if to_group:
            os.killpg(script.process.pid, number)
        else:
            script.process.send_signal(number)
        output, errors = script.process.communicate(timeout=120)
        assert_gone(processes)
    assert script.process.returncode == (0 if number == signal.SIGINT else 128 + number), errors
    assert output == ("['interrupted', 'interrupted']\n" if number == signal.SIGINT else "")
    assert "Traceback" not in errors
    for run in script.runs:
        assert json.loads((run / "summary.json").read_text())["ended"] == "interrupted"
        assert is_current(run)
    assert [run.ended for run in resumed(tmp_path)] == ["budget"] * 2
