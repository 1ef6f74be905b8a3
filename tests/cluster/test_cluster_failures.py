"""Failures on a cluster: killed nodes and workers, a full object store, other versions, wrong addresses and tokens."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import policygrad as pg
from policygrad.scheduling import Scheduler
from policygrad.scheduling.cluster import RayScheduler, connected
from tests.cluster.conftest import Nodes
from tests.helpers import Countdown
from tests.unit.test_studies import bits

SMALL: dict[str, Any] = {"steps": 1200, "num_envs": 4, "episodes": 5}
LONG: dict[str, Any] = {"seeds": 2, "steps": 1_000_000, "num_envs": 4, "episodes": 5}
"""Runs of a few seconds."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The files of the study that the tests disturb."""
    out = tmp_path_factory.mktemp("undisturbed") / "x"
    pg.study("CartPole-v1", "a2c", out=out, **LONG)
    return bits(out)


@pytest.mark.long
@pytest.mark.parametrize("brings", [False, True], ids=["shared folder", "brought folder"])
def test_a_study_whose_nodes_are_killed_twice_has_the_same_bits(
    nodes: Nodes, tmp_path: Path, brings: bool, undisturbed: dict[str, Any]
):
    disturbed = tmp_path / "disturbed"
    first, second = nodes.add(), nodes.add()
    with connected(nodes.address, None) as ray, ThreadPoolExecutor(1) as thread:
        scheduler: Scheduler = RayScheduler(ray, None, brings=brings)
        done = thread.submit(pg.study, "CartPole-v1", "a2c", out=disturbed, scheduler=scheduler, **LONG)
        for node in (first, second):
            # rows that follow a checkpoint are lost with the node and computed again
            before = _rows(disturbed)
            while _rows(disturbed) < before + (1 if brings else 2000):
                assert not done.done(), "the study ended before its nodes were killed"
                time.sleep(0.05)
            nodes.add()
            nodes.kill(node)
        assert not done.done(), "the study ended before its nodes were killed"
        study = done.result()
    assert study.missing == 0
    assert study.cells[0].failures == {}
    assert bits(disturbed) == undisturbed


def _rows(study: Path) -> int:
    return sum(len(file.read_bytes().splitlines()) for file in study.rglob("metrics.jsonl"))


class Deadly(Countdown):
    """Ends its process in the third episode, as the system does if there is no memory left."""

    def step(self, action: int) -> Any:
        if self.episode == 3:
            os._exit(9)
        return super().step(action)


def test_a_job_whose_worker_dies_again_and_again_is_given_up(nodes: Nodes, tmp_path: Path):
    nodes.add()
    environments = {"deadly": lambda: Deadly([3]), "CartPole-v1": "CartPole-v1"}
    options = SMALL | {"seeds": 1, "vectorize": "sync", "out": tmp_path / "x", "on": nodes.address}
    study = pg.study(environments, "a2c", **options)
    assert study.cell("deadly", "a2c").failed == [0]
    failure = study.cell("deadly", "a2c").failures[0]["error"]
    assert failure.startswith(
        "RunProcessError: the worker that trained deadly a2c, seed 0 ended unexpectedly 3 times"
    )
    assert len(study.cell("CartPole-v1", "a2c").finished) == 1


def test_a_full_object_store_changes_nothing(nodes: Nodes, tmp_path: Path):
    nodes.add(object_store_memory=80 * 2**20)
    pg.study("CartPole-v1", "a2c", seeds=2, out=tmp_path / "local", **SMALL)
    with connected(nodes.address, None) as ray:

        @ray.remote(num_cpus=0)
        class Hoarder:
            def fill(self) -> int:
                import ray

                self.kept = [ray.put(np.zeros(2**20)) for _ in range(9)]
                return len(self.kept)

        hoarder = Hoarder.remote()
        assert ray.get(hoarder.fill.remote()) == 9
        scheduler: Scheduler = RayScheduler(ray, None, brings=True)
        pg.study("CartPole-v1", "a2c", seeds=2, out=tmp_path / "full", scheduler=scheduler, **SMALL)
        del hoarder
    assert bits(tmp_path / "full") == bits(tmp_path / "local")


def test_a_node_with_another_version_is_refused_in_words(nodes: Nodes, tmp_path: Path):
    (tmp_path / "policygrad").mkdir()
    (tmp_path / "policygrad" / "__init__.py").write_text('__version__ = "0.0.7"')
    nodes.add(env_vars={"PYTHONPATH": str(tmp_path)})
    expected = f"has other versions than this process: policygrad 0.0.7 there and {pg.__version__} here"
    with pytest.raises(ConnectionError, match=expected):
        pg.study("CartPole-v1", "a2c", seeds=1, out=tmp_path / "x", on=nodes.address, **SMALL)
    assert not (tmp_path / "x").exists()


def test_what_does_not_fit_on_any_node_is_refused_before_training(nodes: Nodes, tmp_path: Path):
    options = SMALL | {"seeds": 1, "out": tmp_path / "x", "on": nodes.address}
    with pytest.raises(ConnectionError, match="no node of the Ray cluster has a core"):
        pg.study("CartPole-v1", "a2c", **options)
    nodes.add(1)
    with pytest.raises(
        ValueError, match=r"cores_per_run .* is 2, but a node of the Ray cluster has at most 1"
    ):
        pg.study("CartPole-v1", "a2c", cores_per_run=2, **options)
    lock = threading.Lock()
    with lock, pytest.raises(ValueError, match="env cannot be sent to another process"):
        pg.study(lambda: lock and Countdown([3]), "a2c", **options)
    assert not (tmp_path / "x").exists()


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port where something accepts connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


def test_a_wrong_address_or_token_is_refused_in_words(
    nodes: Nodes, silent_port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    options = SMALL | {"seeds": 1, "out": tmp_path / "x"}
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        nobody = f"127.0.0.1:{unused.getsockname()[1]}"
        with pytest.raises(ConnectionError, match=f"nothing answers at {nobody}.*ray start --head"):
            pg.study("CartPole-v1", "a2c", on=nobody, **options)
    monkeypatch.setattr("policygrad.scheduling.cluster.connection.LONGEST_ATTEMPT", 4.0)
    with pytest.raises(ConnectionError, match="is not a Ray cluster, or is too busy"):
        pg.study("CartPole-v1", "a2c", on=f"127.0.0.1:{silent_port}", **options)
    monkeypatch.undo()
    monkeypatch.setenv("RAY_AUTH_TOKEN", "f" * 32)
    with pytest.raises(ConnectionError, match="refused the authentication token of this machine"):
        pg.study("CartPole-v1", "a2c", on=nodes.address, **options)
    assert not (tmp_path / "x").exists()
