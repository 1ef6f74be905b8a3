"""Metrics at Weights & Biases: what its client is given, read from the files that it writes offline."""

from __future__ import annotations

import importlib.util
import json
import struct
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from policygrad.runs import weights_and_biases
from policygrad.runs.callback import Update
from tests.helpers import history_rows

SMALL: dict[str, Any] = {
    "network": pg.Network(hidden=(4,)),
    "steps": 1_500,
    "progress": False,
    "select": False,
}
with_client = pytest.mark.skipif(importlib.util.find_spec("wandb") is None, reason="needs wandb")


@pytest.fixture
def offline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep the client and its files in a folder, in which the run folder is."""
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    for name in ("WANDB_CONFIG_DIR", "WANDB_CACHE_DIR", "WANDB_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / "client"))
    return tmp_path / "mine"


def records(file: Path) -> list[Any]:
    """Return the records of a file of the client: LevelDB's log format, after a header of seven bytes."""
    from wandb.proto.wandb_internal_pb2 import Record

    data, position, parts, found = file.read_bytes(), 7, b"", []
    while position + 7 <= len(data):
        left = 32_768 - position % 32_768
        if left < 7:
            position += left
            continue
        _, length, kind = struct.unpack("<IHB", data[position : position + 7])
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in (1, 4):
            # the record is complete
            found.append(Record.FromString(parts))
            parts = b""
    return found


def sent(folder: Path) -> list[list[Any]]:
    """Return the records of each time that a run was started or resumed, oldest first.

    The client's process writes the last ones after `finish` has returned.
    """
    until = time.monotonic() + 60
    while time.monotonic() < until:
        found = [records(file) for file in sorted(folder.glob("wandb/offline-run-*/*.wandb"))]
        if all(run and run[-1].WhichOneof("record_type") == "exit" for run in found):
            return found
        time.sleep(0.05)
    raise TimeoutError("the client has not finished")


def rows_in(run: list[Any]) -> list[dict[str, float]]:
    """Return the rows of metrics in records, with the steps under the name that the history has."""
    rows = list[dict[str, float]]()
    for record in run:
        if record.WhichOneof("record_type") == "history":
            items = {
                (item.key or item.nested_key[0]): json.loads(item.value_json) for item in record.history.item
            }
            rows.append({k: v for k, v in items.items() if k[0] != "_"} | {"steps": items["_step"]})
    return rows


def started(run: list[Any]) -> Any:
    return next(record.run for record in run if record.WhichOneof("record_type") == "run")


def exit_code(run: list[Any]) -> int:
    return next(record.exit.exit_code for record in run if record.WhichOneof("record_type") == "exit")


def summary_of(run: list[Any]) -> dict[str, Any]:
    updates = [u for r in run if r.WhichOneof("record_type") == "summary" for u in r.summary.update]
    return {u.key or u.nested_key[0]: json.loads(u.value_json) for u in updates}


@with_client
def test_rows_configuration_and_summary_are_sent_and_a_resumed_run_keeps_its_id(offline: Path):
    run = pg.train("CartPole-v1", "a2c", out=offline, wandb="project", **SMALL)
    (first,) = sent(offline)
    assert rows_in(first) == history_rows(run)
    assert (started(first).project, started(first).display_name) == ("project", "mine")
    config = {item.key: json.loads(item.value_json) for item in started(first).config.update}
    assert config["algorithm"]["name"] == "a2c"
    assert config["network"]["hidden"] == [4]
    summary = summary_of(first)
    assert summary["ended"] == "budget"
    assert summary["updates"] == len(run.updates)
    assert exit_code(first) == 0
    assert "wandb" not in json.loads((offline / "config.json").read_text())
    resumed = pg.train(
        "CartPole-v1", "a2c", out=offline, wandb="project", resume=True, **SMALL | {"steps": 2_000}
    )
    second = sent(offline)[1]
    assert started(second).run_id == started(first).run_id
    assert [*rows_in(first), *rows_in(second)] == history_rows(resumed)
    # a new run in the same folder has another id
    pg.train("CartPole-v1", "a2c", out=offline, wandb="project", overwrite=True, **SMALL)
    (third,) = sent(offline)
    assert started(third).run_id != started(first).run_id


@with_client
def test_a_run_that_an_error_ends_is_marked_as_failed_and_an_interrupted_one_is_not(offline: Path):
    def on_update(update: Update) -> None:
        raise KeyError

    with pytest.raises(KeyError):
        pg.train("CartPole-v1", "a2c", out=offline, wandb="project", on_update=on_update, **SMALL)
    (run,) = sent(offline)
    assert len(rows_in(run)) == 1
    assert exit_code(run) == 1
    assert summary_of(run)["ended"] == "error"

    def interrupt(update: Update) -> None:
        raise KeyboardInterrupt

    ended = pg.train(
        "CartPole-v1", "a2c", out=offline, wandb="project", on_update=interrupt, overwrite=True, **SMALL
    )
    assert ended.ended == "interrupted"
    assert exit_code(sent(offline)[0]) == 0


@with_client
def test_seeds_are_a_group_of_runs(offline: Path):
    runs = pg.train("CartPole-v1", "a2c", seeds=2, cores=2, out=offline, wandb="project", **SMALL)
    for run in runs:
        (found,) = sent(offline / f"seed-{run.seed}")
        assert rows_in(found) == history_rows(run)
        assert started(found).run_group == "mine"
        assert started(found).display_name == f"mine/seed-{run.seed}"


@with_client
def test_a_client_that_fails_later_does_not_end_the_training(offline: Path, monkeypatch: pytest.MonkeyPatch):
    import wandb

    class Failing:
        def log(self, *_: Any, **__: Any) -> None:
            raise OSError("no space left")

    monkeypatch.setattr(wandb, "init", lambda **_: Failing())
    with pytest.warns(RuntimeWarning, match="training continues: OSError: no space left"):
        run = pg.train("CartPole-v1", "a2c", out=offline, wandb="project", **SMALL)
    assert run.ended == "budget"


@with_client
def test_a_client_that_cannot_start_says_what_to_do(offline: Path, monkeypatch: pytest.MonkeyPatch):
    import wandb

    def fail(**_: Any) -> None:
        raise RuntimeError("no api key")

    monkeypatch.setattr(wandb, "init", fail)
    with pytest.raises(ValueError, match=r"could not start: no api key\. Log in with `wandb login`"):
        pg.train("CartPole-v1", "a2c", out=offline, wandb="project", **SMALL)
    monkeypatch.undo()
    # nothing has been learned, so the folder can be used
    assert pg.train("CartPole-v1", "a2c", out=offline, resume=True, **SMALL).ended == "budget"


def test_a_missing_client_and_missing_folder_are_errors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ValueError, match=r"Name the folder with out \(--out\)"):
        pg.train("CartPole-v1", wandb="project", **SMALL)
    with pytest.raises(TypeError, match="wandb must be the name of a project; got ''"):
        pg.train("CartPole-v1", wandb="", out=tmp_path / "run", **SMALL)
    monkeypatch.setattr(weights_and_biases, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"Run pip install 'policygrad\[wandb\]'"):
        pg.train("CartPole-v1", wandb="project", out=tmp_path / "run", **SMALL)
    assert not (tmp_path / "run").exists()


def test_the_client_is_imported_only_if_it_is_used(tmp_path: Path):
    code = f"""
import sys, policygrad as pg
pg.train("CartPole-v1", "a2c", steps=50, num_envs=1, select=False, out={str(tmp_path / "run")!r}, progress=False)
assert "wandb" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
