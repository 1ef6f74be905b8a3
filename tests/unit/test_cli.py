"""The command line: training, evaluation, help, metrics and errors in one line."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

import policygrad as pg
from policygrad.cli import COMMANDS, main
from policygrad.metrics import METRICS, register
from tests.helpers import Countdown

QUICK = ["--steps", "1500", "--episodes", "5"]


def test_a_policy_is_trained_and_evaluated(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    assert (
        main(["train", "CartPole-v1", "--algo", "reinforce", "--seed", "3", "--out", str(out), *QUICK]) == 0
    )
    shown = capsys.readouterr()
    for words in ("steps/s", "greedy return, 5 episodes", "sampled return", "95 %"):
        assert words in shown.out
    # a long path is wrapped, and still complete
    assert str(out / "policy.safetensors") in re.sub(r"[\s│]", "", shown.out)
    assert "engine: fused" in shown.err
    assert main(["evaluate", str(out), "--episodes", "7", "--policy", "greedy"]) == 0
    shown = capsys.readouterr().out
    assert "greedy return, 7 episodes" in shown
    assert "sampled" not in shown
    mean = pg.evaluate(pg.load(out), "CartPole-v1", 7, seed=0).mean
    assert f"{mean:.1f}" in shown
    assert main(["evaluate", str(out / "last_policy.safetensors"), "--episodes", "2"]) == 0


def test_the_command_line_and_python_give_the_same_run(tmp_path: Path):
    out = tmp_path / "run"
    main(["train", "MountainCarContinuous-v0", "--out", str(out), "--num-envs", "2", *QUICK])
    run = pg.train("MountainCarContinuous-v0", "reinforce", num_envs=2, steps=1500)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    np.testing.assert_array_equal([row["shaped_return"] for row in rows], run.history["shaped_return"])


def test_options_change_the_settings_of_the_preset(tmp_path: Path):
    out = tmp_path / "run"
    options = [
        "--baseline",
        "leave-one-out",
        "--learning-rate-end",
        "None",
        "--hidden",
        "8",
        "--gamma",
        "0.9",
    ]
    assert main(["train", "CartPole-v1", "--out", str(out), *options, *QUICK]) == 0
    config = json.loads((out / "config.json").read_text())
    assert config["algorithm"]["baseline"] == "leave-one-out"
    assert config["algorithm"]["learning_rate_end"] is None
    assert config["algorithm"]["learning_rate"] == 0.005  # from the preset
    assert config["network"]["hidden"] == [8]


def test_help_shows_the_values_of_the_preset(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train", "CartPole-v1", "--help"])
    shown = re.sub(r"[\s│]+", " ", capsys.readouterr().out)
    assert "--learning-rate FLOAT Learning rate of the policy optimizer. (default: 0.005)" in shown


def test_potential_shaping_uses_the_given_discount(tmp_path: Path):
    out = tmp_path / "run"
    main(
        ["train", "MountainCarContinuous-v0", "--gamma", "0.9", "--num-envs", "1", "--out", str(out), *QUICK]
    )
    config = json.loads((out / "config.json").read_text())
    assert config["algorithm"]["gamma"] == 0.9
    assert config["shaping"].endswith("gamma 0.9")


def test_evaluating_a_run_on_a_factory_needs_the_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    pg.train(lambda: gym.make("CartPole-v1"), pg.Reinforce(), steps=500, out=out)
    assert main(["evaluate", str(out)]) == 2
    assert "give --env" in capsys.readouterr().err
    assert main(["evaluate", str(out), "--env", "CartPole-v1", "--episodes", "2"]) == 0
    (out / "config.json").write_text("{}")
    assert main(["evaluate", str(out)]) == 2
    assert "is damaged: give --env" in capsys.readouterr().err


def test_shaping_can_be_given_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "my_shaping.py").write_text(
        "def double(r, s, s2, terminated, truncated):\n    return 2 * r\n"
    )
    monkeypatch.chdir(tmp_path)
    assert main(["train", "CartPole-v1", "--shaping", "my_shaping:double", "--out", "run", *QUICK]) == 0
    row = json.loads(Path("run/metrics.jsonl").read_text().splitlines()[0])
    assert row["shaped_return"] == 2 * row["return"]
    (tmp_path / "potentials.py").write_text(
        "import policygrad as pg\n\n\n@pg.CompiledPotential\ndef height(x):\n    return x[0]\n\n\n"
        "shaping = pg.PotentialShaping(height)\n"
    )
    assert (
        main(["train", "MountainCar-v0", "--shaping", "potentials:shaping", "--out", "by potential", *QUICK])
        == 0
    )
    assert "potentials:height" in json.loads(Path("by potential/config.json").read_text())["shaping"]
    assert main(["train", "MountainCar-v0", "--shaping", "potentials:height"]) == 2
    assert "write shaping=PotentialShaping(potential)" in capsys.readouterr().err
    for wrong in ("double", "nowhere:double", "my_shaping:triple"):
        assert main(["train", "CartPole-v1", "--shaping", wrong]) == 2
        error = capsys.readouterr().err
        assert "--shaping" in error
        assert wrong in error
    assert main(["train", "MountainCarContinuous-v0", "--shaping", "none", "--out", "plain", *QUICK]) == 0
    assert json.loads(Path("plain/config.json").read_text())["shaping"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "CartPol-v1"], "did you mean CartPole-v1"),
        (["train", "CartPole-v1", "--algo", "reenforce"], "did you mean reinforce"),
        (["train", "CartPole-v1", "--steps", "0"], "steps must be 1 or more"),
        (["train", "CartPole-v1", "--gamma", "2"], "gamma must be in [0, 1]"),
        (["trian", "CartPole-v1"], "did you mean train"),
        (["evaluate", "nowhere"], "no policy at nowhere"),
        (["prove", "--repeats", "1"], "must be 100 or more"),
        (["prove", "--picture", "nowhere/p.png"], "the folder nowhere does not exist"),
        (["proof", "--json", "nowhere/p.json"], "the folder nowhere does not exist"),
        (["train", "CartPole-v1", "--episodes", "0"], "episodes must be 1 or more"),
        (["metrics", "all"], "all is not a run folder"),
        (["train", "CartPole-v1", "--num-envs", "0"], "policygrad: --num-envs must be 1 or more"),
        (["train", "CartPole-v1", "--gamma", "2"], "policygrad: --gamma must be in"),
        (["train", "CartPole-v1", "--clip", "0.1"], "--clip is a setting of ppo"),
        (["train", "CartPole-v1", "--max-kl", "0.1"], "--max-kl is a setting of npg, trpo"),
        (["train", "CartPole-v1", "--gae-lambda", "1"], "--gae-lambda is a setting of a2c, npg, trpo, ppo"),
        (["train", "CartPole-v1", "--lr", "0.1"], "did you mean --learning-rate?"),
        (["train", "CartPole-v1", "--total-timesteps", "9"], "did you mean --steps?"),
        (["train", "CartPole-v1", "--learning-rte=0.1"], "did you mean --learning-rate?"),
        (["train", "CartPole-v1", "--zzz"], "unknown option --zzz: --help lists all options"),
        (["evaluate", "run", "--episode", "3"], "did you mean --episodes?"),
    ],
)
def test_invalid_input_is_reported_in_one_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
):
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_policy_is_not_evaluated_on_another_kind_of_environment(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    main(["train", "CartPole-v1", "--out", str(out), *QUICK])
    assert main(["evaluate", str(out), "--env", "Acrobot-v1"]) == 2
    assert "was made for observations of Box(4,); Acrobot-v1 has Box(6,). Eval" in capsys.readouterr().err
    assert main(["train", "CartPole-v1", "--out", str(out), *QUICK]) == 2
    assert "already contains a run" in capsys.readouterr().err


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]):
    for arguments in ([], ["--help"]):
        assert main(arguments) == 0
        text = capsys.readouterr().out
        assert all(f"policygrad {name}" in text for name in COMMANDS)
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == pg.__version__


def test_the_metrics_command_explains_every_metric(capsys: pytest.CaptureFixture[str]):
    assert main(["metrics"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in METRICS)


def test_a_folder_that_cannot_be_written_is_reported_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "file").write_text("x")
    for out in (tmp_path / "file", tmp_path / "file" / "run"):
        assert main(["train", "CartPole-v1", "--out", str(out), *QUICK]) == 2
        error = capsys.readouterr().err
        assert str(tmp_path / "file") in error
        assert "Traceback" not in error


def test_an_error_inside_an_environment_keeps_its_traceback():
    class Buggy(Countdown):
        def step(self, action: int):
            raise ValueError("a mistake in the environment")

    gym.register("Buggy-v0", lambda: Buggy([3]))
    try:
        with pytest.raises(ValueError, match="a mistake in the environment"):
            main(["train", "Buggy-v0", *QUICK])
    finally:
        del gym.registry["Buggy-v0"]


def test_whole_numbers_may_be_written_with_exponents_and_underscores(tmp_path: Path):
    out = tmp_path / "run"
    more = ["--num-envs=4e0", "--episodes", "2", "--seed", "1_0", "--out", str(out)]
    assert main(["train", "CartPole-v1", "--steps", "1e3", *more]) == 0
    config = json.loads((out / "config.json").read_text())
    assert (config["steps"], config["num_envs"], config["seed"]) == (1000, 4, 10)
    with pytest.raises(SystemExit):
        main(["train", "CartPole-v1", "--steps", "1.5"])


def test_the_metrics_command_shows_those_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    run = pg.train("CartPole-v1", "a2c", steps=5_000, out=out)
    assert main(["metrics", str(out)]) == 0
    shown = capsys.readouterr().out
    assert f"{run.steps:,}" in shown
    assert "falls slowly" in re.sub(r"[\s│]+", " ", shown)
    assert f"{run.history['learning_rate'][-1]:.4g}" in shown
    pg.train("CartPole-v1", seeds=2, steps=300, out=tmp_path / "runs")
    assert main(["metrics", str(tmp_path / "runs")]) == 2
    assert "contains the runs of several seeds: choose one, such as" in capsys.readouterr().err
    for text in (
        "[[[",
        "[]",
        '{"return": 1}',
        "{",
        '{"steps": Infinity}',
        '{"steps": null}',
        '{"steps": "a"}',
        "3",
    ):
        (out / "metrics.jsonl").write_text(text)
        assert main(["metrics", str(out)]) == 2
        assert "is damaged" in capsys.readouterr().err
    (out / "metrics.jsonl").write_text("")
    assert main(["metrics", str(out)]) == 2
    assert "has no metrics yet" in capsys.readouterr().err
    with pytest.raises(SystemExit) as ended:
        main(["metrics", "--help"])
    assert ended.value.code == 0


def test_an_update_larger_than_the_budget_is_reported(capsys: pytest.CaptureFixture[str]):
    pg.train("CartPole-v1", "reinforce", num_envs=200, steps=100, progress=True)
    error = capsys.readouterr().err
    assert (
        "an update takes 200 whole episodes of up to 500 steps, which is more than the budget of 100" in error
    )
    pg.train("CartPole-v1", pg.PPO(horizon=64), num_envs=4, steps=100, progress=True)
    assert "an update takes 256 steps, which is more than the budget of 100 steps" in capsys.readouterr().err
    pg.train("CartPole-v1", pg.PPO(horizon=16), num_envs=4, steps=100, progress=True)
    assert "an update takes" not in capsys.readouterr().err


def test_custom_metrics_can_be_registered(tmp_path: Path):
    class Counts(pg.Reinforce):
        def learn(self, engine: Any, rollout: Any, learning: Any) -> dict[str, float]:
            return super().learn(engine, rollout, learning) | {"samples_seen": float(rollout.num_samples)}

    with pytest.raises(KeyError, match="not registered: \\['samples_seen'\\]"):
        pg.train("CartPole-v1", Counts(), steps=200, out=tmp_path / "first")
    says = {"unit": "samples", "formula": "of the update", "healthy": "depends"}
    register("samples_seen", **says)
    try:
        register("samples_seen", **says)
        run = pg.train("CartPole-v1", Counts(), steps=200, out=tmp_path / "second")
        assert (run.history["samples_seen"] > 0).all()
        with pytest.raises(ValueError, match="there is already a metric 'samples_seen'"):
            register("samples_seen", unit="", formula="", healthy="")
        with pytest.raises(ValueError, match="identifier"):
            register("samples seen", **says)
    finally:
        del METRICS["samples_seen"]


def test_metrics_of_earlier_versions_have_their_new_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    row = '{"steps": 100, "test_return": 1.5}\n'
    (tmp_path / "metrics.jsonl").write_text(row)
    assert main(["metrics", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert "eval_return" in shown
    assert "not registered" not in shown


CLASSES = """
from dataclasses import dataclass
import policygrad as pg

class Outer:
    @dataclass(frozen=True, kw_only=True)
    class Nested(pg.A2C):
        beta: float = 0.5

@dataclass(frozen=True, kw_only=True)
class Dots(pg.A2C):
    beta: float = 0.5
    ...
    gone: int = 1
    print()
"""


@pytest.mark.parametrize("algo", ["Outer.Nested", "Dots"])
def test_the_help_of_a_user_s_algorithm_needs_no_field_docstrings(
    algo: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The source of a user's class may be indented, and may have anything below a field."""
    (tmp_path / "my_classes.py").write_text(CLASSES)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as end:
        main(["train", "CartPole-v1", "--algo", f"my_classes:{algo}", "--help"])
    assert end.value.code == 0
    assert "--beta" in capsys.readouterr().out


def test_lines_of_a_field_docstring_are_joined_in_the_help(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("COLUMNS", "400")
    with pytest.raises(SystemExit):
        main(["train", "CartPole-v1", "--help"])
    assert "`processes` runs each in its own process" in capsys.readouterr().out
