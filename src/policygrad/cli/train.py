"""`policygrad train`."""

from __future__ import annotations

from dataclasses import dataclass, field, make_dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro
from rich.console import Console

from policygrad.algorithms import ALGORITHMS, Algorithm
from policygrad.checks import whole
from policygrad.cli.named import environment, found
from policygrad.cli.tables import INTERRUPTED, run_table, seeds_table
from policygrad.engines import EngineName
from policygrad.envs import Backend, Shaping
from policygrad.evaluation import evaluate
from policygrad.launch import train
from policygrad.policies import Network, Normalization
from policygrad.presets import Preset, preset_for


@dataclass(frozen=True)
class Train:
    """Train a policy, evaluate it, and save the run; or, with --seeds, several, and save them all.

    What is not given comes from the environment's preset where there is one, else from the defaults below.
    """

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """A Gymnasium id, such as CartPole-v1, or module:name of a Kernel or a factory of your own."""
    algo: Annotated[
        str,
        tyro.conf.arg(
            help=f"The algorithm: {', '.join(ALGORITHMS)}, or module:name of one of your own. `policygrad train ENV "
            "--algo NAME --help` shows its settings."
        ),
    ] = "reinforce"
    seed: int = 0
    """Of everything random: the same seed gives the same run."""
    seeds: int | None = None
    """Train so many, with seed, seed + 1, ..., and report them together."""
    steps: int | None = None
    """Budget in environment steps. Preset, else 200,000."""
    out: Path | None = None
    """The run folder: settings, metrics, curve, policy. Nothing is saved without it."""
    overwrite: bool = False
    """Replace an earlier run at --out."""
    resume: bool = False
    """Go on with the run, or the --seeds, at --out from the last checkpoint, or begin where there is none yet."""
    num_envs: int | None = None
    """Environments side by side. Preset, else 8."""
    backend: Backend = "auto"
    """Who runs an id's environments: auto is the first of compiled, envpool and gymnasium that has it."""
    engine: EngineName = "auto"
    """fused is machine code for MLPs, autograd takes any network; auto is fused where it can be."""
    cores: int | None = None
    """Of one run: split its environments and batches over so many; 1. Of --seeds: runs at a time; all cores."""
    stop_at: float | None = None
    """End when the mean of the last 100 returns reaches this."""
    test_every: int | None = None
    """Steps between tests by greedy episodes (`test_return` in the metrics); none where left out."""
    test_episodes: int = 10
    """Of each test."""
    shaping: str = "preset"
    """`preset`, `none`, or module:function of your own (see docs/environments.md)."""
    episodes: int = 100
    """For each evaluation at the end, sampled and greedy."""
    network: Annotated[Network, tyro.conf.arg(name="")] = field(default_factory=Network)
    normalization: Annotated[Normalization, tyro.conf.arg(name="")] = field(default_factory=Normalization)


def train_command(arguments: list[str]) -> int:
    """Train as the arguments say; returns the exit status."""
    # the settings are parsed over the preset's, which are known once the environment is; help shows them too
    named = [a for a in arguments if a not in ("-h", "--help")] or arguments
    first = tyro.cli(Train, args=named, prog="policygrad train", return_unknown_args=True)[0]
    env, algo = environment(first.env), first.algo
    if ":" in algo:
        kind = found("--algo", algo)
        if not (isinstance(kind, type) and isinstance(kind(), Algorithm)):
            raise ValueError(
                f"--algo {algo}: expected a class of settings with collect and learn, as Reinforce is"
            )
        preset = Preset(kind())
    else:
        preset = preset_for(first.env, algo)
    settings: Any = make_dataclass(
        "Train",
        [
            (
                "algorithm",
                Annotated[type(preset.algorithm), tyro.conf.arg(name="")],
                field(default=preset.algorithm),
            )
        ],
        bases=(Train,),
        frozen=True,
    )
    settings.__doc__ = Train.__doc__
    default = settings(
        first.env,
        algorithm=preset.algorithm,
        network=preset.network,
        normalization=preset.normalization,
    )
    asked = tyro.cli(settings, args=arguments, default=default, prog="policygrad train")
    whole("episodes", asked.episodes, at_least=1)
    console = Console()
    # an algorithm's configuration carries no preset of its own: what is left of it is passed on
    options: dict[str, Any] = {
        "steps": preset.steps if asked.steps is None else asked.steps,
        "seed": asked.seed,
        "out": asked.out,
        "num_envs": preset.num_envs if asked.num_envs is None else asked.num_envs,
        "backend": asked.backend,
        "engine": asked.engine,
        "cores": asked.cores,
        "stop_at": asked.stop_at,
        "test_every": asked.test_every,
        "test_episodes": asked.test_episodes,
        "network": asked.network,
        "normalization": asked.normalization,
        "shaping": preset.shaping if asked.shaping == "preset" else _shaping(asked.shaping),
        "overwrite": asked.overwrite,
        "resume": asked.resume,
        "progress": True,
    }
    if asked.seeds is not None:
        runs = train(env, asked.algorithm, seeds=asked.seeds, **options)
        console.print(seeds_table(runs, asked.out))
        endings = {run.ended for run in runs}
        return INTERRUPTED if "interrupted" in endings else int("non-finite" in endings)
    run = train(env, asked.algorithm, **options)
    if not run.rows:
        console.print("interrupted before the first update: nothing was learned")
        return INTERRUPTED
    # who wants it to end does not want to wait for a hundred episodes more
    evaluations = [
        evaluate(run.policy, env, asked.episodes, greedy=greedy, seed=asked.seed, backend=asked.backend)
        for greedy in (False, True)
        if run.ended != "interrupted"
    ]
    console.print(run_table(run, evaluations))
    return INTERRUPTED if run.ended == "interrupted" else 0


def _shaping(text: str) -> Shaping | None:
    """`none`, or module:function, found from the working directory."""
    if text == "none":
        return None
    return found("--shaping", text, "preset, none or ")
