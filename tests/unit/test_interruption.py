"""Ctrl-C, SIGTERM and SIGHUP end a training cleanly: everything is saved, and the exit status says why."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.cli import main
from policygrad.runs import checkpoint, interruption
from policygrad.runs.folder import RunFolder
from policygrad.runs.locked_folder import LockedFolder
from tests.helpers import Countdown

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

HANDLED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SMALL: dict[str, Any] = {"network": pg.Network(hidden=(8,)), "num_envs": 1, "vectorize": "sync"}


@pytest.fixture(autouse=True)
def usual_handlers(monkeypatch: pytest.MonkeyPatch):
    """Set the usual handlers, because under nohup or in the background some signals are ignored."""
    usual = dict(zip(HANDLED, (signal.default_int_handler, signal.SIG_DFL, signal.SIG_DFL), strict=True))
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    # each signal of a test counts, even if two are sent at once
    monkeypatch.setattr(interruption, "ONE_PRESS", 0.0)
    yield
    assert {number: signal.getsignal(number) for number in usual} == usual
    for number, handler in before.items():
        signal.signal(number, handler)


class Signals(Countdown):
    """Episodes of three steps; at one step, counted over all episodes, a function is called."""

    def __init__(self, at: int, act: Callable[[], object]) -> None:
        super().__init__([3])
        self.at, self.act, self.steps = at, act, 0

    def step(self, action: int):
        self.steps += 1
        if self.steps == self.at:
            self.act()
        return super().step(action)


def send(*numbers: int) -> None:
    for number in numbers:
        os.kill(os.getpid(), number)


def is_current(out: Path) -> bool:
    """Return True if the checkpoint covers all rows of the history."""
    rows = (out / "metrics.jsonl").read_text().count("\n")
    return rows > 0 and checkpoint.load_checkpoint(out / "checkpoint.safetensors")["run"]["rows"] == rows


@pytest.mark.parametrize("number", HANDLED)
def test_a_signal_ends_the_training_after_the_current_update(tmp_path: Path, number: int):
    out = tmp_path / "run"
    algorithm = pg.Reinforce(episodes_per_env=4)
    train = partial(
        pg.train, lambda: Signals(200, lambda: send(number)), algorithm, steps=900, out=out, **SMALL
    )
    if number == signal.SIGINT:
        run = train()
    else:
        with pytest.raises(SystemExit) as ended:
            train()
        assert ended.value.code == 128 + number
        run = ended.value.run
    assert run.ended == "interrupted"
    # the update is finished: it has 4 episodes of 3 steps
    assert run.steps == 204
    assert json.loads((out / "summary.json").read_text())["ended"] == "interrupted"
    assert is_current(out)
    for file in ("policy.safetensors", "last_policy.safetensors"):
        pg.load(out / file)


def test_a_second_signal_ends_the_update_at_once(tmp_path: Path):
    act = partial(send, signal.SIGINT, signal.SIGINT)
    run = pg.train(
        lambda: Signals(200, act), pg.Reinforce(episodes_per_env=4), steps=900, out=tmp_path / "run", **SMALL
    )
    assert (run.ended, run.steps) == ("interrupted", 192)
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 192
    resumed = pg.train(
        lambda: Signals(-1, act),
        pg.Reinforce(episodes_per_env=4),
        steps=900,
        out=tmp_path / "run",
        resume=True,
        **SMALL,
    )
    assert (resumed.ended, resumed.steps) == ("budget", 900)


def test_signals_in_quick_succession_count_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(interruption, "ONE_PRESS", 10.0)
    act = partial(send, *[signal.SIGINT] * 5)
    run = pg.train(
        lambda: Signals(200, act), pg.Reinforce(episodes_per_env=4), steps=900, out=tmp_path / "run", **SMALL
    )
    assert (run.ended, run.steps) == ("interrupted", 204)
    assert is_current(tmp_path / "run")


def test_an_update_that_does_not_end_is_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A scheduler that sends SIGTERM waits a few seconds, and then kills the process."""
    monkeypatch.setattr(interruption, "NOTICE", 0.1)
    monkeypatch.setattr(interruption, "GRACE", 0.3)
    messages: list[str] = []
    monkeypatch.setattr("policygrad.runs.progress.Silent.say", lambda self, message: messages.append(message))

    def wait() -> None:
        send(signal.SIGTERM)
        time.sleep(600)

    with pytest.raises(SystemExit) as ended:
        pg.train(
            lambda: Signals(200, wait),
            pg.Reinforce(episodes_per_env=4),
            steps=900,
            out=tmp_path / "run",
            **SMALL,
        )
    assert ended.value.code == 143
    assert ended.value.run.steps == 192
    assert "interrupted: finishing the current update, then saving" in messages
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["steps"] == 192


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)]
)
def test_a_signal_before_the_first_update_ends_at_once(
    tmp_path: Path, number: int, error: type[BaseException]
):
    def factory() -> Countdown:
        send(number)
        return Countdown([3])

    with pytest.raises(error) as ended:
        pg.train(factory, out=tmp_path / "run", steps=100, **SMALL)
    assert not isinstance(ended.value, SystemExit) or ended.value.code == 143
    assert list(tmp_path.iterdir()) == []


