"""The page of a report in a browser, opened from disk: it is drawn without errors, and all that it offers works."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from tests.helpers.studies import write_json, write_study

EVIL = '</script><img src=x onerror=alert(1)> & "ppo"'
HIGH, LOW = [11.0, 13.0, 12.0, 14.0, 12.5, 13.5, 13.2], [1.0, 3.0, 2.0, None, 2.5, 3.5, 2.2]


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a study with names that look like markup, failures, findings, and a film."""
    folder = tmp_path_factory.mktemp("studies") / "x"
    scores = {"task/one-v0": {"a": HIGH, EVIL: LOW}, "two-v0": {"a": LOW, EVIL: HIGH}}
    metrics = ("return", "return_100", "noise_scale", "gradient_snr", "kl", "clip_share", "loss")
    write_study(folder, scores, metrics=metrics, findings=[EVIL], threshold=12.0, solved_at=700)
    write_json(
        folder / "environment-0/configuration-1/failures.json", {"3": {"error": EVIL, "traceback": EVIL}}
    )
    return pg.report(folder)


@pytest.fixture(scope="module")
def lone_report(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of a single run that was really trained."""
    out = tmp_path_factory.mktemp("runs") / "x"
    pg.train("CartPole-v1", "ppo", steps=1000, num_envs=2, out=out, progress=False)
    return pg.report(out)


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page. Afterwards, nothing may have failed or have been requested from elsewhere."""
    wrong, contexts = list[str](), list[Any]()

    def visit(file: Path, width: int = 1400, theme: str = "light", anchor: str = "", **options: Any) -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("dialog", lambda dialog: wrong.append(f"a script from a name was run: {dialog.message}"))
        page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or wrong.append(r.url))
        page.goto(f"{file.as_uri()}{anchor}", wait_until="load")
        if options.get("java_script_enabled", True):
            page.wait_for_selector("html[data-ready]")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


def draw_all(page: Any) -> None:
    """Scroll to every chart that is visible, and wait until it is drawn."""
    for chart in page.query_selector_all(".chart:visible"):
        chart.scroll_into_view_if_needed()
        page.wait_for_function("chart => 'drawn' in chart.dataset", arg=chart)


def fits(page: Any) -> bool:
    return page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


PROBLEMS = """() => {
    const found = [], name = part => part.getAttribute("aria-label") || part.textContent.trim() || part.alt;
    for (const part of document.querySelectorAll("a, button, summary")) if (!name(part)) found.push(part.outerHTML);
    for (const part of document.querySelectorAll("img")) if (!part.alt) found.push(part.outerHTML.slice(0, 80));
    for (const part of document.querySelectorAll("input, select")) {
        if (!part.closest("label")) found.push(part.outerHTML);
    }
    for (const part of document.querySelectorAll("[role=img]")) if (!part.ariaLabel) found.push(part.outerHTML);
    for (const part of document.querySelectorAll("th")) if (!part.scope) found.push(part.outerHTML);
    const ids = [...document.querySelectorAll("[id]")].map(part => part.id);
    for (const id of ids) if (ids.indexOf(id) !== ids.lastIndexOf(id)) found.push("twice: " + id);
    for (const part of document.querySelectorAll("[aria-labelledby]")) {
        if (!part.hidden && !document.getElementById(part.getAttribute("aria-labelledby"))) found.push(part.outerHTML);
    }
    let level = 0;
    for (const part of document.querySelectorAll("h1, h2, h3, h4")) {
        if (!part.checkVisibility()) continue;
        const next = Number(part.tagName[1]);
        if (next > level + 1) found.push("heading out of order: " + part.textContent);
        level = next;
    }
    if (document.querySelectorAll("main").length !== 1) found.push("not one main");
    if (!document.documentElement.lang) found.push("no language");
    return found;
}"""

