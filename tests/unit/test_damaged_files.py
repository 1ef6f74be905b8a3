# ruff: noqa: PT017  # the outcomes of mutations are counted, so an error may be caught without pytest.raises
"""Damaged and hostile files raise one clear error, without much memory, without waiting, and without changing files."""

from __future__ import annotations

import copy
import json
import os
import resource
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch
from gymnasium import spaces

import policygrad as pg
from policygrad.policies.file_contents import digest_of
from policygrad.runs import checkpoint
from policygrad.runs.locked_folder import as_json
from policygrad.runs.resume import checkpoint_to_resume

# for more mutations: POLICYGRAD_MUTATIONS=10000 pytest tests/unit/test_damaged_files.py
MUTATIONS = int(os.environ.get("POLICYGRAD_MUTATIONS", "2000"))
HOSTILE: list[Any] = [
    None, True, -1, 0, 10**9, 10**40, -(2**63), 0.5, 1e308, "", "inf", "nan", "array:", "float32", [], {}, [[]],
    [10**9], [-3], [1] * 70, {"type": "Box"}, {"type": "Dict", "spaces": {}}, "x" * 1000,
]  # fmt: skip


def megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


@pytest.fixture(autouse=True)
def little_memory() -> Iterator[None]:
    before = megabytes()
    yield
    assert megabytes() - before < 500


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return the data with bytes changed, removed, inserted or repeated, most often in the header at the beginning."""
    changed = bytearray(data)
    for _ in range(rng.integers(1, 4)):
        span = len(changed) if rng.random() < 0.5 else min(len(changed), 3000)
        at, size = int(rng.integers(0, max(span, 1))), int(rng.integers(1, 20))
        match rng.integers(0, 5):
            case 0:
                changed[at : at + 1] = bytes([rng.integers(0, 256)])
            case 1:
                del changed[at : at + size]
            case 2:
                changed[at:at] = rng.bytes(size)
            case 3:
                changed[at:at] = changed[at : at + 20 * size]
            case _:
                del changed[at:]
    return bytes(changed)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path to every part of nested dicts and lists."""
    if path:
        yield path
    entries = (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    )
    for key, part in entries:
        yield from places(part, (*path, key))


def made_hostile(value: Any, rng: np.random.Generator) -> Any:
    """Return a copy in which one part is removed, or replaced by a hostile value."""
    value = copy.deepcopy(value)
    ways = list(places(value))
    *way, last = ways[rng.integers(len(ways))]
    parent = value
    for key in way:
        parent = parent[key]
    if rng.random() < 0.2:
        del parent[last]
    else:
        parent[last] = copy.deepcopy(HOSTILE[rng.integers(len(HOSTILE))])
    return value


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    pg.train("Pendulum-v1", algorithm(), steps=600, out=out, save_episodes=True, **OPTIONS)
    return out


OPTIONS: dict[str, Any] = {
    "network": pg.Network(hidden=(8,), distribution="gsde"),
    "normalization": pg.Normalization(normalize_observations=True, normalize_rewards=True),
    "num_envs": 2,
    "select": False,
}


def algorithm() -> pg.PPO:
    return pg.PPO(horizon=100, epochs=2, clip=None, kl_penalty=1.0, kl_penalty_target=0.01)


def outcomes(attempt: Callable[[int], str]) -> Counter[str]:
    return Counter(attempt(i) for i in range(MUTATIONS))


def test_damaged_policies_are_refused(run_folder: Path, tmp_path: Path):
    file, rng = tmp_path / "policy.safetensors", np.random.default_rng(0)
    whole = (run_folder / "policy.safetensors").read_bytes()

    def attempt(_: int) -> str:
        data = damaged(whole, rng)
        file.write_bytes(data)
        try:
            pg.load(file)
        except pg.PolicyFileError as error:
            assert len(str(error)) < 1000
            return "refused"
        return "loaded" if data == whole else "accepted"

    found = outcomes(attempt)
    assert found["refused"] + found["loaded"] == MUTATIONS
    assert found["refused"] > 0.9 * MUTATIONS


def hostile_policy(tensors: dict[str, Any], description: dict[str, Any], file: Path) -> None:
    """Write a policy file with a valid digest."""
    description = {name: value for name, value in description.items() if name != "sha256"}
    try:
        description["sha256"] = digest_of(tensors, description)
    except Exception:
        description["sha256"] = ""
    safetensors.torch.save_file(tensors, file, {"policygrad": json.dumps(description)})


