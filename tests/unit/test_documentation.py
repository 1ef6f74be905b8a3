"""Everything that is written down runs or is true: docstrings, documents, examples, tables and pinned versions."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import policygrad

ROOT = Path(__file__).parents[2]
MODULES = [
    m.name for m in pkgutil.walk_packages(policygrad.__path__, "policygrad.") if "__main__" not in m.name
]


@pytest.mark.draws_globally
@pytest.mark.parametrize("name", ["policygrad", *MODULES])
def test_examples_in_docstrings_are_right(name: str):
    import numpy as np
    import torch

    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np, "torch": torch})
    assert result.failed == 0


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.draws_globally
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_python_in_documents_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The Python blocks of a document run one after another, in an empty folder."""
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, document.name, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_in_documents_lead_to_files(document: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def anchors_of(document: Path) -> set[str]:
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", document.read_text(), re.MULTILINE)
    plain = [re.sub(r"[^\w\- ]", "", heading.lower()) for heading in headings]
    return {heading.replace(" ", "-") for heading in plain}


@pytest.mark.parametrize(
    "document", [*DOCUMENTS, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"], ids=lambda d: d.name
)
def test_anchors_in_links_are_headings(document: Path):
    for target, anchor in re.findall(r"\]\(([^)#\s]*)#([^)]+)\)", document.read_text()):
        if not target.startswith("http"):
            assert anchor in anchors_of(document.parent / target if target else document), (target, anchor)


def test_the_oldest_tested_versions_are_the_oldest_allowed_ones():
    allowed = re.findall(r'^  "([\w.-]+)>=([\w.]+)', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    tested = (ROOT / "tests" / "oldest.txt").read_text()
    pinned = dict(re.findall(r"^([\w-]+)(?:\[[\w,]+\])?==([\w.]+)$", tested, re.MULTILINE))
    assert len(allowed) > 10
    for name, version in allowed:
        if name in pinned:
            assert re.sub(r"(\.0)+$", "", pinned[name]) == re.sub(r"(\.0)+$", "", version), name
    dependencies = (ROOT / "pyproject.toml").read_text().split("dependencies = [")[1].split("]")[0]
    assert set(re.findall(r'"([\w-]+)>=', dependencies)) <= pinned.keys()


def test_the_comparison_of_defaults_in_the_docs_is_the_measured_one():
    table = (ROOT / "benchmarks" / "results" / "defaults.md").read_text()
    assert table in (ROOT / "docs" / "actor_critic.md").read_text()
    assert table.count("| yes |") == 8


def test_the_commands_for_third_party_environments_are_in_the_docs():
    source = (ROOT / "benchmarks" / "third_party.py").read_text()
    commands = re.search(r'COMMANDS = """\n(.*?)\n"""', source, re.DOTALL)
    assert commands is not None
    listed = re.findall(
        r"^\| [^|]*\| `([^`]+)` \|$", (ROOT / "docs" / "environments.md").read_text(), re.MULTILINE
    )
    assert [line for line in listed if ":" in line] == commands.group(1).splitlines()


@pytest.mark.long
@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda e: e.name)
def test_examples_run(example: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
