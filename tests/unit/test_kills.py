"""Runs that are killed or asked to end at random moments, and resumed: nothing is lost, and no bit differs.

More by hand: POLICYGRAD_TRIALS=50 pytest -n 2 tests/unit/test_kills.py
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
"""About a second or two of each algorithm on CartPole."""


def setting(trial: int) -> tuple[str, int | None]:
    """Each algorithm in turn, alone and then with four seeds."""
    return list(STEPS)[trial % len(STEPS)], None if trial // len(STEPS) % 2 == 0 else 4


def options(name: str, seeds: int | None) -> dict[str, Any]:
    # four runs at a time, each a quarter as long
    return {"steps": STEPS[name] // (seeds or 1), "seeds": seeds, "seed": 3}


@cache
def undisturbed(name: str, seeds: int | None, base: Path) -> tuple[Path, float]:
    """The run folder of a run that nothing interrupts, and how long it took."""
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
    """Whatever is there can be read; after a signal that can be caught, all is there, and current."""
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


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name
)
@pytest.mark.parametrize("trial", range(TRIALS))
def test_a_run_that_is_ended_at_any_moment_goes_on_as_if_it_had_not_been(
    trial: int, number: signal.Signals, tmp_path: Path, base: Path
):
    # so that few trials see several algorithms, alone and several at a time
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
        # a shell lets what it runs in the background ignore Ctrl-C, and that is inherited
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    if rng.random() < 0.9:
        # most of the time it starts
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
    # as a user would: the same call again
    pg.train("CartPole-v1", name, out=out, resume=True, **options(name, seeds))
    assert_same(out, whole)
    assert not [file for file in out.rglob(".*") if file.name != ".lock"]
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
