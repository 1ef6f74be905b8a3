"""The report: one page that says what a study or a run has shown, whatever state it is in."""

from __future__ import annotations

import base64
import gzip
import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.cli import main
from policygrad.errors import CheckpointError
from policygrad.metrics import METRICS
from policygrad.reports import clips
from policygrad.reports.metric_lines import at_the_end, is_healthy, metric_lines, shortened
from policygrad.reports.settings_table import settings_tables
from policygrad.statistics import iqm
from tests.helpers.studies import ALL_METRICS, write_json, write_run, write_study

EVIL = "</script><img src=x onerror=alert(1)>"
CLOSE, APART = [1.0, 3.0, 2.0, 4.0, 2.5, 3.5], [11.0, 13.0, 12.0, 14.0, 12.5, 13.5]
A_LITTLE_MORE = [score + 0.01 for score in reversed(CLOSE)]


class Page(HTMLParser):
    """The text of a page, its tags, and the data of its charts."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        self.html, self.tags, self.within, pieces = file.read_text(), list[Any](), "", list[str]()
        self.handle_data = lambda data: (
            pieces.append(data) if self.within not in ("script", "style") else None
        )
        self.feed(self.html)
        self.text = re.sub(r"\s+", " ", "".join(pieces).replace("\u00a0", " "))
        self.data = json.loads(unpacked(self.html, "data"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.within = tag

    def handle_endtag(self, tag: str) -> None:
        self.within = ""


def unpacked(html: str, name: str) -> str:
    found = re.search(rf'<script type="text/plain" id="{name}">([^<]*)</script>', html)
    assert found
    return gzip.decompress(base64.b64decode(found[1])).decode()


def page_of(folder: Path, **options: Any) -> Page:
    return Page(pg.report(folder, **({"film": False} | options)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study that was really trained."""
    out = tmp_path_factory.mktemp("studies") / "small"
    pg.study(
        ["CartPole-v1", "Pendulum-v1"], ["a2c", "ppo"], seeds=2, steps=800, num_envs=2, episodes=3, out=out
    )
    return out


def test_the_page_of_a_study_contains_all_parts(trained: Path):
    page = page_of(trained, film=True)
    for word in (
        "CartPole-v1",
        "Pendulum-v1",
        "a2c",
        "ppo",
        "All 8 runs finished.",
        "numpy",
        "algorithm.learning_rate",
    ):
        assert word in page.text
    sections = [
        attributes["aria-labelledby"]
        for tag, attributes in page.tags
        if tag == "section" and "aria-labelledby" in attributes
    ]
    assert sections == [
        f"{name}-title" for name in ("answer", "curves", "comparison", "runs", "films", "settings", "machine")
    ]
    study = pg.open_study(trained)
    assert [run["id"] for run in page.data["runs"]] == [
        str(run.path.relative_to(trained)) for run in study.runs
    ]
    for run, row in zip(study.runs, page.data["runs"], strict=True):
        np.testing.assert_allclose(row["x"][-1], run.steps)
        np.testing.assert_allclose(row["lines"]["return_100"][-1], run.history["return_100"][-1], rtol=1e-3)
    for cell, drawn in zip(study.cells, page.data["cells"], strict=True):
        np.testing.assert_allclose(drawn["iqm"][0], iqm([np.array(list(cell.scores().values()))]), rtol=1e-3)
    films = [attributes for tag, attributes in page.tags if tag == "img"]
    assert len(films) == 4
    assert all(film["alt"] for film in films)


