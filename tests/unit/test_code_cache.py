"""Machine code on disk is reused only if nothing that it was compiled from has changed."""

from __future__ import annotations

import math
import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace
from typing import Any, NamedTuple

import numba
import numpy as np
import pytest
from numba.extending import intrinsic

from policygrad._support.code_cache import TESTED, check_numba, fingerprint
from policygrad._support.compiling import FASTMATH, compile_cached
from policygrad._support.function_pointers import address_in


def digest(source: str, name: str = "f", options: dict[str, Any] | None = None, **others: Any) -> str | None:
    """Return the fingerprint of a new function with this source."""
    scope: dict[str, Any] = {"numba": numba, "np": np, "math": math, "NamedTuple": NamedTuple, **others}
    exec(textwrap.dedent(source), scope)
    return fingerprint(scope[name], options or {"nogil": True})


BASE = """
    G, TABLE = 9.8, np.arange(3.0)
    class Pair(NamedTuple):
        x: float
        y: float
    @numba.njit(inline="always")
    def innermost(x):
        return x * G
    @numba.njit
    def helper(x):
        return innermost(x) + TABLE[0]
    def f(x):
        return Pair(helper(x), math.sqrt(x)).x
"""


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("9.8", "9.81"),  # a global number, two functions away
        ("np.arange(3.0)", "np.arange(3.0) + 1"),  # an array
        ("x * G", "x + G"),  # an operation of a helper's helper
        ('inline="always"', 'inline="never"'),  # an option of a helper
        ("@numba.njit\n", "@numba.njit(fastmath=True)\n"),
        ("x: float\n        y: float", "y: float\n        x: float"),  # the fields of a named tuple
        ("math.sqrt", "math.exp"),
        ("def f(x):", "def f(x=1.0):"),
        ("TABLE[0]", "TABLE[1]"),
    ],
)
def test_everything_a_function_depends_on_is_part_of_its_fingerprint(old: str, new: str):
    assert old in BASE
    assert digest(BASE) == digest(BASE)
    assert digest(BASE.replace(old, new)) != digest(BASE)


def test_options_modules_closures_and_intrinsics_are_part_of_the_fingerprint():
    assert digest(BASE) != digest(BASE, options={"nogil": True, "fastmath": FASTMATH})
    source = "def f(x): return settings.gain * x"
    module = type(math)
    one, other = module("settings"), module("settings")
    one.gain, other.gain = 1.0, 2.0  # type: ignore[attr-defined]
    assert digest(source, settings=one) == digest(source, settings=one) != digest(source, settings=other)

    def scaled(by: float) -> Any:
        return lambda x: by * x

    assert len({fingerprint(scaled(by), {}) for by in (1.0, 2.0, 1.0)}) == 2

    def constant(number: int) -> Any:
        def define(_context: Any) -> Any:
            return numba.types.int64(), lambda context, builder, signature, arguments: number

        return intrinsic(define)

    source = "def f(): return given()"
    assert digest(source, given=constant(1)) == digest(source, given=constant(1))
    assert digest(source, given=constant(1)) != digest(source, given=constant(2))


def test_a_function_without_a_fingerprint_is_never_taken_from_disk():
    source = "def f(x): return thing"
    assert digest(source, thing=SimpleNamespace(a=1)) is None
    assert digest(source, thing=SimpleNamespace) is None
    # numba.extending.overload may define elsewhere what the function does
    assert digest(source, thing=add) is None


def test_settings_of_numba_are_part_of_the_fingerprint(monkeypatch: pytest.MonkeyPatch):
    before = digest(BASE)
    monkeypatch.setattr("policygrad._support.code_cache.config.BOUNDSCHECK", 1)
    assert digest(BASE) != before


