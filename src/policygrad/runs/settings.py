"""The settings of a training: one object that Python, the command line and `config.json` share."""

from __future__ import annotations

import ast
import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import nn

from policygrad._support.checks import Finite, check_fields, check_is_a, check_names, whole
from policygrad._support.lookup import name_of_object, named
from policygrad.algorithms import Algorithm, algorithm_class
from policygrad.engines import EngineName
from policygrad.envs import EnvLike, EnvOptions, PotentialShaping, Shaping, without_module
from policygrad.policies import Network, Normalization, Policy
from policygrad.presets import Preset, preset_for

NetworkLike: TypeAlias = nn.Module | Callable[..., nn.Module] | str
"""A torch module, a function or class that makes one, or the name of one of these as `module:name`."""


@dataclass(frozen=True, kw_only=True)
class Settings(EnvOptions):
    """Everything that a training can be told beside its environment and its algorithm.

    What is left out comes from the environment's preset where the algorithm is given by name and the preset
    exists, and from the defaults otherwise.

    Raises:
        ValueError, TypeError: a setting is wrong; the message says which and what was expected.
    """

    steps: int | None = None
    """Budget in environment steps; the episodes under way when it is reached are finished. Preset, else 200,000."""
    seed: int = 0
    """Seed of everything random. The same seed and cores on the same machine give the same bits."""
    seeds: int | None = None
    """Train this many runs, with seed, seed + 1, ..., and report them together. Each is what it would be alone."""
    out: str | Path | None = None
    """Folder for the run: settings, metrics, learning curve, policy. Nothing is saved without it."""
    overwrite: bool = False
    """Replace an earlier run at `out`."""
    resume: bool = False
    """Resume the run at `out` from its last checkpoint, or begin it where there is none yet. All other settings
    must be as they were, except steps, stop_at, select, vectorize and those of the tests."""
    save_episodes: bool = False
    """Write the return of every episode to `episodes.csv` in `out`."""
    num_envs: int | None = None
    """Number of environments side by side. Preset, else 8."""
    engine: EngineName = "auto"
    """`fused` is machine code for MLPs, `autograd` takes any network; `auto` is fused where possible."""
    cores: int | None = None
    """Number of cores that the training uses. A single run splits its environments and large batches among them
    (default: 1, and EnvPool's threads use all); with `seeds`, each run uses one (default: all cores)."""
    device: str = "cpu"
    """Where torch computes in the autograd engine."""
    stop_at: Finite | None = None
    """End the run when the mean of the last 100 returns reaches this."""
    eval_every: int | None = None
    """Run greedy test episodes every so many steps (`eval_return` in the metrics). Default: no tests."""
    eval_episodes: int = 10
    """Number of episodes per test."""
    select: bool = True
    """Score a few candidates for the best policy on fresh episodes at the end of the run, greedy and sampled.
    Without it the policy with the best mean of 100 training returns is taken."""
    network: Network | None = None
    """Shape of the policy's network and of V(s)."""
    normalization: Normalization | None = None
    """Normalization of observations and rewards by running statistics, which go into the policy file."""
    policy: NetworkLike | None = None
    """The policy's network instead of one made from `network`: a module or a `Policy`, which is trained in
    place, or a function or class that makes one from (state_dim, action_dim), or its name `module:name`."""
    value: NetworkLike | None = None
    """The same for V(s): a module [B, D] -> [B] or [B, 1], or what makes one from (state_dim)."""
    shaping: Shaping | str | None = "preset"
    """What is learned from instead of the reward: a function, its name `module:name`, `preset`, or `none`.
    Returns are always reported in the environment's own reward."""
    progress: bool | None = None
    """Show progress; by default only on a terminal."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)
        for name, least in (
            ("steps", 1),
            ("seed", 0),
            ("seeds", 1),
            ("num_envs", 1),
            ("cores", 1),
            ("eval_every", 1),
            ("eval_episodes", 1),
        ):
            given = getattr(self, name)
            if given is not None or name in ("seed", "eval_episodes"):
                self._set(name, whole(name, given, at_least=least))
        for kind, name in ((Network, "network"), (Normalization, "normalization")):
            if getattr(self, name) is not None:
                check_is_a(kind, name, getattr(self, name))
        for name in ("policy", "value"):
            given = getattr(self, name)
            if not (given is None or isinstance(given, nn.Module | str) or callable(given)):
                raise TypeError(
                    f"{name} must be a torch module, a function or class that makes one, or 'module:name'; "
                    f"got {given!r}"
                )
        if not (self.shaping is None or isinstance(self.shaping, str) or callable(self.shaping)):
            raise TypeError(
                f"shaping must be a function, None, 'preset' or 'module:name'; got {self.shaping!r}"
            )
        if not (self.out is None or isinstance(self.out, str | os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"out must be the path of a folder; got {self.out!r}")
        if self.out is not None:
            # absolute from the start: an environment may change the working directory
            self._set("out", Path(self.out).expanduser().absolute())
        if self.resume and (self.out is None or self.overwrite):
            raise ValueError(
                "resume (--resume) continues the run in a folder: name the folder with out (--out), and leave "
                "overwrite out"
            )
        if self.overwrite and self.out is None:
            raise ValueError(
                "overwrite (--overwrite) replaces the run in a folder: name the folder with out (--out)"
            )
        if self.save_episodes and self.out is None:
            raise ValueError(
                "save_episodes (--save-episodes) writes a file in the run's folder: name the folder with out (--out)"
            )
        _check_device(self.device)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def resolved(self, env: EnvLike, algorithm: str | Algorithm) -> tuple[Algorithm, Settings]:
        """Return the algorithm's configuration, and the settings with presets and defaults filled in.

        Given an id and an algorithm's name, what is left out comes from the environment's preset; a factory or
        an object may be anything, whatever it calls itself, and takes the defaults.

        Raises:
            ValueError, TypeError: the algorithm is unknown, or no algorithm, or a name leads nowhere.
        """
        if isinstance(algorithm, str):
            preset = (
                preset_for(without_module(env), algorithm)
                if isinstance(env, str)
                else Preset(algorithm_class(algorithm)())
            )
        elif not isinstance(algorithm, type) and isinstance(algorithm, Algorithm):  # pyright: ignore[reportUnnecessaryIsInstance]
            preset = Preset(algorithm)
        else:
            hint = "; call it to make one" if isinstance(algorithm, type) else ""  # pyright: ignore
            raise TypeError(f"algorithm must be a name or a configuration; got {algorithm!r}{hint}")
        shaping = preset.shaping if self.shaping == "preset" else self.shaping
        if isinstance(shaping, str):
            shaping = None if shaping == "none" else named("shaping", shaping, "preset, none or ")
        if isinstance(shaping, PotentialShaping):
            shaping = shaping.with_gamma(preset.algorithm.gamma)
        policy, value = (
            named(name, given) if isinstance(given, str) else given
            for name, given in (("policy", self.policy), ("value", self.value))
        )
        normalization = self.normalization
        if normalization is None:
            # what a given policy keeps is part of it
            normalization = policy.normalization if isinstance(policy, Policy) else preset.normalization
        return preset.algorithm, replace(
            self,
            steps=preset.steps if self.steps is None else self.steps,
            num_envs=preset.num_envs if self.num_envs is None else self.num_envs,
            network=preset.network if self.network is None else self.network,
            normalization=normalization,
            shaping=shaping,
            policy=policy,
            value=value,
        )

    def config(self) -> dict[str, Any]:
        """Return what belongs into `config.json`, as plain values: all settings but where and how to save."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in fields(Settings)
            if field.name not in ("seeds", "out", "overwrite", "resume", "progress")
        }


def settings_from(options: Mapping[str, Any]) -> Settings:
    """Return the settings with these keyword arguments; TypeError with the nearest name for an unknown one."""
    check_names("train", Settings, options)
    return Settings(**options)


def described(*classes: type[Any]) -> dict[str, str]:
    """Return the docstring of each field of dataclasses, by name, read from their source."""
    found: dict[str, str] = {}
    for kind in classes:
        body: Any = ast.parse(inspect.getsource(kind)).body[0]
        for statement, following in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(following, ast.Expr):
                target: Any = statement.target
                found[target.id] = inspect.cleandoc(ast.literal_eval(following.value))
    return found


def _plain(value: Any) -> Any:
    if isinstance(value, PotentialShaping):
        return f"potential {name_of_object(value.potential)}, gamma {value.gamma}"
    if callable(value):
        return name_of_object(value)
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(part) for name, part in value.items()}  # pyright: ignore
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]  # pyright: ignore
    return value


def _check_device(device: str) -> None:
    """Raise ValueError unless torch can compute there."""
    try:
        torch.empty(0, dtype=torch.float32, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device {device!r} cannot be used here: take 'cpu', or one that this machine has and its torch "
            f"({torch.__version__}) was built for"
        ) from error
