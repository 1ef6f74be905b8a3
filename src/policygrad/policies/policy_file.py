"""Saving and loading a policy as one file: weights, spaces, normalizer, action transform, and probes.

The file is in the safetensors format, so loading it does not run code. Its tensors are the policy's state and probes
that are checked on loading: the inputs `probe.numbers` [P, D] float64, before normalization, and the policy's outputs
for them when it was saved, `probe.output` [P, ·]. The metadata is JSON. Sizes that the file declares are compared with
the data that it contains before anything is allocated.
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
    NEW_ACTIVATIONS,
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
"""Largest relative and absolute difference of a probe's output from the saved one. Sums differ slightly between
machines."""


def save(policy: Policy, path: str | Path) -> None:
    """Write a policy to `path`. The file is written completely or not at all.

    Raises:
        TypeError: `policy` is only a network, which has no spaces.
        NonFiniteError: a parameter or a statistic is NaN or infinite; nothing is written.
    """
    if not isinstance(policy, Policy):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"expected a policygrad.Policy; got {type(policy).__name__}. "
            "Use Policy(network, observation_space, action_space) to create one from a torch module."
        )
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in policy.state_dict().items()}
    check_finite(tensors, own_network=not is_standard(policy.network))
    numbers = _probes(policy)
    tensors |= {"probe.numbers": numbers, "probe.output": _outputs(policy, _seen(policy, numbers))}
    # cloned, because the parameters are views of one buffer, and safetensors rejects tensors that share memory
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
    """Load the policy of a run folder or of a policy file.

    Args:
        path: a run folder, or a file that `save` wrote.
        network: required if the policy has a custom network: a module that is built as it was for training, whose
            weights are overwritten, or the function or class that makes one, as in `train`.
        distribution: required if the policy has a custom distribution.

    Raises:
        FileNotFoundError: there is no policy at `path`.
        PolicyFileError: the file is truncated or corrupted, it is not a policy, or the policy's outputs differ from
            those when it was saved.
    """
    path = Path(path)
    file = path / FILE_NAME if path.is_dir() else path
    if not file.exists() and (several := sorted(path.glob("seed-*"))):
        raise FileNotFoundError(
            f"{path} contains the runs of several seeds: choose one, such as {several[0]}"
        )
    if not file.exists():
        raise FileNotFoundError(f"there is no policy at {file}: expected a run folder or a .safetensors file")
    tensors, description = read(file)
    with reporting_damage(file):
        observation_space, action_space = _spaces(description, tensors)
        numbers = observation_size(observation_space), action_size(action_space)
        given = network is not None
        if network is None:
            network = _rebuild(description["network"], tensors, file)
        name = description.get("distribution", "gaussian")
        is_custom = bool(description.get("own_distribution", False)) or name not in (*BOXED, Categorical.name)
        if distribution is None and is_custom:
            raise PolicyFileError(
                f"{file} contains a policy with the custom distribution {name!r}, which this library cannot create: "
                "pass it, load(path, distribution=...)"
            )
        if distribution is not None and not (is_custom and distribution.name == name):
            kind = "custom" if is_custom else "built-in"
            raise PolicyFileError(
                f"{file} contains a policy with the {kind} distribution {name!r}; {distribution.name!r} was given: "
                "leave distribution out, or pass the one that the policy was saved with"
            )
        if distribution is None and is_choice(action_space):
            # discrete actions always have a softmax, which `auto` selects
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
        raise PolicyFileError(f"the weights in {file} do not fit the network: {error}") from error
    with reporting_damage(file):
        seen = probes.to(torch.float32) if description["format"] < 4 else _seen(policy, probes)
        if seen.ndim != 2 or seen.shape[1] != policy.observation_size:
            raise ValueError(
                f"its probes have shape {tuple(seen.shape)}; expected [P, {policy.observation_size}]"
            )
    outputs = _outputs(policy, seen)
    if outputs.shape != expected.shape or not torch.allclose(
        outputs, expected, rtol=PROBE_TOLERANCE, atol=PROBE_TOLERANCE, equal_nan=True
    ):
        difference = (outputs - expected).abs().max().item() if outputs.shape == expected.shape else math.inf
        raise PolicyFileError(
            f"the policy in {file} does not act as it did when it was saved: its outputs differ by up to "
            f"{difference:g}. The network or the version of policygrad is not the one that it was trained with."
        )
    return policy.eval()


def _spaces(description: dict[str, Any], tensors: dict[str, Tensor]) -> tuple[Space, Space]:
    """Return the spaces after a check of their sizes.

    The tensors contain weights or probes for each number of a space, so they cannot have fewer numbers than a space.

    Raises:
        ValueError: a space declares more numbers than the tensors have.
    """
    available = sum(tensor.numel() for tensor in tensors.values())
    result = list[Space]()
    for name in ("observation_space", "action_space"):
        if (declared := declared_numbers(description[name])) > available:
            raise ValueError(
                f"its {name} declares {declared:,} numbers, but its tensors have only {available:,}"
            )
        result.append(space_from_json(description[name]))
    return result[0], result[1]


def _features(policy: Policy) -> list[str]:
    activation = _describe(policy.network).get("activation")
    used = {
        "own distribution" if is_own(policy.distribution) else policy.distribution.name: True,
        **dict.fromkeys(policy.distribution.features_of(policy.network), True),
        "normalized observations": policy.normalization.normalize_observations,
        "normalized rewards": policy.normalization.normalize_rewards,
        "own network": not is_standard(policy.network),
        f"activation {activation}": activation in NEW_ACTIVATIONS,
        "composite observations": is_composite(policy.observation_space),
    }
    return [feature for feature, is_used in used.items() if is_used]


def _probes(policy: Policy) -> Tensor:
    """Return inputs [P, D] float64 that are standard normal after normalization."""
    # a fixed seed, because the probes are part of the file format and not of an experiment
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
    """Return the distribution's parameters, concatenated: log-probabilities [P, n], means and log σ [P, 2K], ..."""
    with evaluation_mode(policy):
        outputs = policy(Inputs(cast(Any, probe.to(policy.device))))
    parts = [outputs] if isinstance(outputs, Tensor) else list(outputs)
    # gSDE's σ [L, K] has no row per probe and is left out; the variance [P, K], which is included, depends on it
    return torch.cat([part for part in parts if len(part) == len(probe)], dim=-1).cpu().contiguous()


