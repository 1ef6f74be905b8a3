"""`policygrad train`: train a policy, evaluate it, and save the run."""

from __future__ import annotations

from dataclasses import dataclass, field, fields, make_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar

import tyro

from policygrad._support.checks import whole
from policygrad._support.console import say, stdout
from policygrad._support.lookup import named
from policygrad.algorithms import ALGORITHMS, Algorithm
from policygrad.cli.keywords import OPENING, keywords
from policygrad.cli.loss_options import flags_of_algorithm, settings_of, with_own_loss
from policygrad.cli.parse import FIELDS, flags_of, parse, with_whole_numbers
from policygrad.cli.results import run_table, seeds_table
from policygrad.envs import without_module
from policygrad.evaluation.episodes import Evaluation, evaluate
from policygrad.policies import Network, Normalization
from policygrad.presets import Preset, preset_for
from policygrad.runs.interruption import INTERRUPTED
from policygrad.runs.settings import Settings
from policygrad.studies.train import train


@dataclass(frozen=True, kw_only=True)
class Train(Settings):
    """Train a policy, evaluate it, and save the run. With --seeds, train and save several runs.

    Options that are not given come from the preset of the environment, or, without a preset, from the defaults below.
    """

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """Gymnasium id, such as CartPole-v1; module:Env-v0 for an id that a module registers; or module:name of your own
    Kernel or factory."""
    algo: Annotated[
        str,
        tyro.conf.arg(
            help=f"Algorithm: {', '.join(ALGORITHMS)}, or module:name of your own. `policygrad train ENV --algo NAME "
            "--help` lists its settings."
        ),
    ] = "reinforce"
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()  # type: ignore[assignment]
    """Keyword arguments for the environment, each as key=value: numbers, True, False, None, or text."""
    wandb: Annotated[str | None, tyro.conf.arg(metavar="PROJECT")] = None
    """Project of Weights & Biases to which the metrics in --out are also sent. It needs policygrad[wandb]."""
    log_info: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...")] = ()
    """Numbers in the info of the environment, such as is_success. For each, the mean over the episodes that ended, of
    its value at their last step, is logged as info_NAME."""
    wrap: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = ()
    """Wrappers to apply to each environment; the first one is innermost."""
    out: Path | None = None
    """Run folder for the settings, metrics, learning curve and policy. Without it, nothing is saved."""
    policy: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """Network of the policy: a torch module, or a function or class that makes one from (state_dim, action_dim)."""
    value: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """Network of V(s): a torch module, or a function or class that makes one from (state_dim)."""
    loss: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """Your own loss, loss(s, k), instead of the built-in one (see docs/losses.md)."""
    derivatives: Annotated[str | None, tyro.conf.arg(metavar="MODULE:NAME")] = None
    """Hand-written derivatives of your own loss."""
    coefficient: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE ...")] = ()
    """Coefficients of your own loss: each a number, or start:end to change it linearly over the run."""
    column: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=MODULE:NAME ...")] = ()
    """Additional columns for your own loss: functions of the columns of the whole batch."""
    shaping: str = "preset"
    """Reward shaping: `preset`, `none`, or module:function of your own (see docs/environments.md)."""
    progress: tyro.conf.Suppress[bool | None] = True
    on_update: tyro.conf.Suppress[None] = None
    episodes: int = 100
    """Number of episodes of each evaluation after training: one with sampled and one with greedy actions."""
    network: Annotated[Network, tyro.conf.arg(name="")] = field(default_factory=Network)
    normalization: Annotated[Normalization, tyro.conf.arg(name="")] = field(default_factory=Normalization)

    without_flags: ClassVar[tuple[str, ...]] = ("on_update",)
    """Settings that exist only in Python."""

    def __post_init__(self) -> None:
        """Skip the checks. `train_command` passes the settings to `train`, which checks them."""


def train_command(arguments: list[str]) -> int:
    """Run `policygrad train` and return its exit status."""
    # the defaults are those of the preset, so the environment and the algorithm must be parsed first, for --help too
    without_help = [a for a in arguments if a not in ("-h", "--help")] or arguments
    whole_numbers = {flag for flag, is_whole in flags_of(Train) if is_whole}
    read = with_whole_numbers(without_help, whole_numbers)
    with FIELDS:
        first = tyro.cli(Train, args=read, prog="policygrad train", return_unknown_args=True)[0]
    if ":" in first.algo:
        kind = named("--algo", first.algo)
        if not (isinstance(kind, type) and isinstance(kind(), Algorithm)):
            raise ValueError(
                f"--algo {first.algo}: expected a configuration class with collect and learn, such as Reinforce"
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
    args: Any = parse(kind, arguments, "policygrad train", default, elsewhere)
    whole("episodes", args.episodes, at_least=1)
    args = replace(args, algorithm=type(algorithm)(**settings_of(args.algorithm)))
    # the configuration of an algorithm does not contain the rest of its preset, so pass that on here
    args = replace(
        args,
        env_kwargs=keywords("--env-kwargs", args.env_kwargs),
        steps=preset.steps if args.steps is None else args.steps,
        num_envs=preset.num_envs if args.num_envs is None else args.num_envs,
        shaping=preset.shaping if args.shaping == "preset" else args.shaping,
    )
    options = {setting.name: getattr(args, setting.name) for setting in fields(Settings)}
    if args.seeds is not None:
        runs = train(args.env, args.algorithm, **options)
        seeds_table(runs, args.out).show()
        endings = {run.ended for run in runs}
        return INTERRUPTED if "interrupted" in endings else int("non-finite" in endings)
    run = train(args.env, args.algorithm, **options)
    if not run.updates:
        say("interrupted before the first update, so nothing was learned", stdout)
        return INTERRUPTED
    opening = {name: options[name] for name in OPENING}
    evaluations, interrupted = list[Evaluation](), run.ended == "interrupted"
    try:
        for greedy in () if interrupted else (False, True):
            evaluations.append(
                evaluate(
                    run.policy, args.env, args.episodes, greedy, seed=args.seed, progress=True, **opening
                )
            )
    except KeyboardInterrupt:
        interrupted = True
    run_table(run, evaluations).show()
    return INTERRUPTED if interrupted else 0
