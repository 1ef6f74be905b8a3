"""Settings of a training run, shared by Python, the command line and `config.json`."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeAlias

from torch import nn

from policygrad._support.checks import Finite, check_fields, check_is_a, check_names, whole
from policygrad._support.devices import check_device
from policygrad._support.lookup import name_of_object, named
from policygrad.algorithms import Algorithm, algorithm_class
from policygrad.engines import EngineName
from policygrad.envs import (
    CompiledPotential,
    EnvLike,
    EnvOptions,
    PotentialShaping,
    Shaping,
    without_module,
)
from policygrad.envs.shaping import as_shaping
from policygrad.policies import Network, Normalization, Policy
from policygrad.presets import Preset, preset_for
from policygrad.runs.callback import OnUpdate
from policygrad.runs.cluster_name import check_on
from policygrad.runs.weights_and_biases import check_installed
from policygrad.training import LoopName

NetworkLike: TypeAlias = nn.Module | Callable[..., nn.Module] | str
"""A torch module, a function or class that makes one, or the name of any of these as `module:name`."""

Parallel = Literal["auto", "threads", "processes"]

RENAMED = {"test_every": "eval_every", "test_episodes": "eval_episodes"}
"""Settings that earlier versions had under another name: from the old name to the new one."""


@dataclass(frozen=True, kw_only=True)
class Settings(EnvOptions):
    """Settings of a training run, in addition to its environment and its algorithm.

    Settings that are left out come from the environment's preset if the algorithm is given by name and the preset
    exists. Otherwise they have their defaults.

    Raises:
        ValueError, TypeError: a setting is wrong; the message says which one and what was expected.
    """

    steps: int | None = None
    """Budget in environment steps. Episodes that are in progress when it is reached are still finished. By default
    the preset's budget, or 200,000 without a preset."""
    seed: int = 0
    """Seed of all randomness. Results are bit-identical for the same seed and cores on the same machine."""
    seeds: int | None = None
    """Number of runs to train and report together, with the seeds seed, seed + 1, and so on. Each run is identical
    to one that is trained alone."""
    out: str | Path | None = None
    """Folder in which to save the run: settings, metrics, learning curve, policies. Without it nothing is saved."""
    overwrite: bool = False
    """Replace an earlier run at `out`."""
    resume: bool = False
    """Resume the run at `out` from its last checkpoint, or start it if there is no run yet. All other settings must
    be unchanged, except steps, stop_at, select, vectorize, loop, log_info, eval_every and eval_episodes."""
    save_episodes: bool = False
    """Write the return of every episode to `episodes.csv` in `out`."""
    wandb: str | None = None
    """Project of Weights & Biases to which the metrics in `out` are also sent. It needs `policygrad[wandb]`."""
    log_info: tuple[str, ...] = ()
    """Names of numbers in the `info` of the environment. For each, the mean over the episodes that ended, of its value
    at their last step, is logged as the metric `info_NAME`."""
    num_envs: int | None = None
    """Number of parallel environments. By default the preset's number, or 8 without a preset."""
    engine: EngineName = "auto"
    """How the networks are computed: `fused` is machine code for MLPs, `autograd` supports any torch network, and
    `auto` chooses `fused` where possible."""
    loop: LoopName = "auto"
    """How updates are performed, with the same results: `compiled` performs many per call in machine code, for which
    the environments, the networks, the loss and the estimator must be compiled. `python` performs them one by one.
    `auto` chooses `compiled` where possible."""
    cores: int | None = None
    """Number of CPU cores to use. A single run splits its environments and large batches among them; by default it
    uses one core, and EnvPool's threads use all. With `seeds`, it is the number of cores that all runs use together;
    by default all cores are used."""
    cores_per_run: int | None = None
    """Number of cores of each run with `seeds` (default: 1). A run of two cores is identical to one that is trained
    alone with `cores=2`."""
    actors: int | None = None
    """Number of actors that share one run: each steps its part of the environments and computes the gradient of its
    own samples, on one core. The run is the same as without actors, up to rounding. Without `on`, all actors are in
    this process, which has `cores` cores."""
    parallel: Parallel = "auto"
    """How runs with several `seeds` share the cores: `threads` for compiled code, `processes` for environments and
    networks in Python, which would wait for each other in one interpreter, and `auto` chooses. The choice does not
    change the results."""
    on: str | None = None
    """Where several runs, or the actors of one run, are: `ray` starts a Ray cluster on this machine, and HOST:PORT is
    the address of a running one, over whose nodes they are spread (see docs/machines.md). By default they are on this
    machine without Ray. It needs `policygrad[ray]` and does not change the results."""
    device: str = "cpu"
    """Torch device of the autograd engine, such as `cpu` or `cuda`."""
    stop_at: Finite | None = None
    """Stop the run when the mean of the last 100 returns reaches this value."""
    eval_every: int | None = None
    """Evaluate the greedy policy every this many environment steps during training, and log the mean return as
    `eval_return`. By default there are no such evaluations."""
    eval_episodes: int = 10
    """Number of episodes per evaluation during training."""
    select: bool = True
    """Choose the best policy at the end of the run by scoring a few candidates on fresh episodes, with greedy and
    with sampled actions. Without it, the policy with the best mean of 100 training returns is chosen."""
    network: Network | None = None
    """Architecture of the policy network and of the value network V(s)."""
    normalization: Normalization | None = None
    """Normalization of observations and rewards by running statistics, which are saved in the policy file."""
    policy: NetworkLike | None = None
    """Custom policy network, used in place of one that is built from `network`: a module or a `Policy`, which is
    trained in place; a function or class that makes one from (state_dim, action_dim); or its name as
    `module:name`."""
    value: NetworkLike | None = None
    """Custom value network V(s): a module that maps [B, D] to [B] or [B, 1]; a function or class that makes one
    from (state_dim); or its name as `module:name`."""
    shaping: Shaping | str | None = "preset"
    """Shaping of the reward that is learned from: a function, its name as `module:name`, `preset`, or `none`.
    Returns are always reported in the environment's own reward."""
    progress: bool | None = None
    """Show progress. By default it is shown on a terminal and in a notebook, unless the environment variable
    `POLICYGRAD_PROGRESS` is 0."""
    on_update: OnUpdate | None = None
    """Function that is called after every row of the history with an `Update`, which contains the row's metrics and
    the policy. It ends the run by returning True (see docs/watching.md)."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_fields(self)
        for name, least in (
            ("steps", 1),
            ("seed", 0),
            ("seeds", 1),
            ("num_envs", 1),
            ("cores", 1),
            ("actors", 1),
            ("cores_per_run", 1),
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
        names: Any = (self.log_info,) if isinstance(self.log_info, str) else self.log_info
        if not (isinstance(names, list | tuple) and all(isinstance(name, str) and name for name in names)):
            raise TypeError(f"log_info must contain names of values in the info; got {self.log_info!r}")
        self._set("log_info", tuple(dict.fromkeys(names)))
        if not (self.shaping is None or isinstance(self.shaping, str) or callable(self.shaping)):
            raise TypeError(
                f"shaping must be a function, None, 'preset' or 'module:name'; got {self.shaping!r}"
            )
        if not (self.out is None or isinstance(self.out, str | os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"out must be the path of a folder; got {self.out!r}")
        if not (self.on_update is None or callable(self.on_update)):
            raise TypeError(f"on_update must be a function of an Update, or None; got {self.on_update!r}")
        if self.out is not None:
            # made absolute at once, because an environment may change the working directory
            self._set("out", Path(self.out).expanduser().absolute())
        if self.resume and (self.out is None or self.overwrite):
            raise ValueError(
                "resume (--resume) continues the run in a folder. Name the folder with out (--out), and leave out "
                "overwrite (--overwrite)."
            )
        if self.overwrite and self.out is None:
            raise ValueError(
                "overwrite (--overwrite) replaces the run in a folder. Name the folder with out (--out)."
            )
        if self.save_episodes and self.out is None:
            raise ValueError(
                "save_episodes (--save-episodes) writes a file in the run folder. Name the folder with out (--out)."
            )
        if not (self.wandb is None or (isinstance(self.wandb, str) and self.wandb)):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"wandb must be the name of a project; got {self.wandb!r}")
        if self.wandb is not None:
            if self.out is None:
                raise ValueError(
                    "wandb (--wandb) sends the metrics of a run folder. Name the folder with out (--out)."
                )
            check_installed()
        if self.parallel != "auto" and self.seeds is None:
            raise ValueError(
                f"parallel={self.parallel!r} (--parallel) applies only to several runs. Set their number with seeds "
                "(--seeds), or leave parallel out."
            )
        if self.cores_per_run is not None and self.seeds is None:
            raise ValueError(
                "cores_per_run (--cores-per-run) applies only to several runs. Use cores (--cores)."
            )
        if self.on is not None:
            check_on(self.on, self.seeds, self.actors, self.parallel, self.on_update)
        check_device(self.device)

    def _set(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, value)

    def resolved(self, env: EnvLike, algorithm: str | Algorithm) -> tuple[Algorithm, Settings]:
        """Return the algorithm's configuration, and the settings with presets and defaults filled in.

        The environment's preset is used only if both the environment and the algorithm are given by name. A factory
        or an environment object gets the defaults, even if it has the name of an environment with a preset.

        Raises:
            ValueError, TypeError: the algorithm is unknown or is not an algorithm, or a `module:name` was not found.
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
            hint = "; call the class to make one" if isinstance(algorithm, type) else ""  # pyright: ignore
            raise TypeError(f"algorithm must be a name or a configuration; got {algorithm!r}{hint}")
        shaping = preset.shaping if self.shaping == "preset" else self.shaping
        if isinstance(shaping, str):
            shaping = None if shaping == "none" else named("shaping", shaping, "preset, none or ")
        if isinstance(shaping, PotentialShaping):
            shaping = shaping.with_gamma(preset.algorithm.gamma)
        elif isinstance(shaping, CompiledPotential):
            raise TypeError("shaping is a CompiledPotential: write shaping=PotentialShaping(potential)")
        elif callable(shaping):
            shaping = as_shaping(shaping)
        policy, value = (
            named(name, given) if isinstance(given, str) else given
            for name, given in (("policy", self.policy), ("value", self.value))
        )
        normalization = self.normalization
        if normalization is None:
            # a given policy has its own normalization
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
        """Return the settings for `config.json` as plain values: all except where runs are trained and saved."""
        return {
            field.name: _plain(getattr(self, field.name))
            for field in fields(Settings)
            if field.name not in ("seeds", "cores_per_run", "parallel", "on", "out", "overwrite", "resume")
            and field.name not in ("progress", "on_update", "wandb")
        }


def settings_from(options: Mapping[str, Any]) -> Settings:
    """Return the settings with these keyword arguments; raise TypeError with the nearest name for an unknown one."""
    for name in options:
        if name in RENAMED:
            raise TypeError(f"train has no setting {name!r} any more: it is called {RENAMED[name]} now")
    check_names("train", Settings, options)
    return Settings(**options)


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
