"""The command line: `policygrad train`, `evaluate`, `proof`, `metrics`."""

from __future__ import annotations

import difflib
import statistics
import sys
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, make_dataclass
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, Literal

import tyro
from rich.console import Console
from rich.table import Table

from policygrad import __version__
from policygrad.algorithms import Algorithm
from policygrad.engines import EngineName
from policygrad.envs import Backend, Shaping
from policygrad.errors import NonFiniteError
from policygrad.evaluation import Evaluation, evaluate
from policygrad.launch import train
from policygrad.metrics import METRICS
from policygrad.policies import Network
from policygrad.policy_file import load
from policygrad.presets import Preset, preset_for
from policygrad.run import Run

HELP = f"""policygrad {__version__}: policy-gradient reinforcement learning.

  policygrad train CartPole-v1 --out runs/cartpole     train a policy; shows progress, then a table
  policygrad evaluate runs/cartpole                    run it for 100 fresh episodes
  policygrad proof                                     hold REINFORCE against the exact gradient
  policygrad metrics                                   what each logged number means

Any Gymnasium id can be trained on. `policygrad COMMAND --help` lists all options of a command.
"""

INTERRUPTED = 130
"""The exit status of a run that Ctrl-C ended, as shells have it."""


@dataclass(frozen=True)
class Train:
    """Train a policy, evaluate it, and save the run; or, with --seeds, several, and save them all.

    What is not given comes from the environment's preset where there is one, else from the defaults below.
    """

    env: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="ENV")]
    """A Gymnasium id, such as CartPole-v1, or module:name of a Kernel or a factory of your own."""
    algo: str = "reinforce"
    """The algorithm, or module:name of one of your own."""
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
    shaping: str = "preset"
    """`preset`, `none`, or module:function of your own (see docs/environments.md)."""
    episodes: int = 100
    """For each evaluation at the end, sampled and greedy."""
    network: Annotated[Network, tyro.conf.arg(name="")] = field(default_factory=Network)


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


