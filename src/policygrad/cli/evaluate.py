"""`policygrad evaluate`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro

from policygrad._support.lookup import named
from policygrad.cli.keywords import OPENING, keywords
from policygrad.cli.parse import parse
from policygrad.cli.results import add_evaluations
from policygrad.cli.text_table import Table
from policygrad.envs import Backend
from policygrad.envs.options import Vectorize
from policygrad.evaluation.episodes import evaluate
from policygrad.policies.policy_file import load


@dataclass(frozen=True)
class Evaluate:
    """Run a saved policy for whole episodes and report its return with a 95 % interval."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A run folder, or a policy file."""
    env: str | None = None
    """A Gymnasium id, also as module:Env-v0, or module:name of a Kernel or a factory; by default the run's own."""
    backend: Backend | None = None
    """Who runs an id's environments; by default as in training. So are the next four."""
    env_kwargs: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="KEY=VALUE ...")] = None
    """Arguments for the environment, each as key=value."""
    wrap: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = None
    """Wrappers around each environment, the first one innermost."""
    vectorize: Vectorize | None = None
    """Where Python environments run: in this process (sync), in processes, or what is measured to be faster."""
    max_episode_steps: int | None = None
    """Truncate episodes after this many steps."""
    episodes: int = 100
    """Number of episodes for each way of acting."""
    seed: int = 0
    """Seed of the episodes; evaluation never shares randomness with training."""
    policy: Literal["both", "greedy", "sampled"] = "both"
    """Which way of acting."""


def evaluate_command(arguments: list[str]) -> int:
    """Evaluate as the arguments say; returns the exit status."""
    asked = parse(Evaluate, arguments, "policygrad evaluate")
    policy = load(asked.run, _network_of(asked.run))
    name = asked.env or _environment_of(asked.run)
    ways = {"both": (False, True), "greedy": (True,), "sampled": (False,)}[asked.policy]
    table = Table(f"{asked.run} on {name}")
    # on another environment than the run's, its options mean nothing
    trained_with = _config_of(asked.run) if asked.env is None else {}
    options: dict[str, Any] = {option: trained_with[option] for option in OPENING if option in trained_with}
    options |= {option: given for option in OPENING if (given := getattr(asked, option)) is not None}
    if asked.env_kwargs is not None:
        options["env_kwargs"] = keywords("--env-kwargs", asked.env_kwargs)
    evaluations = [
        evaluate(policy, name, asked.episodes, greedy, seed=asked.seed, progress=True, **options)
        for greedy in ways
    ]
    add_evaluations(table, evaluations)
    table.show()
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


def _network_of(path: Path) -> Any:
    """What made the run's network, where it was given by name; None where the file says all of it."""
    name = _config_of(path).get("policy")
    if name is None or name.startswith(("policygrad.", "torch.")):
        return None
    return named("the run's policy", name)


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
