"""Many seeds at once: each run is what it would be alone, and all are saved and reported together."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.algorithms import ALGORITHMS
from policygrad.cli import main
from policygrad.policies import flat_parameters

SMALL: dict[str, Any] = {"steps": 1500, "num_envs": 4}


def parameters(run: pg.Run) -> torch.Tensor:
    return flat_parameters(run.last_policy.network)


@pytest.mark.parametrize("backend", ["compiled", "gymnasium"])
@pytest.mark.parametrize("cores", [1, 2, 3])
def test_each_run_is_what_it_would_be_alone(backend: Any, cores: int):
    runs = pg.train("CartPole-v1", seed=5, seeds=3, cores=cores, backend=backend, **SMALL)
    assert [run.seed for run in runs] == [5, 6, 7]
    for run in runs:
        alone = pg.train("CartPole-v1", seed=run.seed, backend=backend, **SMALL)
        assert torch.equal(parameters(run), parameters(alone))
        assert run.episode_returns.tolist() == alone.episode_returns.tolist()
    assert not torch.equal(parameters(runs[0]), parameters(runs[1]))


def test_two_cores_give_the_bits_of_one_run_repeated():
    big: dict[str, Any] = {"num_envs": 64, "steps": 20_000, "seed": 1}
    a, b = (pg.train("CartPole-v1", pg.Reinforce(), cores=2, **big) for _ in range(2))
    assert torch.equal(parameters(a), parameters(b))
    assert a.episode_returns.tolist() == b.episode_returns.tolist()


def test_the_folder_holds_every_run_and_all_together(tmp_path: Path):
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


def test_an_earlier_set_is_replaced_only_when_asked(tmp_path: Path):
    out = tmp_path / "runs"
    pg.train("CartPole-v1", seeds=2, out=out, **SMALL)
    with pytest.raises(FileExistsError, match="holds a run already"):
        pg.train("CartPole-v1", seeds=1, out=out, **SMALL)
    pg.train("CartPole-v1", seeds=1, out=out, overwrite=True, **SMALL)
    assert sorted(path.name for path in out.glob("seed-*")) == ["seed-0"]
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


def test_one_that_diverges_does_not_stop_the_others(capsys: pytest.CaptureFixture[str]):
    wild = pg.Reinforce(learning_rate=3e38, optimizer="sgd", max_grad_norm=None, normalize_advantages=False)
    runs = pg.train("Pendulum-v1", wild, seeds=3, progress=True, **SMALL)
    assert {run.ended for run in runs} == {"non-finite"}
    assert "seed 1: after" in capsys.readouterr().err


def test_what_runs_would_share_is_refused():
    policy = pg.DiscretePolicy(4, 2, rng=np.random.default_rng(0))
    with pytest.raises(ValueError, match="networks of its own"):
        pg.train("CartPole-v1", seeds=2, policy=policy, **SMALL)
    with pytest.raises(ValueError, match="environments of its own"):
        pg.train(gym.make("CartPole-v1"), seeds=2, steps=10)
    with pytest.raises(ValueError, match="seeds must be 1 or more; got 0"):
        pg.train("CartPole-v1", seeds=0, **SMALL)
    with pytest.raises(ValueError, match="cores must be 1 or more; got 0"):
        pg.train("CartPole-v1", cores=0, **SMALL)


def test_what_crashes_an_environment_reaches_the_caller():
    def factory() -> Any:
        raise OSError("no boat in the harbour")

    with pytest.raises(OSError, match="no boat in the harbour"):
        pg.train(factory, pg.Reinforce(), seeds=3, steps=100)


def test_what_crashes_costs_nobody_else_s_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """The second environment made breaks: the first seed's run is saved, the earlier set is kept aside."""
    out, made = tmp_path / "runs", []

    def factory() -> Any:
        made.append(1)
        if len(made) == 8:
            raise OSError("no boat in the harbour")
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


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "runs"
    assert main(["train", "CartPole-v1", "--seeds", "3", "--steps", "1000", "--out", str(out)]) == 0
    shown = capsys.readouterr().out
    assert "3 seeds, fused engine" in shown
    assert "0 of 3 solved" in shown
    assert main(["evaluate", str(out / "seed-2"), "--episodes", "3"]) == 0
    assert main(["evaluate", str(out)]) == 2
    assert "choose one, such as" in capsys.readouterr().err


def test_names_of_one_s_own_from_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(Path(__file__).parents[2] / "examples")
    arguments = ["--steps", "1000", "--episodes", "2"]
    out = str(tmp_path / "boat")
    assert main(["train", "compiled_environment:BOAT", *arguments, "--out", out]) == 0
    assert "Boat: fused engine" in capsys.readouterr().out
    assert main(["evaluate", out, "--episodes", "2"]) == 0
    assert main(["evaluate", out, "--episodes", "2", "--env", "compiled_environment:BOAT"]) == 0
    own = ["--algo", "own_algorithm:Optimist", "--bad-news", "0.1"]
    assert main(["train", "CartPole-v1", *own, *arguments, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["algorithm"]["name"] == "optimist"
    assert config["algorithm"]["bad_news"] == 0.1
    assert main(["train", "compiled_environment:SHIP"]) == 2
    assert main(["train", "CartPole-v1", "--algo", "own_algorithm:optimistic"]) == 2
    assert "expected a class of settings" in capsys.readouterr().err
    assert main(["train", "CartPole-v1", "--algo", "nothing_there:Optimist"]) == 2
    assert "No module named 'nothing_there'" in capsys.readouterr().err


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="there is an algorithm named 'reinforce' already"):

        @pg.register("reinforce")
        class Other:
            pass


def test_a_file_that_is_script_and_module_keeps_its_name(monkeypatch: pytest.MonkeyPatch):
    """Numba may import the module whose cached code a script loads, though the script is that very file."""
    file = Path(__file__).parents[2] / "examples" / "own_algorithm.py"
    monkeypatch.delitem(ALGORITHMS, "optimist", raising=False)
    kinds = []
    for name in ("as_script", "as_module"):
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        kinds.append(module.Optimist)
    assert kinds[0] is not kinds[1]
    assert ALGORITHMS["optimist"] is kinds[0]


def test_the_median_of_a_window_is_of_whole_windows():
    run = pg.train("CartPole-v1", seeds=1, steps=60_000, stop_at=100.0)[0]
    assert run.ended == "stop_at"
    assert run.solved_at == run.steps
    assert run.solved_seconds is not None
    assert 0 < run.solved_seconds <= run.seconds
    assert np.mean(run.episode_returns[-100:]) >= 100
