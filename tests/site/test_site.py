"""The documentation site in a browser, opened from disk: `make docs-check` builds it and runs these tests.

SITE is the folder of the built site.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from functools import cache
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

SITE = Path(os.environ.get("SITE", "no site")).resolve()
if not (SITE / "index.html").is_file():
    pytest.skip("there is no built site: `make docs-check` builds it and sets SITE", allow_module_level=True)

FILES = sorted(str(file.relative_to(SITE)) for file in SITE.rglob("*.html"))
# pages of source only contain code, so a few of them are enough
PAGES = [name for name in FILES if not name.startswith("source/")]
PAGES += [name for name in FILES if name.startswith("source/")][::20]


@pytest.fixture
def visit(browser: Any) -> Iterator[Callable[..., Any]]:
    """A function that opens a page. Afterwards, nothing may have failed or have been requested from elsewhere."""
    wrong, contexts = list[str](), list[Any]()

    def visit(name: str, width: int = 1400, theme: str = "light") -> Any:
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
        contexts.append(context)
        context.add_init_script(f"localStorage.setItem('theme', '{theme}')")
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("requestfailed", lambda request: wrong.append(f"{request.url} failed"))
        page.on("request", lambda r: r.url.startswith(("file:", "data:", "blob:")) or wrong.append(r.url))
        page.goto(f"{SITE.as_uri()}/{name}", wait_until="load")
        page.evaluate("() => window.MathJax && MathJax.startup && MathJax.startup.promise")
        return page

    yield visit
    for context in contexts:
        context.close()
    assert wrong == []


WRONG_FORMULAS = """() => [...document.querySelectorAll(".math")].filter(formula => {
    const drawn = formula.querySelector("mjx-container svg"), number = formula.querySelector(".eqno");
    if (!drawn || drawn.getBoundingClientRect().width < 4) return true;
    if (formula.querySelector('[data-mml-node="merror"], [data-mml-node="mtext"][fill="red"]')) return true;
    const right = formula.querySelector("mjx-container").getBoundingClientRect().right;
    return number && right > number.getBoundingClientRect().left + 1;
}).map(formula => formula.textContent)"""


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_drawn_as_it_should_be(visit: Callable[..., Any], name: str, width: int, theme: str):
    page = visit(name, width, theme)
    assert page.evaluate(WRONG_FORMULAS) == []
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), "the page is too wide"
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    is_bright = sum(map(int, re.findall(r"\d+", background)[:3])) > 384
    assert is_bright == (theme == "light")


def test_pictures_follow_the_theme(visit: Callable[..., Any]):
    names = [name for name in FILES if '<div class="plot">' in (SITE / name).read_text()]
    if not names:
        pytest.skip("no page has a picture")
    color = "picture => getComputedStyle(picture.querySelector('text') || picture).fill"
    light, dark = (
        visit(names[0], theme=theme).eval_on_selector(".plot svg", color) for theme in ("light", "dark")
    )
    assert light != dark


@pytest.mark.parametrize("word", ["baseline", "generalized_advantages", "clip_share"])
def test_the_search_finds_a_word(visit: Callable[..., Any], word: str):
    page = visit(f"search.html?q={word}")
    found = page.wait_for_selector("#search-results ul.search li a", timeout=20_000)
    found.click()
    page.wait_for_load_state()
    assert "search.html" not in page.url


@cache
def anchors(file: Path) -> set[str]:
    return set(map(unescape, re.findall(r'\bid="([^"]*)"', file.read_text())))


def links(file: Path) -> set[str]:
    """The links of a page that lead to this site."""
    found = re.findall(r'<(?:a|link|img|script)\b[^>]*?\b(?:href|src)="([^"]*)"', file.read_text())
    return {unescape(link) for link in found if not re.match(r"[a-z]+:", link)}


@pytest.mark.parametrize("name", FILES)
def test_links_lead_to_places_that_exist(name: str):
    wrong = list[str]()
    for link in links(SITE / name):
        path, _, anchor = link.partition("#")
        target = SITE / name
        if path:
            target = (target.parent / unquote(path.partition("?")[0])).resolve()
        has_anchors = target.suffix == ".html" and anchor
        if not target.is_file() or (has_anchors and anchor not in anchors(target)):
            wrong.append(link)
    assert wrong == []
