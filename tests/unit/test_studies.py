"""Studies: environments × configurations × seeds in one folder, resumed after any kill, with failures recorded."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import policygrad as pg
from policygrad.cli import main
from policygrad.cli.study import varied
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Silent
from policygrad.scheduling import Job, LocalScheduler
from policygrad.scheduling.progress import TimeLeft, time_in_words
from policygrad.studies.configurations import Configuration, configurations_by_name, environments_by_name
from tests.helpers import same_parameters

SMALL: dict[str, Any] = {"steps": 1200, "num_envs": 4, "episodes": 5}


def without_times(value: Any) -> Any:
    """JSON without the entries that are measured with a clock."""
    if isinstance(value, dict):
        return {k: without_times(v) for k, v in value.items() if "seconds" not in k}
    return value


def bits(folder: Path) -> dict[str, Any]:
    """The contents of all files of the runs in a folder that must not depend on how often they were interrupted."""
    found = dict[str, Any]()
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if file.suffix == ".safetensors" and file.name != "checkpoint.safetensors":
            found[name] = file.read_bytes()
        elif file.name in ("summary.json", "scores.json"):
            found[name] = without_times(json.loads(file.read_text()))
        elif file.name == "metrics.jsonl":
            found[name] = [without_times(json.loads(line)) for line in file.read_text().splitlines()]
    return found


def test_a_study_trains_each_configuration_on_each_environment_with_each_seed(tmp_path: Path):
    study = pg.study(
        ["CartPole-v1", "Acrobot-v1"], ["reinforce", "a2c"], seeds=2, out=tmp_path / "x", **SMALL
    )
    assert study.environments == ["CartPole-v1", "Acrobot-v1"]
    assert study.configurations == ["reinforce", "a2c"]
    assert [(len(cell.finished), cell.failed) for cell in study.cells] == [(2, [])] * 4
    assert study.missing == 0
    settings = {name: SMALL[name] for name in ("steps", "num_envs")}
    for cell in study.cells:
        for run in cell.runs:
            alone = pg.train(cell.environment, cell.configuration, seed=run.seed, **settings)
            assert same_parameters(run.policy, alone.policy)
            np.testing.assert_array_equal(run.history["return_100"], alone.history["return_100"])
            assert (run.solved_at, run.threshold) == (alone.solved_at, alone.threshold)
            fresh = pg.evaluate(alone.policy, cell.environment, 5, greedy=True, seed=run.seed)
            assert cell.scores("greedy")[run.seed] == fresh.mean


def test_a_study_is_completed_and_extended_without_training_finished_runs_again(tmp_path: Path):
    options: dict[str, Any] = {"out": tmp_path / "x", **SMALL}
    pg.study("CartPole-v1", "a2c", seeds=2, **options)
    with pytest.raises(FileExistsError, match="already contains a run"):
        pg.study("CartPole-v1", "a2c", seeds=2, **options)
    first = pg.open_study(tmp_path / "x").cell("CartPole-v1", "a2c").runs[0].path / "policy.safetensors"
    written = first.stat().st_mtime_ns
    study = pg.study("CartPole-v1", ["reinforce", "a2c"], seeds=3, resume=True, **options)
    assert first.stat().st_mtime_ns == written
    assert [(cell.configuration, len(cell.finished)) for cell in study.cells] == [
        ("reinforce", 3),
        ("a2c", 3),
    ]
    # nothing is written if a resumed study is refused, not even what is new in it
    with pytest.raises(ValueError, match="num_envs was 4 and is now 2"):
        pg.study("CartPole-v1", ["ppo", "a2c"], seeds=5, resume=True, **options | {"num_envs": 2})
    assert pg.open_study(tmp_path / "x").configurations == ["reinforce", "a2c"]
    # a smaller study in the same folder leaves the rest as it is
    study = pg.study("CartPole-v1", "reinforce", seeds=[1], resume=True, **options)
    assert [(cell.configuration, cell.seeds) for cell in study.cells] == [
        ("a2c", [0, 1, 2]),
        ("reinforce", [0, 1, 2]),
    ]
    # more steps resume every run
    longer = pg.study("CartPole-v1", "a2c", seeds=2, resume=True, **options | {"steps": 1600})
    at_once = pg.train("CartPole-v1", "a2c", steps=1600, num_envs=4, seed=1)
    assert same_parameters(longer.cell("CartPole-v1", "a2c").runs[1].last_policy, at_once.last_policy)
    with pytest.raises(ValueError, match="num_envs was 4 and is now 2"):
        pg.study("CartPole-v1", "a2c", seeds=2, resume=True, **options | {"num_envs": 2})
    replaced = pg.study("CartPole-v1", "a2c", seeds=1, overwrite=True, **options)
    assert [cell.seeds for cell in replaced.cells] == [[0]]
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


class Fragile(gym.Env[Any, Any]):
    """Fails in the second episode if its seed is even."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)
    mended = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        if not Fragile.mended and self.np_random.random() < 0.0005:
            raise OSError("the harbor is frozen")
        return (
            self.np_random.uniform(-1, 1, 2).astype(np.float32),
            1.0,
            bool(self.np_random.random() < 0.1),
            False,
            {},
        )


