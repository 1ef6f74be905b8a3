"""The user's function that is called after every row: what it sees, how it ends a run, and what its errors cost."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.cli import main
from policygrad.runs.callback import Update
from tests.helpers import history_rows, same_parameters

SMALL: dict[str, Any] = {"network": pg.Network(hidden=(8,)), "num_envs": 4, "seed": 3, "progress": False}


def timeless(run: pg.Run) -> list[dict[str, float]]:
    return [row | {"seconds": 0.0} for row in history_rows(run)]


class Notes:
    """Notes each row and the policy's parameters, and evaluates the policy once."""

    def __init__(self) -> None:
        self.rows: list[dict[str, float]] = []
        self.policies: list[np.ndarray] = []

    def __call__(self, update: Update) -> None:
        if not self.rows:
            pg.evaluate(update.policy, "CartPole-v1", 4, progress=False)
        assert update.steps == update.run.steps == update.metrics["steps"]
        assert update.policy is update.run.last_policy
        self.rows.append({name: x for name, x in update.metrics.items() if not np.isnan(x)})
        self.policies.append(update.policy.snapshot().parameters)


@pytest.mark.parametrize("algorithm", [pg.A2C(), pg.PPO(horizon=64, epochs=2), pg.Reinforce()])
def test_it_sees_every_row_with_its_policy_and_changes_nothing(algorithm: Any):
    seen = dict[str, Notes]()
    alone = pg.train("CartPole-v1", algorithm, steps=2_500, loop="compiled", **SMALL)
    for loop in ("compiled", "python"):
        seen[loop] = notes = Notes()
        run = pg.train("CartPole-v1", algorithm, steps=2_500, loop=loop, on_update=notes, **SMALL)
        assert notes.rows == history_rows(run)
        assert len(notes.rows) > 2
        assert timeless(run) == timeless(alone)
        assert same_parameters(run.policy, alone.policy)
        assert (notes.policies[-1] == alone.last_policy.snapshot().parameters).all()
    # after each row, machine code has the policy that the loop in Python has
    assert all((a == b).all() for a, b in zip(*(notes.policies for notes in seen.values()), strict=True))
    assert (seen["python"].policies[0] != seen["python"].policies[1]).any()


@pytest.mark.parametrize("answer", [True, np.True_])
@pytest.mark.parametrize("loop", ["compiled", "python"])
def test_true_ends_the_run_which_can_be_resumed(loop: Any, answer: Any, tmp_path: Path):
    settings = SMALL | {"loop": loop, "steps": 2_000, "out": tmp_path / "run"}
    ended = pg.train(
        "CartPole-v1", "a2c", on_update=lambda update: answer if update.steps > 800 else None, **settings
    )
    assert ended.ended == "callback"
    assert 800 < ended.steps < 1_500
    assert ended.selection is not None
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["ended"] == "callback"
    whole = pg.train("CartPole-v1", "a2c", **(settings | {"out": None}))
    resumed = pg.train("CartPole-v1", "a2c", resume=True, **settings)
    assert timeless(resumed) == timeless(whole)
    assert same_parameters(resumed.last_policy, whole.last_policy)


def test_the_row_contains_the_evaluation_after_it():
    notes = Notes()
    pg.train("CartPole-v1", "a2c", steps=900, eval_every=300, eval_episodes=2, on_update=notes, **SMALL)
    assert sum("eval_return" in row for row in notes.rows) == 3


def failing(error: BaseException) -> Any:
    def on_update(update: Update) -> None:
        if update.steps > 600:
            raise error

    return on_update


@pytest.mark.parametrize(
    "error", [KeyError("mine"), pg.NonFiniteError("mine"), SystemExit(3)], ids=lambda e: type(e).__name__
)
def test_its_exceptions_are_raised_after_saving_and_cost_nothing(error: BaseException, tmp_path: Path):
    settings = SMALL | {"steps": 1_500}
    with pytest.raises(type(error)) as raised:
        pg.train("CartPole-v1", "a2c", out=tmp_path / "run", on_update=failing(error), **settings)
    assert raised.value is error
    stopped: pg.Run = error.run  # type: ignore[union-attr, attr-defined]
    assert stopped.ended == "error"
    assert stopped.steps > 600
    rows = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert len(rows) == len(stopped.updates)
    # without that function it goes on from the very row after which the function failed
    notes = Notes()
    resumed = pg.train("CartPole-v1", "a2c", out=tmp_path / "run", resume=True, on_update=notes, **settings)
    assert len(notes.rows) == len(resumed.updates) - len(rows)
    assert timeless(resumed) == timeless(pg.train("CartPole-v1", "a2c", **settings))


def test_other_answers_are_errors():
    with pytest.raises(TypeError, match="on_update returned 'stop'; expected True to end the run"):
        pg.train("CartPole-v1", "a2c", steps=500, on_update=lambda update: "stop", **SMALL)
    with pytest.raises(TypeError, match="on_update must be a function of an Update, or None; got 'stop'"):
        pg.train("CartPole-v1", "a2c", steps=500, on_update="stop", **SMALL)


def test_ctrl_c_during_it_ends_the_run_after_it_has_returned(tmp_path: Path):
    def on_update(update: Update) -> None:
        signal.raise_signal(signal.SIGINT)
        returned.append(update.steps)

    returned = list[int]()
    run = pg.train("CartPole-v1", "a2c", steps=2_000, out=tmp_path / "run", on_update=on_update, **SMALL)
    assert run.ended == "interrupted"
    assert returned == [run.steps]


def test_it_is_not_part_of_the_configuration(tmp_path: Path):
    for name, function in (("with", Notes()), ("without", None)):
        pg.train("CartPole-v1", "a2c", steps=300, out=tmp_path / name, on_update=function, **SMALL)
    configs = [json.loads((tmp_path / name / "config.json").read_text()) for name in ("with", "without")]
    assert configs[0] == configs[1]


def test_seeds_call_it_in_threads_of_this_process_and_each_ends_its_own_run():
    seen = list[tuple[int, int]]()

    def on_update(update: Update) -> bool:
        seen.append((update.run.seed, update.steps))
        return update.run.seed == 3 and update.steps > 300

    runs = pg.train("CartPole-v1", "a2c", seeds=2, cores=2, steps=1_000, on_update=on_update, **SMALL)
    assert [run.ended for run in runs] == ["callback", "budget"]
    for run in runs:
        assert [steps for seed, steps in seen if seed == run.seed] == run.history["steps"].tolist()


@pytest.mark.long
def test_processes_call_a_copy_of_it(tmp_path: Path):
    seen = list[int]()

    def on_update(update: Update) -> bool:
        seen.append(update.steps)
        (tmp_path / str(update.run.seed)).write_text(str(update.steps))
        return True

    settings = SMALL | {"num_envs": 2, "parallel": "processes"}
    (run,) = pg.train("CartPole-v1", "a2c", seeds=1, steps=1_000, on_update=on_update, **settings)
    assert run.ended == "callback"
    assert (tmp_path / "3").read_text() == str(run.steps)
    assert seen == []


def test_the_command_line_has_no_such_option(capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit):
        main(["train", "CartPole-v1", "--help"])
    assert "on-update" not in capsys.readouterr().out
    assert main(["train", "CartPole-v1", "--on-update", "f"]) == 2
    assert "unknown option --on-update" in capsys.readouterr().err
