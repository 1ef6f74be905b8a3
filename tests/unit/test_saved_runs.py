"""Runs and studies read from disk: the same numbers as in memory, displays, frames, plots and comparisons."""

from __future__ import annotations

import importlib
import json
import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.cli import main
from policygrad.errors import CheckpointError
from policygrad.runs import progress
from policygrad.runs.history import Updates
from tests.helpers import same_parameters

SMALL: dict[str, Any] = {"steps": 3000, "num_envs": 4}


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> pg.SavedStudy:
    out = tmp_path_factory.mktemp("studies") / "x"
    return pg.study(
        ["CartPole-v1", "Acrobot-v1"], ["reinforce", "a2c"], seeds=6, episodes=4, out=out, **SMALL
    )


def test_a_run_on_disk_has_the_numbers_of_the_run_in_memory(tmp_path: Path):
    run = pg.train("CartPole-v1", "a2c", out=tmp_path / "run", save_episodes=True, eval_every=1000, **SMALL)
    saved = pg.open_run(tmp_path / "run")
    assert saved.history.keys() == run.history.keys()
    for name, values in run.history.items():
        np.testing.assert_array_equal(saved.history[name], values)
    np.testing.assert_array_equal(saved.episode_returns, run.episode_returns)
    np.testing.assert_array_equal(saved.episode_steps, run.episode_steps)
    for name in (
        "environment",
        "seed",
        "ended",
        "threshold",
        "solved_at",
        "solved_seconds",
        "steps",
        "seconds",
    ):
        assert getattr(saved, name) == getattr(run, name), name
    assert same_parameters(saved.policy, run.policy)
    assert same_parameters(saved.last_policy, run.last_policy)
    assert "a2c, seed 0" in repr(saved)
    assert len(repr(saved).splitlines()) == len(repr(run).splitlines()) == 1
    for one in (run, saved):
        figure = one.plot()
        assert figure.axes[0].get_title() == "CartPole-v1, seed 0"
        assert "<td>CartPole-v1</td>" in one._repr_html_()  # pyright: ignore[reportPrivateUsage]


def test_a_run_that_is_still_training_can_be_read(tmp_path: Path):
    pg.train("CartPole-v1", "a2c", out=tmp_path / "run", **SMALL)
    rows = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    (tmp_path / "run" / "summary.json").unlink()
    # its last line is being written
    (tmp_path / "run" / "metrics.jsonl").write_bytes(rows[:-10])
    saved = pg.open_run(tmp_path / "run")
    assert saved.ended == "unfinished"
    assert len(saved.updates) == rows.count(b"\n") - 1
    assert len(saved.episode_returns) == 0
    saved.plot()
    (tmp_path / "run" / "metrics.jsonl").write_bytes(rows + b"{broken}\n")
    with pytest.raises(CheckpointError, match="is damaged"):
        _ = pg.open_run(tmp_path / "run").history
    with pytest.raises(FileNotFoundError, match="there is no run at"):
        pg.open_run(tmp_path)


def test_rows_with_other_metrics_are_read_in_their_columns(tmp_path: Path):
    from policygrad.runs.saved_run import read_updates

    file = tmp_path / "metrics.jsonl"
    file.write_text('{"steps": 1, "loss": null}\n{"steps": 2, "kl": 0.5}\n{"kl": 1.0, "steps": 3}\n')
    expected = Updates()
    for row in ({"steps": 1, "loss": math.nan}, {"steps": 2, "kl": 0.5}, {"kl": 1.0, "steps": 3}):
        expected.append(row)
    found = read_updates(file).columns()
    for name, values in expected.columns().items():
        np.testing.assert_array_equal(found[name], values)


def test_an_evaluation_shows_itself_in_a_notebook():
    evaluation = pg.Evaluation(np.array([1.0, 3.0]), np.array([5, 9]), greedy=True, cut=1, threshold=2.0)
    html = evaluation._repr_html_()  # pyright: ignore[reportPrivateUsage]
    for text in ("greedy return, 2 episodes", "1 of 2 below 2", "1, cut after 9 steps"):
        assert f"<td>{text}" in html


def test_frames_are_of_the_library_that_is_there(study: pg.SavedStudy, monkeypatch: pytest.MonkeyPatch):
    class Frame:
        def __init__(self, columns: dict[str, Any]) -> None:
            self.columns = columns

    present = set[str]()
    real = importlib.import_module

    def imported(name: str) -> Any:
        if name not in ("pandas", "polars"):
            return real(name)
        if name not in present:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        module = ModuleType(name)
        module.DataFrame = type(f"{name}Frame", (Frame,), {})  # type: ignore[attr-defined]
        return module

    monkeypatch.setattr("policygrad._support.display.import_module", imported)
    with pytest.raises(ModuleNotFoundError, match="needs pandas or polars"):
        study.frame()
    present.add("polars")
    frame = study.frame()
    assert type(frame).__name__ == "polarsFrame"
    assert frame.columns["seed"] == [0, 1, 2, 3, 4, 5] * 4
    assert frame.columns["configuration"] == (["reinforce"] * 6 + ["a2c"] * 6) * 2
    assert frame.columns["greedy"][:6] == list(study.cells[0].scores("greedy").values())
    with pytest.raises(ModuleNotFoundError, match="needs pandas,"):
        study.frame("pandas")
    present.add("pandas")
    run = study.runs[0]
    assert type(run.frame()).__name__ == "pandasFrame"
    np.testing.assert_array_equal(run.frame().columns["steps"], run.history["steps"])
    with pytest.raises(ValueError, match="must be 'pandas' or 'polars'"):
        run.frame("excel")  # type: ignore[arg-type]


