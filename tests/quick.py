"""Run the tests of the code that has changed since the last commit: `make quick`.

A test file belongs to a changed module if it is named after it, or imports from it. If there is none, the test files
that import from the module's package belong to it. Test files that have changed themselves are run as well. Arguments
are passed on to pytest.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "policygrad"
TESTS = sorted((ROOT / "tests").rglob("test_*.py"))


def git(*arguments: str) -> list[str]:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def imports_of(file: Path) -> set[str]:
    """The modules that a file imports, as dotted names, with `module.name` for each imported name."""
    found = set[str]()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def tests_of(module: tuple[str, ...], imports: dict[Path, set[str]]) -> set[Path]:
    """The test files of a module, given by its parts below the package: ("algorithms", "ppo")."""
    name = module[-1].strip("_")
    dotted = ".".join(("policygrad", *module))
    chosen = {file for file in TESTS if file.stem == f"test_{name}" or file.stem.startswith(f"test_{name}_")}
    chosen |= {
        file for file, names in imports.items() if any((n + ".").startswith(dotted + ".") for n in names)
    }
    if not chosen and len(module) > 1:
        return tests_of(module[:-1], imports)
    return chosen


def main() -> int:
    """Choose the test files and run them; returns pytest's exit status."""
    changed = [
        ROOT / name
        for name in [*git("diff", "--name-only", "HEAD"), *git("ls-files", "-o", "--exclude-standard")]
    ]
    changed = [file for file in changed if file.suffix == ".py" and file.exists()]
    imports = {file: imports_of(file) for file in TESTS}
    chosen = {file for file in changed if file in imports}
    for file in changed:
        if SOURCE in file.parents:
            parts = file.relative_to(SOURCE).with_suffix("").parts
            chosen |= tests_of(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts, imports)
    if not chosen:
        names = ", ".join(str(file.relative_to(ROOT)) for file in changed)
        print(
            f"make quick: no test belongs to {names} alone; run make test"
            if names
            else "make quick: nothing has changed"
        )
        return 0
    names = sorted(str(file.relative_to(ROOT)) for file in chosen)
    print(f"make quick: {len(names)} test files\n  " + "\n  ".join(names), flush=True)
    options = ["-n", "auto", "-m", "not slow and not long", *sys.argv[1:]]
    return subprocess.run([sys.executable, "-m", "pytest", *options, *names], cwd=ROOT).returncode


if __name__ == "__main__":
    sys.exit(main())
