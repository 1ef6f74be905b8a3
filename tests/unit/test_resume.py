"""An interrupted run that is resumed is bit-identical to an uninterrupted one."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from tensorboardX.proto.event_pb2 import SessionLog

import policygrad as pg
from policygrad.cli import main
from policygrad.runs import checkpoint
from policygrad.runs.experiment import Experiment
from policygrad.runs.folder import RunFolder
from policygrad.runs.running import run_experiment
from policygrad.training import Training
from tests.helpers import tensorboard_events

NORMALIZED = pg.Normalization(normalize_observations=True, normalize_rewards=True)
SMALL: dict[str, Any] = {"network": pg.Network(hidden=(8,)), "num_envs": 4, "seed": 5, "progress": False}
ALGORITHMS: dict[str, tuple[str, Any, int]] = {
    "reinforce": ("CartPole-v1", pg.Reinforce(learning_rate_end=0.0), 4_000),
    "actor-critic with traces": ("CartPole-v1", pg.ActorCritic(policy_trace=0.8, value_trace=0.8), 1_200),
    "a2c": ("CartPole-v1", pg.A2C(), 2_000),
    "ppo with an adapted penalty": (
        "Pendulum-v1",
        pg.PPO(
            horizon=50, epochs=3, minibatch_size=50, clip=None, kl_penalty=1.0, kl_penalty_target=0.01,
            learning_rate_end=0.0,
        ),
        3_000,
    ),
    "trpo": ("CartPole-v1", pg.TRPO(horizon=50), 2_000),
}  # fmt: skip


class Cut(Exception):  # noqa: N818
    """Stands for a machine that was switched off."""


def cut_after(monkeypatch: pytest.MonkeyPatch, steps: int) -> None:
    """Make a training end in the middle of its first iteration after `steps`."""

    def cutting(method: Any) -> Any:
        def iteration(self: Training, argument: Any) -> Any:
            self.pause_at = min(self.pause_at, steps)
            if self.used >= steps:
                # the rollout has been collected, so seeds and noise are ahead of the checkpoint
                self._algorithm.collect(self._collector)
                raise Cut
            return method(self, argument)

        return iteration

    for name in ("_iteration", "_iteration_of"):
        monkeypatch.setattr(Training, name, cutting(Training.__dict__[name]))
    monkeypatch.setattr(RunFolder, "save_interval", 0.0)


def both_ways(
    monkeypatch: pytest.MonkeyPatch, folder: Path, env: Any, algorithm: Any, steps: int, **settings: Any
) -> tuple[pg.Run, pg.Run]:
    """Return an uninterrupted run, and one that was cut off halfway and resumed."""
    settings = SMALL | {"steps": steps} | settings
    whole = pg.train(env, algorithm, **settings)
    with monkeypatch.context() as patch:
        cut_after(patch, steps // 2)
        with pytest.raises(Cut):
            pg.train(env, algorithm, out=folder, **settings)
    return whole, pg.train(env, algorithm, out=folder, resume=True, **settings)


def same(a: pg.Policy, b: pg.Policy) -> bool:
    return all(torch.equal(tensor, b.state_dict()[name]) for name, tensor in a.state_dict().items())


def assert_same(whole: pg.Run, resumed: pg.Run) -> None:
    assert same(whole.policy, resumed.policy)
    assert same(whole.last_policy, resumed.last_policy)
    assert whole.episode_returns.tolist() == resumed.episode_returns.tolist()
    assert whole.episode_steps.tolist() == resumed.episode_steps.tolist()
    assert (whole.best_mean, whole.solved_at) == (resumed.best_mean, resumed.solved_at)
    assert list(whole.history) == list(resumed.history)
    for name, column in whole.history.items():
        if name != "seconds":
            np.testing.assert_array_equal(column, resumed.history[name], err_msg=name)


@pytest.mark.long
@pytest.mark.parametrize("engine", ["fused", "autograd"])
@pytest.mark.parametrize("name", ALGORITHMS)
def test_a_resumed_run_is_bit_identical_for_every_algorithm(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str, engine: Any
):
    """A resumed run must continue with adapted coefficients, such as a KL penalty, and not with the initial ones."""
    env, algorithm, steps = ALGORITHMS[name]
    whole, resumed = both_ways(
        monkeypatch, tmp_path / "run", env, algorithm, steps, engine=engine, normalization=NORMALIZED
    )
    assert_same(whole, resumed)
    if "penalty" in name:
        # the penalty was adapted both before and after the cut
        assert len(set(whole.history["kl_penalty"])) > 2
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows] == whole.history["steps"].tolist()


def network(**settings: Any) -> dict[str, Any]:
    return {"network": pg.Network(hidden=(8,), **settings)}


WAYS: dict[str, tuple[str, Any, int, dict[str, Any]]] = {
    "npg": ("CartPole-v1", pg.NaturalGradient(horizon=50), 2_000, {}),
    "v-trace": ("CartPole-v1", pg.A2C(estimator="v-trace", updates=2), 1_000, {}),
    "critic q": ("CartPole-v1", pg.ActorCritic(critic="q"), 600, {}),
    "a shared trunk": ("CartPole-v1", pg.PPO(horizon=50, epochs=2), 2_000, network(shared=True)),
    "squashed": ("Pendulum-v1", pg.A2C(), 1_000, network(distribution="squashed")),
    "beta": ("Pendulum-v1", pg.A2C(), 1_000, network(distribution="beta")),
    # 5 steps per update: the noise is held from one update to the next
    "gsde": ("Pendulum-v1", pg.A2C(horizon=5), 1_000, network(distribution="gsde", sde_period=4)),
    "shaping": (
        "MountainCar-v0", pg.A2C(horizon=30), 4_000,
        {"shaping": pg.PotentialShaping(lambda observation: observation[..., 0], gamma=0.99)},
    ),
    "two cores": ("CartPole-v1", pg.Reinforce(), 3_000, {"cores": 2}),
}  # fmt: skip


@pytest.mark.parametrize("name", WAYS)
def test_a_resumed_run_is_bit_identical_for_other_settings(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
):
    env, algorithm, steps, settings = WAYS[name]
    assert_same(*both_ways(monkeypatch, tmp_path / "run", env, algorithm, steps, **settings))


def test_the_best_policy_may_lie_before_the_cut(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The run hardly learns, and with this seed its best hundred returns come before the cut."""
    algorithm = pg.Reinforce(learning_rate=1e-9, value_learning_rate=1e-9)
    whole, resumed = both_ways(monkeypatch, tmp_path / "run", "CartPole-v1", algorithm, 12_000, seed=9)
    means, full = whole.history["return_100"], whole.history["episodes"] >= 100
    best = whole.history["steps"][full][means[full].argmax()]
    assert whole.history["steps"][full][0] < best < 6_000
    assert_same(whole, resumed)


