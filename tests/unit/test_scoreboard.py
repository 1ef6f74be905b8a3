"""The scoreboard: runs that are repeated only if necessary, scores, and a page that says what is missing."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from policygrad.runs.interruption import Interruption
from policygrad.runs.locked_folder import LockedFolder
from policygrad.scheduling import Job, LocalScheduler, Outcome

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import scoreboard_rows
import scoreboard_runs
from scoreboard import scoreboard
from scoreboard_report import as_is, number, report
from scoreboard_rows import Goal, Published, Row, chosen, rows
from scoreboard_runs import (
    read,
    run_row,
    saved_record,
    study_folder,
    to_do,
    training_settings,
    write,
)
from scoreboard_scores import RULES, passing, verdict

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results" / "scoreboard"
GOAL = Goal("zoo", 5.0, share=0.9, within=1_000)
CART = Row("CartPole-v1", "reinforce", 600, seeds=2, goal=GOAL, episodes=4)
BROKEN = Row("NoSuch-v0", "reinforce", 600, seeds=1)
LATER = Row("CartPole-v1", "ppo", 600, published=(Published("zoo", 500, None, 100_000),))


def record_of(row: Row, seed: int, **figures: object) -> dict:
    """Return a record as a run writes it."""
    settings = scoreboard_runs.settings_of(row)
    machine = {"processor": "one", "cores": 2, "python": "3.11"}
    plain = {"ended": "budget", "error": None, "greedy": 10.0, "last_100": 8.0, "seconds": 1.0, "steps": 600}
    more = {
        "steps_per_second": 600.0,
        "tests": [[], []],
        "curve": [[100, 600], [1.0, 8.0]],
    }
    record = {"row": row.name, "seed": seed, "version": "0", "machine": machine, "settings": settings}
    return record | plain | more | figures


@pytest.fixture
def in_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Train in this process, because each study would wait seconds for a process to start."""
    study = pg.study
    monkeypatch.setattr(
        pg, "study", lambda *args, **options: study(*args, **options | {"parallel": "threads"})
    )


def test_finished_runs_are_kept_failures_recorded_and_missing_rows_listed(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], in_threads: None
):
    results, page_file, images = tmp_path / "results", tmp_path / "page.md", tmp_path / "images"
    where: dict[str, Any] = {
        "results": results,
        "page": page_file,
        "images": images,
        "runs": tmp_path / "runs",
    }
    table = [CART, LATER, BROKEN]
    assert scoreboard(table, only="*/reinforce", **where) == 3
    found, others = read(results, CART)
    assert [record["seed"] for record in found] == [0, 1]
    assert others == 0
    first = found[0]
    assert first["ended"] == "budget"
    assert first["settings"]["algorithm"]["gamma"] == 0.995
    assert first["version"] == pg.__version__
    run = pg.train("CartPole-v1", "reinforce", seed=0, steps=600)
    assert first["steps"] == run.steps
    assert first["episodes"] == len(run.episodes)
    assert first["curve"][0] == run.history["steps"][run.history["episodes"] > 0].tolist()
    assert first["last_100"] == run.updates.latest["return_100"]
    assert first["greedy"] == pg.evaluate(run.policy, "CartPole-v1", 4, greedy=True, seed=0).mean

    page = page_file.read_text()
    assert "| reinforce | 600 | 2 |" in page
    assert page.count("not yet run") == 1
    assert "| ppo | 600 | 0 | zoo, 100,000 | — | 500 |" in page
    assert "- reinforce, seed 0 **failed**: ValueError: unknown environment 'NoSuch-v0'" in page
    assert "(images/CartPole-v1.png)" in page
    assert (images / "CartPole-v1.png").exists()
    assert not (images / "NoSuch-v0.png").exists()

    # nothing runs again if all records exist; with other settings it does, with the reason
    assert scoreboard(table, only="CartPole-v1/reinforce", **where) == 0
    table[0] = longer = replace(CART, steps=700)
    assert scoreboard(table, only="CartPole-v1/reinforce", seeds=1, **where) == 1
    assert "seed 0: running again with other settings: steps: 600 → 700" in capfd.readouterr().err
    found, others = read(results, longer)
    assert len(found) == others == 1
    assert found[0]["steps"] >= 700
    page = page_file.read_text()
    assert "1 of 2 seeds run" in page
    assert "1 runs with earlier settings are left out" in page