def test_names_that_are_defined_later_are_part_of_the_fingerprint(cache: Path):
    """A function that is compiled at its first call may refer to names that are defined below it."""

    def compiled(constant: float) -> Any:
        scope: dict[str, Any] = {"__name__": __name__}
        exec("def f(x):\n    return helper(x) + K", scope)
        dispatcher = compile_cached(scope["f"], nogil=True)
        scope["K"] = constant
        scope["helper"] = numba.njit(eval(f"lambda x: {constant} * x"))
        return dispatcher

    found = []
    for constant in (1.0, 1.0, 2.0):
        dispatcher = compiled(constant)
        found.append((dispatcher(10.0), sum(dispatcher.stats.cache_hits.values())))
    assert found == [(11.0, 0), (11.0, 1), (22.0, 0)]


def test_a_recursive_function_is_compiled(cache: Path):
    def make() -> Any:
        def down(n: int) -> int:
            return 0 if n == 0 else 1 + down(n - 1)

        down = numba.njit(down)
        return down

    assert compile_cached(make().py_func, nogil=True).py_func is not None


def test_a_comment_changes_nothing():
    assert digest(BASE) == digest(BASE.replace("TABLE[0]", "TABLE[0]  # the first"))


def add(a: float, b: float) -> float:
    return a + b


SIGNATURE: Any = numba.float64(numba.float64, numba.float64)


def compiled_add() -> Any:
    return compile_cached(add, [SIGNATURE], nogil=True)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("policygrad._support.code_cache.folder", lambda: tmp_path / "cache")
    return tmp_path / "cache"


def is_from_disk(dispatcher: Any) -> bool:
    return sum(dispatcher.stats.cache_hits.values()) == 1


def test_code_is_taken_from_disk(cache: Path):
    assert not is_from_disk(compiled_add())
    again = compiled_add()
    assert is_from_disk(again)
    assert again(1.0, 2.0) == 3.0
    (file,) = cache.rglob("*.code")
    assert again.stats.cache_path == str(file.parent)


def test_a_function_can_be_compiled_at_its_first_call(cache: Path):
    lazy = compile_cached(add, [SIGNATURE], at_first_call=True)
    assert not lazy.signatures
    with pytest.raises(TypeError, match="No matching definition"):
        lazy("one", 2.0)
    assert lazy(1, 2.5) == 3.5
    assert lazy.signatures == [SIGNATURE.args]


def test_several_threads_may_make_the_first_call(cache: Path):
    lazy = compile_cached(add, [SIGNATURE], at_first_call=True)
    start = Barrier(4)

    def call(x: float) -> float:
        start.wait()
        return lazy(x, 0.5)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(call, [0.0, 1.0, 2.0, 3.0])) == [0.5, 1.5, 2.5, 3.5]
    assert sum(lazy.stats.cache_misses.values()) == 1


def test_a_function_that_was_not_called_yet_has_an_address(cache: Path):
    lazy = compile_cached(add, [SIGNATURE], at_first_call=True)
    address = address_in(lazy, SIGNATURE)
    assert address == address_in(lazy, SIGNATURE) != 0
    assert lazy.signatures == [SIGNATURE.args]
    assert lazy(1.0, 2.0) == 3.0
    assert address == address_in(lazy, SIGNATURE)