CONTRASTS = """() => {
    const numbers = color => color.match(/[\\d.]+/g).map(Number);
    const linear = c => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = ([r, g, b]) => [r, g, b].map(c => linear(c / 255))
        .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
    const behind = part => {
        for (; part; part = part.parentElement) {
            const color = numbers(getComputedStyle(part).backgroundColor);
            if (color[3] === undefined || color[3] === 1) return color;
        }
        return [255, 255, 255];
    };
    const found = [];
    const words = "main p, main td, main th, main h1, main h2, main a, main button, .badge, .state, dt, dd, summary";
    for (const part of document.querySelectorAll(words)) {
        if (!part.checkVisibility() || part.closest(".chart")) continue;
        const [a, b] = [light(numbers(getComputedStyle(part).color)), light(behind(part))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) found.push([part.className || part.tagName, part.textContent.slice(0, 30)]);
    }
    return found;
}"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_the_page_is_drawn_as_it_should_be(visit: Callable[..., Any], report: Path, width: int, theme: str):
    page = visit(report, width, theme)
    assert page.is_visible("text=a is best on task/one-v0")
    draw_all(page)
    assert len(page.query_selector_all(".chart[data-drawn] svg.main-svg")) >= 6
    assert fits(page)
    assert page.evaluate(PROBLEMS) == []
    assert page.evaluate(CONTRASTS) == []
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", background)[:3])) > 384) == (theme == "light")
    page.evaluate("location.hash = '#run=' + encodeURIComponent('environment-0/configuration-1/seed-0')")
    page.wait_for_selector("#run-title")
    draw_all(page)
    assert fits(page)
    assert page.evaluate(PROBLEMS) == []
    assert page.evaluate(CONTRASTS) == []


def test_filters_leave_what_was_chosen(visit: Callable[..., Any], report: Path):
    page = visit(report)
    rows = "#run-table tbody tr:visible"
    assert len(page.query_selector_all(rows)) == 28
    page.uncheck("input[name=environment][value='0']")
    assert len(page.query_selector_all(rows)) == 14
    assert len(page.query_selector_all("#curves figure:visible")) == 1
    assert page.inner_text("#filter-status") == "Runs: 14 of 28 match the filters."
    page.uncheck("input[name=configuration][value='1']")
    page.select_option("#seed", "3")
    assert len(page.query_selector_all(rows)) == 1
    draw_all(page)
    names = (
        "[...document.querySelector('[data-curve=\\'1\\']').data].map(trace => trace.name).filter(Boolean)"
    )
    assert page.evaluate(names) == ["a"]
    page.select_option("#state", "failed")
    assert page.is_visible("text=No run matches the filters.")
    page.click("#reset")
    assert len(page.query_selector_all(rows)) == 28
    page.select_option("#state", "failed")
    assert [row.get_attribute("data-run") for row in page.query_selector_all(rows)] == [
        "environment-0/configuration-1/seed-3"
    ]


def test_the_list_of_runs_is_sorted_by_a_column(visit: Callable[..., Any], report: Path):
    page = visit(report)

    def scores() -> list[str]:
        return [row.query_selector("td:nth-child(5)").inner_text() for row in page.query_selector_all("#run-table tbody tr")]  # fmt: skip  # noqa: E501

    page.click("#run-table th:nth-child(5) button")
    ascending = [float(score) for score in scores() if score != "—"]
    assert ascending == sorted(ascending)
    assert page.get_attribute("#run-table th:nth-child(5)", "aria-sort") == "ascending"
    page.click("#run-table th:nth-child(5) button")
    assert [float(score) for score in scores() if score != "—"] == ascending[::-1]


def test_toggles_change_the_curves(visit: Callable[..., Any], report: Path):
    page = visit(report)
    draw_all(page)
    count = "document.querySelector('[data-curve=\\'0\\']').data.length"
    with_bands = page.evaluate(count)
    page.uncheck("#bands")
    page.wait_for_function(f"{count} === {with_bands - 4}")
    page.check("#each")
    page.wait_for_function(f"{count} === {with_bands - 4 + 14}")
    page.check("#log")
    page.wait_for_function("document.querySelector('[data-curve=\\'0\\']').layout.xaxis.type === 'log'")


def test_the_theme_is_remembered_and_charts_follow_it(visit: Callable[..., Any], report: Path):
    page = visit(report)
    draw_all(page)
    color = "getComputedStyle(document.querySelector('[data-curve] .xtick text')).fill"
    light = page.evaluate(color)
    page.click("#theme")
    page.wait_for_function(f"{color} !== '{light}'")
    assert page.inner_text("#theme") == "Light theme"
    # the browser hands what is stored to another process, which takes a moment on a busy machine
    page.wait_for_timeout(1000)
    page.reload()
    page.wait_for_selector("html[data-ready]")
    assert page.get_attribute("html", "data-theme") == "dark"


def test_a_link_leads_to_a_run_and_back(visit: Callable[..., Any], report: Path):
    page = visit(report, anchor="#run=environment-1%2Fconfiguration-0%2Fseed-2")
    assert page.inner_text("#run-title").startswith("two-v0, a, seed 2")
    assert page.evaluate("document.activeElement.id") == "run-title"
    assert not page.is_visible("#overview")
    assert page.is_visible(f".findings >> text={EVIL}")
    assert "samples per step" in page.evaluate(
        "(async () => { const c = document.querySelector('[data-metric=noise_scale] .chart'); c.scrollIntoView();"
        " while (!('drawn' in c.dataset)) await new Promise(go => setTimeout(go, 20)); return c.textContent; })()"
    )
    page.click(".step >> text=Next")
    page.wait_for_function("document.getElementById('run-title').textContent.includes('seed 3')")
    page.click(".step >> text=All runs")
    page.wait_for_selector("#overview", state="visible")
    page.click("#run-table tr[data-run='environment-0/configuration-1/seed-3'] a")
    page.wait_for_selector("#run-title")
    assert page.inner_text(".failure p") == EVIL
    page.go_back()
    page.wait_for_selector("#overview", state="visible")


OUTLINED = """[document.activeElement, document.activeElement.closest("label")]
    .some(part => part && getComputedStyle(part).outlineStyle === "solid")"""


def test_everything_can_be_reached_with_the_keyboard(visit: Callable[..., Any], report: Path):
    page = visit(report)
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    reached = set[str]()
    for _ in range(40):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.id || document.activeElement.name"))
        assert page.evaluate(OUTLINED), page.evaluate("document.activeElement.outerHTML.slice(0, 200)")
    assert {"theme", "environment", "configuration", "seed", "state", "reset", "bands"} <= reached
    page.focus("#run-table tbody tr a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#run-title")


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
def test_a_film_moves_only_if_the_system_does_not_ask_for_less(
    visit: Callable[..., Any], lone_report: Path, motion: str
):
    page = visit(lone_report, reduced_motion=motion)
    image = page.wait_for_selector("img[data-film]")
    still = image.get_attribute("src")
    image.scroll_into_view_if_needed()
    button = page.wait_for_selector(".play")
    if motion == "reduce":
        assert (image.get_attribute("src"), button.inner_text()) == (still, "Play")
        button.click()
    page.wait_for_function("([image, still]) => image.src !== still", arg=[image, still])
    assert image.evaluate("image => image.decode().then(() => image.naturalWidth)") > 0
    button.click()
    assert (image.get_attribute("src"), button.inner_text()) == (still, "Play")


def test_the_page_of_a_single_run_shows_the_run(visit: Callable[..., Any], lone_report: Path):
    page = visit(lone_report, 400)
    draw_all(page)
    assert len(page.query_selector_all("#only-run figure.metric:visible")) > 10
    assert fits(page)
    assert page.evaluate(PROBLEMS) == []


def test_words_and_tables_remain_without_scripts(visit: Callable[..., Any], report: Path):
    page = visit(report, java_script_enabled=False)
    assert page.is_visible("text=a is best on task/one-v0")
    assert page.is_visible("text=JavaScript, which is switched off")
    assert len(page.query_selector_all("#run-table tbody tr:visible")) == 28
    assert not page.query_selector_all(".chart:visible, #filters:visible, #theme:visible")


def test_paper_is_light_and_shows_the_charts(visit: Callable[..., Any], report: Path):
    page = visit(report, theme="dark")
    draw_all(page)
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(27, 32, 39)"
    assert page.evaluate("getComputedStyle(document.querySelector('.xtick text')).fill") == "rgb(85, 96, 110)"
    assert not page.query_selector_all("#filters:visible, header:visible")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.emulate_media(media="screen", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(232, 235, 240)"