def test_ctrl_c_loses_nothing(tmp_path: Path, in_threads: None, monkeypatch: pytest.MonkeyPatch):
    """The signal arrives when the first run has ended, so the second is in progress or has not begun."""
    train = LocalScheduler.outcomes

    def interrupted(
        self: LocalScheduler,
        jobs: list[Job],
        display_of: Any,
        interruption: Interruption,
        *,
        keep_going: bool,
    ) -> Iterator[Outcome]:
        for outcome in train(self, jobs, display_of, interruption, keep_going=keep_going):
            if not interruption.signaled:
                os.kill(os.getpid(), signal.SIGINT)
            yield outcome

    where: dict[str, Any] = {
        "results": tmp_path / "results",
        "page": tmp_path / "page.md",
        "images": tmp_path / "images",
        "runs": tmp_path / "runs",
    }
    row = replace(CART, steps=60_000)
    with monkeypatch.context() as patch:
        patch.setattr(LocalScheduler, "outcomes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            scoreboard([row, LATER], cores=1, **where)
    found, _ = read(where["results"], row)
    assert found[0]["seed"] == 0
    assert read(where["results"], LATER) == ([], 0)
    assert "not yet run" in where["page"].read_text()
    assert scoreboard([row], cores=1, **where) == row.seeds - len(found)
    resumed = read(where["results"], row)[0][1]
    uninterrupted = pg.train("CartPole-v1", "reinforce", seed=1, steps=row.steps)
    assert resumed["steps"] == uninterrupted.steps
    assert resumed["last_100"] == uninterrupted.updates.latest["return_100"]
    assert resumed["greedy"] == pg.evaluate(uninterrupted.policy, "CartPole-v1", 4, greedy=True, seed=1).mean


def test_failed_runs_are_repeated_unless_they_had_a_nan(tmp_path: Path):
    """An error may have come from the machine, but a NaN would occur again."""
    write(tmp_path, CART, record_of(CART, 0, ended="non-finite", error="NaN"))
    write(tmp_path, CART, record_of(CART, 1, ended="error", error="no memory"))
    messages: list[str] = []
    jobs = [(CART, seed) for seed in range(3)]
    assert to_do(tmp_path, jobs, messages.append) == jobs[1:]
    assert messages == ["CartPole-v1/reinforce, seed 1: running again after no memory"]


def in_study(row: Row, folder: Path, seeds: list[int]) -> Path:
    """Train seeds of the row in a study as the scoreboard does, but in this process; return the study's folder."""
    out = study_folder(folder, row)
    configurations = {row.title: row.algorithm}
    options = training_settings(row) | {"seeds": seeds, "episodes": row.episodes, "out": out, "resume": True}
    pg.study(row.environment, configurations, **options)
    return out


def test_a_run_that_had_finished_before_is_recorded_without_training(tmp_path: Path, in_threads: None):
    """The process may be killed between the end of a run and its record."""
    policy = in_study(CART, tmp_path, [0]) / "CartPole-v1/reinforce/seed-0/policy.safetensors"
    written = policy.stat().st_mtime_ns
    seen: list[dict[str, Any]] = []
    run_row(CART, [0], tmp_path, 1, seen.append)
    assert [record["seed"] for record in seen] == [0]
    assert policy.stat().st_mtime_ns == written


def test_a_run_that_failed_is_recorded_with_its_error(tmp_path: Path):
    cell = in_study(CART, tmp_path, [0]) / "CartPole-v1/reinforce"
    died = {"0": {"error": "RunProcessError: the process ended", "traceback": "a long text"}}
    (cell / "failures.json").write_text(json.dumps(died))
    record = saved_record(CART, 0, study_folder(tmp_path, CART))
    assert record is not None
    assert record["ended"] == "error"
    assert record["error"] == "RunProcessError: the process ended"
    assert "greedy" not in record


def test_a_nan_is_recorded_with_what_was_learned(tmp_path: Path):
    """The row's own study ends by a NaN; what the study does is tested in `test_studies.py`."""
    cell = in_study(CART, tmp_path, [0]) / "CartPole-v1/reinforce"
    summary = json.loads((cell / "seed-0/summary.json").read_text())
    (cell / "seed-0/summary.json").write_text(json.dumps(summary | {"ended": "non-finite"}))
    record = saved_record(CART, 0, study_folder(tmp_path, CART))
    assert record is not None
    assert record["ended"] == "non-finite"
    assert (
        record["error"] == f"training stopped after {summary['steps']:,} steps: a NaN or an infinity appeared"
    )
    assert record["steps"] == summary["steps"]
    assert "greedy" not in record


@pytest.mark.parametrize("missing", ["summary.json", "scores.json"])
def test_a_run_that_has_not_ended_is_not_recorded(tmp_path: Path, missing: str):
    out = in_study(CART, tmp_path, [0])
    assert saved_record(CART, 0, out) is not None
    assert saved_record(CART, 1, out) is None
    (out / "CartPole-v1/reinforce/seed-0" / missing).unlink()
    assert saved_record(CART, 0, out) is None


def test_a_row_that_another_process_trains_is_left_to_it(tmp_path: Path, in_threads: None):
    """Its runs must not be recorded as failures."""
    seen: list[dict[str, Any]] = []
    with (
        LockedFolder(in_study(CART, tmp_path, [0]), resume=True),
        pytest.raises(FileExistsError, match="another run is training"),
    ):
        run_row(CART, [0, 1], tmp_path, 1, seen.append)
    assert seen == []


def test_evaluations_during_training_are_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scoreboard_rows, "TEST_EVERY", 250)
    row = replace(CART, published=(Published("tianshou", 1.0, 0.1, 600),))
    record = saved_record(row, 0, in_study(row, tmp_path, [0]))
    assert record is not None
    assert record["settings"]["eval_every"] == 250
    steps, returns = record["tests"]
    assert len(steps) == len(returns) >= 1
    assert record["test_max"] == pytest.approx(max(returns), abs=1e-3)


