"""Policy files: a loaded policy acts like the saved one, and damaged or foreign files are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import safetensors.torch
import torch
from gymnasium import spaces
from torch import nn

import policygrad as pg
from policygrad.policies.file_contents import read
from policygrad.policies.mlp import Activation
from policygrad.spaces import space_from_json, space_to_json

INF = np.inf
SPACES = [
    spaces.Discrete(4),
    spaces.Discrete(3, start=-2),
    spaces.Box(-1, 1, (2, 3)),
    spaces.Box(np.array([-INF, 0.1], np.float32), np.array([0.3, INF], np.float32)),
    spaces.Box(0, 255, (4,), np.uint8),
    spaces.Box(-INF, INF, (), np.float64),
    spaces.Box(-(2**60) - 1, 2**60 + 1, (2,), np.int64),
    spaces.MultiDiscrete([3, 4], start=[5, -2]),
    spaces.MultiDiscrete([[2, 3], [5, 2]], start=[[1, 2], [4, 5]], dtype=np.int32),
    spaces.MultiBinary(3),
    spaces.MultiBinary((2, 2)),
]


@pytest.mark.parametrize("space", SPACES, ids=str)
def test_spaces_can_be_converted_to_json_and_back(space: Any):
    assert space_from_json(json.loads(json.dumps(space_to_json(space), allow_nan=False))) == space


def make(kind: str) -> pg.Policy:
    rng = np.random.default_rng(0)
    box = spaces.Box(np.array([-2, -INF], np.float32), np.array([6, INF], np.float32))
    if kind == "discrete":
        network = pg.DiscretePolicy(2, 3, (8, 4), activation="tanh", rng=rng)
        return pg.Policy(network, box, spaces.Discrete(3, start=1), scale_observations=True)
    wide = spaces.Box(np.array([-1, 3], np.float32), np.array([1, 8], np.float32))
    if kind == "choices":
        levers = spaces.MultiDiscrete([2, 3], start=[1, -1])
        return pg.Policy(pg.DiscretePolicy(2, 5, 8, rng=rng), box, levers, scale_observations=True)
    if kind == "beta":
        return pg.Policy(pg.BetaPolicy(2, 2, 8, rng=rng), box, wide, scale_observations=True)
    if kind == "gsde":
        noisy = pg.GSDEPolicy(2, 2, (8, 16), log_std=-4, log_std_bounds=(-6, -3), sde_period=7, rng=rng)
        return pg.Policy(noisy, box, wide, scale_observations=True)
    if kind.startswith("squashed"):
        bounds: dict[str, Any] = {"log_std": 0.5, "log_std_bounds": (-1, 1)}
        squashed = pg.GaussianPolicy(2, 2, 8, state_dependent_std="per state" in kind, rng=rng, **bounds)
        return pg.Policy(squashed, box, wide, distribution="squashed", scale_observations=True)
    gaussian = pg.GaussianPolicy(2, 1, 8, log_std=-0.5, log_std_bounds=(-1, 1), rng=rng)
    return pg.Policy(gaussian, box, spaces.Box(-1, 1, (1,)), scale_observations=True)


KINDS = ["discrete", "gaussian", "choices", "squashed", "squashed per state", "beta", "gsde"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_policy_acts_like_the_saved_one(kind: str, tmp_path: Path):
    policy = make(kind)
    pg.save(policy, tmp_path / "p.safetensors")
    loaded = pg.load(tmp_path / "p.safetensors")
    observations = np.random.default_rng(1).normal(size=(50, 2)) * 3
    for greedy in (True, False):
        a, b = (p.act(observations, greedy, rng=np.random.default_rng(2)) for p in (policy, loaded))
        np.testing.assert_array_equal(a, b)
    assert loaded.observation_space == policy.observation_space
    assert loaded.action_space == policy.action_space
    np.testing.assert_array_equal(loaded.observation_scale, [0.25, 1])
    assert list(tmp_path.iterdir()) == [tmp_path / "p.safetensors"]
    assert (
        loaded.distribution.noise_period == policy.distribution.noise_period == (7 if kind == "gsde" else 1)
    )


@pytest.mark.parametrize("activation", get_args(Activation))
def test_a_file_holds_the_activation_and_names_it_unless_every_version_has_it(
    activation: Activation, tmp_path: Path
):
    network = pg.DiscretePolicy(2, 3, 8, activation=activation, rng=np.random.default_rng(0))
    pg.save(pg.Policy(network, spaces.Box(-1, 1, (2,)), spaces.Discrete(3)), tmp_path / "p.safetensors")
    loaded: Any = pg.load(tmp_path / "p.safetensors").network
    assert loaded.network.activation == activation
    x = torch.from_numpy(np.random.default_rng(1).standard_normal((20, 2)).astype(np.float32))
    assert torch.equal(loaded(x), network(x))
    features = read(tmp_path / "p.safetensors")[1]["features"]
    assert (f"activation {activation}" in features) == (activation not in ("tanh", "relu"))


@pytest.mark.parametrize("kind", ["discrete", "gaussian"])
def test_files_of_format_1_are_read(kind: str):
    """Version 0.1.0 wrote these two files, and their probes check that the policies act as they did then."""
    policy = pg.load(Path(__file__).parent / "data" / f"format_1_{kind}.safetensors")
    expected = spaces.Discrete(3, start=1) if kind == "discrete" else spaces.Box(-1, 1, (1,))
    assert policy.action_space == expected
    assert policy.distribution.name == ("softmax" if kind == "discrete" else "gaussian")
    assert policy.act(np.ones(2), rng=np.random.default_rng(0)) in expected


def test_a_truncated_file_is_refused(tmp_path: Path):
    file = tmp_path / "p.safetensors"
    pg.save(make("discrete"), file)
    whole = file.read_bytes()
    for length in (0, 5, 100, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(pg.PolicyFileError, match="truncated or corrupted"):
            pg.load(file)


def test_a_byte_changed_in_the_header_or_the_weights_is_refused(tmp_path: Path):
    file = tmp_path / "p.safetensors"
    pg.save(make("gaussian"), file)
    whole = file.read_bytes()
    for position in [*range(0, 1500, 3), *range(len(whole) - 300, len(whole), 7)]:
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        with pytest.raises(pg.PolicyFileError):
            pg.load(file)


def test_other_files_are_refused(tmp_path: Path):
    file = tmp_path / "other.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, file)
    with pytest.raises(pg.PolicyFileError, match="not a policy of this library"):
        pg.load(file)
    safetensors.torch.save_file({"x": torch.zeros(2)}, file, {"policygrad": '{"format": 99}'})
    with pytest.raises(pg.PolicyFileError, match="format 99"):
        pg.load(file)
    with pytest.raises(FileNotFoundError, match="no policy at"):
        pg.load(tmp_path / "nothing")


def test_numpy_sizes_can_be_saved(tmp_path: Path):
    network = pg.DiscretePolicy(2, np.int64(3), np.int64(8), rng=np.random.default_rng(0))
    pg.save(pg.Policy(network, spaces.Box(-1, 1, (2,)), spaces.Discrete(3)), tmp_path / "p.safetensors")
    assert pg.load(tmp_path / "p.safetensors").act([0.0, 0.0], greedy=True) in (0, 1, 2)
    with pytest.raises(TypeError, match=r"expected a policygrad.Policy; got DiscretePolicy"):
        pg.save(network, tmp_path / "q.safetensors")  # type: ignore[arg-type]


class Own(nn.Module):
    """A custom network with a factor that is not a parameter, so that its state does not determine its outputs."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.layer = nn.utils.skip_init(nn.Linear, 2, 3)
        nn.init.constant_(self.layer.weight, 0.3)
        nn.init.zeros_(self.layer.bias)
        self.factor = factor
        self.drop = nn.Dropout()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) * self.factor * torch.tensor([1.0, 2.0, 3.0])


def test_a_custom_network_has_to_be_passed_and_is_checked_by_probes(tmp_path: Path):
    file = tmp_path / "own.safetensors"
    pg.save(pg.Policy(Own(), spaces.Box(-1, 1, (2,)), spaces.Discrete(3)), file)
    with pytest.raises(pg.PolicyFileError, match=r"test_policy_file.Own.*network=\.\.\."):
        pg.load(file)
    loaded = pg.load(file, network=Own())
    assert not loaded.training
    loaded.train()
    # dropout is off when the policy acts, in either mode, and the mode does not change
    assert len({loaded.act([0.5, 0.5], greedy=True) for _ in range(30)}) == 1
    assert loaded.training
    with pytest.raises(pg.PolicyFileError, match="does not act as it did when it was saved"):
        pg.load(file, network=Own(factor=2.0))
    with pytest.raises(pg.PolicyFileError, match="do not fit the network"):
        pg.load(file, network=pg.DiscretePolicy(2, 3, 4, rng=np.random.default_rng(0)))
