"""Runs that are killed or interrupted at random moments and resumed are bit-identical to undisturbed runs.

For more trials: POLICYGRAD_TRIALS=50 pytest -n 2 tests/unit/test_killed_runs.py
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.runs import checkpoint

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no such signals")

TRIALS = int(os.environ.get("POLICYGRAD_TRIALS", "2"))
STEPS = {
    "reinforce": 300_000,
    "a2c": 200_000,
    "ppo": 60_000,
    "trpo": 200_000,
    "npg": 200_000,
    "actor-critic": 6_000,
}
"""Steps of one or two seconds of each algorithm on CartPole."""


def setting(trial: int) -> tuple[str, int | None]:
    """Return each algorithm in turn, first with one seed and then with four."""
    return list(STEPS)[trial % len(STEPS)], None if trial // len(STEPS) % 2 == 0 else 4


def options(name: str, seeds: int | None) -> dict[str, Any]:
    # four runs, each a quarter as long
    return {"steps": STEPS[name] // (seeds or 1), "seeds": seeds, "seed": 3}


@cache
def undisturbed(name: str, seeds: int | None, base: Path) -> tuple[Path, float]:
    """Return the folder of an uninterrupted run, and how many seconds it took."""
    out = base / f"{name}-{seeds}"
    began = time.perf_counter()
    pg.train("CartPole-v1", name, out=out, **options(name, seeds))
    return out, time.perf_counter() - began


def run_folders(out: Path) -> list[Path]:
    return sorted(out.glob("seed-*")) or [out]


def without_seconds(file: Path) -> list[dict[str, float]]:
    return [json.loads(line) | {"seconds": 0.0} for line in file.read_text().splitlines()]


def assert_same(out: Path, whole: Path) -> None:
    assert [folder.name for folder in run_folders(out)[1:]] == [
        folder.name for folder in run_folders(whole)[1:]
    ]
    for one, other in zip(run_folders(out), run_folders(whole), strict=True):
        assert without_seconds(one / "metrics.jsonl") == without_seconds(other / "metrics.jsonl")
        for file in ("policy.safetensors", "last_policy.safetensors"):
            states = [pg.load(folder / file).state_dict() for folder in (one, other)]
            for tensor, expected in zip(*(state.values() for state in states), strict=True):
                np.testing.assert_array_equal(tensor.numpy(), expected.numpy())


def assert_readable(out: Path, *, ended: bool) -> None:
    """Check that all files can be read and that, after a signal that can be caught, they are complete and current."""
    for folder in run_folders(out):
        if (folder / "policy.safetensors").exists():
            assert pg.load(folder).act(np.zeros(4, np.float32)) in (0, 1)
        if (folder / "checkpoint.safetensors").exists():
            checkpoint.load_checkpoint(folder / "checkpoint.safetensors")
        if not ended or not (folder / "checkpoint.safetensors").exists():
            continue
        summary = json.loads((folder / "summary.json").read_text())
        rows = (folder / "metrics.jsonl").read_text().count("\n")
        assert checkpoint.load_checkpoint(folder / "checkpoint.safetensors")["run"]["rows"] == rows
        assert summary["ended"] in ("interrupted", "budget")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("undisturbed")


@pytest.mark.long
@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_run_that_is_ended_at_any_moment_can_be_resumed(
    trial: int, number: signal.Signals, tmp_path: Path, base: Path
):
    # few trials cover several algorithms, with one seed and with several
    name, seeds = setting(trial + 7 * [signal.SIGKILL, signal.SIGTERM, signal.SIGINT].index(number))
    rng = np.random.default_rng([trial, number])
    whole, seconds = undisturbed(name, seeds, base)
    out = tmp_path / "run"
    command = [sys.executable, "-m", "policygrad", "train", "CartPole-v1", "--algo", name, "--out", str(out)]
    for option, value in options(name, seeds).items():
        command += [] if value is None else [f"--{option}", str(value)]
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        # a process that a shell runs in the background ignores Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    if rng.random() < 0.9:
        # in most trials the run has started before the signal
        deadline = time.monotonic() + 120
        while not out.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    time.sleep(rng.uniform(0.05, seconds))
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    finished = process.returncode == 0
    assert finished or process.returncode == {
        signal.SIGKILL: -signal.SIGKILL,
        signal.SIGTERM: 143 if out.exists() else process.returncode,
        signal.SIGINT: 130,
    }.get(number), errors
    assert "Traceback" not in errors
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)
    if out.exists():
        assert_readable(out, ended=number != signal.SIGKILL)
    # the user repeats the same call
    pg.train("CartPole-v1", name, out=out, resume=True, **options(name, seeds))
    assert_same(out, whole)
    assert not [file for file in out.rglob(".*") if file.name != ".lock"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
