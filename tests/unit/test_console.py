"""Messages and tables reach any kind of stream, and a message that cannot be written does not end a run."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from policygrad._support.console import Output, say
from policygrad.cli.text_table import Table
from policygrad.runs.progress import Live, in_words

TRAIN = ["train", "CartPole-v1", "--steps", "600", "--episodes", "3"]


def command(arguments: list[str], **options: Any) -> subprocess.CompletedProcess[str]:
    environment = os.environ | options.pop("env", {})
    options = {
        "stdout": subprocess.PIPE,
        "stderr": subprocess.PIPE,
        "encoding": "utf-8",
        "errors": "replace",
    } | options
    return subprocess.run(
        [sys.executable, "-m", "policygrad", *arguments], env=environment, timeout=300, **options
    )


@pytest.mark.long
@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
@pytest.mark.parametrize("arguments", [TRAIN, ["metrics"], ["train", "CartPole-v1", "--help"]], ids=" ".join)
def test_characters_that_cannot_be_shown_are_replaced(encoding: str, arguments: list[str]):
    done = command(arguments, env={"PYTHONIOENCODING": encoding})
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stdout) > 300
    if encoding == "ascii":
        assert done.stdout.isascii()


@pytest.mark.long
@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux has a device that is always full")
def test_a_full_disk_is_reported_and_does_not_end_a_training(tmp_path: Path):
    out = tmp_path / "run"
    with open("/dev/full", "w") as full:
        done = command([*TRAIN, "--out", str(out)], stdout=full)
        assert done.returncode == 1
        assert done.stderr.splitlines()[-1].endswith(
            "the output could not be written: No space left on device"
        )
        assert command([*TRAIN, "--out", str(out), "--overwrite"], stderr=full).returncode == 0
    assert (out / "summary.json").exists()
    pg.load(out)


def test_a_closed_pipe_is_not_an_error():
    program = f"{sys.executable} -m policygrad metrics | head -n 1; echo ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stderr == ""
    assert done.stdout.splitlines()[-1] == "0"


@pytest.mark.long
@pytest.mark.parametrize("stream", ["None", "io.StringIO()", "Plain()", "closed"])
def test_unusual_streams_are_accepted(stream: str):
    code = f"""
import io, sys
import policygrad as pg
class Plain:
    def write(self, text): return len(text)
closed = io.StringIO()
closed.close()
# some modules that are imported at first use need a stderr, such as f2py of NumPy 2.0
pg.train("CartPole-v1", steps=400)
sys.stderr = {stream}
for progress in (None, True):
    run = pg.train("CartPole-v1", steps=400, progress=progress)
    pg.evaluate(run.policy, "CartPole-v1", 2, progress=progress)
print("done")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    assert done.stdout == "done\n", done.stderr


def test_a_failed_write_is_recorded(monkeypatch: pytest.MonkeyPatch):
    class Full(io.StringIO):
        def write(self, text: str) -> int:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(sys, "stderr", Full())
    output = Output("stderr")
    say("a line", output)
    assert output.failure is not None
    assert output.failure.errno == 28
    monkeypatch.setattr(sys, "stderr", None)
    say("a line that cannot be written")
    assert not Output("stderr").isatty()


def test_text_is_shown_unchanged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    """Text such as [lr=0.1] in a path is neither markup nor an emoji."""
    monkeypatch.setenv("COLUMNS", "200")
    name = "a [lr=0.1] :smile: $x$ [/bold]"
    table = Table(name)
    table.add_row("saved", name)
    table.show()
    assert capsys.readouterr().out.count(name) == 2
    monkeypatch.setenv("COLUMNS", "40")
    table.show()
    assert re.sub(r"\s+", " ", capsys.readouterr().out).count(name) == 2
    out = tmp_path / "[lr=0.1]$x^"
    run = pg.train("CartPole-v1", steps=300, out=out, progress=True)
    assert run.out == out
    assert (out / "curve.png").exists()
    pg.train("CartPole-v1", steps=600, out=out, progress=True, resume=True)
    assert str(out) in capsys.readouterr().err.replace("\n", "")


@pytest.mark.parametrize("width", [20, 40, 59, 60, 80, 200])
def test_no_value_vanishes_in_a_narrow_terminal(
    width: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", str(width))
    headings = ("seed", "steps", "seconds", "solved after", "in seconds", "best mean", "ended by")
    values = ("0", "1,234,567", "123.45", "234,567", "99.99", "1,498.7", "non-finite")
    table = Table("a title", headings, numbers=True)
    table.add_row(*values)
    table.show()
    shown = capsys.readouterr().out
    assert max(map(len, shown.splitlines())) <= width
    assert "…" not in shown
    if width == 40:
        assert all(f"{name}: {value}" in shown for name, value in zip(headings[1:], values[1:], strict=True))
    if width >= 80:
        assert all(value in shown for value in values)


def test_the_live_line_shows_what_fits():
    row = {
        "steps": 1000,
        "seconds": 1.0,
        "return_100": 12.34,
        "entropy": 0.5,
        "kl": 0.012,
        "clip_share": 0.25,
    }
    assert in_words(row) == "return 12.3, 1,000 steps/s, entropy 0.5, KL 0.012, clipped 25%"
    assert in_words(row, 40) == "return 12.3, 1,000 steps/s, entropy 0.5"
    assert in_words(row, 3) == "return 12.3"
    assert in_words(row | {"kl": float("nan")}, 40) == "return 12.3, 1,000 steps/s, entropy 0.5"


@pytest.mark.parametrize("width", [40, 70, 80, 120])
def test_the_live_line_fits_into_the_terminal(width: int, monkeypatch: pytest.MonkeyPatch):
    class Terminal(io.StringIO):
        encoding = "utf-8"

        def isatty(self) -> bool:
            return True

    terminal = Terminal()
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", terminal)
    row = {"steps": 1e5, "seconds": 1.0, "return_100": 123.4, "entropy": 0.5, "kl": 0.012, "clip_share": 0.25}
    with Live(1_000_000) as live:
        live.update(row)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue()).replace("\r", "\n")
    lines = [line for line in text.splitlines() if "return" in line]
    assert lines
    assert all(len(line.rstrip()) <= width for line in lines)
    assert "return 123.4" in lines[-1]
    # a terminal of usual width shows all of it
    assert ("clipped 25%" in lines[-1]) == (width >= 80)