def test_a_study_shows_itself_in_a_table_and_a_plot(study: pg.SavedStudy):
    table = study.table()
    assert [row[:2] for row in table] == [
        (environment, configuration)
        for environment in ("CartPole-v1", "Acrobot-v1")
        for configuration in ("reinforce", "a2c")
    ]
    scores = np.array(list(study.cells[0].scores().values()))
    kept = np.sort(scores)[1:-1]
    assert table[0][2].startswith(f"{kept.mean():.4g} [")
    html = study._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert html.count("<tr>") == 5
    figure = study.plot()
    assert [axes.get_title() for axes in figure.axes] == ["CartPole-v1", "Acrobot-v1"]
    assert [len(axes.lines) for axes in figure.axes] == [3, 3]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["reinforce", "a2c", "solved"]
    assert [axes.get_title() for axes in study.plot("entropy").axes] == ["CartPole-v1", "Acrobot-v1"]


def test_curves_are_interpolated_where_all_runs_have_values(study: pg.SavedStudy):
    cell = study.cells[0]
    steps, values = cell.curves(points=5)
    assert values.shape == (6, 5)
    for run, curve in zip(cell.runs, values, strict=True):
        np.testing.assert_allclose(curve, np.interp(steps, run.history["steps"], run.history["return_100"]))
    assert [each.size for each in cell.curves("unknown")] == [0, 0]


def test_times_until_solved_are_censored_where_a_run_was_not_solved(tmp_path: Path):
    study = pg.study(
        "CartPole-v1", "reinforce", seeds=3, episodes=0, out=tmp_path / "x", stop_at=25, steps=9000
    )
    cell = study.cells[0]
    times, solved = cell.times_to_solved()
    assert solved.all()
    assert times.tolist() == [run.solved_at for run in cell.runs]
    assert cell.score_name == "last_100"
    summary = study.summaries()[0]
    assert summary.solved == 3
    assert summary.steps_to_solved.median == sorted(times)[1]
    unsolved = pg.study("CartPole-v1", "reinforce", seeds=3, episodes=0, out=tmp_path / "y", steps=300)
    times, solved = unsolved.cells[0].times_to_solved()
    assert not solved.any()
    assert times.tolist() == [run.steps for run in unsolved.runs]
    assert unsolved.table()[0][3] == "0 of 3"


def test_configurations_are_compared_by_their_shared_seeds(study: pg.SavedStudy):
    comparison = study.compare("reinforce", "a2c")
    a, b = (study.cell("CartPole-v1", name).scores("greedy") for name in ("reinforce", "a2c"))
    one = comparison.environments["CartPole-v1"]
    assert one.paired
    assert one.difference == pytest.approx(np.mean([a[seed] - b[seed] for seed in a]))
    assert repr(comparison) == repr(pg.compare(f"{study.path}:reinforce", f"{study.path}:a2c"))
    alone = pg.compare(study.path / "CartPole-v1/reinforce", study.path / "CartPole-v1" / "a2c")
    assert alone.environments["CartPole-v1"].difference == one.difference
    assert list(alone.environments) == ["CartPole-v1"]
    assert list(comparison.words) == ["CartPole-v1", "Acrobot-v1", "all together"]
    assert len(comparison.plot().axes) == 2
    assert "reinforce − a2c" in comparison._repr_html_()  # pyright: ignore[reportPrivateUsage]
    for verdict, words in (("a is better", "reinforce is better"), ("b is better", "a2c is better")):
        text = comparison._named(f"{verdict}: the difference is 3")  # pyright: ignore[reportPrivateUsage]
        assert text == f"{words}: the difference is 3"
    confusing = replace(comparison, a="variant b", b="variant a")
    text = confusing._named("b is better over 2: a run of a scores higher")  # pyright: ignore[reportPrivateUsage]
    assert text == "variant a is better over 2: a run of variant b scores higher"


def test_names_with_colons_and_names_of_cells_are_found(tmp_path: Path):
    study = pg.study(
        {"Cart": "CartPole-v1"},
        {"m:x": "a2c", "m:y": "a2c"},
        seeds=2,
        episodes=3,
        out=tmp_path / "x",
        steps=300,
    )
    by_name = pg.compare(f"{study.path}:m:x", f"{study.path}:m:y")
    by_folder = pg.compare(*(cell.path for cell in study.cells))
    mixed = pg.compare(f"{study.path}:m:x", study.cells[1].path)
    assert repr(by_name) == repr(by_folder) == repr(mixed)
    assert by_name.a == "m:x"
    assert list(by_name.environments) == ["Cart"]


