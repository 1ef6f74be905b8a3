"""Importing: heavy modules are loaded only if they are needed, and later processes compile nothing."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def loaded_after(code: str) -> set[str]:
    code = f"import sys; {code}; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stderr.split())


def test_the_help_and_the_package_import_nothing_heavy():
    """The help of the command and the import of the package are fast, because nothing heavy is imported."""
    heavy = {"torch", "numba", "numpy", "gymnasium", "rich"}
    for code in ("import policygrad", "from policygrad.cli import main; main(['--help'])"):
        assert not heavy & loaded_after(code)
    assert not {"torch", "numba"} & loaded_after("from policygrad.cli import main; main(['metrics'])")


def test_submodules_are_attributes():
    code = "import policygrad as pg; pg.metrics.register, pg.errors, pg.envs.make, pg.policies, pg.algorithms, pg.proof"
    assert "policygrad.metrics" in loaded_after(code)


def test_train_imports_nothing_that_it_may_not_need():
    """Heavy modules that are not always needed are imported where they are used."""
    loaded = loaded_after("import policygrad; policygrad.train")
    heavy = {"matplotlib", "tensorboardX", "tyro", "rich", "pandas", "tensorflow", "scipy.stats", "pygame"}
    assert not heavy & loaded
    assert not {name for name in loaded if name.startswith("policygrad.engines.fused")}


def test_a_run_compiles_only_what_its_distribution_needs():
    code = """
import policygrad as pg
from policygrad._support.function_pointers import _compiled
pg.train("CartPole-v1", steps=300)
names = {f"{function.__module__}.{function.__name__}" for function, *_ in _compiled}
print(*sorted(name for name in names if ".heads." in name))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heads = "policygrad.engines.fused.heads.categorical"
    assert done.stdout.split() == [f"{heads}.{name}" for name in ("differentiate", "evaluate", "sample")]


def test_a_run_does_not_compile_what_only_other_runs_call():
    code = """
import policygrad as pg
from policygrad.engines.fused import forward_loop, update_loop
pg.train("CartPole-v1", steps=300, loop="python")
print(*(len(function.signatures) for function in (forward_loop.act, update_loop.step_of_both, update_loop.update)))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0", "0", "1"]


@pytest.mark.long
@pytest.mark.parametrize(
    ("env", "distribution"),
    [("CartPole-v1", "auto"), ("Pendulum-v1", "auto"), ("Pendulum-v1", "beta"), ("SlipperyGrid-v0", "auto")],
)
@pytest.mark.parametrize("engine", ["fused", "autograd"])
def test_a_second_process_compiles_nothing(env: str, distribution: str, engine: str):
    """All functions that Numba compiles are found in the cache: loops, environments, losses and estimators."""
    code = f"""
from numba.core import event
with event.install_recorder("numba:compile") as recorder:
    import policygrad as pg
    for baseline in ("value", "optimal"):
        options = dict(steps=300, engine="{engine}", network=pg.Network(distribution="{distribution}"))
        run = pg.train("{env}", pg.Reinforce(baseline=baseline), **options)
        pg.evaluate(run.policy, "{env}", episodes=2)
    pg.train("{env}", "trpo", steps=300, engine="{engine}")
    if "{engine}" == "fused":
        pg.train("{env}", "a2c", steps=300, loop="compiled", network=options["network"])
print(*(e.data["dispatcher"].py_func.__name__ for _, e in recorder.buffer if e.is_start))
"""
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


@pytest.mark.long
@pytest.mark.parametrize("order", [("fused", "autograd"), ("autograd", "fused")])
def test_engines_share_a_fresh_cache(order: tuple[str, str], tmp_path: Path):
    """The engines run one after the other in separate processes, and the second uses what the first has cached."""
    for engine in order:
        code = f"import policygrad as pg; pg.train('CartPole-v1', steps=50, engine='{engine}')"
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
