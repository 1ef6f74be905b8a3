"""Examination of a run: why its policy does not learn, from its metrics and from playing with the policy."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from policygrad._support.checks import check_names, is_finite
from policygrad._support.lookup import named
from policygrad.doctor import Evidence, Finding, Probe, probe
from policygrad.doctor import diagnose as diagnose_evidence
from policygrad.envs import EnvLike, EnvOptions, make
from policygrad.metrics import current_name
from policygrad.policies import Policy
from policygrad.policies.policy_file import FILE_NAME, load
from policygrad.runs.folder import LAST_POLICY
from policygrad.runs.locked_folder import METRICS_FILE
from policygrad.runs.run import Run
from policygrad.types import F64

NUM_ENVS = 10
"""Number of environments in which the doctor plays, unless the environment determines it."""
OPENING = tuple(option.name for option in fields(EnvOptions))
"""Names of the settings that control how environments are opened."""


@dataclass(frozen=True)
class SavedRun:
    """What an examination reads from a run folder."""

    config: Mapping[str, Any]
    """Settings of the run."""
    history: Mapping[str, F64]
    """Each metric as an array with one entry per update; NaN where it was not logged."""
    policy: Policy
    """Policy at the end of the run, or the best one of a run that has not ended."""


def diagnose(
    run: Run | str | Path,
    env: EnvLike | None = None,
    *,
    threshold: float | None = None,
    play: bool = True,
    seed: int = 0,
    **options: Any,
) -> list[Finding]:
    """Return what explains that a run has not learned its task, the most important finding first.

    The metrics of the run are compared with those of healthy runs. Then a few episodes are played, with sampled and
    greedy actions of the last policy and with random actions, which takes about a second in a fast environment.

    Args:
        run: a run, or the folder of one.
        env: the environment of the run; by default the one that its settings name.
        threshold: mean return that the run should have reached; by default that of the environment.
        play: False looks only at the metrics, and does not open the environment.
        seed: seed of the episodes.
        options: how the environment is opened, as in `train`; by default as in training.

    Returns:
        The findings; empty if nothing was found.

    Raises:
        FileNotFoundError: there is no policy in the folder.
        ValueError: the folder is not a run folder or is damaged, or the environment is not known by name.
        EnvironmentFault: the environment violates Gymnasium's API.
    """
    check_names("diagnose", EnvOptions, options)
    if isinstance(run, Run):
        saved = SavedRun(run.config, run.history, run.last_policy)
        threshold = run.threshold if threshold is None else threshold
    else:
        saved = read_run(Path(run))
    if threshold is None:
        threshold = saved.config.get("stop_at")
    seen: Probe | None = None
    if play:
        env = _environment_of(saved.config) if env is None else env
        opening = {name: saved.config[name] for name in OPENING if name in saved.config} | options
        environments = make(env, None, EnvOptions(**opening), otherwise=NUM_ENVS)
        try:
            saved.policy.check_spaces(
                environments.observation_space, environments.action_space, environments.name
            )
            seen = probe(saved.policy, environments, gamma=_gamma_of(saved.config), seed=seed)
            threshold = environments.reward_threshold if threshold is None else threshold
        finally:
            environments.close()
    return diagnose_evidence(Evidence(saved.history, saved.config, threshold, seen))


def read_run(folder: Path) -> SavedRun:
    """Read a run folder; the errors are those of `diagnose`."""
    if not (folder / METRICS_FILE).is_file() and (seeds := sorted(folder.glob("seed-*"))):
        raise ValueError(f"{folder} contains the runs of several seeds: choose one, such as {seeds[0]}")
    config = _read_config(folder / "config.json")
    history = _read_history(folder / METRICS_FILE)
    last = folder / LAST_POLICY
    name = config.get("policy") or ""
    # the policy file is enough for networks of this library and of torch
    own = name and not name.startswith(("policygrad.", "torch."))
    network = named("the run's policy", name) if own else None
    return SavedRun(config, history, load(last if last.exists() else folder / FILE_NAME, network))


def _read_config(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{file.parent} is not a run folder: it has no {file.name}") from None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or "environment_id" not in found:
        raise ValueError(f"{file} is damaged: restore it from a copy, or train again")
    return found  # pyright: ignore[reportUnknownVariableType]


def _read_history(file: Path) -> dict[str, F64]:
    if not file.is_file():
        raise ValueError(f"{file.parent} is not a run folder: it has no {file.name}")
    try:
        rows: list[Any] = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
        for row in rows:
            if not (isinstance(row, dict) and is_finite(row.get("steps")) and is_finite(row.get("episodes"))):
                raise ValueError("one of its lines is not a row of metrics")
            if not all(x is None or is_finite(x) for x in row.values()):
                raise ValueError("one of its values is not a finite number")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{file} is damaged: {error}") from None
    if not rows:
        raise ValueError(f"{file.parent} has no metrics yet: its first update has not finished")
    names = dict.fromkeys(name for row in rows for name in row)
    return {
        current_name(name): np.array(
            [np.nan if row.get(name) is None else row[name] for row in rows], np.float64
        )
        for name in names
    }


def _environment_of(config: Mapping[str, Any]) -> str:
    name = config.get("environment_id")
    if name is None:
        raise ValueError(
            "the run was trained on an environment without an id: give env (--env module:name), or look only at the "
            "metrics with play=False (--no-play)"
        )
    return name


def _gamma_of(config: Mapping[str, Any]) -> float:
    gamma = config.get("algorithm", {}).get("gamma")
    return 0.99 if gamma is None else gamma
