"""`policygrad evaluate`: run a saved policy and report its return."""

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
    """Run a saved policy for whole episodes and report its mean return with a 95 % interval."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, or policy file."""
    env: str | None = None
    """Gymnasium id, module:Env-v0 for an id that a module registers, or module:name of a Kernel or a factory.
    By default, the environment of the run."""
    backend: Backend | None = None
    """Implementation of the environments. By default, this option and the next four are as in training."""
    env_kwargs: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="KEY=VALUE ...")] = None
    """Keyword arguments for the environment, each as key=value."""
    wrap: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = None
    """Wrappers to apply to each environment; the first one is innermost."""
    vectorize: Vectorize | None = None
    """Where Python environments run: in this process (sync), in separate processes (processes), or wherever a
    measurement says that they are faster (auto)."""
    max_episode_steps: int | None = None
    """Truncate episodes after this many steps."""
    episodes: int = 100
    """Number of episodes per evaluation."""
    seed: int = 0
    """Seed of the episodes; evaluation never shares randomness with training."""
    policy: Literal["both", "greedy", "sampled"] = "both"
    """Whether to evaluate greedy actions, sampled actions, or both."""


def evaluate_command(arguments: list[str]) -> int:
    """Run `policygrad evaluate` and return its exit status."""
    args = parse(Evaluate, arguments, "policygrad evaluate")
    policy = load(args.run, _network_of(args.run))
    name = args.env or _environment_of(args.run)
    ways = {"both": (False, True), "greedy": (True,), "sampled": (False,)}[args.policy]
    table = Table(f"{args.run} on {name}")
    # the options of the run only apply to the environment of the run
    trained_with = _config_of(args.run) if args.env is None else {}
    options: dict[str, Any] = {option: trained_with[option] for option in OPENING if option in trained_with}
    options |= {option: given for option in OPENING if (given := getattr(args, option)) is not None}
    if args.env_kwargs is not None:
        options["env_kwargs"] = keywords("--env-kwargs", args.env_kwargs)
    evaluations = [
        evaluate(policy, name, args.episodes, greedy, seed=args.seed, progress=True, **options)
        for greedy in ways
    ]
    add_evaluations(table, evaluations)
    table.show()
    return 0


def _environment_of(path: Path) -> str:
    """Return the environment id in the configuration of a run."""
    config = _config_of(path)
    if "environment_id" not in config:
        raise ValueError(f"{path} does not say which environment to use: give --env")
    name = config["environment_id"]
    if name is None:
        raise ValueError(
            f"{path} was trained on an environment without an id: give --env module:name, or evaluate it in Python"
        )
    return name


def _network_of(path: Path) -> Any:
    """Return the custom class or function that made the run's network, or None if the policy file is enough."""
    name = _config_of(path).get("policy")
    if name is None or name.startswith(("policygrad.", "torch.")):
        return None
    return named("the run's policy", name)


def _config_of(path: Path) -> dict[str, Any]:
    """Return the configuration in a run folder, or next to a policy file; empty if there is none."""
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
