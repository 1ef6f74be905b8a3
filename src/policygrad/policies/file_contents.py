"""The contents of a policy file: its tensors and its description, read with every check that needs no policy."""

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
"""Format 1 knows softmax over one choice and Gaussians that are clipped, format 2 all distributions. Their Gaussians
act in the environment's own units. Format 3 adds units of the box, and how the policy acts where it is not told. From
format 4 on a file lists its features, its digest covers dtypes and shapes, and its probes go through the normalizer."""


FEATURES = {
    *(Categorical.name, *BOXED),
    *("units of the box", "state-dependent std", "normalized observations", "normalized rewards"),
    *("own network", "own distribution", "composite observations"),
}
"""What a reader has to know to act as the policy does. A file with another feature is refused by its name."""


FILE_NAME = "policy.safetensors"


@contextmanager
def reporting_damage(file: Path) -> Generator[None]:
    """Turn whatever a damaged or hostile file leads to into one PolicyFileError."""
    try:
        yield
    except PolicyFileError:
        raise
    except Exception as error:
        raise PolicyFileError(f"{file} is damaged: {type(error).__name__}: {error}") from error


def check_finite(tensors: dict[str, Tensor], *, own_network: bool) -> None:
    """Raise NonFiniteError for a NaN or an infinity. A network of one's own may have infinities, as masks do."""
    for name, tensor in tensors.items():
        # what such a network put out may be infinite too
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
    advice = "copy it again from where it was saved, or train anew"
    try:
        check_regular(file)
        with safe_open(file, framework="pt") as opened:  # pyright: ignore[reportUnknownVariableType]
            metadata: dict[str, str] = opened.metadata() or {}
        if "policygrad" not in metadata:
            raise PolicyFileError(f"{file} is no policy of this library: its metadata has no 'policygrad'")
        description: dict[str, Any] = json.loads(metadata["policygrad"])
        # whatever somebody has made the default device
        with torch.device("cpu"):
            tensors = safetensors.torch.load_file(file)
    except PolicyFileError:
        raise
    except Exception as error:
        # of safetensors, of JSON that is too deep or has a number too long, of the system
        raise PolicyFileError(f"{file} is truncated or corrupted ({error}): {advice}") from error
    if not isinstance(description, dict):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PolicyFileError(f"{file} is corrupted (its description is no object): {advice}")
    if "state" in description:
        raise PolicyFileError(
            f"{file} is a checkpoint, from which a training goes on (resume), and no policy: load its folder, or "
            f"{file.with_name(FILE_NAME)}"
        )
    found = description.get("format")
    if found not in READABLE:
        raise PolicyFileError(
            f"{file} is of format {found}; this version reads {READABLE}: update policygrad"
        )
    with reporting_damage(file):
        unknown = sorted(set(description.get("features", [])) - FEATURES)
        if unknown:
            raise PolicyFileError(
                f"{file} uses {', '.join(map(repr, unknown))}, which this version does not know: update policygrad"
            )
        if digest_of(tensors, description) != description.get("sha256"):
            raise PolicyFileError(f"{file} is corrupted (its checksum does not match): {advice}")
        check_finite(tensors, own_network=bool(description["network"].get("custom")))
    return tensors, description


def digest_of(tensors: dict[str, Tensor], description: dict[str, Any]) -> str:
    """Over the description, but for the digest in it, and over name, dtype, shape and numbers of every tensor."""
    plain = {name: value for name, value in description.items() if name != "sha256"}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(name.encode())
        if description["format"] >= 4:
            digest.update(f" {tensor.dtype} {tuple(tensor.shape)} ".encode())
        # not every dtype has a counterpart in NumPy
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()
