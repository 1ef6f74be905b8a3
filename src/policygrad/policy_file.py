"""A policy in one file: weights, spaces, normaliser, action transform, and probes that loading checks.

A safetensors file, so loading runs no code. Its tensors are the policy's state and `probe.observation`
[P, D] with `probe.output` [P, ·], what the policy put out for them when it was saved. Its metadata is JSON.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from policygrad.errors import PolicyFileError
from policygrad.files import write_atomically
from policygrad.policies import (
    BetaPolicy,
    DiscretePolicy,
    GaussianPolicy,
    GSDEPolicy,
    Normalization,
    Policy,
    StandardPolicy,
    evaluation_mode,
    is_standard,
    made_by,
)
from policygrad.spaces import action_size, is_choice, observation_size, space_from_json, space_to_json
from policygrad.surroundings import in_ordinary_torch

FORMAT, READABLE = 3, (1, 2, 3)
"""Format 1 knows softmax over one choice and Gaussians that are clipped, format 2 all distributions. Their Gaussians
act in the environment's own units. Format 3 adds units of the box, and how the policy acts where it is not told."""
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
        "distribution": policy.distribution.name,
        "action_transform": policy.distribution.transform,
        "scale_actions": policy.scale_actions,
        "greedy": policy.greedy,
    }
    description["sha256"] = _digest(tensors, description)
    data = safetensors.torch.save(tensors, {"policygrad": json.dumps(description, allow_nan=False)})
    write_atomically(Path(path), data)


@in_ordinary_torch
def load(path: str | Path, network: nn.Module | Callable[..., nn.Module] | None = None) -> Policy:
    """The policy of a run folder or of a policy file.

    Args:
        path: a run folder, or a file that `save` wrote.
        network: needed, and filled, where the policy's network is a class of your own: one built as then, or the
            function or class that makes one, as `train` takes it.

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
    observation_space = space_from_json(description["observation_space"])
    action_space = space_from_json(description["action_space"])
    if network is None:
        network = _rebuild(description["network"], file)
    else:
        numbers = observation_size(observation_space), action_size(action_space)
        network = made_by(network, "network", numbers, np.random.default_rng(0))
    # softmax goes without saying
    name = "auto" if is_choice(action_space) else description.get("distribution", "gaussian")
    policy = Policy(
        network,
        observation_space,
        action_space,
        distribution=name,
        scale_actions=bool(description.get("scale_actions", False)),
        normalization=Normalization(**description.get("normalization", {})),
    )
    policy.greedy = bool(description.get("greedy", False))
    probe, expected = tensors.pop("probe.observation"), tensors.pop("probe.output")
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise PolicyFileError(f"{file}: the weights do not fit the network: {error}") from error
    found = _outputs(policy, probe)
    if not torch.allclose(found, expected, rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE, equal_nan=True):
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
    if "state" in description:
        raise PolicyFileError(
            f"{file} is a checkpoint, from which a training goes on (resume), and no policy: load its folder, or "
            f"{file.with_name(FILE_NAME)}"
        )
    if description.get("format") not in READABLE:
        raise PolicyFileError(
            f"{file} is of format {description.get('format')}; this version reads {READABLE}: update policygrad"
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


@in_ordinary_torch
@torch.no_grad()
def _outputs(policy: Policy, probe: Tensor) -> Tensor:
    """The distribution's parameters side by side: log-probabilities [P, n], means and log σ [P, 2K], ..."""
    with evaluation_mode(policy):
        outputs = policy(probe.to(policy.device))
    parts = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    # gSDE's σ [L, K] is no sample's: its variance [P, K], which is here too, says what it was
    return torch.cat([part for part in parts if len(part) == len(probe)], dim=-1).cpu().contiguous()


def _describe(network: nn.Module) -> dict[str, Any]:
    description: dict[str, Any] = {"class": type(network).__name__}
    if not (is_standard(network) and isinstance(network, StandardPolicy)):
        return description | {
            "class": f"{type(network).__module__}.{type(network).__qualname__}",
            "custom": True,
        }
    description |= {"sizes": list(network.network.sizes), "activation": network.network.activation}
    description["action_dim"] = network.action_dim
    if isinstance(network, GaussianPolicy | GSDEPolicy):
        description["log_std_bounds"] = list(network.log_std_bounds)
    if isinstance(network, GaussianPolicy):
        description["state_dependent_std"] = network.state_dependent_std
    if isinstance(network, GSDEPolicy):
        description["sde_period"] = network.sde_period
    return description


def _rebuild(description: dict[str, Any], file: Path) -> nn.Module:
    if description.get("custom"):
        raise PolicyFileError(
            f"{file} holds weights of {description['class']}, a network that this library does not know: "
            "build one and pass it, load(path, network=...)"
        )
    state_dim, *hidden, outputs = description["sizes"]
    shape: dict[str, Any] = {"activation": description["activation"], "rng": np.random.default_rng(0)}
    if "log_std_bounds" in description:
        bounds = tuple(description["log_std_bounds"])
        shape |= {"log_std_bounds": bounds, "log_std": sum(bounds) / 2}
    shape |= {
        name: description[name] for name in ("state_dependent_std", "sde_period") if name in description
    }
    kinds = {kind.__name__: kind for kind in (DiscretePolicy, GaussianPolicy, BetaPolicy, GSDEPolicy)}
    return kinds[description["class"]](state_dim, description.get("action_dim", outputs), hidden, **shape)
