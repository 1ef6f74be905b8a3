"""`policygrad evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console

from policygrad.cli.named import environment
from policygrad.cli.tables import add_evaluations, two_columns
from policygrad.envs import Backend
from policygrad.evaluation import evaluate
from policygrad.policy_file import load


@dataclass(frozen=True)
class Evaluate:
    """Run a saved policy for whole episodes and report its return with a 95 % interval."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a policy file."""
    env: str | None = None
    """A Gymnasium id, or module:name of a Kernel or a factory of your own; the run's own by default."""
    backend: Backend | None = None
    """Who runs an id's environments; as in training where that is known."""
    episodes: int = 100
    """How many."""
    seed: int = 0
    """Of the episodes; evaluation never shares randomness with training."""
    policy: Literal["both", "greedy", "sampled"] = "both"
    """Which way of acting."""


def evaluate_command(arguments: list[str]) -> int:
    """Evaluate as the arguments say; returns the exit status."""
    asked = tyro.cli(Evaluate, args=arguments, prog="policygrad evaluate")
    policy = load(asked.run)
    name = asked.env or _environment_of(asked.run)
    env = environment(name)
    ways = {"both": (False, True), "greedy": (True,), "sampled": (False,)}[asked.policy]
    table = two_columns(f"{asked.run} on {name}")
    backend = asked.backend or (_config_of(asked.run).get("backend", "auto") if asked.env is None else "auto")
    options: dict[str, Any] = {"seed": asked.seed, "backend": backend}
    add_evaluations(table, [evaluate(policy, env, asked.episodes, greedy=g, **options) for g in ways])
    Console().print(table)
    return 0


def _environment_of(path: Path) -> str:
    """The environment that a run folder names."""
    config = _config_of(path)
    if "environment_id" not in config:
        raise ValueError(f"{path} does not say on which environment: give --env")
    name = config["environment_id"]
    if name is None:
        raise ValueError(
            f"{path} was trained on an environment of your own: give --env module:name, or evaluate in Python"
        )
    return name


def _config_of(path: Path) -> dict[str, Any]:
    """The configuration in a run folder, or beside a policy file; empty where there is none."""
    config = (path if path.is_dir() else path.parent) / "config.json"
    try:
        found = json.loads(config.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError:
        found = None
    if not isinstance(found, dict) or "environment_id" not in found:
        raise ValueError(f"{config} is damaged: give --env")
    return found
