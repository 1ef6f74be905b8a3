"""A policy in one file: weights, spaces, normaliser, action transform, and probes that loading checks.

A safetensors file, so loading runs no code. Its tensors are the policy's state, and probes: `probe.numbers` [P, D]
float64, before they are normalized, with `probe.output` [P, ·], what the policy put out for them when it was saved. Its
metadata is JSON. Nothing is allocated that the file only declares: sizes are compared with what it holds.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any, cast

import numpy as np
import safetensors.torch
import torch
from torch import Tensor, nn

from policygrad._support.files import write_atomically
from policygrad._support.isolation import in_ordinary_torch
from policygrad.errors import PolicyFileError
from policygrad.policies import (
    KINDS,
    Distribution,
    Normalization,
    PerceptronPolicy,
    Policy,
    evaluation_mode,
    is_standard,
    made_by,
)
from policygrad.policies.distributions import BOXED, Categorical, is_own
from policygrad.policies.file_contents import (
    FILE_NAME,
    FORMAT,
    check_finite,
    digest_of,
    read,
    reporting_damage,
)
from policygrad.spaces import (
    Space,
    action_size,
    declared_numbers,
    is_choice,
    is_composite,
    observation_size,
    space_from_json,
    space_to_json,
)
from policygrad.types import Inputs

PROBES = 16
PROBE_TOLERANCE = 1e-4
"""Largest difference between a probe's output now and then: across machines sums differ in their last bits."""


def save(policy: Policy, path: str | Path) -> None:
    """Write a policy to `path`, whole or not at all.

    Raises:
        TypeError: it is a network alone, which knows no spaces.
        NonFiniteError: a parameter or a statistic is NaN or infinite; nothing is written.
    """
    if not isinstance(policy, Policy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"expected a policygrad.Policy; got {type(policy).__name__}. "
            "Policy(network, observation_space, action_space) makes one of a torch module"
        )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    check_finite(tensors, own_network=not is_standard(policy.network))
    numbers = _probes(policy)
    tensors |= {"probe.numbers": numbers, "probe.output": _outputs(policy, _seen(policy, numbers))}
    # each its own memory: the parameters are views of one buffer, which safetensors refuses to cut up
    tensors = {name: tensor.clone() for name, tensor in tensors.items()}
    description: dict[str, Any] = {
        "format": FORMAT,
        "features": _features(policy),
        "network": _describe(policy.network),
        "observation_space": space_to_json(policy.observation_space),
        "action_space": space_to_json(policy.action_space),
        "observation_transform": "flatten, (x - observation_shift) * observation_scale, clip to +-clip_observations",
        "normalization": asdict(policy.normalization),
        "distribution": policy.distribution.name,
        "own_distribution": is_own(policy.distribution),
        "action_transform": policy.distribution.transform,
        "scale_actions": policy.scale_actions,
        "greedy": policy.greedy,
    }
    description["sha256"] = digest_of(tensors, description)
    data = safetensors.torch.save(tensors, {"policygrad": json.dumps(description, allow_nan=False)})
    write_atomically(Path(path), data)


