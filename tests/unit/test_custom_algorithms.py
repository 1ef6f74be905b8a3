"""A user's own algorithms and environments, named as module:name."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path

import pytest

import policygrad as pg
from policygrad.algorithms import ALGORITHMS
from policygrad.cli import main


def test_custom_names_are_accepted_on_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.chdir(Path(__file__).parents[2] / "examples")
    arguments = ["--steps", "1000", "--episodes", "2"]
    out = str(tmp_path / "boat")
    assert main(["train", "compiled_environment:BOAT", *arguments, "--out", out]) == 0
    assert "Boat: fused engine" in capsys.readouterr().out
    assert main(["evaluate", out, "--episodes", "2"]) == 0
    assert main(["evaluate", out, "--episodes", "2", "--env", "compiled_environment:BOAT"]) == 0
    own = ["--algo", "own_algorithm:Optimist", "--bad-news", "0.1"]
    assert main(["train", "CartPole-v1", *own, *arguments, "--out", str(tmp_path / "run")]) == 0
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["algorithm"]["name"] == "optimist"
    assert config["algorithm"]["bad_news"] == 0.1
    assert main(["train", "compiled_environment:SHIP"]) == 2
    assert main(["train", "CartPole-v1", "--algo", "own_algorithm:optimistic"]) == 2
    assert "expected a configuration class" in capsys.readouterr().err
    assert main(["train", "CartPole-v1", "--algo", "nothing_there:Optimist"]) == 2
    assert "No module named 'nothing_there'" in capsys.readouterr().err


def test_the_name_of_another_algorithm_is_refused():
    with pytest.raises(ValueError, match="the name 'reinforce' is taken by the algorithm"):

        @pg.register("reinforce")
        class Other:
            pass


def test_a_file_that_is_both_script_and_module_is_registered_once(monkeypatch: pytest.MonkeyPatch):
    """Numba may import the module whose cached code a script loads, although the script is the same file."""
    file = Path(__file__).parents[2] / "examples" / "own_algorithm.py"
    monkeypatch.delitem(ALGORITHMS, "optimist", raising=False)
    kinds = []
    for name in ("as_script", "as_module"):
        spec = importlib.util.spec_from_file_location(name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        monkeypatch.setitem(sys.modules, name, module)
        spec.loader.exec_module(module)
        kinds.append(module.Optimist)
    assert kinds[0] is not kinds[1]
    assert ALGORITHMS["optimist"] is kinds[0]