@pytest.mark.parametrize("optimizer", ["rmsprop", "sgd"])
def test_every_optimizer_is_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, optimizer: Any):
    for engine in ("fused", "autograd"):
        algorithm = pg.Reinforce(optimizer=optimizer, learning_rate=0.001)
        assert_same(
            *both_ways(monkeypatch, tmp_path / engine, "CartPole-v1", algorithm, 2_000, engine=engine)
        )


def test_whole_episodes_in_gymnasium_are_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    runs = both_ways(
        monkeypatch,
        tmp_path / "run",
        "CartPole-v1",
        pg.Reinforce(),
        2_000,
        backend="gymnasium",
        eval_every=500,
    )
    assert_same(*runs)
    assert np.isfinite(runs[0].history["eval_return"]).any()


def test_episodes_that_cannot_be_saved_start_anew_with_a_message(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    whole, resumed = both_ways(
        monkeypatch, tmp_path / "run", "CartPole-v1", pg.PPO(horizon=16), 2_000, backend="gymnasium", progress=True
    )  # fmt: skip
    assert "new ones begin" in capsys.readouterr().err
    assert whole.steps - 64 < resumed.steps < whole.steps + 64
    # no return mixes two halves of different episodes
    assert all(value == int(value) and value >= 8 for value in resumed.episode_returns)


def test_a_finished_run_continues_with_a_larger_budget(tmp_path: Path):
    first = pg.train("CartPole-v1", pg.A2C(), out=tmp_path / "run", steps=1_000, **SMALL)
    more = pg.train("CartPole-v1", pg.A2C(), out=tmp_path / "run", steps=2_000, resume=True, **SMALL)
    whole = pg.train("CartPole-v1", pg.A2C(), steps=2_000, **SMALL)
    # the first budget ended a row of the history early; everything else is the same
    assert same(whole.last_policy, more.last_policy)
    assert whole.episode_returns.tolist() == more.episode_returns.tolist()
    assert more.episode_returns[: len(first.episodes)].tolist() == first.episode_returns.tolist()
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    assert len(manifest["before"]) == 1
    assert json.loads((tmp_path / "run" / "config.json").read_text())["steps"] == 2_000
    again = pg.train("CartPole-v1", pg.A2C(), out=tmp_path / "run", steps=2_000, resume=True, **SMALL)
    assert_same(more, again)


def test_resume_starts_a_run_if_there_is_none(tmp_path: Path):
    run = pg.train("CartPole-v1", pg.A2C(), out=tmp_path / "run", steps=500, resume=True, **SMALL)
    assert run.steps >= 500


def test_a_run_that_ended_before_its_first_checkpoint_starts_anew(tmp_path: Path):
    place, options = tmp_path / "run", SMALL | {"steps": 500}
    whole = pg.train("CartPole-v1", pg.A2C(), out=place, **options)
    (place / checkpoint.FILE_NAME).unlink()
    (place / "metrics.jsonl").write_text("")
    resumed = pg.train("CartPole-v1", pg.A2C(), out=place, resume=True, **options)
    assert_same(whole, resumed)
    # the same holds for a run that had written only its first file, or its first two
    for name in ("config.json", "metrics.jsonl"):
        for file in place.iterdir():
            if file.name not in ("manifest.json", "config.json") or file.name == name:
                file.unlink()
        assert_same(whole, pg.train("CartPole-v1", pg.A2C(), out=place, resume=True, **options))
    assert not list(tmp_path.glob(".run*"))


def test_a_run_can_be_resumed_before_its_first_update(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    options = SMALL | {"steps": 500, "out": tmp_path / "run"}
    with monkeypatch.context() as patch:
        cut_after(patch, 0)
        with pytest.raises(Cut):
            pg.train("CartPole-v1", pg.A2C(), **options)
    begun = checkpoint.load_checkpoint(tmp_path / "run" / checkpoint.FILE_NAME)
    assert begun["run"]["training"]["training"]["counts"]["used"] == 0
    resumed = pg.train("CartPole-v1", pg.A2C(), resume=True, **options)
    assert_same(pg.train("CartPole-v1", pg.A2C(), **options | {"out": None}), resumed)


def test_a_run_with_a_missing_or_damaged_file_is_not_changed(tmp_path: Path):
    place = tmp_path / "run"
    options = SMALL | {"steps": 1_000, "out": place, "resume": True}
    pg.train("CartPole-v1", pg.A2C(), **options)
    metrics, config = (place / "metrics.jsonl").read_text(), (place / "config.json").read_bytes()
    lines = metrics.splitlines(keepends=True)
    for hole in (lines[:2], [*lines[:-1], lines[-1][:9]], ["{}}\n", *lines[1:]], []):
        (place / "metrics.jsonl").write_text("".join(hole))
        with pytest.raises(pg.CheckpointError, match=r"metrics\.jsonl"):
            pg.train("CartPole-v1", pg.A2C(), **options)
        assert (place / "metrics.jsonl").read_text() == "".join(hole)
    (place / "metrics.jsonl").unlink()
    with pytest.raises(pg.CheckpointError, match="missing"):
        pg.train("CartPole-v1", pg.A2C(), **options)
    (place / "metrics.jsonl").write_text(metrics)
    (place / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"lost its config\.json"):
        pg.train("CartPole-v1", pg.A2C(), **options)
    (place / "config.json").write_bytes(config[:-9])
    with pytest.raises(pg.CheckpointError, match=r"config\.json is damaged"):
        pg.train("CartPole-v1", pg.A2C(), **options)
    (place / "config.json").write_bytes(config)
    manifest = (place / "manifest.json").read_bytes()
    for damaged in (b"", b"[]", manifest[:-9]):
        (place / "manifest.json").write_bytes(damaged)
        with pytest.raises(
            FileExistsError, match=r"manifest\.json is damaged.* Restore it, or choose another"
        ):
            pg.train("CartPole-v1", pg.A2C(), **options)
    (place / "manifest.json").write_bytes(manifest)
    assert (place / checkpoint.FILE_NAME).exists()
    pg.train("CartPole-v1", pg.A2C(), **options)


def test_the_evaluation_interval_may_change(tmp_path: Path):
    options = SMALL | {"out": tmp_path / "run", "eval_episodes": 2}
    pg.train("CartPole-v1", pg.A2C(), steps=1_000, eval_every=100_000, **options)
    more = pg.train("CartPole-v1", pg.A2C(), steps=3_000, eval_every=500, resume=True, **options)
    assert np.isfinite(more.history["eval_return"]).sum() >= 4


def test_a_message_says_that_envpool_starts_new_episodes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    pytest.importorskip("envpool")
    options = SMALL | {"out": tmp_path / "run", "backend": "envpool", "cores": 1, "progress": True}
    pg.train("CartPole-v1", pg.Reinforce(), steps=500, **options)
    assert "new ones begin" not in capsys.readouterr().err
    pg.train("CartPole-v1", pg.Reinforce(), steps=1_000, resume=True, **options)
    assert "new ones begin" in capsys.readouterr().err


def test_a_solved_run_is_not_trained_further(tmp_path: Path):
    options = SMALL | {"steps": 50_000, "out": tmp_path / "run", "stop_at": 30.0}
    first = pg.train("CartPole-v1", pg.A2C(), **options)
    assert first.ended == "stop_at"
    again = pg.train("CartPole-v1", pg.A2C(), resume=True, **options)
    assert again.ended == "stop_at"
    assert_same(first, again)
    # by a higher threshold the run was not solved, so it continues
    higher = pg.train("CartPole-v1", pg.A2C(), resume=True, **options | {"stop_at": 40.0})
    assert higher.steps > first.steps
    assert higher.solved_at == higher.steps


def test_several_seeds_are_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    settings = SMALL | {"steps": 2_000, "seeds": 3}
    whole = pg.train("CartPole-v1", pg.A2C(), **settings)
    with monkeypatch.context() as patch:
        cut_after(patch, 1_000)
        with pytest.raises(Cut):
            pg.train("CartPole-v1", pg.A2C(), out=tmp_path / "runs", cores=1, **settings)
    # the first seed was cut off, and the others have not started
    assert (tmp_path / "runs" / "seed-5").exists()
    assert not (tmp_path / "runs" / "seed-6").exists()
    resumed = pg.train("CartPole-v1", pg.A2C(), out=tmp_path / "runs", resume=True, **settings)
    for a, b in zip(whole, resumed, strict=True):
        assert_same(a, b)
    summary = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert list(summary["seeds"]) == ["5", "6", "7"]
    assert all(seed["ended"] == "budget" for seed in summary["seeds"].values())
    # each seed can also be resumed alone
    alone = SMALL | {"steps": 3_000, "seed": 6}
    more = pg.train("CartPole-v1", pg.A2C(), out=tmp_path / "runs" / "seed-6", resume=True, **alone)
    assert_same(pg.train("CartPole-v1", pg.A2C(), **alone), more)


def test_seeds_that_were_not_resumed_yet_stay_in_the_summary(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    settings = SMALL | {"seeds": 3, "cores": 1, "out": tmp_path / "runs"}
    pg.train("CartPole-v1", pg.A2C(), steps=600, **settings)
    before = json.loads((tmp_path / "runs" / "summary.json").read_text())
    picture = (tmp_path / "runs" / "curves.png").read_bytes()

    def run(experiment: Experiment, seed: int, *rest: Any, **options: Any) -> pg.Run:
        if seed == 6:
            raise Cut
        return run_experiment(experiment, seed, *rest, **options)

    monkeypatch.setattr("policygrad.scheduling.job.run_experiment", run)
    with pytest.raises(Cut):
        pg.train("CartPole-v1", pg.A2C(), steps=1_200, resume=True, **settings)
    after = json.loads((tmp_path / "runs" / "summary.json").read_text())
    assert list(after["seeds"]) == ["5", "6", "7"]
    assert after["seeds"]["5"]["steps"] >= 1_200
    assert [after["seeds"][seed] for seed in ("6", "7")] == [before["seeds"][seed] for seed in ("6", "7")]
    assert (tmp_path / "runs" / "curves.png").read_bytes() == picture


def test_seeds_can_be_added(tmp_path: Path):
    settings = SMALL | {"steps": 600, "out": tmp_path / "runs"}
    first = pg.train("CartPole-v1", pg.A2C(), seeds=2, resume=True, **settings)
    kept = (tmp_path / "runs" / "seed-6" / "metrics.jsonl").read_bytes()
    more = pg.train("CartPole-v1", pg.A2C(), seeds=3, resume=True, **settings)
    assert [run.seed for run in more] == [5, 6, 7]
    for a, b in zip(first, more[:2], strict=True):
        assert_same(a, b)
    assert (tmp_path / "runs" / "seed-6" / "metrics.jsonl").read_bytes() == kept
    assert json.loads((tmp_path / "runs" / "config.json").read_text())["seeds"] == [5, 6, 7]
    for wrong, words in (
        ({"seeds": 2}, r"seeds was \[5, 6, 7\] and is now \[5, 6\]"),
        ({"seeds": 3, "seed": 6}, "seed was 5 and is now 6"),
        ({}, r"seeds was \[5, 6, 7\] and is now None"),
    ):
        with pytest.raises(ValueError, match=words):
            pg.train("CartPole-v1", pg.A2C(), resume=True, **settings | wrong)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").write_text("no run's")
    for seeds in (None, 2):
        with pytest.raises(FileExistsError, match="is not a run folder"):
            pg.train(
                "CartPole-v1", pg.A2C(), seeds=seeds, resume=True, **settings | {"out": tmp_path / "other"}
            )


def test_other_settings_and_damaged_checkpoints_are_refused(tmp_path: Path):
    place = tmp_path / "run"
    options = SMALL | {"steps": 500, "out": place}
    pg.train("CartPole-v1", pg.A2C(), **options)
    before = {file.name: file.read_bytes() for file in place.iterdir()}
    with pytest.raises(
        ValueError,
        match=r"different settings: algorithm\.gamma was 0\.99 and is now 0\.98\. Use the original",
    ):
        pg.train("CartPole-v1", pg.A2C(gamma=0.98), resume=True, **options)
    with pytest.raises(ValueError, match="started with different settings: seed was 5 and is now 6"):
        pg.train("CartPole-v1", pg.A2C(), resume=True, **options | {"seed": 6})
    for wrong in ({"out": None}, {"overwrite": True}):
        with pytest.raises(
            ValueError, match=r"resume \(--resume\) continues the run in a folder\. Name the folder with out"
        ):
            pg.train("CartPole-v1", pg.A2C(), resume=True, **options | wrong)
    with pytest.raises(
        ValueError, match=r"started with different settings: seeds was None and is now \[5, 6\]"
    ):
        pg.train("CartPole-v1", pg.A2C(), resume=True, seeds=2, **options)
    assert {file.name: file.read_bytes() for file in place.iterdir()} == before
    file = place / checkpoint.FILE_NAME
    whole = file.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-3] + bytes(3 * [255]), b"", b"no checkpoint"):
        file.write_bytes(damaged)
        with pytest.raises(pg.CheckpointError):
            pg.train("CartPole-v1", pg.A2C(), resume=True, **options)
    file.unlink()
    with pytest.raises(FileNotFoundError, match="no checkpoint"):
        pg.train("CartPole-v1", pg.A2C(), resume=True, **options)


def test_tensorboard_is_told_the_step_at_which_a_run_resumes(tmp_path: Path):
    """TensorBoard then drops later steps of earlier files (its `purge_orphaned_data`)."""
    options = SMALL | {"out": tmp_path / "run"}
    pg.train("CartPole-v1", pg.A2C(), steps=500, **options)
    first = pg.train("CartPole-v1", pg.A2C(), steps=1_000, resume=True, **options)
    old, new = sorted((tmp_path / "run").glob("events.out.tfevents*"))
    assert not any(event.session_log.status for event in tensorboard_events(old))
    start = next(event for event in tensorboard_events(new) if event.session_log.status)
    last = max(event.step for event in tensorboard_events(old))
    assert (start.session_log.status, start.step) == (SessionLog.START, last + 1)
    assert max(event.step for event in tensorboard_events(new)) == first.steps


def test_a_run_is_resumed_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    command = ["train", "CartPole-v1", "--out", str(tmp_path / "run"), "--episodes", "5"]
    assert main([*command, "--steps", "1000"]) == 0
    assert main([*command, "--steps", "2000", "--resume"]) == 0
    assert "resuming the run at" in capsys.readouterr().err
    assert main([*command, "--steps", "2000", "--resume", "--gamma", "0.5"]) == 2
    assert "started with different settings" in capsys.readouterr().err


def test_a_run_on_a_factory_is_resumed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    def make():
        return gym.make("CartPole-v1")

    assert_same(*both_ways(monkeypatch, tmp_path / "run", make, pg.Reinforce(), 1_500, num_envs=2))


def test_runs_of_earlier_versions_with_other_names_of_settings_are_resumed(tmp_path: Path):
    """What is now `eval_every` was `test_every`."""
    options: dict[str, Any] = {
        "eval_every": 200,
        "eval_episodes": 2,
        "progress": False,
        "out": tmp_path / "run",
    }
    pg.train("CartPole-v1", pg.A2C(), steps=400, **options)
    config = tmp_path / "run" / "config.json"
    text = (
        config.read_text()
        .replace('"eval_every"', '"test_every"')
        .replace('"eval_episodes"', '"test_episodes"')
    )
    config.write_text(text)
    run = pg.train("CartPole-v1", pg.A2C(), steps=800, resume=True, **options)
    assert run.steps >= 800
    assert np.isfinite(run.history["eval_return"]).sum() >= 3