def test_the_page_asks_for_nothing_from_elsewhere(trained: Path):
    page = page_of(trained, film=True)
    for tag, attributes in page.tags:
        for name in ("src", "href"):
            assert re.match(r"data:|#|$", attributes.get(name) or ""), (tag, attributes)
    (policy,) = (a["content"] for tag, a in page.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_the_same_study_gives_the_same_page(trained: Path, tmp_path: Path):
    one, other = (
        pg.report(trained, tmp_path / name, film=True).read_bytes() for name in ("a.html", "b.html")
    )
    assert one == other


def test_names_cannot_become_markup(tmp_path: Path):
    folder = write_study(
        tmp_path / "x", {EVIL: {EVIL: [1.0, 2.0], "</style><b>": [3.0, None]}}, findings=[EVIL]
    )
    write_json(
        folder / "environment-0/configuration-0/failures.json", {"1": {"error": EVIL, "traceback": EVIL}}
    )
    page = page_of(folder)
    assert EVIL in page.text
    assert "<img src=x" not in page.html
    assert not [tag for tag, _ in page.tags if tag in ("img", "b")]
    scripts = [attributes for tag, attributes in page.tags if tag == "script"]
    assert [s.get("id") for s in scripts] == [None, "data", "plotly", None]
    assert page.data["environments"] == [EVIL]


@pytest.mark.parametrize(
    ("a", "b", "standing", "words"),
    [
        (APART, CLOSE, "decided", "a is best on task."),
        (CLOSE, A_LITTLE_MORE, "not decided", "b scores highest on task, but that is not decided."),
        (APART[:5], CLOSE[:5], "too few seeds", "a scores highest on task, but there are too few seeds to decide."),
        ([5.0] * 6, [5.0] * 6, "not decided", "a and b score the same on task."),
        ([3.0], [1.0], "too few seeds", "One seed says nothing about chance; train 6 or more of each."),
        ([3.0, 4.0], [None], "nothing to compare", "a reached a mean score of 3.5 on task, which has no threshold."),
        ([None], [None], "no runs", "No run has finished, so there is no answer yet.") ,
    ],
)  # fmt: skip
def test_the_answer_is_as_certain_as_the_runs_are(
    tmp_path: Path, a: list[float | None], b: list[float | None], standing: str, words: str
):
    page = page_of(write_study(tmp_path / "x", {"task": {"a": a, "b": b}}))
    assert words in page.text
    badges = [
        attributes["class"] for tag, attributes in page.tags if "badge" in (attributes.get("class") or "")
    ]
    assert badges == ([] if standing == "nothing to compare" else [f"badge {standing.replace(' ', '-')}"])


def test_the_answer_over_several_environments(tmp_path: Path):
    study = {
        "one": {"a": APART, "b": CLOSE},
        "two": {"a": APART, "b": CLOSE},
        "three": {"a": CLOSE, "b": A_LITTLE_MORE},
        "four": {"a": [], "b": []},
    }
    page = page_of(write_study(tmp_path / "x", study))
    assert "a is best on one and two. b scores highest on three, but that is not decided." in page.text
    assert (
        "Over 3 environments together, a run of a scores higher than a run of b with probability" in page.text
    )


def test_failed_unfinished_and_missing_runs_are_told_apart(tmp_path: Path):
    folder = write_study(
        tmp_path / "x", {"task": {"a": [1.0, 2.0, None, 3.0, 4.0]}}, threshold=2.0, solved_at=700
    )
    cell = folder / "environment-0/configuration-0"
    shutil.rmtree(cell / "seed-0")
    shutil.rmtree(cell / "seed-4")
    write_json(cell / "failures.json", {"0": {"error": "ValueError: no", "traceback": "Traceback: line 1"}})
    page = page_of(folder)
    states = [run["state"] for run in page.data["runs"]]
    assert states == ["failed", "solved", "unfinished", "solved", "not begun"]
    assert (
        "2 of 5 runs finished. 1 run failed; scores and curves leave it out. 2 runs have not finished"
        in page.text
    )
    assert "Traceback: line 1" in page.text
    assert page.data["runs"][0]["failure"]["error"] == "ValueError: no"
    assert "a solved task in 2 of 2 runs, half of the runs within 700 steps" in page.text


def test_a_study_in_which_nothing_has_begun_gives_a_page(tmp_path: Path):
    folder = write_study(tmp_path / "x", {"task": {"a": [1.0]}})
    shutil.rmtree(folder / "environment-0")
    page = page_of(folder)
    assert "No run has finished, so there is no answer yet." in page.text
    assert "1 combination of environment and configuration has not begun." in page.text


def test_the_page_of_a_single_run_and_of_seeds(tmp_path: Path):
    pg.train("CartPole-v1", "a2c", steps=600, seeds=2, out=tmp_path / "seeds", progress=False)
    page = page_of(tmp_path / "seeds")
    assert [run["id"] for run in page.data["runs"]] == ["seed-0", "seed-1"]
    page = page_of(tmp_path / "seeds" / "seed-1", film=True)
    assert [run["id"] for run in page.data["runs"]] == ["seed-1"]
    assert "did not solve it within 600 steps" in page.text
    assert "Comparison" not in page.text
    assert [attributes["data-film"] for tag, attributes in page.tags if tag == "img"] == ["film-0"]


def test_metrics_of_an_algorithm_that_this_program_does_not_know_are_shown(tmp_path: Path):
    folder = tmp_path / "run"
    config = {"environment": "task", "algorithm": {"name": "mine"}}
    write_run(folder, config, np.random.default_rng(0), metrics=("return", "return_100", "surprise"))
    page = page_of(folder)
    assert len(page.data["runs"][0]["lines"]["surprise"]) == 10
    assert "not registered" in page.data["metrics"]["surprise"]["healthy"]


def test_the_page_of_180_runs_with_all_metrics_has_at_most_5_megabytes(tmp_path: Path):
    scores = {f"task {i}": {f"{j}": [float(k) for k in range(5)] for j in range(6)} for i in range(6)}
    folder = write_study(tmp_path / "x", scores, updates=120, metrics=ALL_METRICS)
    size = pg.report(folder, film=False).stat().st_size
    films = 4 / 3 * clips.ALL_TOGETHER + 36 * 4000
    assert size + films < 5_000_000


def test_an_animation_is_as_small_as_asked(tmp_path: Path):
    frames = np.random.default_rng(0).integers(256, size=(40, 120, 160, 3), dtype=np.uint8)
    data, still, size = clips.as_webp(frames, 30.0, 60_000)
    assert len(base64.b64decode(data)) <= 60_000
    assert size == (160, 120)
    assert base64.b64decode(still)[8:12] == b"WEBP"


def test_an_environment_that_cannot_be_opened_is_not_filmed(tmp_path: Path):
    pg.train("CartPole-v1", steps=500, out=tmp_path / "x", progress=False)
    config = json.loads((tmp_path / "x" / "config.json").read_text())
    write_json(tmp_path / "x" / "config.json", config | {"environment_id": "no_such_module:Env-v0"})
    assert "There is no animation:" in page_of(tmp_path / "x", film=True).text
    write_json(tmp_path / "x" / "config.json", config | {"environment_id": None})
    assert "given as an object, which is not saved" in page_of(tmp_path / "x", film=True).text


def test_settings_that_differ_are_apart_from_common_and_partial_ones(tmp_path: Path):
    folder = write_study(tmp_path / "x", {"task": {"a": [1.0], "b": [2.0]}})
    file = folder / "environment-0/configuration-1/config.json"
    write_json(file, json.loads(file.read_text()) | {"extra": {"depth": [1, None, True]}})
    (table,) = settings_tables(pg.open_study(folder))
    assert table.headings == ["a", "b"]
    assert table.different == [("algorithm.learning_rate", ["0.001", "0.002"])]
    assert table.partial == [("extra.depth", [None, "1, none, yes"])]
    assert dict(table.common) == {"algorithm.name": "ppo", "steps": "1000"}


def test_the_machine_of_a_resumed_study_is_compared_with_the_earlier_one(tmp_path: Path):
    folder = write_study(tmp_path / "x", {"task": {"a": [1.0]}})
    now = json.loads((folder / "manifest.json").read_text())
    earlier = now | {"processor": "an abacus", "started": "2026-03-01T12:30:05+00:00"}
    write_json(folder / "manifest.json", now | {"before": [earlier]})
    text = page_of(folder).text
    assert "1 March 2026, 12:30 UTC" in text
    assert "an abacus" in text


def test_a_shortened_line_keeps_its_peaks_and_gaps():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(1001, 3))
    table[500, 0], table[77, 1], table[:, 2] = 50.0, -50.0, np.nan
    places, rows = shortened(table, 40)
    assert rows.shape == (40, 3)
    assert (np.diff(places) > 0).all()
    assert rows[:, 0].max() == 50.0
    assert rows[:, 1].min() == -50.0
    assert np.isnan(rows[:, 2]).all()
    for column in (0, 1):
        assert abs(places[rows[:, column].__abs__().argmax()] - (500, 77)[column]) <= 1001 / 20
    lines = metric_lines(
        {"steps": np.arange(3.0), "kl": np.array([0.1, np.nan, 0.3]), "std": np.full(3, np.nan)}, 40
    )
    assert lines == {"x": [0, 1, 2], "lines": {"kl": [0.1, None, 0.3]}}


