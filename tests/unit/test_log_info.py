"""Values of `info` as metrics: from environments of every kind, with errors that say what could be logged."""

from __future__ import annotations

import importlib.util
import json
from functools import partial
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode, SyncVectorEnv, VectorEnv

import policygrad as pg
from policygrad.cli import main
from policygrad.metrics import METRICS
from tests.helpers import Countdown, history_rows

SMALL: dict[str, Any] = {"network": pg.Network(hidden=(4,)), "steps": 60, "progress": False, "select": False}
ONE_STEP = pg.A2C(horizon=1)
LENGTHS = [2, 3, 5]


class Reporting(Countdown):
    """Every step reports its number, and whether it is even; the last one says so, and the first has another info."""

    metadata = {"render_modes": []}  # noqa: RUF012

    def reset(self, *, seed: int | None = None, options: Any = None):
        return super().reset(seed=seed, options=options)[0], {"number": -1.0, "even": False}

    def step(self, action: int):
        *rest, _ = super().step(action)
        info = {
            "number": float(self.t),
            "even": self.t % 2 == 0,
            "note": "text",
            "final only": np.float32(self.t),
        }
        return *rest, info if any(rest[2:]) else info | {"number": -2.0}


def vector_in(mode: AutoresetMode) -> VectorEnv[Any, Any, Any]:
    return SyncVectorEnv([lambda: Reporting(LENGTHS)] * 2, autoreset_mode=mode)


OPENINGS: dict[str, Any] = {
    "sync": {"env": lambda: Reporting(LENGTHS), "vectorize": "sync"},
    "processes": {"env": lambda: Reporting(LENGTHS), "vectorize": "processes"},
    **{mode.value: {"env": partial(vector_in, mode)} for mode in AutoresetMode},
}


@pytest.mark.parametrize("algorithm", [ONE_STEP, pg.Reinforce()], ids=["steps", "episodes"])
@pytest.mark.parametrize("opening", OPENINGS)
def test_the_metric_is_the_mean_over_the_episodes_that_ended(opening: str, algorithm: Any):
    options = OPENINGS[opening]
    run = pg.train(options["env"], algorithm, num_envs=2, log_info=("number", "even"),
                   **{k: v for k, v in options.items() if k != "env"}, **SMALL)  # fmt: skip
    rows = history_rows(run)
    assert {row["episode_length"] % 2 for row in rows if "episode_length" in row} != {0.0}
    for row in rows:
        # the number is that of the last step, which is the length of the episode; both environments end together
        assert row.get("info_number") == row.get("episode_length")
        if "episode_length" in row:
            assert row["info_even"] == (row["episode_length"] % 2 == 0)
    assert (
        METRICS["info_even"].formula
        == "mean over the episodes of this update of info['even'] at their last step"
    )


@pytest.mark.skipif(importlib.util.find_spec("envpool") is None, reason="needs EnvPool")
def test_the_info_of_envpool_can_be_logged():
    run = pg.train(
        "CartPole-v1",
        pg.A2C(),
        backend="envpool",
        num_envs=2,
        log_info="elapsed_step",
        **SMALL | {"steps": 300},
    )
    rows = [row for row in history_rows(run) if "return" in row]
    assert rows
    assert all(row["info_elapsed_step"] == row["return"] for row in rows)


@pytest.mark.parametrize("opening", ["sync", "processes", "NextStep", "SameStep"])
@pytest.mark.parametrize(
    ("name", "problem"),
    [("success", "'success' is missing"), ("note", "'note' is 'text', which is not a number")],
)
def test_an_unknown_name_is_an_error_that_lists_the_numbers(opening: str, name: str, problem: str):
    options = OPENINGS[opening]
    with pytest.raises(pg.EnvironmentFault) as raised:
        pg.train(options["env"], ONE_STEP, num_envs=2, log_info=name,
                 **{k: v for k, v in options.items() if k != "env"}, **SMALL)  # fmt: skip
    assert problem in str(raised.value)
    assert "The numbers in it are even, final only, number" in str(raised.value)


def test_an_environment_without_info_says_that_a_wrapper_can_add_it():
    with pytest.raises(
        pg.EnvironmentFault, match=r"There are no numbers in it; a wrapper \(--wrap\) can add them"
    ):
        pg.train(lambda: Countdown([3]), ONE_STEP, log_info="success", **SMALL)


def test_compiled_environments_have_no_info(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(ValueError, match="CartPole-v1 is compiled, and compiled environments have no info"):
        pg.train("CartPole-v1", log_info="success", **SMALL)
    assert main(["train", "CartPole-v1", "--log-info", "success", "other", "--steps", "50"]) == 2
    assert "--log-info=('success', 'other'): CartPole-v1 is compiled" in capsys.readouterr().err
    with pytest.raises(TypeError, match="log_info must contain names"):
        pg.Settings(log_info=(3,))  # type: ignore[arg-type]


def test_a_name_that_is_no_identifier_gets_a_metric_and_a_taken_one_is_refused():
    settings = SMALL | {"vectorize": "sync"}
    run = pg.train(lambda: Reporting([3]), ONE_STEP, log_info="final only", **settings)
    assert np.nanmean(run.history["info_final_only"]) == 3
    with pytest.raises(ValueError, match="there is already a metric 'info_final_only'"):
        pg.train(lambda: Reporting([3]), ONE_STEP, log_info="final-only", **settings)


def reporting() -> gym.Env[Any, Any]:
    return Reporting([3])


def test_a_resumed_run_may_log_more(tmp_path: Path):
    settings = SMALL | {"vectorize": "sync", "out": tmp_path / "run"}
    pg.train(reporting, ONE_STEP, **settings)
    resumed = settings | {"steps": 120, "resume": True, "log_info": ("number", "number")}
    run = pg.train(reporting, ONE_STEP, **resumed)
    numbers, steps = run.history["info_number"], run.history["steps"]
    assert np.isnan(numbers[steps <= 60]).all()
    assert np.nanmean(numbers) == 3
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["info_number"] in (3, None)