@pytest.mark.parametrize("damage", ["truncated", "empty", "one bit"])
def test_damaged_code_is_compiled_anew(cache: Path, damage: str):
    compiled_add()
    (file,) = cache.rglob("*.code")
    data = bytearray(file.read_bytes())
    if damage == "one bit":
        data[len(data) // 2] ^= 1
    file.write_bytes({"truncated": data[:-9], "empty": b"", "one bit": data}[damage])
    mended = compiled_add()
    assert not is_from_disk(mended)
    assert mended(1.0, 2.0) == 3.0
    assert is_from_disk(compiled_add())


def test_old_code_of_earlier_versions_is_removed(cache: Path):
    compiled_add()
    (file,) = cache.rglob("*.code")
    old, recent = (
        file.with_name(f"add-{add.__code__.co_firstlineno}-{name}.code") for name in ("0-0", "1-1")
    )
    for other in (old, recent):
        other.write_bytes(file.read_bytes())
    os.utime(old, (0, 0))
    file.unlink()
    compiled_add()
    assert not old.exists()
    assert recent.exists()
    assert file.exists()


def test_two_variants_of_a_function_are_both_kept(cache: Path):
    for _ in range(2):
        for options in ({}, {"fastmath": True}):
            compile_cached(add, [numba.float64(numba.float64, numba.float64)], **options)
    assert len(list(cache.rglob("*.code"))) == 2


PROGRAM = """
import sys
import numpy as np
from gymnasium import spaces
from numba.core import event
import policygrad as pg
from dynamics import push

def reset(state, rng):
    state[0] = 0.0

def step(state, action, rng):
    state[0] = push(state[0])
    return state[0], False

def observe(state, observation):
    observation[0] = state[0]

kernel = pg.Kernel(
    "Push", spaces.Box(-9, 9, (1,)), spaces.Discrete(2), np.zeros(1), 3, reset, step, observe
)
with event.install_recorder("numba:compile") as recorder:
    run = pg.train(kernel, steps=30, network=pg.Network(hidden=(4,)))
print(run.episode_returns[0], sum("push" in str(e[1].data) or "step" in str(e[1].data) for e in recorder.buffer) > 0)
"""


def run_program(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-B", "program.py"]
    return subprocess.run(
        command,
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )


@pytest.mark.long
def test_a_change_in_another_file_of_the_user_is_detected(tmp_path: Path):
    (tmp_path / "program.py").write_text(PROGRAM)
    dynamics = "import numba\nBY = {}\n@numba.njit\ndef push(x): return x + BY\n"
    results = []
    for by in (1.0, 1.0, 2.0):
        (tmp_path / "dynamics.py").write_text(dynamics.format(by))
        results.append(run_program(tmp_path).stdout.split())
    assert results == [["6.0", "True"], ["6.0", "False"], ["12.0", "True"]]


@pytest.mark.long
def test_if_the_cache_cannot_be_written_code_is_compiled_with_one_message(tmp_path: Path):
    (tmp_path / "a file").write_text("")
    code = "import policygrad as pg; print(pg.train('CartPole-v1', 'a2c', steps=200).steps)"
    environment = os.environ | {"POLICYGRAD_CACHE": str(tmp_path / "a file" / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=600, check=True
    )
    assert int(done.stdout) >= 200
    messages = [line for line in done.stderr.splitlines() if "cached for the next time" not in line]
    assert len(messages) == 1
    assert messages[0].startswith("policygrad: machine code cannot be cached (")
    assert "Set POLICYGRAD_CACHE" in messages[0]


@pytest.mark.parametrize("variable", ["POLICYGRAD_CACHE", "NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
@pytest.mark.skipif(sys.platform != "linux", reason="XDG is of Linux")
def test_the_cache_folder_can_be_chosen(tmp_path: Path, variable: str):
    code = "from policygrad._support.code_cache import folder; print(folder())"
    environment = {k: v for k, v in os.environ.items() if k not in ("POLICYGRAD_CACHE", "NUMBA_CACHE_DIR")}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment | {variable: str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    found = Path(done.stdout.strip())
    assert found.is_relative_to(tmp_path)
    assert numba.__version__ in found.name


def test_untested_versions_of_numba_cause_a_warning():
    for version in ("0.61.0", "0.68.1", numba.__version__):
        check_numba(version)
    for version in ("0.60.0", "0.69.0rc1", "1.0.0"):
        with pytest.warns(RuntimeWarning, match=rf"tested with Numba 0\.61 to 0\.68, but this is {version}"):
            check_numba(version)
    requirement = next(
        line
        for line in (Path(__file__).parents[2] / "pyproject.toml").read_text().splitlines()
        if '"numba>=' in line
    )
    oldest, newest = TESTED
    assert f'"numba>={oldest[0]}.{oldest[1]},<{newest[0]}.{newest[1] + 1}"' in requirement
