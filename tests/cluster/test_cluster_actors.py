"""One run whose actors are on the nodes of a Ray cluster."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

import policygrad as pg
from policygrad.cli import main
from tests.cluster.conftest import Nodes
from tests.helpers import same_parameters

ALGORITHM = pg.PPO(horizon=32, minibatch_size=768, epochs=2)
SETTINGS: dict[str, Any] = {
    "network": pg.Network(hidden=(16,)), "num_envs": 24, "steps": 20 * 24 * 32, "actors": 2, "select": False,
}  # fmt: skip
"""Settings of 20 updates whose steps are large enough for partial gradients."""


def test_a_run_on_two_nodes_has_the_bits_of_one_in_this_process_even_if_a_node_is_killed(
    nodes: Nodes, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    expected = pg.train("CartPole-v1", ALGORITHM, **SETTINGS)
    three = [nodes.add() for _ in range(3)]

    def kill(update: pg.Update) -> None:
        # one of the first two that are killed has an actor, because two of the three have one
        if len(update.run.updates) in (3, 7):
            nodes.kill(three.pop())
            nodes.add()

    out = tmp_path / "run"
    run = pg.train(
        "CartPole-v1", ALGORITHM, on=nodes.address, on_update=kill, out=out, progress=True, **SETTINGS
    )
    assert same_parameters(expected.last_policy, run.last_policy)
    assert expected.episode_returns.tolist() == run.episode_returns.tolist()
    heard = capsys.readouterr().err
    assert "actors: 2 on a Ray cluster of 3 cores" in heard
    assert "was lost: " in heard
    assert "the update is repeated" in heard


def test_a_run_whose_only_nodes_are_killed_goes_on_where_others_join(
    nodes: Nodes, capsys: pytest.CaptureFixture[str]
):
    expected = pg.train("CartPole-v1", ALGORITHM, **SETTINGS)
    before = [nodes.add() for _ in range(2)]

    def replace(update: pg.Update) -> None:
        if len(update.run.updates) == 7 and before:
            nodes.kill(before.pop())
            nodes.kill(before.pop())
            nodes.add(cores=2)

    run = pg.train("CartPole-v1", ALGORITHM, on=nodes.address, on_update=replace, progress=True, **SETTINGS)
    assert same_parameters(expected.last_policy, run.last_policy)
    heard = capsys.readouterr().err
    assert "actor 1 was lost: " in heard
    assert "actor 2 was lost: " in heard
    assert "the update is repeated" in heard


def test_a_run_is_resumed_on_a_cluster_with_other_nodes(nodes: Nodes, tmp_path: Path):
    expected = pg.train("CartPole-v1", ALGORITHM, **SETTINGS)
    nodes.add(cores=2)
    out = tmp_path / "run"
    pg.train("CartPole-v1", ALGORITHM, **{**SETTINGS, "out": out, "steps": 7 * 24 * 32})
    run = pg.train("CartPole-v1", ALGORITHM, on=nodes.address, out=out, resume=True, **SETTINGS)
    assert same_parameters(expected.last_policy, run.last_policy)


def test_what_is_wrong_is_said_in_words(nodes: Nodes, capsys: pytest.CaptureFixture[str]):
    nodes.add()
    with pytest.raises(ValueError, match=r"actors=2 .* needs as many cores, and the Ray cluster has 1"):
        pg.train("CartPole-v1", ALGORITHM, on=nodes.address, **SETTINGS)
    nodes.add()
    here = os.getpid()

    def breaks_elsewhere() -> gym.Env[Any, Any]:
        if os.getpid() != here:
            raise RuntimeError("the simulator has no license")
        return gym.make("CartPole-v1")

    with pytest.raises(RuntimeError, match="no license") as caught:
        pg.train(breaks_elsewhere, ALGORITHM, on=nodes.address, **SETTINGS)
    assert "in breaks_elsewhere" in str(caught.value.__cause__)
    assert main(["train", "CartPole-v1", "--on", nodes.address]) == 2
    assert "Set the number of runs with seeds (--seeds), or that of the actors" in capsys.readouterr().err


@pytest.mark.long
def test_the_command_shares_a_mujoco_run_on_a_cluster_of_this_machine(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("envpool")
    command = [
        "train",
        "HalfCheetah-v5",
        "--algo",
        "ppo",
        "--steps",
        "6000",
        "--episodes",
        "1",
        "--no-select",
    ]
    outs = [tmp_path / name for name in ("alone", "shared")]
    assert main([*command, "--out", str(outs[0])]) == 0
    assert main([*command, "--out", str(outs[1]), "--actors", "2", "--on", "ray"]) == 0
    assert "actors: 2 on a Ray cluster of 2 cores" in capsys.readouterr().err
    policies = [pg.load(out / "last_policy.safetensors") for out in outs]
    assert same_parameters(*policies)
