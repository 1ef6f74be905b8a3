"""The choice between threads and processes for the runs of an experiment."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch

from policygrad.engines import unsupported_reason
from policygrad.envs import Shaping, make
from policygrad.envs.kernel import Kernel
from policygrad.envs.registry import KERNELS, find
from policygrad.envs.shaping import compiled_potential
from policygrad.presets import DEFAULT_ENVS
from policygrad.runs.experiment import Experiment
from policygrad.scheduling.sending import Parcel, SendingError, packed
from policygrad.training.reason import reason_of_algorithm

SMALL_UPDATE = 512
"""Number of steps per update below which Python takes longer than the learning, so that threads wait for each other.

On two cores, threads are 0.6 to 0.7 times as fast as one core with a step of 8 environments or one episode per update,
and 1.8 times with some 800 steps. Processes take two seconds to start."""
EPISODE = 100
"""Length of an episode that is assumed if it is not known."""


def placed(experiment: Experiment, at_a_time: int) -> tuple[Parcel | None, str]:
    """Return the experiment as it is sent to processes, or None for threads; and which of them is used, in words.

    Raises:
        SendingError: processes are requested, but the experiment cannot be sent to them.
    """
    parallel, reason = experiment.settings.parallel, in_python(experiment)
    each = f", with {experiment.cores} cores each" if experiment.cores > 1 else ""
    in_threads = f"{at_a_time} at a time{each}, in threads"
    if parallel == "threads":
        return None, f"{in_threads} (requested)"
    if parallel == "auto" and at_a_time == 1:
        return None, "one after another"
    if parallel == "auto" and experiment.settings.on_update is not None:
        return None, f"{in_threads} (on_update is called in this process)"
    if parallel == "auto" and reason is None:
        return None, f"{in_threads} (everything is compiled)"
    try:
        parcel = packed(experiment)
    except SendingError as error:
        if parallel == "processes":
            raise
        return None, f"{in_threads} ({error})"
    return parcel, f"{at_a_time} at a time{each}, each in a process ({reason or 'requested'})"


def in_python(experiment: Experiment) -> str | None:
    """Return what runs in Python, so that threads would wait for each other; None if everything is compiled."""
    settings, env = experiment.settings, experiment.env
    if settings.actors is not None:
        return "Python asks the actors"
    compiled = isinstance(find(env) if isinstance(env, str) else env, Kernel)
    if isinstance(env, str) and env in KERNELS:
        compiled = settings.backend in ("auto", "compiled") and not settings.needs_python
    if not compiled:
        return "Python steps the environments"
    given = settings.policy is not None or settings.value is not None
    if settings.engine == "autograd" or (given and _needs_torch(experiment)):
        return "torch computes the networks"
    shaping = cast("Shaping | None", settings.shaping)
    if shaping is not None and compiled_potential(shaping) is None:
        return "Python shapes the rewards"
    small = _steps_per_update(experiment) < SMALL_UPDATE
    return "Python performs small updates" if small and reason_of_algorithm(experiment.algorithm) else None


def _needs_torch(experiment: Experiment) -> bool:
    """Return True if the fused engine does not support the given networks, of which this makes one pair."""
    settings = experiment.settings
    environments = make(experiment.env, 1, replace(settings, vectorize="sync"), otherwise=DEFAULT_ENVS)
    # networks that are made later must not depend on this pair
    with torch.random.fork_rng(devices=[]):
        policy, value = experiment.networks(environments, seed=0)
    environments.close()
    return unsupported_reason(policy, value) is not None


def _steps_per_update(experiment: Experiment) -> int:
    """Return about how many steps an update has, which for whole episodes depends on their lengths."""
    algorithm = experiment.algorithm
    horizon = 1 if getattr(algorithm, "learns_online", False) else getattr(algorithm, "horizon", EPISODE)
    return horizon * (experiment.settings.num_envs or 1)