def test_the_folder_of_a_study_depends_on_all_settings(tmp_path: Path):
    assert study_folder(tmp_path, CART) == study_folder(tmp_path, replace(CART, seeds=7, goal=None))
    tested = replace(CART, published=(Published("tianshou", 1.0, 0.1, 600),))
    others = [replace(CART, steps=700), replace(CART, episodes=5), replace(CART, label="x"), LATER, tested]
    folders = {study_folder(tmp_path, row) for row in [CART, *others]}
    assert len(folders) == 1 + len(others)
    assert {folder.parent for folder in folders} == {tmp_path / "CartPole-v1"}


def test_scores_follow_the_rules_of_the_published_ones():
    """The rule of tianshou takes one moment for all seeds; the mean of their maxima would be 30."""
    a = record_of(CART, 0, tests=[[30_100, 60_050, 90_010], [10.0, 30.0, 0.0]], last_100=1.0, greedy=5.0)
    b = record_of(CART, 1, tests=[[30_000, 60_000], [30.0, 0.0]], last_100=3.0, greedy=7.0)
    assert RULES["tianshou"]([a, b]).tolist() == [10.0, 30.0]
    assert RULES["cleanrl"]([a, b]).tolist() == [1.0, 3.0]
    assert RULES["zoo"]([a, b]).tolist() == [5.0, 7.0]
    assert all(len(rule([])) == 0 for rule in RULES.values())


def test_verdicts():
    row = replace(CART, seeds=10)
    good = [record_of(row, seed) for seed in range(10)]
    weak = record_of(row, 9, greedy=4.0)
    failed = record_of(row, 9, ended="non-finite", error="NaN")
    assert verdict(row, []) == "not yet run"
    assert verdict(row, good[:4]) == "4 of 10 seeds run"
    assert verdict(row, good) == "**met**"
    assert verdict(row, [*good[:9], weak]) == verdict(row, [*good[:9], failed]) == "**met**"
    assert verdict(row, [*good[:8], weak, failed]) == "not met"
    assert passing(GOAL, [*good[:8], weak, failed]) == 8
    assert verdict(replace(row, steps=2_000), good) == "not met: needs more than the 1,000 steps allowed"
    assert verdict(replace(row, goal=None), good) == "no goal"
    of_the_mean = replace(row, goal=Goal("cleanrl", 8.0))
    assert verdict(of_the_mean, good) == "**met**"
    # a mean over all seeds needs all of them
    assert verdict(of_the_mean, [*good[:9], failed]) == "not met"


def test_every_preset_has_a_row_with_its_published_numbers(tmp_path: Path):
    table = rows()
    assert {(row.environment, row.algorithm) for row in table} == {
        (environment, algorithm)
        for environment, presets in pg.presets.PRESETS.items()
        for algorithm in presets
    }
    assert len({row.name for row in table}) == len(table)
    by_name = {row.name: row for row in table}
    ppo = by_name["Ant-v5/ppo"]
    assert ppo.published[0] == Published("tianshou", 3258, 1079, 1_000_000)
    assert ppo.goal == Goal("tianshou", 3258, within=1_000_000)
    assert by_name["Reacher-v5/a2c-3M"].published == (Published("tianshou", -5.2, 0.5, 3_000_000),)
    assert str(by_name["CartPole-v1/ppo"].goal) == "greedy ≥ 490 on 90 % of seeds"
    report(table, tmp_path, tmp_path / "page.md", tmp_path / "images")
    page = (tmp_path / "page.md").read_text()
    assert page.count("not yet run |") == len(table)
    assert "Nothing has been run yet" in page


def test_rows_can_be_chosen_by_name_and_pattern():
    table = [CART, LATER, BROKEN]
    assert chosen(table, None) == table
    assert chosen(table, "CartPole-v1") == [CART, LATER]
    assert chosen(table, "*/ppo, NoSuch-v0/reinforce") == [LATER, BROKEN]
    with pytest.raises(ValueError, match="no row is called 'Cartpole'"):
        chosen(table, "CartPole-v1,Cartpole")


def test_numbers_are_formatted_for_the_page():
    assert [number(x) for x in (-4.12, 999.94, 1830.4)] == ["−4.1", "999.9", "1,830"]
    assert [as_is(x) for x in (-10.5, 884.0, 5784.0)] == ["−10.5", "884", "5,784"]


def test_records_are_written_as_plain_json(tmp_path: Path):
    write(tmp_path, CART, record_of(CART, 3))
    (path,) = (tmp_path / CART.name).iterdir()
    assert path.name == "seed-3.json"
    assert json.loads(path.read_text()) == record_of(CART, 3)


def test_stored_runs_have_the_settings_of_today():
    """A new field of an algorithm must not make all finished runs count as runs with other settings."""
    current = [record for row in rows() for record in read(RESULTS, row)[0]]
    assert len(current) == len(list(RESULTS.rglob("*.json"))) > 0