def test_failures_are_recorded_with_their_traceback_while_the_rest_carries_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "x"
    options: dict[str, Any] = {"seeds": 4, "out": out, "parallel": "threads", "vectorize": "sync", **SMALL}
    wild = {"algorithm": "reinforce", "learning_rate": 3e38, "optimizer": "sgd", "max_grad_norm": None,
            "normalize_advantages": False}  # fmt: skip
    environments = {"fragile": Fragile, "Pendulum-v1": "Pendulum-v1"}
    study = pg.study(environments, {"a2c": "a2c", "wild": wild}, **options | {"steps": 1500})
    failed = study.cell("fragile", "a2c").failed
    assert 0 < len(failed) < 4
    assert study.cell("Pendulum-v1", "wild").failed == [0, 1, 2, 3]
    assert len(study.cell("Pendulum-v1", "a2c").finished) == 4
    assert study.missing == 0
    failure = study.cell("fragile", "a2c").failures[failed[0]]
    assert failure["error"] == "OSError: the harbor is frozen"
    assert "in step" in failure["traceback"]
    # runs that failed are tried again
    monkeypatch.setattr(Fragile, "mended", True)
    study = pg.study(environments, {"a2c": "a2c", "wild": wild}, resume=True, **options | {"steps": 1500})
    assert study.cell("fragile", "a2c").failed == []
    assert len(study.cell("fragile", "a2c").finished) == 4
    # a NaN would only come again
    assert study.cell("Pendulum-v1", "wild").failed == [0, 1, 2, 3]