def test_the_command_says_that_it_was_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    def make(*_: Any, **__: Any) -> None:
        send(signal.SIGINT)

    monkeypatch.setattr("policygrad.runs.running.make", make)
    assert main(["train", "CartPole-v1"]) == 130
    assert capsys.readouterr().err.splitlines()[-1] == "policygrad: interrupted"


def test_ctrl_c_while_evaluating_leaves_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("policygrad.cli.train.evaluate", lambda *_, **__: send(signal.SIGINT))
    assert main(["train", "CartPole-v1", "--steps", "500"]) == 130
    assert "mean of the last 100 training returns" in capsys.readouterr().out


def test_a_signal_while_saving_does_not_prevent_the_saving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from policygrad.runs import recorder as run_module

    draw = run_module.save_curve

    def interrupted_while_drawing(*arguments: Any) -> None:
        send(signal.SIGINT, signal.SIGINT)
        draw(*arguments)

    monkeypatch.setattr(run_module, "save_curve", interrupted_while_drawing)
    run = pg.train("CartPole-v1", steps=500, out=tmp_path / "run")
    assert run.ended == "interrupted"
    assert (tmp_path / "run" / "curve.png").stat().st_size > 1000
    assert is_current(tmp_path / "run")


@pytest.mark.parametrize("out", [True, False])
def test_a_signal_while_environments_close_still_returns_the_run(tmp_path: Path, out: bool):
    class Closing(Countdown):
        def close(self) -> None:
            send(signal.SIGINT)

    folder = tmp_path / "run" if out else None
    run = pg.train(lambda: Closing([3]), pg.Reinforce(), steps=50, out=folder, select=False, **SMALL)
    assert (run.ended, run.steps) == ("interrupted", 51)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_third_signal_ends_a_process_that_hangs(number: int):
    """With several seeds the main thread waits for the other threads, which no signal reaches."""
    code = """
import sys, time
import policygrad as pg
from tests.helpers import Countdown

class Hangs(Countdown):
    def step(self, action):
        print("hangs\\n", end="", flush=True)
        time.sleep(600)

pg.train(lambda: Hangs([3]), pg.Reinforce(), steps=50, seeds=2, num_envs=1, vectorize="sync")
"""
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": paths},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "hangs\n"
    try:
        for _ in range(20):
            process.send_signal(number)
            time.sleep(interruption_pause)
            if process.poll() is not None:
                break
        assert process.poll() is not None
    finally:
        process.kill()
        process.communicate()


interruption_pause = 0.4


def test_no_policies_are_scored_after_a_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    scored: list[int] = []

    def solve() -> None:
        send(signal.SIGTERM)

    monkeypatch.setattr("policygrad.runs.selecting.select", lambda *_, **__: scored.append(1))
    algorithm = pg.Reinforce(episodes_per_env=4)
    with pytest.raises(SystemExit) as ended:
        pg.train(lambda: Signals(600, solve), algorithm, steps=600, out=tmp_path / "run", **SMALL)
    assert scored == []
    assert ended.value.run.ended == "interrupted"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["ended"] == "interrupted"


def test_ctrl_c_while_policies_are_scored_returns_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("policygrad.runs.selecting.select", lambda *_, **__: send(signal.SIGINT))
    run = pg.train("CartPole-v1", steps=40_000, out=tmp_path / "run")
    assert (run.ended, run.selection) == ("interrupted", None)
    assert run.steps >= 40_000
    pg.load(tmp_path / "run")


