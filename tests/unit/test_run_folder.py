"""The files of a run folder, and what happens to a run that was there before."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from policygrad.runs.manifest import PACKAGES
from tests.helpers import Countdown, same_parameters, tensorboard_events

SMALL: dict[str, Any] = {"steps": 1500, "network": pg.Network(hidden=(16,))}


def test_a_run_folder_holds_all_files_of_the_run(tmp_path: Path):
    out = tmp_path / "deep" / "run"
    run = pg.train("CartPole-v1", seed=5, out=out, num_envs=4, **SMALL)
    assert run.out == out
    files = {f.name for f in out.iterdir()}
    events = [f for f in files if f.startswith("events.out.tfevents")]
    assert files - {".lock", *events} == {
        "config.json", "manifest.json", "metrics.jsonl", "curve.png", "policy.safetensors",
        "last_policy.safetensors", "summary.json", "checkpoint.safetensors",
    }  # fmt: skip
    config = json.loads((out / "config.json").read_text())
    assert (config["environment"], config["seed"], config["num_envs"]) == ("CartPole-v1", 5, 4)
    assert config["algorithm"]["name"] == "reinforce"
    assert config["network"]["hidden"] == [16]
    manifest = json.loads((out / "manifest.json").read_text())
    assert set(manifest["packages"]) == set(PACKAGES)
    assert {"git", "cores", "processor", "engine", "seed", "autoreset_mode"} <= set(manifest)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows] == run.history["steps"].tolist()
    assert (out / "curve.png").read_bytes().startswith(b"\x89PNG")
    assert same_parameters(pg.load(out), run.policy)
    assert same_parameters(pg.load(out / "last_policy.safetensors"), run.last_policy)
    tags = {value.tag for event in tensorboard_events(out / events[0]) for value in event.summary.value}
    assert {"return", "entropy", "value_loss"} <= tags


def test_a_run_folder_is_overwritten_only_if_asked(tmp_path: Path):
    out = tmp_path / "run"
    first = pg.train("CartPole-v1", seed=0, out=out, **SMALL)
    with pytest.raises(FileExistsError, match="already contains a run"):
        pg.train("CartPole-v1", seed=1, out=out, **SMALL)
    assert same_parameters(pg.load(out), first.policy)
    second = pg.train("CartPole-v1", seed=1, out=out, overwrite=True, **SMALL)
    assert same_parameters(pg.load(out), second.policy)
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not a run folder"):
        pg.train("CartPole-v1", out=mine, overwrite=True, **SMALL)
    assert (mine / "thesis.txt").read_text() == "years of work"


class Dies(Countdown):
    """Raises an error in episode n."""

    def __init__(self, n: int, error: type[BaseException] = RuntimeError) -> None:
        super().__init__([3])
        self.last, self.error = n, error

    def step(self, action: int):
        if self.episode >= self.last:
            raise self.error("the simulator crashed")
        return super().step(action)


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, TypeError])
def test_a_run_that_learned_nothing_leaves_the_earlier_run_in_place(
    tmp_path: Path, error: type[BaseException]
):
    out = tmp_path / "run"
    first = pg.train("CartPole-v1", seed=0, out=out, **SMALL)
    attempt = partial(
        pg.train, lambda: Dies(0, error), pg.Reinforce(), out=out, overwrite=True, steps=50, num_envs=1
    )
    if error is KeyboardInterrupt:
        assert attempt().ended == "interrupted"
    else:
        with pytest.raises(error, match="the simulator crashed"):
            attempt()
    assert [p.name for p in tmp_path.iterdir()] == ["run"]
    assert same_parameters(pg.load(out), first.policy)


def test_a_crash_keeps_what_was_learned_and_the_replaced_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    first = pg.train("CartPole-v1", seed=0, out=out, **SMALL)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="the simulator crashed"):
            pg.train(
                lambda: Dies(7), pg.Reinforce(), out=out, overwrite=True, steps=500, num_envs=1, progress=True
            )
        assert json.loads((out / "summary.json").read_text())["ended"] == "error"
        assert len((out / "metrics.jsonl").read_text().splitlines()) == 7
    kept = [p for p in tmp_path.iterdir() if p.name.startswith(".run.replaced")]
    assert len(kept) == 2
    assert str(kept[0]) in capsys.readouterr().err
    assert any(
        same_parameters(pg.load(k), first.policy)
        for k in kept
        if (k / "config.json").read_text().count("CartPole")
    )


def test_a_folder_with_another_kind_of_config_is_not_a_run_folder(tmp_path: Path):
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "config.json").write_text("{}")
    (mine / "thesis.txt").write_text("years of work")
    with pytest.raises(FileExistsError, match="is not a run folder"):
        pg.train("CartPole-v1", out=mine, overwrite=True, **SMALL)
    assert (mine / "thesis.txt").exists()


def test_a_tilde_in_the_path_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    run = pg.train("CartPole-v1", steps=300, out="~/run")
    assert run.out == tmp_path / "run"
    assert (tmp_path / "run" / "policy.safetensors").exists()
