"""Opening a saved policy and its environment on the command line."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from policygrad.cli.keywords import OPENING, keywords
from policygrad.envs import Backend
from policygrad.policies import Policy
from policygrad.policies.policy_file import load
from policygrad.runs.saved_run import own_network


@dataclass(frozen=True)
class SavedPolicy:
    """A run folder or a policy file, and the environment to run the policy in."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder, or policy file."""
    env: str | None = None
    """Gymnasium id, module:Env-v0 for an id that a module registers, or module:name of a Kernel or a factory.
    By default, the environment of the run."""
    backend: Backend | None = None
    """Implementation of the environments. By default, this option and the next ones are as in training."""
    env_kwargs: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="KEY=VALUE ...")] = None
    """Keyword arguments for the environment, each as key=value."""
    wrap: Annotated[tuple[str, ...] | None, tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = None
    """Wrappers to apply to each environment; the first one is innermost."""
    max_episode_steps: int | None = None
    """Truncate episodes after this many steps."""

    def opened(self) -> tuple[Policy, str, dict[str, Any]]:
        """Return the policy, the name of its environment, and how to open that.

        Raises:
            ValueError: the folder does not say which environment it is, or its configuration is damaged.
        """
        policy = load(self.run, own_network(_config_of(self.run)))
        name = self.env or _environment_of(self.run)
        # the options of the run only apply to the environment of the run
        trained_with = _config_of(self.run) if self.env is None else {}
        options: dict[str, Any] = {
            option: trained_with[option] for option in OPENING if option in trained_with
        }
        given = {option: getattr(self, option, None) for option in OPENING}
        options |= {option: value for option, value in given.items() if value is not None}
        if self.env_kwargs is not None:
            options["env_kwargs"] = keywords("--env-kwargs", self.env_kwargs)
        return policy, name, options


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