def test_other_threads_and_handlers_are_left_alone():
    found: list[Any] = []

    def train() -> None:
        act = partial(lambda: found.append([signal.getsignal(number) for number in HANDLED]))
        pg.train(lambda: Signals(5, act), steps=20, **SMALL)

    mine = partial(print)
    signal.signal(signal.SIGTERM, mine)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        train()
        thread = threading.Thread(target=train)
        thread.start()
        thread.join()
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    in_main, in_thread = found
    assert in_main[0] is not signal.default_int_handler
    assert in_main[1:] == [mine, signal.SIG_IGN]
    assert in_thread == [signal.default_int_handler, mine, signal.SIG_IGN]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_each_of_several_seeds_is_saved(tmp_path: Path, number: int):
    made: list[int] = []

    def factory() -> Countdown:
        made.append(1)
        # the first environment is only inspected, before any run starts
        return Signals(30, (lambda: send(number)) if len(made) == 2 else (lambda: None))

    train = partial(
        pg.train,
        factory,
        pg.Reinforce(episodes_per_env=4),
        steps=200_000,
        seeds=2,
        cores=2,
        parallel="threads",
        out=tmp_path / "runs",
        **SMALL,
    )
    if number == signal.SIGINT:
        runs = train()
    else:
        with pytest.raises(SystemExit) as ended:
            train()
        assert ended.value.code == 143
        runs = ended.value.run
    assert [run.ended for run in runs] == ["interrupted"] * len(runs)
    for run in runs:
        folder = tmp_path / "runs" / f"seed-{run.seed}"
        assert json.loads((folder / "summary.json").read_text())["ended"] == "interrupted"
        assert not run.updates or is_current(folder)
    summary = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert set(summary["seeds"]) == {str(run.seed) for run in runs}


def test_the_first_checkpoint_and_policy_are_written_within_a_second(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    now = 100.0
    monkeypatch.setattr("policygrad.runs.folder.time.monotonic", lambda: now)
    policy = pg.train("CartPole-v1", steps=100).policy
    written = list[tuple[str, float]]()

    def best() -> pg.Policy:
        written.append(("policy", now))
        return policy

    def state() -> dict[str, Any]:
        written.append(("checkpoint", now))
        return {"x": np.zeros(1)}

    with LockedFolder(tmp_path / "run") as place, RunFolder(place, {}, {}, alone=False) as folder:
        folder.save_checkpoint(state, now=True)
        for now in (100.2, 100.6, 101.0, 105.0, 105.7, 106.0):  # noqa: B007
            folder.save_best(best)
            folder.save_checkpoint(state)
    assert written == [
        ("checkpoint", 100.0),
        ("policy", 100.6), ("checkpoint", 100.6),
        ("policy", 105.7), ("checkpoint", 105.7),
    ]  # fmt: skip


SCRIPT = """
import sys
import policygrad as pg
from tests.helpers import Countdown

if __name__ == "__main__":
    pg.train(
        lambda: Countdown([3]), pg.Reinforce(episodes_per_env=4), steps=10**9, num_envs=2, vectorize="processes",
        out=sys.argv[1],
    )
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_the_whole_process_group(tmp_path: Path, number: int):
    """Schedulers and terminals also send a signal to the processes in which environments run."""
    out = tmp_path / "run"
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(out)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": paths},
    )
    wait_for_rows(process, out)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert errors == ""
    assert json.loads((out / "summary.json").read_text())["ended"] == "interrupted"
    assert is_current(out)
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def wait_for_rows(process: subprocess.Popen[str], out: Path) -> None:
    metrics, deadline = out / "metrics.jsonl", time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 5):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        time.sleep(0.05)


def test_nohup_keeps_a_run_alive(tmp_path: Path):
    out = tmp_path / "run"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "policygrad",
            "train",
            "CartPole-v1",
            "--steps",
            "1000000000",
            "--out",
            str(out),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=partial(signal.signal, signal.SIGHUP, signal.SIG_IGN),
    )
    wait_for_rows(process, out)
    process.send_signal(signal.SIGHUP)
    rows = (out / "metrics.jsonl").read_text().count("\n")
    deadline = time.monotonic() + 60
    while (out / "metrics.jsonl").read_text().count("\n") <= rows + 5:
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode == 143


def test_ctrl_c_ends_cleanly_with_the_best_policy_saved(tmp_path: Path):
    out = tmp_path / "run"
    options = ["--steps", "100000000", "--out", str(out), "--episodes", "4"]
    command = [sys.executable, "-m", "policygrad", "train", "CartPole-v1", *options]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # a process that a shell runs in the background ignores Ctrl-C, and children inherit that
        preexec_fn=partial(signal.signal, signal.SIGINT, signal.SIG_DFL),
    )
    metrics = out / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 5):
        assert time.monotonic() < deadline
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 130
    assert "ended by interrupted" in output
    assert "Traceback" not in errors
    assert json.loads((out / "summary.json").read_text())["ended"] == "interrupted"
    assert pg.load(out).act(np.zeros(4, np.float32)) in (0, 1)