def test_healthy_ranges_are_those_of_the_words():
    for name, metric in METRICS.items():
        for end in (metric.low, metric.high):
            assert end is None or re.search(rf"(?<![\d.]){end:g}(?![\d.]\d)", metric.healthy), name
    assert is_healthy("kl", 0.01) is True
    assert is_healthy("kl", 0.04) is False
    assert is_healthy("clip_share", 0.01) is False
    assert is_healthy("kl", np.nan) is None
    assert is_healthy("loss", 5.0) is None
    assert at_the_end(np.array([0.0] * 18 + [1.0, np.nan, 3.0])) == 2.0


@pytest.mark.parametrize("damage", ["config.json", "summary.json", "metrics.jsonl", "manifest.json"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str):
    folder = write_study(tmp_path / "x", {"task": {"a": [1.0]}})
    file = folder / ("environment-0/configuration-0/seed-0" if damage != "manifest.json" else ".") / damage
    file.write_text("{nonsense\n")
    with pytest.raises(CheckpointError, match=f"{damage}.* is damaged"):
        pg.report(folder, film=False)


def test_a_folder_without_a_study_and_a_place_that_cannot_be_written_are_refused(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="neither a study nor a run"):
        pg.report(tmp_path)
    folder = write_study(tmp_path / "x", {"task": {"a": [1.0]}})
    with pytest.raises(FileNotFoundError, match="is a folder; expected the name of a file"):
        pg.report(folder, tmp_path)
    with pytest.raises(FileNotFoundError, match="in a folder that does not exist"):
        pg.report(folder, tmp_path / "none" / "report.html")
    assert not list(tmp_path.rglob("*.html"))


def test_the_command_writes_the_page_and_prints_where(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = write_study(tmp_path / "x", {"task": {"a": [1.0]}})
    assert main(["report", str(folder), "--no-film"]) == 0
    assert capsys.readouterr().out.strip() == str(folder / "report.html")
    assert main(["report", str(folder), "--out", str(tmp_path / "page.html"), "--no-film"]) == 0
    assert (tmp_path / "page.html").read_bytes() == (folder / "report.html").read_bytes()
    assert main(["report", str(tmp_path / "none")]) == 2
    assert "neither a study nor a run" in capsys.readouterr().err


@pytest.mark.parametrize("wanted", [True, False])
def test_a_study_ends_with_its_report_unless_it_is_not_wanted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wanted: bool
):
    options = ["--seeds", "1", "--steps", "300", "--episodes", "2", "--out", str(tmp_path / "x")]
    assert main(["study", "CartPole-v1", *options, *([] if wanted else ["--no-report"])]) == 0
    assert (tmp_path / "x" / "report.html").exists() == wanted
    assert ("the report is" in capsys.readouterr().out) == wanted
