"""Failures on a cluster: killed nodes and workers, a full object store, other versions, wrong addresses and tokens."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from policygrad.scheduling import Scheduler
from policygrad.scheduling.cluster import RayScheduler, connected
from tests.cluster.conftest import Nodes
from tests.unit.test_studies import bits

LONG: dict[str, Any] = {"seeds": 2, "steps": 2_000_000, "num_envs": 4, "episodes": 5}
"""Runs of a few seconds."""


@pytest.mark.parametrize("brings", [False, True], ids=["shared folder", "brought folder"])
def test_a_study_whose_nodes_are_killed_twice_has_the_same_bits(
    nodes: Nodes, tmp_path: Path, brings: bool
):
    pg.study("CartPole-v1", "a2c", out=tmp_path / "undisturbed", **LONG)
    disturbed = tmp_path / "disturbed"
    first, second = nodes.add(), nodes.add()
    with connected(nodes.address, None) as ray, ThreadPoolExecutor(1) as thread:
        scheduler: Scheduler = RayScheduler(ray, None, brings=brings)
        done = thread.submit(
            pg.study, "CartPole-v1", "a2c", out=disturbed, scheduler=scheduler, **LONG
        )
        for node in (first, second):
            # rows that follow a checkpoint are lost with the node and computed again
            before = _rows(disturbed)
            while _rows(disturbed) < before + (1 if brings else 5000):
                assert not done.done(), "the study ended before its nodes were killed"
                time.sleep(0.05)
            nodes.add()
            nodes.kill(node)
        assert not done.done(), "the study ended before its nodes were killed"
        study = done.result()
    assert study.missing == 0
    assert study.cells[0].failures == {}
    assert bits(disturbed) == bits(tmp_path / "undisturbed")


def _rows(study: Path) -> int:
    return sum(len(file.read_bytes().splitlines()) for file in study.rglob("metrics.jsonl"))
