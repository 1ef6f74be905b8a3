"""A policy in one file: weights, spaces, normaliser, action transform, and probes that loading checks.

A safetensors file, so loading runs no code. Its tensors are the policy's state and `probe.observation`
[P, D] with `probe.output` [P, ·], what the policy put out for them when it was saved. Its metadata is JSON.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from gymnasium.spaces import Discrete
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from policygrad.errors import PolicyFileError
from policygrad.files import write_atomically
from policygrad.policies import (
    DiscretePolicy,
    GaussianPolicy,
    Normalization,
    Policy,
    evaluation_mode,
    is_standard,
)
from policygrad.spaces import space_from_json, space_to_json

FORMAT = 1
FILE_NAME = "policy.safetensors"
PROBES = 16
PROBE_TOLERANCE = 1e-4
"""Largest difference between a probe's output now and then: across machines sums differ in their last bits."""


def save(policy: Policy, path: str | Path) -> None:
    """Write a policy to `path`, whole or not at all.

    Raises:
        TypeError: it is a network alone, which knows no spaces.
    """
    if not isinstance(policy, Policy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"expected a policygrad.Policy; got {type(policy).__name__}. "
            "Policy(network, observation_space, action_space) makes one of a torch module"
        )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    # a fixed stream: the probes are part of the format, not of anybody's experiment
    probe = torch.from_numpy(
        np.random.default_rng(0).standard_normal((PROBES, policy.observation_size)).astype(np.float32)
    )
    tensors |= {"probe.observation": probe, "probe.output": _outputs(policy, probe)}
    # each its own memory: the parameters are views of one buffer, which safetensors refuses to cut up
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    description: dict[str, Any] = {
        "format": FORMAT,
        "network": _describe(policy.network),
        "observation_space": space_to_json(policy.observation_space),
        "action_space": space_to_json(policy.action_space),
        "observation_transform": "flatten, (x - observation_shift) * observation_scale, clip to +-clip_observations",
        "normalization": asdict(policy.normalization),
        "action_transform": "add start" if isinstance(policy.action_space, Discrete) else "clip to the box",
    }
    description["sha256"] = _digest(tensors, description)
    data = safetensors.torch.save(tensors, {"policygrad": json.dumps(description, allow_nan=False)})
    write_atomically(Path(path), data)


def load(path: str | Path, network: nn.Module | None = None) -> Policy:
    """The policy of a run folder or of a policy file.

    Args:
        path: a run folder, or a file that `save` wrote.
        network: needed, and filled, where the policy's network is a class of your own: one built as then.

    Raises:
        FileNotFoundError: there is nothing there.
        PolicyFileError: the file is truncated, corrupted, no policy, or its policy does not put out what it
            did when it was saved.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if not file.exists() and (several := sorted(path.glob("seed-*"))):
        raise FileNotFoundError(f"{path} holds the runs of several seeds: choose one, such as {several[0]}")
    if not file.exists():
        raise FileNotFoundError(f"no policy at {file}: expected a run folder or a .safetensors file")
    tensors, description = _read(file)
    network = network if network is not None else _rebuild(description["network"], file)
    observation_space = space_from_json(description["observation_space"])
    normalization = Normalization(**description.get("normalization", {}))
    policy = Policy(
        network,
        observation_space,
        space_from_json(description["action_space"]),
        normalization=normalization,
    )
    probe, expected = tensors.pop("probe.observation"), tensors.pop("probe.output")
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise PolicyFileError(f"{file}: the weights do not fit the network: {error}") from error
    policy.set_normalizer(tensors["observation_shift"].numpy(), tensors["observation_scale"].numpy())
    found = _outputs(policy, probe)
    if not torch.allclose(found, expected, rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE):
        off = (found - expected).abs().max().item()
        raise PolicyFileError(
            f"{file}: the policy acts otherwise than when it was saved (its outputs differ by up to {off:g}). "
            "The network given, or the library's version, is not the one it was trained with"
        )
    return policy.eval()


def _read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    advice = "copy it again from where it was saved, or train anew"
    try:
        with safe_open(file, framework="pt") as opened:  # pyright: ignore[reportUnknownVariableType]
            metadata: dict[str, str] = opened.metadata() or {}
        if "policygrad" not in metadata:
            raise PolicyFileError(f"{file} is no policy of this library: its metadata has no 'policygrad'")
        description: dict[str, Any] = json.loads(metadata["policygrad"])
        tensors = safetensors.torch.load_file(file)
    except (SafetensorError, json.JSONDecodeError, UnicodeDecodeError, OSError) as error:
        raise PolicyFileError(f"{file} is truncated or corrupted ({error}): {advice}") from error
    if not isinstance(description, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PolicyFileError(f"{file} is corrupted (its description is no object): {advice}")
    if description.get("format") != FORMAT:
        raise PolicyFileError(
            f"{file} is of format {description.get('format')}; this version reads {FORMAT}: update policygrad"
        )
    if _digest(tensors, description) != description.get("sha256"):
        raise PolicyFileError(f"{file} is corrupted (its checksum does not match): {advice}")
    return tensors, description


def _digest(tensors: dict[str, Tensor], description: dict[str, Any]) -> str:
    """Over the description, but for the digest in it, and over every tensor."""
    plain = {name: value for name, value in description.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        digest.update(name.encode())
        digest.update(tensors[name].numpy().tobytes())
    return digest.hexdigest()


@torch.no_grad()
def _outputs(policy: Policy, probe: Tensor) -> Tensor:
    """Log-probabilities [P, n], or means and log standard deviations side by side [P, 2K]."""
    with evaluation_mode(policy):
        outputs = policy(probe.to(policy.observation_shift.device))
    joined = outputs if isinstance(outputs, Tensor) else torch.cat(tuple(outputs), dim=-1)
    return joined.cpu().contiguous()


def _describe(network: nn.Module) -> dict[str, Any]:
    description: dict[str, Any] = {"class": type(network).__name__}
    if not (is_standard(network) and isinstance(network, DiscretePolicy | GaussianPolicy)):
        return description | {
            "class": f"{type(network).__module__}.{type(network).__qualname__}",
            "custom": True,
        }
    description |= {"sizes": list(network.network.sizes), "activation": network.network.activation}
    if isinstance(network, GaussianPolicy):
        description["log_std_bounds"] = list(network.log_std_bounds)
    return description


def _rebuild(description: dict[str, Any], file: Path) -> nn.Module:
    if description.get("custom"):
        raise PolicyFileError(
            f"{file} holds weights of {description['class']}, a network that this library does not know: "
            "build one and pass it, load(path, network=...)"
        )
    state_dim, *hidden, action_dim = description["sizes"]
    shape: dict[str, Any] = {"activation": description["activation"], "rng": np.random.default_rng(0)}
    if description["class"] == "GaussianPolicy":
        shape["log_std_bounds"] = tuple(description["log_std_bounds"])
        return GaussianPolicy(state_dim, action_dim, hidden, **shape)
    return DiscretePolicy(state_dim, action_dim, hidden, **shape)
