"""The library as a whole: its imports, its start, its documents."""

from __future__ import annotations

import ast
import doctest
import importlib
import os
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import policygrad
from policygrad.metrics import METRICS, check_registered

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "policygrad"

ORDER = [
    "errors", "_support", "types", "metrics", "spaces", "losses", "interfaces", "policies", "envs", "advantages",
    "algorithms", "engines", "rollout", "agent", "training", "evaluation", "presets", "runs", "proof", "lesson", "cli",
]  # fmt: skip
"""The rooms in the order in which data flows through them: each imports only from those before it."""


def imports_of(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("policygrad"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
    return found - {"__version__"}


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda f: str(f.relative_to(SOURCE)))
def test_imports_run_one_way(file: Path):
    room = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    if room in ("__init__", "__main__"):
        return
    assert imports_of(file) <= set(ORDER[: ORDER.index(room) + 1])


MODULES = [
    m.name for m in pkgutil.walk_packages(policygrad.__path__, "policygrad.") if "__main__" not in m.name
]


@pytest.mark.draws_globally
@pytest.mark.parametrize("name", ["policygrad", *MODULES])
def test_examples_in_docstrings(name: str):
    import numpy as np
    import torch

    module = importlib.import_module(name)
    result = doctest.testmod(module, extraglobs={"np": np, "torch": torch})
    assert result.failed == 0


def loaded_after(code: str) -> set[str]:
    code = f"import sys; {code}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_what_is_not_used_is_not_imported():
    """The command's help and the package itself are there at once."""
    heavy = {"torch", "numba", "numpy", "gymnasium", "rich"}
    for code in ("import policygrad", "from policygrad.cli import main; main(['--help'])"):
        assert not heavy & loaded_after(code)
    assert not {"torch", "numba"} & loaded_after("from policygrad.cli import main; main(['metrics'])")


def test_submodules_are_attributes():
    code = "import policygrad as pg; pg.metrics.register, pg.errors, pg.envs.make, pg.policies, pg.algorithms, pg.proof"
    assert "policygrad.metrics" in loaded_after(code)


def test_importing_is_light():
    """What is heavy and not always needed is imported where it is used."""
    loaded = loaded_after("import policygrad; policygrad.train")
    heavy = {"matplotlib", "tensorboardX", "tyro", "rich", "pandas", "tensorflow", "scipy.stats", "pygame"}
    assert not heavy & loaded
    assert not {name for name in loaded if name.startswith("policygrad.engines.fused")}


@pytest.mark.parametrize(
    ("env", "distribution"),
    [("CartPole-v1", "auto"), ("Pendulum-v1", "auto"), ("Pendulum-v1", "beta"), ("SlipperyGrid-v0", "auto")],
)
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_second_process_compiles_nothing(env: str, distribution: str, engine: str):
    """Every function that Numba compiled is found in the cache: loops, kernels, losses, estimators."""
    code = f"""
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    import policygrad as pg
    for baseline in ("value", "optimal"):
        options = dict(steps=300, engine="{engine}", network=pg.Network(distribution="{distribution}"))
        run = pg.train("{env}", pg.Reinforce(baseline=baseline), **options)
        pg.evaluate(run.policy, "{env}", episodes=2)
    pg.train("{env}", "trpo", steps=300, engine="{engine}")
print(*(e.data["dispatcher"].py_func.__name__ for _, e in recorder.buffer if e.is_start))
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.parametrize("order", [("fused", "autograd"), ("autograd", "fused")])
def test_engines_share_a_fresh_cache(order: tuple[str, str], tmp_path: Path):
    """One after the other, in processes of their own: what the first has cached must serve the second."""
    for engine in order:
        code = f"import policygrad as pg; pg.train('CartPole-v1', steps=50, engine='{engine}')"
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.draws_globally
@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_python_in_documents_runs(document: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Each document's Python blocks, one after another, in a folder of their own."""
    blocks = re.findall(r"^```python\n(.*?)^```", document.read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, document.name, "exec"), names)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_in_documents_lead_somewhere(document: Path):
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


def test_the_oldest_versions_that_are_tested_are_those_that_are_allowed():
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


def test_the_commands_of_third_party_environments_stand_in_the_docs():
    source = (ROOT / "benchmarks" / "third_party.py").read_text()
    commands = re.search(r'COMMANDS = """\n(.*?)\n"""', source, re.DOTALL)
    assert commands is not None
    listed = re.findall(
        r"^\| [^|]*\| `([^`]+)` \|$", (ROOT / "docs" / "environments.md").read_text(), re.MULTILINE
    )
    assert [line for line in listed if ":" in line] == commands.group(1).splitlines()


@pytest.mark.parametrize("example", sorted((ROOT / "examples").glob("*.py")), ids=lambda e: e.name)
def test_examples_run(example: Path, tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(example)], cwd=tmp_path, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr


def test_unknown_metrics_are_refused():
    check_registered(METRICS)
    with pytest.raises(KeyError, match="surprise"):
        check_registered({"return": 1.0, "surprise": 2.0})
