"""`policygrad train`."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import tyro

from policygrad._support.checks import whole
from policygrad._support.console import say, stdout
from policygrad._support.lookup import named
from policygrad.algorithms import ALGORITHMS, Algorithm
from policygrad.cli.keywords import OPENING, keywords
from policygrad.cli.loss_options import flags_of_algorithm, settings_of, with_own_loss
from policygrad.cli.parse import flags_of, parse, with_whole_numbers
from policygrad.cli.results import run_table, seeds_table
from policygrad.envs import without_module
from policygrad.evaluation.episodes import Evaluation, evaluate
from policygrad.policies import Network, Normalization
from policygrad.presets import Preset, preset_for
from policygrad.runs.interruption import INTERRUPTED
from policygrad.runs.settings import Settings
from policygrad.runs.train import train


@dataclass(frozen=True, kw_only=True)
class Train(Settings):
    """Train a policy, evaluate it, and save the run; or, with --seeds, several, and save them all.

    What is not given comes from the environment's preset where there is one, else from the defaults below.
    """

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """A Gymnasium id, such as CartPole-v1; module:Env-v0, where a package brings the id; or module:name of a Kernel
    or a factory of your own."""
    algo: Annotated[
        str,
        tyro.conf.arg(
            help=f"The algorithm: {', '.join(ALGORITHMS)}, or module:name of one of your own. `policygrad train ENV "
            "--algo NAME --help` shows its settings."
        ),
    ] = "reinforce"
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()  # type: ignore[assignment]
    """Arguments for the environment, each as key=value: numbers, True, False, None, or text."""
    wrap: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = ()
    """Wrappers around each environment, the first one innermost."""
    out: Path | None = None
    """The run folder: settings, metrics, curve, policy. Nothing is saved without it."""
    policy: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """A torch module, or a function or class that makes one from (state_dim, action_dim), for the policy."""
    value: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """The same for V(s), from (state_dim)."""
    loss: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """A loss of your own, loss(s, k), instead of the algorithm's (see docs/losses.md)."""
    derivatives: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """Derivatives of a loss of your own, written by hand."""
    coefficient: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Coefficients of your own loss: numbers, or start:end for one that changes linearly over the run."""
    column: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=MODULE:NAME ...")] = ()
    """Columns of your own loss: functions of the columns of the whole batch."""
    shaping: str = "preset"
    """`preset`, `none`, or module:function of your own (see docs/environments.md)."""
    progress: tyro.conf.Suppress[bool | None] = True
    episodes: int = 100
    """Number of episodes for each evaluation at the end, sampled and greedy."""
    network: Annotated[Network, tyro.conf.arg(name="")] = field(default_factory=Network)
    normalization: Annotated[Normalization, tyro.conf.arg(name="")] = field(default_factory=Normalization)

    def __post_init__(self) -> None:
        """The settings are checked once they are as Python takes them: see `train_command`."""


def train_command(arguments: list[str]) -> int:
    """Train as the arguments say; returns the exit status."""
    # the settings are parsed over the preset's, which are known once the environment is; help shows them too
    asked_for = [a for a in arguments if a not in ("-h", "--help")] or arguments
    whole_numbers = {flag for flag, is_whole in flags_of(Train) if is_whole}
    read = with_whole_numbers(asked_for, whole_numbers)
    first = tyro.cli(Train, args=read, prog="policygrad train", return_unknown_args=True)[0]
    if ":" in first.algo:
        kind = named("--algo", first.algo)
        if not (isinstance(kind, type) and isinstance(kind(), Algorithm)):
            raise ValueError(
                f"--algo {first.algo}: expected a class of settings with collect and learn, as Reinforce is"
            )
        preset = Preset(kind())
    else:
        preset = preset_for(without_module(first.env), first.algo)
    algorithm = with_own_loss(
        preset.algorithm, first.loss, first.derivatives, first.coefficient, first.column
    )
    flags = flags_of_algorithm(algorithm)
    kind = make_dataclass(
        "Train",
        [
            (
                "algorithm",
                Annotated[type(flags), tyro.conf.arg(name="")],
                field(default=flags),
            )
        ],
        bases=(Train,),
        frozen=True,
        kw_only=True,
    )
    kind.__doc__ = Train.__doc__
    default: Any = kind(
        env=first.env,
        algorithm=flags,
        network=preset.network,
        normalization=preset.normalization,
    )
    elsewhere: dict[str, str] = {}
    for name, other in ALGORITHMS.items():
        for flag, _ in flags_of(other):
            elsewhere[flag] = f"{elsewhere[flag]}, {name}" if flag in elsewhere else name
    asked: Any = parse(kind, arguments, "policygrad train", default, elsewhere)
    whole("episodes", asked.episodes, at_least=1)
    asked = replace(asked, algorithm=type(algorithm)(**settings_of(asked.algorithm)))
    # an algorithm's configuration carries no preset of its own: what is left of it is passed on
    asked = replace(
        asked,
        env_kwargs=keywords("--env-kwargs", asked.env_kwargs),
        steps=preset.steps if asked.steps is None else asked.steps,
        num_envs=preset.num_envs if asked.num_envs is None else asked.num_envs,
        shaping=preset.shaping if asked.shaping == "preset" else asked.shaping,
    )
    options = {setting.name: getattr(asked, setting.name) for setting in fields(Settings)}
    if asked.seeds is not None:
        runs = train(asked.env, asked.algorithm, **options)
        seeds_table(runs, asked.out).show()
        endings = {run.ended for run in runs}
        return INTERRUPTED if "interrupted" in endings else int("non-finite" in endings)
    run = train(asked.env, asked.algorithm, **options)
    if not run.updates:
        say("interrupted before the first update: nothing was learned", stdout)
        return INTERRUPTED
    opening = {name: options[name] for name in OPENING}
    evaluations, interrupted = list[Evaluation](), run.ended == "interrupted"
    try:
        for greedy in () if interrupted else (False, True):
            evaluations.append(
                evaluate(
                    run.policy, asked.env, asked.episodes, greedy, seed=asked.seed, progress=True, **opening
                )
            )
    except KeyboardInterrupt:
        interrupted = True
    run_table(run, evaluations).show()
    return INTERRUPTED if interrupted else 0
