"""Studies and seeds on a cluster are the same as on one machine."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest

import policygrad as pg
from policygrad._support.child_processes import RemoteTraceback
from policygrad.runs.experiment import Experiment
from policygrad.runs.settings import settings_from
from policygrad.scheduling import Scheduler
from policygrad.scheduling.cluster import RayScheduler, cluster_worker, connected
from policygrad.scheduling.cluster.folders import apply
from policygrad.scheduling.sending import packed
from policygrad.scheduling.worker import Order
from tests.cluster.conftest import Nodes
from tests.helpers import Countdown
from tests.unit.test_seeds_in_processes import assert_same_run
from tests.unit.test_studies import bits

SMALL: dict[str, Any] = {"steps": 1200, "num_envs": 4}


def test_a_study_on_two_nodes_has_the_same_bits_and_can_be_extended(nodes: Nodes, tmp_path: Path):
    nodes.add()
    nodes.add()
    options = SMALL | {"seeds": 2, "episodes": 5}
    pg.study("CartPole-v1", ["reinforce", "a2c"], out=tmp_path / "local", **options)
    with connected(nodes.address, None) as ray:
        for name, brings in (("shared", False), ("brought", True)):
            scheduler: Scheduler = RayScheduler(ray, None, brings=brings)
            options |= {"out": tmp_path / name, "scheduler": scheduler}
            study = pg.study("CartPole-v1", ["reinforce", "a2c"], **options)
            assert (study.missing, len(study.cells)) == (0, 2)
            assert (
                "on a Ray cluster of 2 nodes with 2 cores, 2 at a time"
                in (tmp_path / name / "manifest.json").read_text()
            )
            assert bits(tmp_path / name) == bits(tmp_path / "local")
            # runs are resumed from the folders that were brought
            pg.study("CartPole-v1", ["reinforce", "a2c"], resume=True, **options | {"steps": 1600})
    local = {"out": tmp_path / "local", "resume": True, "steps": 1600, "scheduler": None}
    pg.study("CartPole-v1", ["reinforce", "a2c"], **options | local)
    assert bits(tmp_path / "shared") == bits(tmp_path / "brought") == bits(tmp_path / "local")
    # neither locks nor tokens are left
    assert not list((tmp_path / "brought").rglob(".seen*"))


def test_seeds_with_two_cores_each_equal_runs_that_are_trained_alone(nodes: Nodes, tmp_path: Path):
    nodes.add(2)
    runs = pg.train(
        "CartPole-v1", "a2c", seeds=2, cores_per_run=2, on=nodes.address, out=tmp_path / "x", **SMALL
    )
    for run in runs:
        assert run.out == tmp_path / "x" / f"seed-{run.seed}"
        assert run.config["cores"] == 2
        assert_same_run(run, pg.train("CartPole-v1", "a2c", seed=run.seed, cores=2, **SMALL))


class Sinking(Countdown):
    def step(self, action: int) -> Any:
        if self.episode == 5:
            raise OSError("no water")
        return super().step(action)


def test_an_error_has_the_whole_traceback_of_its_worker(nodes: Nodes):
    nodes.add()
    with pytest.raises(OSError, match="no water") as caught:
        pg.train(lambda: Sinking([4]), "a2c", seeds=1, vectorize="sync", on=nodes.address, **SMALL)
    cause = caught.value.__cause__
    assert isinstance(cause, RemoteTraceback)
    assert 'raise OSError("no water")' in str(cause)
    assert caught.value.run.ended == "error"


def test_importing_policygrad_does_not_import_ray():
    code = "import sys, policygrad as pg; pg.train, pg.study; import policygrad.scheduling; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_a_folder_is_not_emptied_by_a_look_at_it_while_the_worker_removes_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Slow(tempfile.TemporaryDirectory[str]):
        def __exit__(self, *rest: Any) -> None:
            super().__exit__(*rest)
            time.sleep(0.1)

    monkeypatch.setattr(cluster_worker.tempfile, "TemporaryDirectory", Slow)
    monkeypatch.setattr(cluster_worker, "INTERVAL", 0.0)
    experiment = Experiment(
        "CartPole-v1", *settings_from(SMALL | {"seeds": 1}).resolved("CartPole-v1", "a2c")
    )
    parcel, worker, out = packed(experiment), cluster_worker.ClusterWorker([]), tmp_path / "run"
    worker.begin(cluster_worker.Assignment(0, Order("key", parcel.data, 0, out, 0, ""), {}))
    received, kinds = 0, list[str]()
    while not kinds or kinds[-1] != "ended":
        for kind, content in worker.messages(received, False):
            received += 1
            kinds.append(kind)
            if kind == cluster_worker.CHANGES:
                apply(content, out)
    assert {"summary.json", "checkpoint.safetensors", "metrics.jsonl"} <= {
        file.name for file in out.iterdir()
    }


def test_a_program_that_is_connected_to_one_cluster_does_not_use_it_for_another(nodes: Nodes):
    nodes.add()
    with (
        connected(nodes.address, None),
        pytest.raises(ConnectionError, match="is connected to the Ray cluster at"),
    ):
        pg.train("CartPole-v1", "a2c", seeds=1, on="127.0.0.1:1", **SMALL)
