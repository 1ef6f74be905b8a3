"""The browser of the tests that look at pages. CHROMIUM is its path, if it is not on the PATH."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from typing import Any

import pytest

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium: run `apt-get install chromium`, or set CHROMIUM to its path")
    sync_api = pytest.importorskip("playwright.sync_api", reason="run `pip install '.[docs]'`")
    with sync_api.sync_playwright() as playwright:
        # the sandbox does not work for root, and containers often have little shared memory
        options = ["--no-sandbox", "--disable-dev-shm-usage"]
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        yield browser
        browser.close()