def test_runs_that_are_left_out_are_named(study: pg.SavedStudy, tmp_path: Path):
    copy = tmp_path / "copy"
    shutil.copytree(study.path, copy)
    cell = copy / "CartPole-v1" / "a2c"
    (cell / "failures.json").write_text('{"1": {"error": "OSError: x", "traceback": "x"}}')
    summary = json.loads((cell / "seed-2" / "summary.json").read_text())
    (cell / "seed-2" / "summary.json").write_text(json.dumps(summary | {"ended": "interrupted"}))
    with_gaps = pg.open_study(copy)
    assert with_gaps.missing == 1
    comparison = with_gaps.compare("reinforce", "a2c")
    assert "2 of 6 runs of a2c are left out" in comparison.words["CartPole-v1"]
    assert "left out" not in comparison.words["Acrobot-v1"]
    assert with_gaps.table()[1][3].startswith("0 of 4 (of 6)")


def test_the_whole_table_has_one_kind_of_score_and_no_nan(tmp_path: Path):
    options: dict[str, Any] = {"seeds": 2, "out": tmp_path / "x", "num_envs": 4}
    study = pg.study("Acrobot-v1", "a2c", episodes=0, steps=400, **options)
    # no episode has ended yet
    assert study.cells[0].scores() == {}
    assert study.table()[0][2:] == ("—", "2 of 2 runs")
    study = pg.study("Acrobot-v1", "ppo", episodes=3, steps=8000, resume=True, **options)
    assert [cell.score_name for cell in study.cells] == ["last_100", "greedy"]
    assert study.score_name == "last_100"
    assert study.headings()[2] == "last_100 IQM, 95 %"
    assert [summary.by for summary in study.summaries()] == ["last_100"]


def test_what_cannot_be_compared_is_refused(study: pg.SavedStudy, tmp_path: Path):
    for a, b, message in (
        (study.path, f"{study.path}:a2c", "which configuration"),
        (f"{study.path}:ppo", f"{study.path}:a2c", "which configuration"),
        (study.cells[0], study.cells[3], "no environment in common"),
    ):
        with pytest.raises(ValueError, match=message):
            pg.compare(a, b)
    with pytest.raises(FileNotFoundError, match="there is no study"):
        pg.compare(tmp_path / "nothing", study.cells[0])
    with pytest.raises(TypeError, match="expected the path of a study"):
        pg.compare(3, study.cells[0])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="it has reinforce, a2c"):
        study.compare("reinforce", "ppo")
    with pytest.raises(KeyError, match="has no CartPole-v1 ppo"):
        study.cell("CartPole-v1", "ppo")
    with pytest.raises(ValueError, match="did you mean 'greedy'"):
        pg.compare(study.cells[0], study.cells[1], by="greed")  # type: ignore[arg-type]


def test_the_command_compares_two_folders_or_all_pairs_of_a_study(
    study: pg.SavedStudy, capsys: pytest.CaptureFixture[str]
):
    path = str(study.path)
    assert main(["compare", f"{path}:reinforce", f"{path}:a2c"]) == 0
    assert "all together" in capsys.readouterr().out
    assert main(["compare", path, "--by", "last_100"]) == 0
    assert "reinforce − a2c: last_100 returns" in capsys.readouterr().out
    assert main(["compare", path, path, path]) == 2
    assert main(["compare", f"{path}/CartPole-v1/a2c"]) == 2
    assert "name a second folder" in capsys.readouterr().err


def test_progress_is_shown_in_a_notebook(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    shown = list[str]()

    class Handle:
        def update(self, bundle: dict[str, str], raw: bool) -> None:
            shown.append(bundle["text/plain"])

    def display(bundle: dict[str, str], raw: bool, display_id: bool) -> Handle:
        shown.append(bundle["text/plain"])
        return Handle()

    kernel = SimpleNamespace(get_ipython=lambda: SimpleNamespace(kernel=1))
    monkeypatch.setitem(sys.modules, "IPython", kernel)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "IPython.display", SimpleNamespace(display=display))  # type: ignore[arg-type]
    monkeypatch.delenv(progress.VARIABLE, raising=False)
    pg.train("CartPole-v1", steps=3000)
    assert "steps: return" in shown[0]
    assert shown[-1] == ""
    shown.clear()
    pg.study("CartPole-v1", "a2c", seeds=2, episodes=0, steps=3000, out=tmp_path / "x")
    assert "of 2 runs" in shown[0]
    assert shown[-1] == ""
    shown.clear()
    monkeypatch.setenv(progress.VARIABLE, "0")
    pg.train("CartPole-v1", steps=3000)
    assert not shown
