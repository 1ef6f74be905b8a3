"""The history of a run: its size is bounded, and it says which rows it leaves out."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import policygrad as pg
from policygrad.runs import checkpoint
from policygrad.runs.curves import save_curve, save_curves, thinned
from policygrad.runs.history import Episodes, Thinned, Updates
from tests.helpers import Countdown


@pytest.mark.parametrize("limit", [2, 4, 10, 64, 100])
@pytest.mark.parametrize("sizes", [[1] * 300, [7] * 50, [0, 1000, 3], [333, 0, 1, 2]])
def test_every_kth_row_is_kept_and_k_is_a_power_of_two(limit: int, sizes: list[int]):
    table, added = Thinned(2, limit), 0
    for size in sizes:
        numbers = np.arange(added, added + size, dtype=float)
        table.extend(np.stack([numbers, -numbers], axis=1))
        added += size
        assert table.count == added
        assert len(table.rows) <= limit
        assert table.every & (table.every - 1) == 0
        np.testing.assert_array_equal(table.rows[:, 0], np.arange(0, added, table.every))
        np.testing.assert_array_equal(table.rows[:, 1], -table.rows[:, 0])
    # no more rows are left out than necessary
    assert added < limit or len(table.rows) >= limit // 2
    assert added >= limit or table.every == 1


def test_a_restored_table_continues_as_an_uninterrupted_one(tmp_path: Path):
    rng = np.random.default_rng(0)
    whole, half = Thinned(1, 50), Thinned(1, 50)
    blocks = [rng.standard_normal((rng.integers(0, 40), 1)) for _ in range(20)]
    for i, block in enumerate(blocks):
        whole.extend(block)
        half.extend(block)
        checkpoint.save_checkpoint(half.state(), tmp_path / "state")
        half = Thinned(1, 50)
        half.restore(checkpoint.load_checkpoint(tmp_path / "state"))
        np.testing.assert_array_equal(half.rows, whole.rows, err_msg=str(i))
        assert (half.every, half.count) == (whole.every, whole.count)


def test_columns_that_are_added_later_are_nan_before():
    updates = Updates()
    updates.append({"steps": 1.0, "return": 5.0})
    updates.append({"steps": 2.0, "eval_return": 7.0})
    columns = updates.columns()
    assert list(columns) == ["steps", "return", "eval_return"]
    np.testing.assert_array_equal(columns["steps"], [1, 2])
    np.testing.assert_array_equal(columns["return"], [5, np.nan])
    np.testing.assert_array_equal(columns["eval_return"], [np.nan, 7])
    assert updates.latest == {"steps": 2.0, "eval_return": 7.0}
    assert Updates().columns() == {}


def test_the_latest_update_is_always_in_the_history(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Updates, "LIMIT", 4)
    updates = Updates()
    for i in range(11):
        updates.append({"steps": float(i)})
        assert updates.columns()["steps"][-1] == i
    np.testing.assert_array_equal(updates.columns()["steps"], [0, 4, 8, 10])
    assert (len(updates), updates.every) == (11, 4)


def test_a_long_run_is_bounded_in_memory_and_in_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train = partial(pg.train, "CartPole-v1", pg.Reinforce(), seed=1, num_envs=1, select=False)
    whole = train(steps=20_000)
    assert whole.episodes.every == whole.updates.every == 1
    assert len(whole.episode_returns) == len(whole.episode_steps) == len(whole.episodes)
    monkeypatch.setattr(Episodes, "LIMIT", 64)
    monkeypatch.setattr(Updates, "LIMIT", 32)
    out = tmp_path / "run"
    train(steps=9_000, out=out, save_episodes=True)
    run = train(steps=20_000, out=out, save_episodes=True, resume=True)
    every = run.episodes.every
    assert every >= 4
    np.testing.assert_array_equal(run.episode_returns, whole.episode_returns[::every])
    np.testing.assert_array_equal(run.episode_steps, whole.episode_steps[::every])
    assert len(run.episodes) == len(whole.episodes)
    assert len(run.history["steps"]) <= 33
    assert run.steps == whole.steps
    saved = checkpoint.load_checkpoint(out / "checkpoint.safetensors")["run"]["episodes"]
    assert len(saved["rows"]) <= 64
    summary = json.loads((out / "summary.json").read_text())
    assert summary["episodes"] == len(whole.episodes)
    assert summary["updates"] == len(whole.updates)
    assert (summary["episode_returns_every"], summary["history_every"]) == (every, run.updates.every)
    # nothing is left out on disk
    assert len((out / "metrics.jsonl").read_text().splitlines()) == len(whole.updates)
    file = np.loadtxt(out / "episodes.csv", delimiter=",", skiprows=1)
    np.testing.assert_array_equal(file[:, 0], whole.episode_steps)
    np.testing.assert_array_equal(file[:, 1], whole.episode_returns)


def test_all_episodes_are_saved_only_if_asked(tmp_path: Path):
    with pytest.raises(ValueError, match=r"save_episodes .* Name the folder with out"):
        pg.train("CartPole-v1", save_episodes=True)
    pg.train("CartPole-v1", steps=500, out=tmp_path / "run")
    assert not (tmp_path / "run" / "episodes.csv").exists()
    pg.train("CartPole-v1", steps=500, out=tmp_path / "runs", seeds=2, save_episodes=True)
    assert (tmp_path / "runs" / "seed-1" / "episodes.csv").read_text().startswith("steps,return\n")


@pytest.mark.parametrize("file", ["metrics.jsonl", "episodes.csv"])
@pytest.mark.parametrize("damage", ["a digit", "shorter", "gone"])
def test_damage_to_files_that_a_checkpoint_depends_on_is_detected(tmp_path: Path, file: str, damage: str):
    out = tmp_path / "run"
    options = {"out": out, "save_episodes": True, "num_envs": 2}
    pg.train("CartPole-v1", steps=500, **options)
    path = out / file
    text = path.read_text()
    if damage == "gone":
        path.unlink()
    else:
        damaged = text[:-5] if damage == "shorter" else text.replace("2", "3", 1)
        path.write_text(damaged)
    before = (out / "checkpoint.safetensors").read_bytes()
    with pytest.raises(pg.CheckpointError, match=f"{file} is .*(damaged|gone|shorter)"):
        pg.train("CartPole-v1", steps=900, resume=True, **options)
    assert (out / "checkpoint.safetensors").read_bytes() == before
    path.write_text(text)
    assert pg.train("CartPole-v1", steps=900, resume=True, **options).steps >= 900


def test_rows_that_were_appended_after_the_checkpoint_are_dropped(tmp_path: Path):
    out = tmp_path / "run"
    pg.train("CartPole-v1", steps=500, out=out)
    text = (out / "metrics.jsonl").read_text()
    (out / "metrics.jsonl").write_bytes(text.encode() + b'{"steps": 1}\n{"half a ro\xa7')
    pg.train("CartPole-v1", steps=900, out=out, resume=True)
    assert (out / "metrics.jsonl").read_text().startswith(text)
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [row["steps"] for row in rows] == sorted(row["steps"] for row in rows)


def test_pictures_have_no_more_points_than_a_screen_shows():
    x = np.arange(1_000_000.0)
    y = np.sin(x / 1e5)
    y[777_777] = 9.0
    few_x, few_y = thinned(x, y, most=2000)
    assert len(few_x) <= 2000
    assert (np.diff(few_x) > 0).all()
    assert few_y.max() == 9.0
    np.testing.assert_array_equal(few_y, y[few_x.astype(int)])
    same = thinned(x[:100], y[:100])
    np.testing.assert_array_equal(same, (x[:100], y[:100]))


def test_the_picture_of_a_million_episodes_is_small(tmp_path: Path):
    updates = np.arange(1.0, 100_001.0)
    history = {"steps": 5000 * updates, "return": np.sin(updates), "return_100": np.sin(updates / 1e4)}
    history["return"][::3] = np.nan
    episodes = (np.repeat(history["steps"], 10), np.random.default_rng(0).uniform(-1, 1, 1_000_000))
    save_curve(tmp_path / "curve.png", history, episodes, "$a name$ of [one]", 0.5, 1000)
    save_curves(tmp_path / "curves.png", [history] * 3, "three")
    for name in ("curve.png", "curves.png"):
        assert 10_000 < (tmp_path / name).stat().st_size < 500_000


def test_the_summary_is_written_even_if_drawing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise RuntimeError("no fonts")

    monkeypatch.setattr("policygrad.runs.recorder.save_curve", fail)
    with pytest.warns(RuntimeWarning, match="the learning curve could not be drawn: no fonts"):
        run = pg.train(
            lambda: Countdown([3]), pg.Reinforce(), steps=50, out=tmp_path / "run", vectorize="sync"
        )
    assert run.ended == "budget"
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["ended"] == "budget"