def test_wrong_settings_are_refused_before_anything_is_trained_or_written(tmp_path: Path):
    out = tmp_path / "x"
    for arguments, settings, message in (
        (("CartPole-v1", "reinforc"), {}, "did you mean reinforce"),
        (("CartPole-v9", "a2c"), {}, "unknown environment"),
        (("CartPole-v1", "a2c"), {"vary": {"larning_rate": [1.0]}}, "did you mean learning_rate"),
        (("CartPole-v1", "a2c"), {"vary": {"learning_rate": []}}, "one or more values"),
        (("CartPole-v1", "a2c"), {"vary": {"seed": [1, 2]}}, "setting of the whole study"),
        (("CartPole-v1", ["a2c", "a2c"]), {}, "two configurations are called 'a2c'"),
        (([], "a2c"), {}, "one or more environments"),
        (("CartPole-v1", "a2c"), {"seeds": 0}, "seeds must be 1 or more"),
        (("CartPole-v1", "a2c"), {"seeds": [1, 1]}, "different numbers"),
        (("CartPole-v1", "a2c"), {"seeds": [1, 2], "seed": 3}, "leave it out"),
        (({"a": "CartPole-v1", "a b": "CartPole-v1"}, {"b c": "a2c", "c": "a2c"}), {}, "same name or folder"),
        (("CartPole-v1", {"a b": "a2c", "a_b": "a2c"}), {}, "same name or folder"),
        (("CartPole-v1", "a2c"), {"policy": pg.DiscretePolicy(4, 2, rng=np.random.default_rng(0))}, "own networks"),
        ((gym.make("CartPole-v1"), "a2c"), {}, "own environments"),
        (("CartPole-v1", "a2c"), {"episodes": -1}, "episodes must be 0 or more"),
        (("CartPole-v1", "a2c"), {"cores": 0}, "cores must be 1 or more"),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            pg.study(*arguments, out=out, **SMALL | settings)  # type: ignore[arg-type]
        assert not out.exists(), message
    with pytest.raises(TypeError, match="call the class"):
        pg.study("CartPole-v1", pg.A2C, out=out, **SMALL)
    for settings, message in (
        ({"nun_envs": 3}, "did you mean num_envs"),
        ({"learning_rate": 0.1}, "belongs to a configuration"),
        ({"seeds": "12"}, "a number of seeds, or a list"),
    ):
        with pytest.raises(TypeError, match=message):
            pg.study("CartPole-v1", "a2c", out=out, **settings)  # type: ignore[arg-type]
    assert not out.exists()


def test_a_run_or_seeds_are_not_continued_as_a_study(tmp_path: Path):
    pg.train("CartPole-v1", seeds=1, steps=300, out=tmp_path / "seeds")
    pg.train("CartPole-v1", steps=300, out=tmp_path / "run")
    for name in ("seeds", "run"):
        with pytest.raises(ValueError, match="not a study"):
            pg.study("CartPole-v1", seeds=1, out=tmp_path / name, resume=True, **SMALL)
    assert repr(pg.open_study(tmp_path / "seeds")).endswith("1 of 1 runs finished)")
    with pytest.raises(FileNotFoundError, match="use open_run"):
        pg.open_study(tmp_path / "run")
    with pytest.raises(FileNotFoundError, match="no study at"):
        pg.open_study(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError, match="Open one of its seeds"):
        pg.open_run(tmp_path / "seeds")


def test_settings_reach_whom_they_belong_to():
    one = Configuration(
        "x", "ppo", {"learning_rate": 0.5, "hidden": (8,), "num_envs": 3, "normalize_rewards": True}
    )
    experiment: Any = one.experiment("CartPole-v1", {"steps": 10})
    assert experiment.algorithm.learning_rate == 0.5
    assert experiment.settings.network.hidden == (8,)
    assert (experiment.settings.num_envs, experiment.settings.steps) == (3, 10)
    assert experiment.settings.normalization.normalize_rewards
    # what is left out is that of the preset
    preset = Configuration("x", "ppo", {}).experiment("CartPole-v1", {})
    assert preset.algorithm == pg.presets.preset_for("CartPole-v1", "ppo").algorithm
    shaped: Any = Configuration("x", "reinforce", {"gamma": 0.9}).experiment("MountainCarContinuous-v0", {})
    assert shaped.settings.shaping.gamma == 0.9


def test_names_of_configurations_and_environments():
    vary = {"learning_rate": [0.1, 0.2], "hidden": [(4, 4)]}
    assert list(configurations_by_name(["ppo", pg.A2C()], vary)) == [
        "ppo learning_rate=0.1", "ppo learning_rate=0.2", "a2c learning_rate=0.1", "a2c learning_rate=0.2",
    ]  # fmt: skip
    assert list(configurations_by_name({"algorithm": "ppo", "clip": 0.1}, {})) == ["ppo"]
    assert list(configurations_by_name({"mine": {"algorithm": "ppo"}, "theirs": "a2c"}, {})) == [
        "mine",
        "theirs",
    ]
    assert list(environments_by_name(["ale_py:ALE/Pong-v5", Fragile])) == ["ALE/Pong-v5", "Fragile"]
    assert varied(["a=1,2.5", "b=(1,2),(3,4)", "c_d=x,None"]) == {
        "a": [1, 2.5], "b": [(1, 2), (3, 4)], "c_d": ["x", None],
    }  # fmt: skip


KILLED = """
import policygrad as pg
pg.study(["CartPole-v1", "Acrobot-v1"], ["reinforce", "ppo"], seeds=3, steps={steps}, episodes=20,
         out={out!r}, resume=True, progress=False)
"""


@pytest.mark.long
@pytest.mark.parametrize("most", [3, pytest.param(10, marks=pytest.mark.slow)])
def test_a_study_that_is_killed_again_and_again_ends_like_one_that_was_not(tmp_path: Path, most: int):
    steps, code = 30_000, KILLED
    whole, killed = tmp_path / "whole", tmp_path / "killed"

    def start(out: Path) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code.format(steps=steps, out=str(out))])

    assert start(whole).wait() == 0
    rng, kills = random.Random(0), 0
    # how long a study takes depends on the machine, so kills are spread over the runs that it completes
    while kills < most:
        process = start(killed)
        before = len(list(killed.rglob("metrics.jsonl")))
        while process.poll() is None and len(list(killed.rglob("metrics.jsonl"))) <= min(before, 11):
            time.sleep(0.01)
        time.sleep(rng.uniform(0.0, 0.2))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
        if process.returncode == 0:
            break
    assert kills >= most // 2
    assert start(killed).wait() == 0
    expected, found = bits(whole), bits(killed)
    assert expected.keys() == found.keys()
    for name in expected:
        assert expected[name] == found[name], name


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGTERM")
def test_sigterm_saves_every_run_and_the_same_command_completes_the_study(tmp_path: Path):
    out = tmp_path / "x"
    command = [sys.executable, "-m", "policygrad", "study", "CartPole-v1", "--algos", "ppo", "--seeds", "3"]
    command += ["--steps", "60000", "--cores", "1", "--episodes", "4", "--out", str(out)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    while not list(out.rglob("metrics.jsonl")):
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate()
    assert process.returncode == 128 + signal.SIGTERM, errors
    assert pg.open_study(out).missing > 0
    done = subprocess.run([*command, "--resume"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert pg.open_study(out).missing == 0


def test_the_command_reports_failures_by_its_status(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    small = ["--steps", "300", "--seeds", "1", "--episodes", "2"]
    assert main(["study", "CartPole-v1", "--algos", "a2c", *small, "--out", str(tmp_path / "a")]) == 0
    assert "0 of 1" in capsys.readouterr().out
    wild = [
        "--vary",
        "learning_rate=3e38",
        "optimizer=sgd",
        "max_grad_norm=None",
        "normalize_advantages=False",
    ]
    assert main(["study", "Pendulum-v1", *small, "--steps", "4000", *wild, "--out", str(tmp_path / "b")]) == 1
    assert "failed: a NaN or an infinity appeared" in capsys.readouterr().err
    assert main(["study", "CartPole-v1", "--algo", "a2c"]) == 2
    assert "did you mean --algos" in capsys.readouterr().err
    assert main(["study", "CartPole-v1", "--learning-rate", "0.1"]) == 2
    assert "write --vary learning_rate=VALUE" in capsys.readouterr().err


def test_runs_in_processes_and_in_threads_are_the_same(tmp_path: Path):
    options: dict[str, Any] = {"seeds": 2, "cores": 2, **SMALL}
    for parallel in ("threads", "processes"):
        pg.study(["CartPole-v1", "Acrobot-v1"], "a2c", out=tmp_path / parallel, parallel=parallel, **options)
    assert bits(tmp_path / "threads") == bits(tmp_path / "processes")


def test_the_time_left_follows_from_the_measured_speed_of_each_experiment():
    fast, slow = (Configuration("x").experiment("CartPole-v1", {"steps": 100}) for _ in range(2))
    jobs = [
        Job(experiment, seed, name=name)
        for name, experiment in (("fast", fast), ("slow", slow))
        for seed in (0, 1)
    ]
    left = TimeLeft(jobs, at_a_time=1)
    assert np.isnan(left.seconds(0.0))
    # a run that failed at once says nothing
    failed = TimeLeft(jobs, at_a_time=1)
    failed.begin(jobs[0], 0.0)
    failed.end(jobs[0], 0.1, finished=False)
    assert np.isnan(failed.seconds(0.1))
    left.begin(jobs[0], 0.0)
    left.end(jobs[0], 1.0)
    # nothing is known about the slow one yet
    assert left.seconds(1.0) == 3.0
    # what happens before the first row says nothing about the speed
    left.begin(jobs[2], 1.0)
    left.update(jobs[2], 10, 2.0)
    left.update(jobs[2], 50, 6.0)
    # 40 % took 4 seconds, so half of it and one whole run of it are left, and one of the fast
    assert left.seconds(6.0) == 5.0 + 10.0 + 1.0
    assert left.done == 0.375
    assert time_in_words(left.seconds(6.0)) == "16 s"


class Broken(gym.Env[Any, Any]):
    """Fails in its first step."""

    observation_space = gym.spaces.Box(-1, 1, (2,), np.float32)
    action_space = gym.spaces.Discrete(2)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        return np.zeros(2, np.float32), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        raise OSError("the rudder is gone")


def test_a_study_that_only_fails_is_not_hidden_behind_the_one_that_it_replaces(tmp_path: Path):
    options: dict[str, Any] = {"seeds": 2, "out": tmp_path / "x", **SMALL}
    pg.study("CartPole-v1", "a2c", **options)
    study = pg.study(Broken, "a2c", overwrite=True, parallel="threads", vectorize="sync", **options)
    assert study.environments == ["Broken"]
    assert study.cells[0].failed == [0, 1]
    assert study.missing == 0
    # the earlier one is kept aside
    assert len([path for path in tmp_path.iterdir() if path.name.startswith(".x.replaced")]) == 1


def test_a_run_whose_scoring_fails_is_failed_and_not_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(*_: Any) -> None:
        raise OSError("no judge is present")

    monkeypatch.setattr("policygrad.scheduling.job.score", refuse)
    study = pg.study("CartPole-v1", "a2c", seeds=2, parallel="threads", out=tmp_path / "x", **SMALL)
    cell = study.cells[0]
    assert (cell.failed, cell.finished, study.missing) == ([0, 1], [], 0)
    monkeypatch.undo()
    study = pg.study("CartPole-v1", "a2c", seeds=2, resume=True, out=tmp_path / "x", **SMALL)
    assert (study.cells[0].failed, len(study.cells[0].scores("greedy"))) == ([], 2)


EXTENDED = """
import policygrad as pg
pg.study("CartPole-v1", "a2c", seeds=1, steps=3_000_000, num_envs=4, episodes=5, out={out!r}, resume=True)
"""


def test_a_finished_run_that_is_killed_while_it_is_extended_is_not_finished(tmp_path: Path):
    options: dict[str, Any] = {"seeds": 1, "out": tmp_path / "x", "num_envs": 4, "episodes": 5}
    pg.study("CartPole-v1", "a2c", steps=1200, **options)
    assert pg.open_study(tmp_path / "x").missing == 0
    metrics = tmp_path / "x" / "CartPole-v1" / "a2c" / "seed-0" / "metrics.jsonl"
    before = metrics.stat().st_size
    process = subprocess.Popen([sys.executable, "-c", EXTENDED.format(out=str(tmp_path / "x"))])
    while process.poll() is None and metrics.stat().st_size <= before:
        time.sleep(0.01)
    process.kill()
    process.wait()
    assert pg.open_study(tmp_path / "x").missing == 1
    with pytest.raises(ValueError, match="smaller one of 1,200"):
        pg.study("CartPole-v1", "a2c", steps=1200, resume=True, **options)


@pytest.mark.parametrize("keep_going", [True, False])
def test_a_scheduler_trains_every_job_or_ends_after_the_first_failure(keep_going: bool):
    good = Configuration("x", "a2c").experiment("CartPole-v1", {"steps": 300})
    bad = Configuration("x", "a2c").experiment(Broken, {"steps": 300, "vectorize": "sync"})
    jobs = [Job(experiment, seed) for seed, experiment in enumerate((bad, good, good))]
    outcomes = LocalScheduler(1).outcomes(
        jobs, lambda job: Silent(), Interruption(print), keep_going=keep_going
    )
    found = {outcome.job.seed: outcome for outcome in outcomes}
    assert isinstance(found[0].error, OSError)
    for seed in (1, 2):
        assert (found[seed].run is not None) == keep_going
        assert found[seed].error is None
    assert (
        list(LocalScheduler(2).outcomes([], lambda job: Silent(), Interruption(print), keep_going=True)) == []
    )