def _describe(network: nn.Module) -> dict[str, Any]:
    if is_standard(network) and isinstance(network, PerceptronPolicy):
        return network.description()
    return {"class": f"{type(network).__module__}.{type(network).__qualname__}", "custom": True}


def _rebuild(description: dict[str, Any], tensors: dict[str, Tensor], file: Path) -> nn.Module:
    if description.get("custom"):
        raise PolicyFileError(
            f"{file} contains weights of the custom network {description['class']}: build one and pass it, "
            "load(path, network=...)"
        )
    state_dim, *hidden, outputs = sizes = description["sizes"]
    declared = sum((before + 1) * after for before, after in pairwise(sizes))
    available = sum(tensor.numel() for tensor in tensors.values())
    if not all(type(size) is int and size > 0 for size in sizes) or declared > available:
        raise ValueError(
            f"its layers of sizes {sizes} have {declared:,} parameters, but its tensors have {available:,} numbers"
        )
    shape: dict[str, Any] = {"activation": description["activation"], "rng": np.random.default_rng(0)}
    if "log_std_bounds" in description:
        bounds = tuple(description["log_std_bounds"])
        shape |= {"log_std_bounds": bounds, "log_std": sum(bounds) / 2}
    kind: Any = KINDS[description["class"]]
    shape |= {name: description[name] for name in kind.settings if name in description and name not in shape}
    return kind(state_dim, description.get("action_dim", outputs), hidden, **shape)
