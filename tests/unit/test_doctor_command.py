"""`policygrad doctor` and `pg.diagnose`: run folders, environments, and errors."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import policygrad as pg
from policygrad.cli import main
from policygrad.cli.doctor import treatment
from policygrad.doctor import AILMENTS, Finding
from policygrad.doctor.finding import flag
from tests.helpers.ailing import NoSpeeds, trained

SMALL_STEPS = [
    "--algo",
    "ppo",
    "--learning-rate",
    "1e-8",
    "--steps",
    "20000",
    "--num-envs",
    "4",
    "--no-select",
]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The folder of a run that has learned nothing."""
    out = tmp_path / "run"
    assert main(["train", "CartPole-v1", *SMALL_STEPS, "--episodes", "1", "--out", str(out)]) == 0
    return out


def test_a_finding_has_evidence_and_a_command_that_can_be_run(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    # the command line of this process is that of pytest
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["command"] = ["policygrad", "train", "CartPole-v1", *SMALL_STEPS, "--out", str(run)]
    (run / "manifest.json").write_text(json.dumps(manifest))
    capsys.readouterr()
    assert main(["doctor", str(run)]) == 1
    shown = capsys.readouterr().out
    assert shown.startswith("1. the policy hardly changes\n")
    assert "the median KL divergence of an update is" in re.sub(r"\s+", " ", shown)
    command = next(line for line in shown.splitlines() if line.strip().startswith("$ "))
    words = command.strip().removeprefix("$ policygrad ").split()
    assert words.count("--learning-rate") == 1
    assert "1e-8" not in words
    assert main([*words, "--episodes", "1"]) == 0
    treated = Path(words[words.index("--out") + 1])
    assert json.loads((treated / "config.json").read_text())["algorithm"]["learning_rate"] > 1e-8
    before, after = (max(row["kl"] for row in rows(folder)) for folder in (run, treated))
    assert after > 1000 * before


def rows(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_a_run_in_python_shows_the_flags_alone(run: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["doctor", str(run), "--no-play"]) == 1
    assert "$ policygrad train ... --learning-rate" in capsys.readouterr().out


def test_a_healthy_run_has_no_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "run"
    pg.train("CartPole-v1", steps=90_000, out=out, stop_at=400)
    assert main(["doctor", str(out)]) == 0
    shown = re.sub(r"\s+", " ", capsys.readouterr().out)
    assert "nothing was found" in shown
    assert all(ailment.name in shown for ailment in AILMENTS)
    assert pg.diagnose(out) == []
    # it did not get that far
    assert main(["doctor", str(out), "--threshold", "100000"]) in (0, 1)


def test_a_folder_and_the_run_itself_have_the_same_findings(tmp_path: Path):
    run = trained("CartPole-v1", pg.PPO(learning_rate=1e-8), steps=30_000, out=tmp_path / "run")
    assert pg.diagnose(run, "CartPole-v1") == pg.diagnose(tmp_path / "run") != []


def test_an_interrupted_run_is_examined_with_its_best_policy(run: Path):
    (run / "last_policy.safetensors").unlink()
    (run / "summary.json").unlink()
    assert pg.diagnose(run)[0].name == "the policy hardly changes"


def test_the_environment_of_a_factory_has_to_be_given(tmp_path: Path):
    out = tmp_path / "run"
    trained(NoSpeeds, steps=3_000, vectorize="sync", out=out)
    with pytest.raises(ValueError, match=r"without an id: give env \(--env module:name\)"):
        pg.diagnose(out)
    pg.diagnose(out, play=False)
    pg.diagnose(out, NoSpeeds)
    with pytest.raises(ValueError, match="this policy was made for"):
        pg.diagnose(out, "CartPole-v1")


def test_the_options_of_the_run_open_its_environment(tmp_path: Path):
    out = tmp_path / "run"
    trained("CartPole-v1", steps=2_000, out=out, max_episode_steps=7, backend="gymnasium", vectorize="sync")
    made: list[Any] = []
    original = gym.make

    def make(*arguments: Any, **options: Any) -> Any:
        made.append(options)
        return original(*arguments, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gym, "make", make)
        pg.diagnose(out)
    assert {options["max_episode_steps"] for options in made} == {7}


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda run: (run / "config.json").write_text("{"), "config.json is damaged"),
        (lambda run: (run / "config.json").unlink(), "there is no run at"),
        (lambda run: (run / "metrics.jsonl").unlink(), "there is no run at"),
        (lambda run: (run / "metrics.jsonl").write_text(""), "has no metrics yet"),
        (lambda run: (run / "metrics.jsonl").write_text('{"steps": "x"}\n'), "metrics.jsonl is damaged"),
        (
            lambda run: (run / "metrics.jsonl").write_text('{"steps": 1, "episodes": 1, "kl": []}\n'),
            "is damaged",
        ),
        (lambda run: (run / "last_policy.safetensors").write_bytes(b"x"), "last_policy.safetensors"),
    ],
)
def test_a_damaged_folder_is_an_error(
    run: Path, damage: Any, message: str, capsys: pytest.CaptureFixture[str]
):
    damage(run)
    capsys.readouterr()
    assert main(["doctor", str(run)]) == 2
    shown = capsys.readouterr()
    assert message in shown.err
    assert not shown.out


def test_several_seeds_have_to_be_told_apart(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "runs"
    pg.train("CartPole-v1", steps=500, seeds=2, out=out, parallel="threads", progress=False)
    assert main(["doctor", str(out)]) == 2
    assert "Open one of its seeds, such as" in capsys.readouterr().err


def test_a_wrong_option_is_an_error(run: Path):
    with pytest.raises(TypeError, match="diagnose has no setting 'wrapper': did you mean wrap"):
        pg.diagnose(run, wrapper=())


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("log_std_bounds", (-4.5, 2.0), "--log-std-bounds -4.5 2.0"),
        ("normalize_rewards", True, "--normalize-rewards"),
        ("select", False, "--no-select"),
        ("wrap", ("a:b", "c:d"), "--wrap a:b c:d"),
    ],
)
def test_a_setting_becomes_a_flag(name: str, value: Any, words: str):
    assert flag(name, value) == words


def test_the_flags_of_a_treatment_replace_those_of_the_run():
    words = [
        "train",
        "Env-v0",
        "--gamma=0.5",
        "--no-normalize-rewards",
        "--wrap",
        "a:b",
        "c:d",
        "--overwrite",
    ]
    remedy = {"gamma": 0.99, "normalize_rewards": True, "wrap": ("a:b", "c:d", "e:f")}
    assert treatment(words, Finding("", "", "", remedy), Path("runs/y")) == (
        "policygrad train Env-v0 --gamma 0.99 --normalize-rewards --wrap a:b c:d e:f --out runs/y-treated"
    )
