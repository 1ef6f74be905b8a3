"""Losses, coefficients and columns on the command line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from policygrad.cli import main

FILE = """
from policygrad.losses import exp, where


def mine(s, k):
    weight = where(s.advantage > 0, 1.0, k.trust)
    return -weight * s.advantage * s.log_prob + k.value_coef * (s.value - s.target) ** 2 / 2


def share(columns):
    return (columns["advantage"] > 0).mean()


def with_share(s, k):
    return -s.share * s.advantage * s.log_prob + k.value_coef * (s.value - s.target) ** 2 / 2


def by_hand(s, k):
    return -s.advantage, 0.0, k.value_coef * (s.value - s.target)
"""


@pytest.mark.parametrize(
    ("options", "kept"),
    [
        (["--loss", "own_losses:mine", "--coefficient", "trust=0.5"], {"trust": 0.5}),
        (["--loss", "own_losses:mine", "--coefficient", "trust=1:0.25"], {"trust": [1.0, 0.25]}),
        (["--loss", "own_losses:with_share", "--column", "share=own_losses:share"], {}),
        (["--derivatives", "own_losses:by_hand"], {}),
    ],
)
def test_losses_can_be_given_on_the_command_line(
    options: list[str], kept: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_losses.py").write_text(FILE)
    # the preset sets the clip, which this loss does not read, so that setting is left out
    quick = ["--steps", "300", "--episodes", "1", "--epochs", "2", "--out", "run"]
    assert main(["train", "CartPole-v1", "--algo", "ppo", *options, *quick]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())["algorithm"]
    assert config["loss"] == options[1]
    assert config["coefficients"] == kept
    assert len(config["loss_graph"]) == 64


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--loss", "own_losses:mine"], "there is no k.trust"),
        (["--loss", "own_losses:nothing"], "--loss own_losses:nothing"),
        (["--loss", "own_losses"], "--loss must be module:name; got 'own_losses'"),
        (["--loss", "own_losses:mine", "--coefficient", "trust"], "expected name=value"),
        (["--loss", "own_losses:mine", "--coefficient", "trust=a"], "expected a number or start:end"),
        (
            ["--loss", "own_losses:mine", "--coefficient", "trust=1", "--clip", "0.3"],
            "--clip=0.3 would be ignored",
        ),
        (["--coefficient", "trust=1"], "does not read the coefficient 'trust'"),
    ],
)
def test_invalid_loss_options_are_refused(
    options: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_losses.py").write_text(FILE)
    assert main(["train", "CartPole-v1", "--algo", "ppo", *options]) == 2
    assert message in capsys.readouterr().err


def test_the_loss_command_shows_a_loss(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own_losses.py").write_text(FILE)
    assert main(["loss", "own_losses:mine"]) == 0
    assert "where(A > 0, 1, trust)" in capsys.readouterr().out
    assert main(["loss", "trpo"]) == 0
    assert "L = −exp(log π − log π_old) · A" in capsys.readouterr().out
    assert main(["loss", "ppoo"]) == 2
