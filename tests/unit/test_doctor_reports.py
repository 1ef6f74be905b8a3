"""What a run reports about itself when it ends: findings in its metrics, and a line if its threshold was missed."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.doctor import AILMENTS, Evidence, diagnose
from tests.helpers import Countdown


def columns(rows: list[dict[str, float]]) -> dict[str, Any]:
    return {name: np.array([row[name] for row in rows]) for name in rows[0]}


def findings(rows: list[dict[str, float]], **settings: Any) -> list[str]:
    """The names of the findings in a history, whose episodes have the same return in each update."""
    defaults = {"episodes": 0.0, "return": 0.0, "return_100": 0.0, "episode_length": 10.0}
    found = diagnose(Evidence(columns([defaults | row for row in rows]), settings))
    return [finding.name for finding in found]


@pytest.mark.parametrize("algorithm", [pg.Reinforce(learning_rate=1.0), pg.PPO(learning_rate=1.0)])
def test_too_large_a_change_of_the_policy_is_reported(algorithm: Any, capsys: pytest.CaptureFixture[str]):
    pg.train("CartPole-v1", algorithm, steps=5_000, progress=True, select=False)
    printed = capsys.readouterr().err
    assert "changed the policy too much: its KL divergence was" in printed
    assert "Lower the learning rate" in printed
    assert "every advantage was 0" not in printed
    # the line at the end of the run does not repeat it
    assert printed.count("its KL divergence was") == 1


def test_a_policy_that_cannot_learn_any_more_is_a_warning_if_nothing_is_shown():
    with pytest.warns(UserWarning, match="changed the policy too much"):
        run = pg.train("CartPole-v1", pg.Reinforce(learning_rate=1.0), steps=5_000, select=False)
    assert "changed the policy too much" in run.findings[0]


class Flat(Countdown):
    def step(self, action: int):
        observation, _, *rest = super().step(action)
        return observation, 0.0, *rest


def test_rewards_that_are_never_seen_are_reported(capsys: pytest.CaptureFixture[str]):
    run = pg.train(
        lambda: Flat([5]), pg.Reinforce(baseline="none"), steps=100, progress=True, vectorize="sync"
    )
    assert "no reward that depends on the actions was seen" in run.findings[0]
    assert run.findings[0].removesuffix(".") in capsys.readouterr().err


def test_a_policy_that_is_certain_from_the_start_is_reported():
    rows = [{"steps": 10.0 * i, "entropy": 1e-9, "kl": 0.0, "policy_grad_norm": 0.0} for i in range(3)]
    rows = [row | {"episodes": float(i), "return": float(i)} for i, row in enumerate(rows)]
    assert findings(rows) == ["no gradient"]


def test_a_single_update_does_not_show_that_all_returns_are_equal():
    rows = [
        {"steps": 10.0, "entropy": 0.6, "kl": 0.01, "policy_grad_norm": 0.1, "episodes": 30.0, "return": 21.5}
    ]
    assert findings(rows) == ["too few updates"]
    assert findings(rows * 3) == ["constant rewards"]


def test_nothing_is_reported_about_a_healthy_run():
    assert diagnose(Evidence({})) == []
    assert pg.train("CartPole-v1", steps=20_000).findings == []
    # a softmax policy that becomes certain step by step, while returns rise
    rows = [
        {"steps": float(i), "entropy": 0.7 * 0.5**i, "kl": 0.01, "policy_grad_norm": 0.1}
        | {"episodes": 10.0 * i, "return": float(i), "return_100": float(i)}
        for i in range(30)
    ]
    assert findings(rows) == []
    # the entropy of a Gaussian may be negative
    rows = [row | {"entropy": -float(i)} for i, row in enumerate(rows)]
    assert findings(rows) == []


def test_a_run_that_misses_its_threshold_says_so_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "run"
    run = pg.train("CartPole-v1", "ppo", steps=2_000, num_envs=32, progress=True, out=out)
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("the mean return of 100 episodes did not reach 475 (best: ")
    assert "the policy was updated only" in line
    assert line.endswith(f"`policygrad doctor {out}` looks closer")
    assert run.findings == json.loads((out / "summary.json").read_text())["findings"]
    # without a folder there is nothing to look at
    pg.train("CartPole-v1", "ppo", steps=2_000, num_envs=32, progress=True)
    assert "policygrad doctor" not in capsys.readouterr().err


def test_the_line_says_if_the_metrics_do_not_show_why(capsys: pytest.CaptureFixture[str]):
    pg.train("CartPole-v1", steps=30_000, progress=True)
    assert "the metrics do not show why" in capsys.readouterr().err.splitlines()[-1]


@pytest.mark.parametrize("settings", [{"stop_at": 20.0}, {"seeds": 2}])
def test_a_run_that_reached_its_threshold_or_is_one_of_many_adds_no_line(
    settings: Any, capsys: pytest.CaptureFixture[str]
):
    pg.train(
        "CartPole-v1",
        steps=5_000,
        progress=True,
        parallel="threads" if "seeds" in settings else "auto",
        **settings,
    )
    assert "did not reach" not in capsys.readouterr().err


def test_the_document_lists_all_ailments():
    text = (Path(__file__).parents[2] / "docs" / "doctor.md").read_text()
    rows = [row for row in re.findall(r"^\| (.*) \|$", text, re.MULTILINE) if not row.startswith("ailment |")]
    assert rows == [" | ".join((a.name, a.summary, a.shown_by, a.cure)) for a in AILMENTS]


def test_a_finding_hides_only_less_important_ones():
    position = {ailment.name: i for i, ailment in enumerate(AILMENTS)}
    assert len(position) == len(AILMENTS)
    for ailment in AILMENTS:
        assert all(position[hidden] > position[ailment.name] for hidden in ailment.explains), ailment.name
