"""A run folder belongs to one run at a time, and a replaced run is kept until the new one has learned."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import policygrad as pg
from policygrad.policies import Snapshot
from policygrad.runs import checkpoint, locked_folder
from policygrad.runs.folder import RunFolder
from policygrad.runs.locked_folder import LockedFolder
from policygrad.training import Iteration

SMALL: dict[str, Any] = {"network": pg.Network(hidden=(8,)), "num_envs": 4, "seed": 5, "progress": False}


def test_two_processes_cannot_train_in_the_same_folder(tmp_path: Path):
    place = tmp_path / "run"
    script = (
        "import policygrad as pg\n"
        f"pg.train('CartPole-v1', pg.A2C(), steps=10**9, num_envs=4, out={str(place)!r}, progress=False)"
    )
    options = SMALL | {"seed": 0, "network": pg.Network(), "out": place}
    metrics = place / "metrics.jsonl"
    with subprocess.Popen([sys.executable, "-c", script]) as other:
        try:
            while not (metrics.exists() and metrics.stat().st_size):
                assert other.poll() is None
                time.sleep(0.05)
            for how in ({"resume": True}, {"overwrite": True}):
                with pytest.raises(FileExistsError, match=r"another run is training in .*Wait until it ends"):
                    pg.train("CartPole-v1", pg.A2C(), steps=10**9, **how, **options)
        finally:
            other.kill()
    # the lock ends with its process, and nothing that it learned is lost
    used = checkpoint.load_checkpoint(place / checkpoint.FILE_NAME)["run"]["training"]["training"]["counts"][
        "used"
    ]
    more = pg.train("CartPole-v1", pg.A2C(), steps=used + 1_000, resume=True, **options)
    assert used < more.steps < used + 2_000


def test_a_run_cannot_change_while_it_is_being_resumed_or_replaced(tmp_path: Path):
    """Another process must not train in the folder between the reading of the checkpoint and the first step."""
    found = list[str]()

    def factory() -> gym.Env[Any, Any]:
        if found == ["look"]:
            found.clear()
            for how in ({"resume": True}, {"overwrite": True}):
                try:
                    pg.train(factory, pg.A2C(), steps=3_000, **how, **options)
                except FileExistsError as error:
                    found.append(str(error))
        return gym.make("CartPole-v1")

    options = SMALL | {"out": tmp_path / "run"}
    pg.train(factory, pg.A2C(), steps=500, **options)
    for how in ({"resume": True}, {"overwrite": True}):
        found[:] = ["look"]
        run = pg.train(factory, pg.A2C(), steps=1_000, **how, **options)
        assert ["another run is training in" in text for text in found] == [True, True]
        found.clear()
        assert 1_000 <= run.steps < 1_100


def test_a_replaced_run_is_put_back_if_the_new_one_never_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """This holds for any reason, such as a full disk or Ctrl-C before the first step."""
    options = SMALL | {"steps": 500, "out": tmp_path / "run"}
    pg.train("CartPole-v1", pg.A2C(), **options)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "no space left on device")

    def stop(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    for module, name, what, raises in (
        (locked_folder, "write_atomically", full, pytest.raises(OSError, match="no space left")),
        (RunFolder, "save_checkpoint", full, pytest.raises(OSError, match="no space left")),
        (RunFolder, "save_checkpoint", stop, nullcontext()),
    ):
        with monkeypatch.context() as broken, raises:
            broken.setattr(module, name, what)
            run = pg.train("CartPole-v1", pg.A2C(), overwrite=True, **options)
            assert run.ended == "interrupted"
        assert [file.name for file in tmp_path.iterdir()] == ["run"]
        assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    # the folder is not locked any more
    pg.train("CartPole-v1", pg.A2C(), overwrite=True, **options)


def test_a_replaced_run_is_kept_aside_if_the_new_one_has_learned(tmp_path: Path):
    options = SMALL | {"steps": 500, "out": tmp_path / "run"}
    pg.train("CartPole-v1", pg.A2C(), **options)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    nobody = Snapshot(np.zeros(0, np.float32), {})
    row = Iteration(("steps",), np.ones((1, 1)), np.zeros(0), np.zeros(1, np.int64), nobody, False, False)
    with (
        pytest.warns(UserWarning, match="the earlier run at .* was moved to"),
        LockedFolder(tmp_path / "run", overwrite=True) as place,
        RunFolder(place, {}, {}) as folder,
    ):
        folder.log(row)
    aside = next(file for file in tmp_path.iterdir() if file.name.startswith(".run.replaced"))
    assert (aside / "metrics.jsonl").read_bytes() == before


def test_a_folder_is_locked_until_the_replaced_run_is_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    options = SMALL | {"steps": 500, "out": tmp_path / "run"}
    pg.train("CartPole-v1", pg.A2C(), **options)
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with LockedFolder(tmp_path / "run", overwrite=True) as place:
        place.begin({}, {})
        tried = list[str]()
        rename = Path.rename

        def look_then_rename(path: Path, target: Path) -> Path:
            if path == place.path:
                with pytest.raises(FileExistsError) as raised:
                    LockedFolder(place.path, overwrite=True)
                tried.append(str(raised.value))
            return rename(path, target)

        monkeypatch.setattr(Path, "rename", look_then_rename)
        assert place.close(discard=True) is None
    assert ["another run is training" in text for text in tried] == [True]
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run"]


def test_of_two_runs_that_start_in_one_folder_the_first_keeps_it(tmp_path: Path):
    found = list[str]()

    def factory() -> gym.Env[Any, Any]:
        if found == ["look"]:
            found[:] = ["looked"]
            pg.train("CartPole-v1", pg.A2C(), steps=500, **options)
        return gym.make("CartPole-v1")

    options = SMALL | {"out": tmp_path / "run"}
    for how in ({}, {"resume": True}):
        found[:] = ["look"]
        with pytest.raises(FileExistsError, match="already contains a run"):
            pg.train(factory, pg.A2C(), steps=1_000, **how, **options)
        assert found == ["looked"]
        assert checkpoint.load_checkpoint(tmp_path / "run" / checkpoint.FILE_NAME)["run"]["rows"] > 0
        shutil.rmtree(tmp_path / "run")


def test_the_remains_of_a_run_killed_at_its_first_file_are_no_obstacle(tmp_path: Path):
    (tmp_path / ".manifest.json.123").write_text("{")
    options = SMALL | {"steps": 500, "out": tmp_path}
    assert pg.train("CartPole-v1", pg.A2C(), **options).steps >= 500
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / ".notes").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not a run folder"):
        pg.train("CartPole-v1", pg.A2C(), **options | {"out": mine, "overwrite": True})
