"""The checkpoint file: any state comes back as it was, and a state that does not fit is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.runs import checkpoint

SMALL: dict[str, Any] = {"network": pg.Network(hidden=(8,)), "num_envs": 4, "seed": 5, "progress": False}


def test_a_missing_or_an_extra_field_is_refused(tmp_path: Path):
    """A field that fails to load must raise, and not keep its initial value in silence."""
    options = SMALL | {"steps": 500, "out": tmp_path / "run"}
    pg.train("CartPole-v1", pg.A2C(), **options)
    file = tmp_path / "run" / checkpoint.FILE_NAME
    whole = checkpoint.load_checkpoint(file)
    for change in ("missing", "more"):
        state = checkpoint.load_checkpoint(file)
        learning = state["run"]["training"]["training"]["learning"]
        if change == "missing":
            del learning["adapted"]
        else:
            learning["rate"] = 0.5
        checkpoint.save_checkpoint(state, file)
        with pytest.raises(pg.CheckpointError, match="expected"):
            pg.train("CartPole-v1", pg.A2C(), resume=True, **options)
        checkpoint.save_checkpoint(whole, file)


def test_a_checkpoint_is_not_loaded_as_a_policy(tmp_path: Path):
    pg.train("CartPole-v1", pg.A2C(), steps=500, **SMALL, out=tmp_path)
    with pytest.raises(pg.PolicyFileError, match=r"is a checkpoint.*and not a policy: load its folder"):
        pg.load(tmp_path / checkpoint.FILE_NAME)


def test_a_state_comes_back_as_it_was(tmp_path: Path):
    state = {
        "a": {"x": np.arange(6.0).reshape(2, 3).T, "none": np.zeros((0, 2), np.float32), "flag": np.array(True)},
        "big": 2**100,
        "list": [1, 2.5, None, "text"],
        "nan": float("inf"),
    }  # fmt: skip
    checkpoint.save_checkpoint(state, tmp_path / "file")
    back = checkpoint.load_checkpoint(tmp_path / "file")
    for name, array in state["a"].items():
        np.testing.assert_array_equal(back["a"][name], array)
        assert back["a"][name].dtype == array.dtype
    assert {k: v for k, v in back.items() if k != "a"} == {k: v for k, v in state.items() if k != "a"}