def parts_of(file: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    with safetensors.safe_open(file, "pt") as opened:
        return safetensors.torch.load_file(file), json.loads(opened.metadata()["policygrad"])


@pytest.mark.long
def test_hostile_policies_are_refused_or_act(run_folder: Path, tmp_path: Path):
    """The digests are valid, as in files that were made on purpose."""
    file, rng = tmp_path / "policy.safetensors", np.random.default_rng(1)
    tensors, description = parts_of(run_folder / "policy.safetensors")

    def attempt(_: int) -> str:
        changed = dict(tensors)
        if rng.random() < 0.3:
            name = list(tensors)[rng.integers(len(tensors))]
            size, kind = tuple(rng.integers(0, 9, rng.integers(0, 3)).tolist()), rng.integers(0, 4)
            changed[name] = torch.zeros(
                size, dtype=[torch.float32, torch.float64, torch.int32, torch.bool][kind]
            )
        hostile_policy(changed, made_hostile(description, rng), file)
        try:
            policy = pg.load(file)
        except pg.PolicyFileError as error:
            assert len(str(error)) < 1000
            return "refused"
        policy.act(np.zeros(3, np.float32), greedy=True)
        return "loaded"

    found = outcomes(attempt)
    assert found["refused"] > 0.5 * MUTATIONS


def test_damaged_checkpoints_are_refused(run_folder: Path, tmp_path: Path):
    file, rng = tmp_path / "checkpoint.safetensors", np.random.default_rng(2)
    whole = (run_folder / "checkpoint.safetensors").read_bytes()

    def attempt(_: int) -> str:
        data = damaged(whole, rng)
        file.write_bytes(data)
        try:
            checkpoint.load_checkpoint(file)
        except pg.CheckpointError as error:
            assert len(str(error)) < 1000
            return "refused"
        return "loaded" if data == whole else "accepted"

    found = outcomes(attempt)
    assert found["refused"] + found["loaded"] == MUTATIONS


class RestoredError(Exception):
    """Raised when a state has been restored."""


@pytest.mark.long
def test_hostile_checkpoints_are_refused_or_restored(
    run_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out, rng = tmp_path / "run", np.random.default_rng(3)
    shutil.copytree(run_folder, out)
    state = checkpoint.load_checkpoint(out / "checkpoint.safetensors")

    def take(*_: Any, **__: Any) -> None:
        raise RestoredError

    monkeypatch.setattr("policygrad.runs.running.RunFolder", take)

    def attempt(_: int) -> str:
        checkpoint.save_checkpoint(made_hostile(state, rng), out / "checkpoint.safetensors")
        try:
            pg.train(
                "Pendulum-v1", algorithm(), steps=600, out=out, save_episodes=True, resume=True, **OPTIONS
            )
        except pg.CheckpointError as error:
            assert len(str(error)) < 1000
            return "refused"
        except RestoredError:
            return "restored"
        return "finished"

    found = outcomes(attempt)
    assert found["refused"] > 0.5 * MUTATIONS
    assert found["finished"] == 0


@pytest.mark.long
@pytest.mark.parametrize("name", ["config.json", "manifest.json", "metrics.jsonl", "episodes.csv"])
def test_damage_to_other_files_of_a_run_is_detected(run_folder: Path, tmp_path: Path, name: str):
    out, rng = tmp_path / "run", np.random.default_rng(4)
    shutil.copytree(run_folder, out)
    whole = (out / name).read_bytes()
    config = json.loads((out / "config.json").read_bytes())

    def attempt(i: int) -> str:
        data = damaged(whole, rng)
        if name.endswith(".json") and i % 2:
            data = as_json(made_hostile(json.loads(whole), rng))
        (out / name).write_bytes(data)
        try:
            resumed = checkpoint_to_resume(out, config)
            return "resumed" if resumed is not None and list(resumed.rows()) else "begun"
        except pg.CheckpointError:
            return "damaged"
        except FileExistsError as error:
            assert name == "manifest.json"
            assert "is not a run folder" in str(error) or "damaged" in str(error)
            return "no run"
        except ValueError as error:
            assert "started with different settings" in str(error)
            assert name == "config.json"
            return "other settings"

    found = outcomes(attempt)
    assert found["begun"] == 0
    if not name.endswith(".json"):
        # damage after the last checkpoint is harmless
        assert found["damaged"] > 0.5 * MUTATIONS


def description_of(policy: pg.Policy, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any], Path]:
    file = tmp_path / "policy.safetensors"
    pg.save(policy, file)
    return *parts_of(file), file


def small_policy(**options: Any) -> pg.Policy:
    network = pg.GaussianPolicy(2, 1, 4, rng=np.random.default_rng(0))
    return pg.Policy(network, spaces.Box(-2, 2, (2,)), spaces.Box(-1, 1, (1,)), **options)


@pytest.mark.parametrize(
    ("name", "space"),
    [
        (
            "observation_space",
            {"type": "Box", "low": -1.0, "high": 1.0, "shape": [10**9], "dtype": "float32"},
        ),
        ("observation_space", {"type": "Box", "low": 0, "high": 1, "shape": [10**5] * 5, "dtype": "float64"}),
        ("action_space", {"type": "MultiBinary", "n": 10**9}),
        ("action_space", {"type": "MultiBinary", "n": [10**6, 10**6]}),
        ("observation_space", {"type": "Dict", "spaces": {"a": {"type": "MultiBinary", "n": 10**9}}}),
        ("observation_space", {"type": "Box", "low": 0, "high": 1, "shape": [-1], "dtype": "float32"}),
        ("observation_space", {"type": "Sphere"}),
    ],
)
def test_no_memory_is_allocated_for_declared_sizes(tmp_path: Path, name: str, space: dict[str, Any]):
    tensors, description, file = description_of(small_policy(), tmp_path)
    hostile_policy(tensors, description | {name: space}, file)
    with pytest.raises(pg.PolicyFileError, match=r"declares|sizes|unknown kind"):
        pg.load(file)


def test_declared_layers_are_compared_with_the_weights(tmp_path: Path):
    tensors, description, file = description_of(small_policy(), tmp_path)
    description["network"]["sizes"] = [2, 10**9, 1]
    hostile_policy(tensors, description, file)
    with pytest.raises(pg.PolicyFileError, match=r"layers of .* have 4,000,000,001 parameters"):
        pg.load(file)


def test_an_unknown_feature_is_named(tmp_path: Path):
    tensors, description, file = description_of(small_policy(), tmp_path)
    assert description["features"] == ["gaussian", "units of the box"]
    hostile_policy(tensors, description | {"features": ["gaussian", "attention"]}, file)
    with pytest.raises(pg.PolicyFileError, match="uses 'attention', which this version does not support"):
        pg.load(file)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("name", ["observation_scale", "network.network.layers.0.weight"])
def test_numbers_that_are_not_finite_are_refused(tmp_path: Path, value: float, name: str):
    tensors, description, file = description_of(small_policy(), tmp_path)
    name = next(n for n in tensors if n == name or (name.startswith("network") and n.endswith("weight")))
    tensors[name].view(-1)[0] = value
    hostile_policy(tensors, description, file)
    with pytest.raises(pg.PolicyFileError, match=f"{name} has a NaN or an infinity"):
        pg.load(file)


def test_a_policy_with_a_nan_is_not_written(tmp_path: Path):
    policy, file = small_policy(), tmp_path / "policy.safetensors"
    pg.save(policy, file)
    before = file.read_bytes()
    with torch.no_grad():
        next(policy.parameters()).view(-1)[0] = float("nan")
    with pytest.raises(pg.NonFiniteError, match="has a NaN or an infinity"):
        pg.save(policy, file)
    assert file.read_bytes() == before


class Masked(torch.nn.Module):
    """A custom network with an infinity in a buffer."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 3)
        self.register_buffer("mask", torch.tensor([0.0, 0.0, -torch.inf]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x) + self.mask


def test_masks_of_custom_networks_may_be_infinite(tmp_path: Path):
    generator_state = torch.get_rng_state()
    policy = pg.Policy(Masked(), spaces.Box(-1, 1, (2,)), spaces.Discrete(3))
    pg.save(policy, tmp_path / "own.safetensors")
    loaded = pg.load(tmp_path / "own.safetensors", Masked())
    torch.set_rng_state(generator_state)
    assert loaded.act([0.1, 0.2], greedy=True) == policy.act([0.1, 0.2], greedy=True)


def test_the_checksum_covers_the_dtype_of_a_tensor(tmp_path: Path):
    """A scale that was read as an integer instead of a float would be about a thousand million."""
    policy = small_policy(normalization=pg.Normalization(normalize_observations=True))
    _, _, file = description_of(policy, tmp_path)
    data = file.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        other = {"F64": "I64", "F32": "I32", "I64": "F64"}[entry["dtype"]]
        text = json.dumps(header | {name: entry | {"dtype": other}}).encode()
        file.write_bytes(len(text).to_bytes(8, "little") + text + data[8 + length :])
        with pytest.raises(pg.PolicyFileError, match="checksum"):
            pg.load(file)


def test_probes_detect_a_changed_normalizer(tmp_path: Path):
    policy = small_policy(normalization=pg.Normalization(normalize_observations=True))
    policy.set_normalizer(np.array([1.0, 1e6]), np.array([0.5, 1e-3]))
    tensors, description, file = description_of(policy, tmp_path)
    pg.load(file)
    tensors["observation_scale"] = tensors["observation_scale"] * 2
    hostile_policy(tensors, description, file)
    with pytest.raises(pg.PolicyFileError, match="does not act as it did when it was saved"):
        pg.load(file)


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"format": ' + "9" * 5000 + "}", '{"format": 1e999}', "nul"]
)
def test_json_that_is_too_deep_or_too_long_is_refused(run_folder: Path, tmp_path: Path, text: str):
    file = tmp_path / "policy.safetensors"
    safetensors.torch.save_file({"x": torch.zeros(2)}, file, {"policygrad": text})
    with pytest.raises(pg.PolicyFileError):
        pg.load(file)
    safetensors.numpy.save_file({"x": np.zeros(2)}, file, {"policygrad": text})
    with pytest.raises(pg.CheckpointError):
        checkpoint.load_checkpoint(file)
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    (out / "config.json").write_text(text)
    if "e999" in text:
        # this text is valid JSON
        return
    with pytest.raises(pg.CheckpointError, match=r"config\.json is damaged"):
        pg.train("Pendulum-v1", algorithm(), steps=600, out=out, save_episodes=True, resume=True, **OPTIONS)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="this system has no named pipes")
def test_pipes_and_devices_are_not_waited_for(run_folder: Path, tmp_path: Path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero")):
        with pytest.raises(pg.PolicyFileError, match="not a regular file"):
            pg.load(path)
        with pytest.raises(pg.CheckpointError, match="not a regular file"):
            checkpoint.load_checkpoint(path)
    for name in ("config.json", "manifest.json", "metrics.jsonl", "checkpoint.safetensors"):
        out = tmp_path / f"run with {name}"
        shutil.copytree(run_folder, out)
        (out / name).unlink()
        os.mkfifo(out / name)
        with pytest.raises((pg.CheckpointError, FileExistsError), match="not a regular file"):
            pg.train(
                "Pendulum-v1", algorithm(), steps=600, out=out, save_episodes=True, resume=True, **OPTIONS
            )


def test_files_above_the_size_limit_are_not_read(tmp_path: Path):
    file = tmp_path / "policy.safetensors"
    with file.open("wb") as holes:
        holes.truncate(3 * 10**9)
    with pytest.raises(pg.PolicyFileError, match=r"more than the maximum of 2,000,000,000"):
        pg.load(file)
    with pytest.raises(pg.CheckpointError, match=r"more than the maximum of 2,000,000,000"):
        checkpoint.load_checkpoint(file)


def test_temporary_files_of_killed_processes_are_removed(run_folder: Path, tmp_path: Path):
    out = tmp_path / "run"
    shutil.copytree(run_folder, out)
    for name in (".checkpoint.safetensors.123.tmp", ".policy.safetensors.99.tmp"):
        (out / name).write_text("half of a file")
    mine = out / ".notes.tmp"
    mine.write_text("mine")
    pg.train("Pendulum-v1", algorithm(), steps=800, out=out, save_episodes=True, resume=True, **OPTIONS)
    hidden = sorted(file.name for file in out.iterdir() if file.name.startswith("."))
    assert hidden == [".lock", ".notes.tmp"]


def test_a_link_to_a_folder_is_kept_and_its_target_is_replaced(tmp_path: Path):
    disk = tmp_path / "large disk"
    disk.mkdir()
    link = tmp_path / "run"
    link.symlink_to(disk, target_is_directory=True)
    for seed in (0, 1):
        pg.train("CartPole-v1", seed=seed, steps=300, out=link, overwrite=True)
        assert link.is_symlink()
        assert json.loads((disk / "config.json").read_text())["seed"] == seed
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large disk", "run"]
    pg.train("CartPole-v1", seed=1, steps=600, out=link, resume=True)
    # a link to a folder that does not exist yet
    link.unlink()
    link.symlink_to(tmp_path / "elsewhere")
    pg.train("CartPole-v1", steps=300, out=link)
    assert (tmp_path / "elsewhere" / "summary.json").exists()


def test_folders_that_cannot_be_written_are_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    from policygrad.cli import main

    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    file = tmp_path / "file"
    file.write_text("")
    for out, words in (
        (loop, "Too many levels of symbolic links"),
        (file / "run", "Not a directory"),
        (Path("/proc/run"), "No such file or directory"),
    ):
        assert main(["train", "CartPole-v1", "--steps", "300", "--out", str(out)]) == 2
        printed = capsys.readouterr().err.splitlines()[-1]
        assert printed == f"policygrad: cannot write to {out}: {words}. Choose another folder (--out)."
