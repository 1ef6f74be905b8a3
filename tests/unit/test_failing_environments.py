"""If an environment or the run folder fails, what was learned is saved and the exception carries the run."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from tests.helpers import Countdown

OPTIONS: dict[str, Any] = {"num_envs": 1, "vectorize": "sync", "steps": 400}


class Failing(Countdown):
    """Calls a function at a step of its twentieth episode."""

    def __init__(self, fail: Callable[[], None]) -> None:
        super().__init__([5])
        self.fail = fail

    def step(self, action: int):
        if self.episode == 19 and self.t == 2:
            self.fail()
        return super().step(action)


def stop_iteration() -> None:
    raise StopIteration("no more levels")


@pytest.mark.parametrize(
    ("fail", "error"),
    [
        (lambda: sys.exit(7), pg.EnvironmentFault),
        (stop_iteration, RuntimeError),
        (lambda: 1 / 0, ZeroDivisionError),
    ],
    ids=["sys.exit", "StopIteration", "ZeroDivisionError"],
)
def test_the_run_is_saved_and_attached_to_the_exception(
    fail: Any, error: type[BaseException], tmp_path: Path
):
    with pytest.raises(error) as caught:
        pg.train(lambda: Failing(fail), pg.Reinforce(baseline="none"), **OPTIONS, out=tmp_path / "run")
    run = caught.value.run  # type: ignore[attr-defined]
    assert run.ended == "error"
    assert run.steps == 19 * 5
    assert (tmp_path / "run" / "summary.json").exists()
    assert pg.load(tmp_path / "run").act([0.0, 0.0]) in (0, 1)


def test_an_exception_in_close_is_a_warning():
    class Clinging(Countdown):
        def close(self) -> None:
            raise OSError("the window is gone")

    with pytest.warns(RuntimeWarning, match="closing Clinging raised OSError: the window is gone"):
        run = pg.train(
            lambda: Clinging([5]), pg.Reinforce(), steps=60, num_envs=2, vectorize="sync", select=False
        )
    assert run.ended == "budget"
    assert run.steps >= 60


def test_a_change_of_the_working_directory_moves_no_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    pg.train(lambda: Failing(lambda: os.chdir(tmp_path / "elsewhere")), pg.Reinforce(), **OPTIONS, out="run")
    assert (tmp_path / "run" / "policy.safetensors").exists()
    assert not list((tmp_path / "elsewhere").iterdir())


@pytest.mark.parametrize("interval", [0.0, 1e9])
@pytest.mark.parametrize("how", ["removed", "moved"])
def test_nothing_that_was_learned_is_lost_if_the_folder_goes_away(
    how: str, interval: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("policygrad.runs.folder.RunFolder.save_interval", interval)
    out = tmp_path / "run"

    def go_away() -> None:
        if how == "removed":
            shutil.rmtree(out)
        else:
            out.rename(tmp_path / "another")

    with pytest.raises(OSError, match="No such file") as caught:
        pg.train(lambda: Failing(go_away), pg.Reinforce(baseline="none"), **OPTIONS, out=out)
    # with a long interval only the last checkpoint finds that the folder is gone
    assert caught.value.run.steps == (400 if interval else 20 * 5)  # type: ignore[attr-defined]
    assert pg.load(out).act([0.0, 0.0]) in (0, 1)
    assert (out / "summary.json").exists()
