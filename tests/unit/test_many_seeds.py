"""Several seeds at once: each run equals the run alone, and all are saved and reported together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.cli import main
from policygrad.policies import flat_parameters

SMALL: dict[str, Any] = {"steps": 1500, "num_envs": 4}


def parameters(run: pg.Run) -> torch.Tensor:
    return flat_parameters(run.last_policy.network)


@pytest.mark.parametrize("backend", ["compiled", "gymnasium"])
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_each_run_equals_the_run_with_its_seed_alone(backend: Any, cores: int):
    runs = pg.train("CartPole-v1", seed=5, seeds=3, cores=cores, backend=backend, **SMALL)
    assert [run.seed for run in runs] == [5, 6, 7]
    for run in runs:
        alone = pg.train("CartPole-v1", seed=run.seed, backend=backend, **SMALL)
        assert torch.equal(parameters(run), parameters(alone))
        assert run.episode_returns.tolist() == alone.episode_returns.tolist()
    assert not torch.equal(parameters(runs[0]), parameters(runs[1]))


def test_runs_on_two_cores_are_reproducible():
    big: dict[str, Any] = {"num_envs": 64, "steps": 20_000, "seed": 1}
    a, b = (pg.train("CartPole-v1", pg.Reinforce(), cores=2, **big) for _ in range(2))
    assert torch.equal(parameters(a), parameters(b))
    assert a.episode_returns.tolist() == b.episode_returns.tolist()


def test_the_folder_holds_each_run_and_a_summary(tmp_path: Path):
    out = tmp_path / "runs"
    runs = pg.train("CartPole-v1", seeds=2, out=out, **SMALL)
    summary = json.loads((out / "summary.json").read_text())
    assert list(summary["seeds"]) == ["0", "1"]
    assert summary["solved"] == 0
    assert (out / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert json.loads((out / "config.json").read_text())["seeds"] == [0, 1]
    for run in runs:
        folder = out / f"seed-{run.seed}"
        assert run.out == folder
        assert torch.equal(flat_parameters(pg.load(folder).network), flat_parameters(run.policy.network))
        rows = (folder / "metrics.jsonl").read_text().splitlines()
        assert len(rows) == len(run.updates)
        assert json.loads((folder / "config.json").read_text())["seed"] == run.seed


def test_an_earlier_set_of_runs_is_replaced_only_if_asked(tmp_path: Path):
    out = tmp_path / "runs"
    pg.train("CartPole-v1", seeds=2, out=out, **SMALL)
    with pytest.raises(FileExistsError, match="already contains a run"):
        pg.train("CartPole-v1", seeds=1, out=out, **SMALL)
    pg.train("CartPole-v1", seeds=1, out=out, overwrite=True, **SMALL)
    assert sorted(path.name for path in out.glob("seed-*")) == ["seed-0"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_a_run_that_diverges_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]):
    wild = pg.Reinforce(learning_rate=3e38, optimizer="sgd", max_grad_norm=None, normalize_advantages=False)
    runs = pg.train("Pendulum-v1", wild, seeds=3, progress=True, **SMALL)
    assert {run.ended for run in runs} == {"non-finite"}
    assert "seed 1: training stopped after" in capsys.readouterr().err


def test_networks_and_environments_that_runs_would_share_are_refused():
    policy = pg.DiscretePolicy(4, 2, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="needs its own networks"):
        pg.train("CartPole-v1", seeds=2, policy=policy, **SMALL)
    with pytest.raises(ValueError, match="needs its own environments"):
        pg.train(gym.make("CartPole-v1"), seeds=2, steps=10)
    with pytest.raises(ValueError, match="seeds must be 1 or more; got 0"):
        pg.train("CartPole-v1", seeds=0, **SMALL)
    with pytest.raises(ValueError, match="cores must be 1 or more; got 0"):
        pg.train("CartPole-v1", cores=0, **SMALL)


def test_an_exception_of_an_environment_reaches_the_caller():
    def factory() -> Any:
        raise OSError("no boat in the harbor")

    with pytest.raises(OSError, match="no boat in the harbor"):
        pg.train(factory, pg.Reinforce(), seeds=3, steps=100)


def test_a_crash_loses_no_finished_run_and_no_replaced_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """A later environment cannot be made: the finished runs are saved, and the replaced set is kept aside."""
    out, made = tmp_path / "runs", []

    def factory() -> Any:
        made.append(1)
        if len(made) == 8:
            raise OSError("no boat in the harbor")
        return gym.make("CartPole-v1")

    options: dict[str, Any] = {"seeds": 3, "cores": 1, "steps": 300, "num_envs": 2, "out": out}
    pg.train("CartPole-v1", **options)
    options["vectorize"] = "sync"
    with pytest.raises(OSError, match="no boat"):
        pg.train(factory, pg.Reinforce(), **options, overwrite=True, progress=True)
    assert sorted(path.name for path in out.glob("seed-*")) == ["seed-0", "seed-1"]
    assert list(json.loads((out / "summary.json").read_text())["seeds"]) == ["0", "1"]
    kept = [path for path in tmp_path.iterdir() if path != out]
    assert len(kept) == 1
    assert (kept[0] / "seed-2" / "policy.safetensors").exists()
    assert str(kept[0]) in capsys.readouterr().err


def test_several_seeds_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "runs"
    assert main(["train", "CartPole-v1", "--seeds", "3", "--steps", "1000", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "3 seeds, fused engine" in shown
    assert "0 of 3 solved" in shown
    assert main(["evaluate", str(out / "seed-2"), "--episodes", "3"]) == 0
    assert main(["evaluate", str(out)]) == 2
    assert "choose one, such as" in capsys.readouterr().err


def test_stop_at_uses_full_windows_of_returns():
    run = pg.train("CartPole-v1", seeds=1, steps=60_000, stop_at=100.0)[0]
    assert run.ended == "stop_at"
    assert run.solved_at == run.steps
    assert run.solved_seconds is not None
    assert 0 < run.solved_seconds <= run.seconds
    assert np.mean(run.episode_returns[-100:]) >= 100