@dataclass(frozen=True)
class Proof:
    """Hold each variant of REINFORCE against the enumerated gradient of a three-state decision process."""

    repeats: int = 1000
    """Estimates of each variant."""
    episodes: int = 8
    """Whole episodes an estimate."""
    seed: int = 0
    """Of everything random."""
    picture: Path | None = None
    """Also draw it, as a PNG."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, 2 for a wrong setting."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if arguments[0] in ("-V", "--version"):
        print(__version__)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        return _fail(f"unknown command {name!r}: {hint}")
    try:
        return COMMANDS[name](rest)
    except KeyboardInterrupt:
        return INTERRUPTED
    except NonFiniteError as error:
        return _fail(str(error), status=1)
    except (ValueError, TypeError, OSError) as error:
        if not _is_told_by_us(error):
            raise
        return _fail(str(error))


def _is_told_by_us(error: Exception) -> bool:
    """Whether the message is meant for the user: raised here, or by the system about a file of ours.

    What an environment raises keeps its traceback, for that is where its author has to look.
    """
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = str(Path(__file__).parent)
    if isinstance(error, OSError) and error.filename is not None:
        return not any("gymnasium" in name for name in frames)
    return frames[-1].startswith(ours)


def _train(arguments: list[str]) -> int:
    # the settings are parsed over the preset's, which are known once the environment is; help shows them too
    named = [a for a in arguments if a not in ("-h", "--help")] or arguments
    first = tyro.cli(Train, args=named, prog="policygrad train", return_unknown_args=True)[0]
    env, algo = _environment(first.env), first.algo
    if ":" in algo:
        kind = _found("--algo", algo)
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
    default = settings(first.env, algorithm=preset.algorithm, network=preset.network)
    asked = tyro.cli(settings, args=arguments, default=default, prog="policygrad train")
    if asked.episodes < 1:
        raise ValueError(f"episodes must be 1 or more; got {asked.episodes}")
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
        "network": asked.network,
        "shaping": preset.shaping if asked.shaping == "preset" else _shaping(asked.shaping),
        "overwrite": asked.overwrite,
        "progress": True,
    }
    if asked.seeds is not None:
        runs = train(env, asked.algorithm, seeds=asked.seeds, **options)
        console.print(_seeds_table(runs, asked.out))
        endings = {run.ended for run in runs}
        return INTERRUPTED if "interrupted" in endings else int("non-finite" in endings)
    run = train(env, asked.algorithm, **options)
    if not run.rows:
        console.print("interrupted before the first update: nothing was learned")
        return INTERRUPTED
    evaluations = [
        evaluate(run.policy, env, asked.episodes, greedy=greedy, seed=asked.seed, backend=asked.backend)
        for greedy in (False, True)
    ]
    console.print(_table(run, evaluations))
    return INTERRUPTED if run.ended == "interrupted" else 0


def _environment(name: str) -> Any:
    """An id as it is; of module:name what stands there, unless it is a module that registers Gymnasium ids."""
    attribute = name.partition(":")[2]
    if not attribute or "-v" in attribute:
        return name
    return _found("ENV", name)


def _seeds_table(runs: list[Run], out: Path | None) -> Table:
    table = Table(title=f"{runs[0].environment}: {len(runs)} seeds, {runs[0].engine} engine")
    for heading in ("seed", "steps", "seconds", "solved after", "best mean of 100", "ended by"):
        table.add_column(heading, justify="right")
    for run in runs:
        solved = "no" if run.threshold is not None else "—"
        if run.solved_at is not None:
            solved = f"{run.solved_at:,} steps, {run.solved_seconds:.2f} s"
        table.add_row(
            str(run.seed), f"{run.steps:,}", f"{run.seconds:.2f}", solved, f"{run.best_mean:.1f}", run.ended
        )
    solved_at = [run.solved_at for run in runs if run.solved_at is not None]
    median = f", median after {statistics.median(solved_at):,.0f} steps" if solved_at else ""
    where = f". Saved in {out}, together in curves.png" if out is not None else ""
    said = (
        f"{len(solved_at)} of {len(runs)} solved{median}" if runs[0].threshold is not None else "no threshold"
    )
    table.caption = said + where
    return table


def _table(run: Run, evaluations: list[Evaluation]) -> Table:
    table = _two_columns(f"{run.environment}: {run.engine} engine, ended by {run.ended}")
    table.add_row("steps", f"{run.steps:,}")
    table.add_row("seconds", f"{run.seconds:.2f}")
    table.add_row("steps/s, learning included", f"{run.steps / run.seconds:,.0f}")
    table.add_row("mean of the last 100 training returns", f"{run.rows[-1]['return_100']:.1f}")
    if run.threshold is not None:
        solved = f"after {run.solved_at:,} steps" if run.solved_at is not None else "no"
        table.add_row(f"solved (that mean ≥ {run.threshold:g})", solved)
    _add_evaluations(table, evaluations)
    if run.out is not None:
        table.add_row("saved", f"{run.out}/policy.safetensors")
        table.add_row("learning curve", f"{run.out}/curve.png")
    return table


def _two_columns(title: str) -> Table:
    """Names and values; a long path is broken, never cut."""
    table = Table(title=title, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    return table


def _add_evaluations(table: Table, evaluations: list[Evaluation]) -> None:
    for e in evaluations:
        how = "greedy" if e.greedy else "sampled"
        interval = f"[{e.low:.1f}, {e.high:.1f}]"
        table.add_row(
            f"{how} return, {len(e.returns)} episodes", f"{e.mean:.1f}  95 % {interval}".replace("[", r"\[")
        )


def _evaluate(arguments: list[str]) -> int:
    asked = tyro.cli(Evaluate, args=arguments, prog="policygrad evaluate")
    policy = load(asked.run)
    name = asked.env or _environment_of(asked.run)
    env = _environment(name)
    ways = {"both": (False, True), "greedy": (True,), "sampled": (False,)}[asked.policy]
    table = _two_columns(f"{asked.run} on {name}")
    backend = asked.backend or (_config_of(asked.run).get("backend", "auto") if asked.env is None else "auto")
    options: dict[str, Any] = {"seed": asked.seed, "backend": backend}
    _add_evaluations(table, [evaluate(policy, env, asked.episodes, greedy=g, **options) for g in ways])
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
    import json

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


def _proof(arguments: list[str]) -> int:
    asked = tyro.cli(Proof, args=arguments, prog="policygrad proof")
    if asked.repeats < 2 or asked.episodes < 2:
        raise ValueError(f"repeats and episodes must be 2 or more; got {asked.repeats} and {asked.episodes}")
    if asked.picture is not None and not asked.picture.parent.is_dir():
        raise ValueError(f"--picture {asked.picture}: there is no folder {asked.picture.parent}")
    from policygrad.proof.show import draw, run_all

    results = run_all(asked.repeats, asked.episodes, asked.seed)
    table = Table(
        title=f"∇J by enumeration against {asked.repeats:,} estimates of {asked.episodes} episodes each"
    )
    table.add_column("REINFORCE", no_wrap=True)
    for heading in ("unbiased in theory", "∇J in all 99.9 % intervals", "relative bias", "variance"):
        table.add_column(heading, justify="right")
    for r in results:
        inside = "yes" if r.estimates.unbiased() else "no"
        table.add_row(
            r.name,
            "yes" if r.expected else "no",
            inside,
            f"{r.estimates.bias:.3f}",
            f"{r.estimates.variance:.3f}",
        )
    Console().print(table)
    if asked.picture is not None:
        draw(results, asked.picture)
        print(f"drawn: {asked.picture}")
    return 0 if all(r.estimates.unbiased() for r in results if r.expected) else 1


def _metrics(arguments: list[str]) -> int:
    if arguments:
        raise ValueError(f"metrics takes no arguments; got {' '.join(arguments)}")
    table = Table(title="What a run logs", show_lines=True)
    table.add_column("metric", no_wrap=True)
    for title in ("unit", "what it is", "healthy"):
        table.add_column(title)
    for name, metric in METRICS.items():
        table.add_row(name, metric.unit, metric.formula, metric.healthy)
    Console().print(table)
    return 0


def _shaping(text: str) -> Shaping | None:
    """`none`, or module:function, found from the working directory."""
    if text == "none":
        return None
    return _found("--shaping", text, "preset, none or ")


def _found(option: str, text: str, otherwise: str = "") -> Any:
    """What module:name names, found from the working directory."""
    module, _, name = text.partition(":")
    if not name:
        raise ValueError(f"{option} {text}: expected {otherwise}module:name")
    sys.path.insert(0, str(Path.cwd()))
    try:
        found: Any = getattr(import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"{option} {text}: {error}") from error
    finally:
        sys.path.pop(0)
    return found


def _fail(message: str, status: int = 2) -> int:
    print(f"policygrad: {message}", file=sys.stderr)
    return status


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": _train,
    "evaluate": _evaluate,
    "proof": _proof,
    "metrics": _metrics,
}

if __name__ == "__main__":
    sys.exit(main())
