"""The layout of the source: imports run one way, few modules at the top, short files, and the path of a call."""

from __future__ import annotations

import ast
import re
import sys
import traceback
from collections import Counter
from graphlib import TopologicalSorter
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

import policygrad as pg
from policygrad.engines.fused import update_loop

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "policygrad"
FILES = sorted(file for file in SOURCE.rglob("*.py") if file.parent.name != "templates")
"""All modules. The templates of exercises are handed out and not imported."""

ORDER = [
    "errors", "_support", "types", "statistics", "metrics", "spaces", "losses", "interfaces", "policies", "envs",
    "advantages", "algorithms", "engines", "rollout", "parallel", "agent", "training", "evaluation", "watching",
    "presets", "doctor", "runs", "scheduling", "studies", "reports", "proof", "exercises", "lesson", "cli",
]  # fmt: skip
"""Packages and top-level modules. Each imports only from those before it, and from itself."""

MOST_AT_THE_TOP, LONGEST_FILE = 14, 300
SAME_ROLE = {
    "__init__.py", "beta.py", "categorical.py", "gaussian.py", "gsde.py", "engine.py", "scores.py", "mlp.py",
    "loss.py", "metrics.py", "compare.py", "progress.py", "report.py", "study.py", "train.py",
}  # fmt: skip
"""Names that several files share because they play the same role: the torch module and the machine code of a
distribution, the two engines, the command for something and the thing itself."""


def own_imports(file: Path) -> list[tuple[list[str], list[str]]]:
    """Each `from policygrad... import ...` of a file, also for type checking only: (parts of the module, names)."""
    nodes = [node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.ImportFrom)]
    imports = [((node.module or "").split("."), [alias.name for alias in node.names]) for node in nodes]
    return [(parts[1:], names) for parts, names in imports if parts[0] == "policygrad"]


def imports_of(file: Path) -> set[str]:
    """The packages and top-level modules that a file imports from."""
    found = {name for parts, names in own_imports(file) for name in (parts[:1] or names)}
    return found - {"__version__"}


def name_of(file: Path) -> str:
    return str(file.relative_to(SOURCE))


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_imports_run_one_way(file: Path):
    package = file.relative_to(SOURCE).parts[0].removesuffix(".py")
    if package not in ("__init__", "__main__"):
        assert imports_of(file) <= set(ORDER[: ORDER.index(package) + 1])


def modules_imported_by(file: Path) -> set[Path]:
    """The files that a file imports from. A package's `__init__` stands for itself."""
    found = set[Path]()
    for parts, names in own_imports(file):
        target = SOURCE.joinpath(*parts)
        candidates = (target.with_suffix(".py"), *(target / f"{name}.py" for name in names))
        found |= {path for path in candidates if path.exists()}
    return found


def test_no_two_files_import_each_other_even_indirectly():
    graph = {file: modules_imported_by(file) for file in FILES}
    assert sum(map(len, graph.values())) > 300
    list(TopologicalSorter(graph).static_order())  # raises CycleError


def test_contributing_lists_the_packages_in_this_order():
    layout = (ROOT / "CONTRIBUTING.md").read_text().split("## Layout")[1]
    listed = re.findall(r"`([\w]+)(?:\.py|/)`", "".join(re.findall(r"^\| (.*?) \|", layout, re.MULTILINE)))
    assert listed == ORDER


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_nobody_imports_a_private_name_of_another_module(file: Path):
    assert not [name for _, names in own_imports(file) for name in names if re.match("_[^_]", name)]


def test_few_modules_lie_at_the_top():
    modules = [file for file in SOURCE.glob("*.py") if not file.name.startswith("__")]
    assert len(modules) <= MOST_AT_THE_TOP


def test_a_folder_has_three_files_or_more():
    folders = {file.parent for file in FILES}
    for folder in folders:
        assert len(list(folder.glob("*.py"))) >= 3, folder


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_is_short_or_says_why_not(file: Path):
    text = file.read_text()
    assert len(text.splitlines()) <= LONGEST_FILE or "# longer than 300 lines: " in text


def test_files_of_one_name_play_one_role():
    counts = Counter(file.name for file in FILES)
    assert {name for name, count in counts.items() if count > 1} == SAME_ROLE


CALLS = re.findall(
    r"^\d+\. `([\w/.]+): (\w+)`", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE
)  # fmt: skip


def test_the_path_from_train_to_the_gradient_is_as_described(monkeypatch: pytest.MonkeyPatch):
    """CONTRIBUTING lists the calls in order; the machine code of an update is at the end of a short stack."""
    calls: list[tuple[str, str]] = []
    stack: list[str] = []
    machine_code: Any = update_loop.update

    def update(*arguments: Any) -> Any:
        if not stack:
            files = [frame.filename for frame in traceback.extract_stack() if str(SOURCE) in frame.filename]
            stack.extend(dict.fromkeys(str(Path(file).relative_to(SOURCE)) for file in files))
            calls.append(("engines/fused/update_loop.py", "update"))
        return machine_code(*arguments)

    def record(frame: FrameType, event: str, _argument: Any) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(SOURCE)):
            call = str(Path(frame.f_code.co_filename).relative_to(SOURCE)), frame.f_code.co_name
            if call in CALLS and call not in calls:
                calls.append(call)

    monkeypatch.setattr(update_loop, "update", update)
    # it is computed once per loss, which another test may have done
    pg.PPO().traced_loss.__dict__.pop("address", None)
    sys.setprofile(record)
    try:
        pg.train("CartPole-v1", "ppo", loop="python", steps=300, num_envs=2, progress=False)
    finally:
        sys.setprofile(None)
    assert len(CALLS) == 12
    assert calls == CALLS
    in_between = [file for file in stack if not file.startswith("_support/")]
    assert in_between[0] == "studies/train.py"
    assert len([*in_between, "engines/fused/update_loop.py"]) <= 8
