"""Reading a policy file's tensors and description, with all checks that do not need the policy itself."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor

from policygrad._support.files import check_regular
from policygrad.errors import NonFiniteError, PolicyFileError
from policygrad.policies.distributions import BOXED, Categorical

FORMAT, READABLE = 4, (1, 2, 3, 4)
"""The format that is written, and the formats that can be read.

Format 1 supports the softmax over one choice and the clipped Gaussian, and format 2 supports all distributions. In both
of them, Gaussians act in the environment's units. Format 3 adds units of the box, and whether the policy acts greedily
by default. From format 4, a file lists its features, its digest covers dtypes and shapes, and its probes pass through
the normalizer."""


NEW_ACTIVATIONS = ("silu", "gelu", "elu", "leaky_relu")
"""Activations that are features, because earlier versions that read this format have only tanh and relu."""

FEATURES = {
    *(Categorical.name, *BOXED),
    *("units of the box", "state-dependent std", "normalized observations", "normalized rewards"),
    *("own network", "own distribution", "composite observations"),
    *(f"activation {name}" for name in NEW_ACTIVATIONS),
}
"""Features that this version can reproduce. A file with any other feature is rejected by a message that names it."""


FILE_NAME = "policy.safetensors"


@contextmanager
def reporting_damage(file: Path) -> Generator[None]:
    """Convert any exception that a damaged or malicious file causes to a PolicyFileError."""
    try:
        yield
    except PolicyFileError:
        raise
    except Exception as error:
        raise PolicyFileError(f"{file} is damaged: {type(error).__name__}: {error}") from error


def check_finite(tensors: dict[str, Tensor], *, own_network: bool) -> None:
    """Raise NonFiniteError for a NaN or an infinity. A custom network may have infinities, for example in masks."""
    for name, tensor in tensors.items():
        # the outputs of such a network may be infinite too
        if not tensor.is_floating_point() or name == "probe.output":
            continue
        bad = tensor.isnan() if own_network and name.startswith("network.") else ~tensor.isfinite()
        if bad.any():
            raise NonFiniteError(f"{name} has a NaN or an infinity")


def read(file: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Return the tensors of a policy file and its description.

    Raises:
        PolicyFileError: the file is not a policy, is damaged, or needs a later version.
    """
    advice = "copy the file again from where it was saved, or train again"
    try:
        check_regular(file)
        with safe_open(file, framework="pt") as opened:  # pyright: ignore[reportUnknownVariableType]
            metadata: dict[str, str] = opened.metadata() or {}
        if "policygrad" not in metadata:
            raise PolicyFileError(f"{file} is not a policy of this library: its metadata has no 'policygrad'")
        description: dict[str, Any] = json.loads(metadata["policygrad"])
        # the user may have set another default device
        with torch.device("cpu"):
            tensors = safetensors.torch.load_file(file)
    except PolicyFileError:
        raise
    except Exception as error:
        # from safetensors, from JSON that is nested too deeply or has too long a number, or from the operating system
        raise PolicyFileError(f"{file} is truncated or corrupted ({error}): {advice}") from error
    if not isinstance(description, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PolicyFileError(f"{file} is corrupted (its description is not an object): {advice}")
    if "state" in description:
        raise PolicyFileError(
            f"{file} is a checkpoint, from which training resumes, and not a policy: load its folder, or "
            f"{file.with_name(FILE_NAME)}"
        )
    file_format = description.get("format")
    if file_format not in READABLE:
        raise PolicyFileError(
            f"{file} has format {file_format}; this version reads the formats {READABLE}: update policygrad"
        )
    with reporting_damage(file):
        unknown = sorted(set(description.get("features", [])) - FEATURES)
        if unknown:
            raise PolicyFileError(
                f"{file} uses {', '.join(map(repr, unknown))}, which this version does not support: update policygrad"
            )
        if digest_of(tensors, description) != description.get("sha256"):
            raise PolicyFileError(f"{file} is corrupted (its checksum does not match): {advice}")
        check_finite(tensors, own_network=bool(description["network"].get("custom")))
    return tensors, description


def digest_of(tensors: dict[str, Tensor], description: dict[str, Any]) -> str:
    """Return the SHA-256 digest of the description without its digest, and of each tensor's name and contents.

    From format 4, it also covers the dtype and shape of each tensor.
    """
    plain = {name: value for name, value in description.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(name.encode())
        if description["format"] >= 4:
            digest.update(f" {tensor.dtype} {tuple(tensor.shape)} ".encode())
        # as bytes, because some dtypes do not exist in NumPy
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