@in_ordinary_torch
def load(
    path: str | Path,
    network: nn.Module | Callable[..., nn.Module] | None = None,
    distribution: Distribution | None = None,
) -> Policy:
    """The policy of a run folder or of a policy file.

    Args:
        path: a run folder, or a file that `save` wrote.
        network: needed, and filled, where the policy's network is a class of your own: one built as then, or the
            function or class that makes one, as `train` takes it.
        distribution: needed where the policy's distribution is one of your own.

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
    tensors, description = read(file)
    with reporting_damage(file):
        observation_space, action_space = _spaces(description, tensors)
        numbers = observation_size(observation_space), action_size(action_space)
        given = network is not None
        if network is None:
            network = _rebuild(description["network"], tensors, file)
        name = description.get("distribution", "gaussian")
        its_own = bool(description.get("own_distribution", False)) or name not in (*BOXED, Categorical.name)
        if distribution is None and its_own:
            raise PolicyFileError(
                f"{file} holds a policy whose distribution, {name!r}, this library does not know: pass it, "
                "load(path, distribution=...)"
            )
        if distribution is not None and not (its_own and distribution.name == name):
            known = "" if its_own else ", one of this library's"
            raise PolicyFileError(
                f"{file} holds a policy whose distribution is {name!r}{known}; {distribution.name!r} was given: leave "
                "distribution out, or give the one that it was saved with"
            )
        if distribution is None and is_choice(action_space):
            # softmax goes without saying
            name = "auto"
        normalization = Normalization(**description.get("normalization", {}))
        scale_actions, greedy = (
            bool(description.get(option, False)) for option in ("scale_actions", "greedy")
        )
    if given:
        network = made_by(network, "network", numbers, np.random.default_rng(0))
    try:
        policy = Policy(
            cast(nn.Module, network),
            observation_space,
            action_space,
            distribution=name if distribution is None else distribution,
            scale_actions=scale_actions,
            normalization=normalization,
        )
    except (ValueError, TypeError) as error:
        if given:
            raise
        raise PolicyFileError(f"{file} is damaged: {error}") from error
    policy.greedy = greedy
    probes, expected = _pop_probes(tensors)
    try:
        policy.load_state_dict(tensors)
    except RuntimeError as error:
        raise PolicyFileError(f"{file}: the weights do not fit the network: {error}") from error
    with reporting_damage(file):
        seen = probes.to(torch.float32) if description["format"] < 4 else _seen(policy, probes)
        if seen.ndim != 2 or seen.shape[1] != policy.observation_size:
            raise ValueError(
                f"its probes have shape {tuple(seen.shape)}; expected [P, {policy.observation_size}]"
            )
    found = _outputs(policy, seen)
    if found.shape != expected.shape or not torch.allclose(
        found, expected, rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE, equal_nan=True
    ):
        off = (found - expected).abs().max().item() if found.shape == expected.shape else math.inf
        raise PolicyFileError(
            f"{file}: the policy acts otherwise than when it was saved (its outputs differ by up to {off:g}). "
            "The network given, or the library's version, is not the one it was trained with"
        )
    return policy.eval()


def _spaces(description: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Space, Space]:
    """The spaces, whose sizes must not be more than what the file has numbers for: every one has weights or probes."""
    held = sum(tensor.numel() for tensor in tensors.values())
    found = list[Space]()
    for name in ("observation_space", "action_space"):
        if (declared := declared_numbers(description[name])) > held:
            raise ValueError(f"its {name} declares {declared:,} numbers, and its tensors have {held:,}")
        found.append(space_from_json(description[name]))
    return found[0], found[1]


def _features(policy: Policy) -> list[str]:
    used = {
        "own distribution" if is_own(policy.distribution) else policy.distribution.name: True,
        **dict.fromkeys(policy.distribution.features_of(policy.network), True),
        "normalized observations": policy.normalization.normalize_observations,
        "normalized rewards": policy.normalization.normalize_rewards,
        "own network": not is_standard(policy.network),
        "composite observations": is_composite(policy.observation_space),
    }
    return [feature for feature, is_used in used.items() if is_used]


def _probes(policy: Policy) -> Tensor:
    """[P, D] float64: numbers that the network sees as standard normal ones."""
    # a fixed stream: the probes are part of the format, not of anybody's experiment
    normal = torch.from_numpy(np.random.default_rng(0).standard_normal((PROBES, policy.observation_size)))
    return normal / policy.observation_scale + policy.observation_shift


def _seen(policy: Policy, numbers: Tensor) -> Tensor:
    return torch.from_numpy(policy.normalized(numbers.numpy()))


def _pop_probes(tensors: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    inputs = "probe.numbers" if "probe.numbers" in tensors else "probe.observation"
    return tensors.pop(inputs, torch.zeros(0)), tensors.pop("probe.output", torch.zeros(0))


@in_ordinary_torch
@torch.no_grad()
def _outputs(policy: Policy, probe: Tensor) -> Tensor:
    """The distribution's parameters side by side: log-probabilities [P, n], means and log σ [P, 2K], ..."""
    with evaluation_mode(policy):
        outputs = policy(Inputs(cast(Any, probe.to(policy.device))))
    parts = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    # gSDE's σ [L, K] is no sample's: its variance [P, K], which is here too, says what it was
    return torch.cat([part for part in parts if len(part) == len(probe)], dim=-1).cpu().contiguous()


def _describe(network: nn.Module) -> dict[str, Any]:
    if is_standard(network) and isinstance(network, PerceptronPolicy):
        return network.description()
    return {"class": f"{type(network).__module__}.{type(network).__qualname__}", "custom": True}


def _rebuild(description: dict[str, Any], tensors: dict[str, Tensor], file: Path) -> nn.Module:
    if description.get("custom"):
        raise PolicyFileError(
            f"{file} holds weights of {description['class']}, a network that this library does not know: "
            "build one and pass it, load(path, network=...)"
        )
    state_dim, *hidden, outputs = sizes = description["sizes"]
    declared = sum((before + 1) * after for before, after in pairwise(sizes))
    held = sum(tensor.numel() for tensor in tensors.values())
    if not all(type(size) is int and size > 0 for size in sizes) or declared > held:
        raise ValueError(
            f"its layers of {sizes} have {declared:,} parameters, and its tensors have {held:,} numbers"
        )
    shape: dict[str, Any] = {"activation": description["activation"], "rng": np.random.default_rng(0)}
    if "log_std_bounds" in description:
        bounds = tuple(description["log_std_bounds"])
        shape |= {"log_std_bounds": bounds, "log_std": sum(bounds) / 2}
    kind: Any = KINDS[description["class"]]
    shape |= {name: description[name] for name in kind.settings if name in description and name not in shape}
    return kind(state_dim, description.get("action_dim", outputs), hidden, **shape)
