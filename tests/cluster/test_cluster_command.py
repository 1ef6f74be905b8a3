"""The command on a cluster of this machine: what it listens to, what signals do, and what is left of it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import policygrad as pg
from policygrad.cli import main

pytest.importorskip("ray", reason="run `pip install '.[ray]'`")

LOOPBACK = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
"""127.0.0.1 and ::1 as they are written in /proc/net/tcp and tcp6."""


def processes(marker: str) -> list[int]:
    """The processes that have a text in their environment."""
    found = list[int]()
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and marker.encode() in (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            pass
    return found


def listens_to(pids: list[int]) -> set[str]:
    """The addresses to which processes listen, in the form of /proc/net/tcp."""
    sockets = set[str]()
    for pid in pids:
        try:
            links = [os.readlink(file) for file in Path(f"/proc/{pid}/fd").iterdir()]
        except OSError:
            continue
        sockets |= {found[1] for link in links if (found := re.fullmatch(r"socket:\[(\d+)\]", link))}
    lines = [
        line.split()
        for name in ("tcp", "tcp6")
        for line in Path(f"/proc/net/{name}").read_text().splitlines()[1:]
    ]
    return {fields[1].split(":")[0] for fields in lines if fields[3] == "0A" and fields[9] in sockets}


def end_with(number: signal.Signals, arguments: list[str], out: Path, runs: int) -> None:
    """Send a signal to a command and all of its group once its runs are learning, and check how it ends."""
    marker, token = f"POLICYGRAD_TEST={out}", Path.home() / ".ray" / "auth_token"
    # as on a machine where nothing was set up for Ray
    env = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    before = token.stat().st_mtime if token.exists() else None
    process = subprocess.Popen(
        [sys.executable, "-m", "policygrad", *arguments, "--on", "ray", "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env | {"POLICYGRAD_TEST": str(out)},
        start_new_session=True,
    )
    while process.poll() is None and sum(f.stat().st_size > 0 for f in out.rglob("metrics.jsonl")) < runs:
        time.sleep(0.05)
    assert listens_to(processes(marker))
    assert listens_to(processes(marker)) <= set(LOOPBACK)
    os.killpg(process.pid, number)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == (130 if number == signal.SIGINT else 143), errors
    assert "oken" not in errors
    deadline = time.monotonic() + 20
    while processes(marker) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert processes(marker) == []
    assert before == (token.stat().st_mtime if token.exists() else None)


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_ctrl_c_saves_every_run_of_a_study_and_leaves_no_process(tmp_path: Path):
    out = tmp_path / "x"
    steps = ["--steps", "200_000_000", "--num-envs", "4"]
    end_with(
        signal.SIGINT,
        ["study", "CartPole-v1", "--algos", "a2c", "--seeds", "2", "--cores", "2", *steps],
        out,
        runs=2,
    )
    assert pg.open_study(out).missing == 2
    for run in (out / "CartPole-v1" / "a2c").glob("seed-*"):
        assert {"summary.json", "checkpoint.safetensors"} <= {file.name for file in run.iterdir()}


@pytest.mark.long
@pytest.mark.skipif(sys.platform != "linux", reason="processes are looked up in /proc")
def test_sigterm_saves_a_run_of_actors_and_leaves_no_process(tmp_path: Path):
    out = tmp_path / "x"
    command = ["train", "CartPole-v1", "--algo", "ppo", "--actors", "2", "--num-envs", "4"]
    end_with(signal.SIGTERM, [*command, "--steps", "200_000_000"], out, runs=1)
    saved = pg.open_run(out)
    assert saved.summary["ended"] == "interrupted"
    # without a cluster, the actors are in one process
    steps = int(saved.summary["steps"]) + 5_000
    assert main([*command, "--steps", str(steps), "--resume", "--out", str(out), "--episodes", "1"]) == 0
    assert pg.open_run(out).summary["steps"] >= steps


def test_wrong_settings_are_refused_in_words(tmp_path: Path):
    options = {"seeds": 1, "out": tmp_path / "x"}
    for settings, message in (
        ({"on": "nonsense"}, "on .* must be ray, .* or the address HOST:PORT .*; got 'nonsense'"),
        ({"on": "127.0.0.1"}, "must be ray"),
        ({"on": "10.0.0.1:99999"}, "must be ray"),
        ({"on": "ray://10.0.0.1:10001"}, "instead of one of Ray Client"),
        ({"on": "ray", "parallel": "threads"}, "Leave one of them out"),
        ({"on": "ray", "on_update": print}, "on_update is called in this process"),
        ({"vary": {"on": ["ray"]}}, "setting of the whole study"),
        ({"cores_per_run": 0}, "cores_per_run must be 1 or more"),
        ({"cores_per_run": 3, "cores": 2}, "cores_per_run .* is 3, but the study uses at most 2"),
    ):
        with pytest.raises(ValueError, match=message):
            pg.study("CartPole-v1", "a2c", **options | settings)  # type: ignore[arg-type]
    for settings, message in (
        ({"on": "ray"}, "on .* applies to several runs, or to one that actors share"),
        ({"cores_per_run": 2}, "cores_per_run .* applies only to several runs"),
    ):
        with pytest.raises(ValueError, match=message):
            pg.train("CartPole-v1", **settings)  # type: ignore[call-overload]


def test_a_missing_or_old_ray_is_refused_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    from importlib import metadata

    def missing(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    for version, message in (
        (lambda name: "2.59.1", "2.60 or later; this is 2.59.1"),
        (missing, "not installed"),
    ):
        monkeypatch.setattr(metadata, "version", version)
        with pytest.raises(ValueError, match=rf"{message}.*pip install 'policygrad\[ray\]'"):
            pg.study("CartPole-v1", "a2c", seeds=1, on="ray", out=tmp_path / "x")
