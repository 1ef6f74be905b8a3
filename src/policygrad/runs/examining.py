"""Examination of a run: why its policy does not learn, from its metrics and from playing with the policy."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from policygrad._support.checks import check_names
from policygrad.doctor import Evidence, Finding, Probe, probe
from policygrad.doctor import diagnose as diagnose_evidence
from policygrad.envs import EnvLike, EnvOptions, make
from policygrad.policies import Policy
from policygrad.policies.policy_file import FILE_NAME, load
from policygrad.runs.folder import LAST_POLICY
from policygrad.runs.run import Run
from policygrad.runs.saved_run import SavedRun, open_run, own_network

NUM_ENVS = 10
"""Number of environments in which the doctor plays, unless the environment determines it."""
OPENING = tuple(option.name for option in fields(EnvOptions))
"""Names of the settings that control how environments are opened."""


def diagnose(
    run: Run | SavedRun | str | Path,
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
        threshold: mean return that the run should have reached; by default that of the run or of the environment.
        play: False looks only at the metrics, and does not open the environment.
        seed: seed of the episodes.
        options: how the environment is opened, as in `train`; by default as in training.

    Returns:
        The findings; empty if nothing was found.

    Raises:
        FileNotFoundError: there is no run in the folder.
        CheckpointError, PolicyFileError: a file in the folder is damaged.
        ValueError: the environment is not known by name, or it is not the one of the run.
        EnvironmentFault: the environment violates Gymnasium's API.
    """
    check_names("diagnose", EnvOptions, options)
    if not isinstance(run, Run | SavedRun):
        run = open_run(run)
    config, history = run.config, run.history
    if not history:
        raise ValueError(f"{run.out or 'the run'} has no metrics yet: its first update has not finished")
    threshold = run.threshold if threshold is None else threshold
    seen: Probe | None = None
    if play:
        policy = run.last_policy if isinstance(run, Run) else _last_policy(run)
        env = _environment_of(config) if env is None else env
        opening = {name: config[name] for name in OPENING if name in config} | options
        environments = make(env, None, EnvOptions(**opening), otherwise=NUM_ENVS)
        try:
            policy.check_spaces(environments.observation_space, environments.action_space, environments.name)
            gamma = config.get("algorithm", {}).get("gamma")
            seen = probe(policy, environments, gamma=0.99 if gamma is None else gamma, seed=seed)
            threshold = environments.reward_threshold if threshold is None else threshold
        finally:
            environments.close()
    return diagnose_evidence(Evidence(history, config, threshold, seen))


def _last_policy(run: SavedRun) -> Policy:
    """Return the policy at the end of a run, or the best one so far of a run that has not ended."""
    last = run.path / LAST_POLICY
    return load(last if last.exists() else run.path / FILE_NAME, own_network(run.config))


def _environment_of(config: Mapping[str, Any]) -> str:
    if config.get("environment_id") is None:
        raise ValueError(
            "the run was trained on an environment without an id: give env (--env module:name), or look only at the "
            "metrics with play=False (--no-play)"
        )
    return config["environment_id"]
