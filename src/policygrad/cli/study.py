"""`policygrad study`: train algorithms on environments with many seeds, side by side, and report on them."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, cast

import tyro

from policygrad._support.console import say, stdout
from policygrad.algorithms import ALGORITHMS
from policygrad.cli.keywords import keywords, pairs
from policygrad.cli.parse import FIELDS, check_flags, flags_of, with_whole_numbers
from policygrad.cli.text_table import Table
from policygrad.policies import Network, Normalization
from policygrad.runs.interruption import INTERRUPTED
from policygrad.runs.settings import Settings
from policygrad.studies.saved_study import SavedStudy
from policygrad.studies.study import EPISODES, study

OWN = ("env", "algos", "vary", "seeds", "cores", "on", "episodes", "out")
"""Options that `study` takes as arguments of its own, and not as settings that all runs share."""


VARIED = {f.name for kind in (*ALGORITHMS.values(), Network, Normalization) for f in fields(cast(Any, kind))}
"""Settings that are set by --vary."""


@dataclass(frozen=True, kw_only=True)
class StudyOptions(Settings):
    """Train each algorithm on each environment with each seed, and save everything in one folder.

    A study that was interrupted or killed is completed by the same command with --resume. Settings that are not given
    come from the presets of the environments.
    """

    env: Annotated[tuple[str, ...], tyro.conf.Positional, tyro.conf.arg(metavar="ENV ...")]
    """Environments: Gymnasium ids, module:Env-v0, or module:name of your own Kernel or factory."""
    algos: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME ...", help=f"Algorithms: {', '.join(ALGORITHMS)}, or module:name of your own.")] = ("reinforce",)  # fmt: skip  # noqa: E501
    vary: Annotated[tuple[str, ...], tyro.conf.arg(metavar="NAME=VALUE,VALUE ...")] = ()
    """Settings of the algorithm, the network or the run, each with the values to compare, such as
    learning_rate=0.001,0.003 or hidden=(32,32),(64,64). All combinations are trained. Your own loss is
    loss=module:name."""
    out: Path = Path("studies/study")  # type: ignore[assignment]
    """Folder of the study."""
    seeds: int = 20  # type: ignore[assignment]
    """Number of seeds of each combination, which start at --seed."""
    cores: int | None = None
    """Number of cores that all runs use together; by default all. Each run uses one, or --cores-per-run."""
    report: bool = True
    """At the end, write a page about the study, report.html in its folder."""
    episodes: int = EPISODES
    """Fresh episodes with which each run's best policy is scored, with greedy and with sampled actions; 0 for none."""
    env_kwargs: Annotated[tuple[str, ...], tyro.conf.arg(metavar="KEY=VALUE ...")] = ()  # type: ignore[assignment]
    """Keyword arguments for the environments, each as key=value: numbers, True, False, None, or text."""
    wrap: Annotated[tuple[str, ...], tyro.conf.arg(metavar="MODULE:WRAPPER ...")] = ()
    """Wrappers to apply to each environment; the first one is innermost."""
    policy: tyro.conf.Suppress[str | None] = None
    value: tyro.conf.Suppress[str | None] = None
    network: tyro.conf.Suppress[None] = None
    normalization: tyro.conf.Suppress[None] = None
    shaping: str = "preset"
    """Reward shaping: `preset`, `none`, or module:function of your own (see docs/environments.md)."""
    progress: tyro.conf.Suppress[bool | None] = True
    save_episodes: bool = field(default=False)

    def __post_init__(self) -> None:
        """Skip the checks. `study_command` passes the settings to `study`, which checks them."""


def study_command(arguments: list[str]) -> int:
    """Run `policygrad study` and return its exit status: 1 if runs failed, 130 if it was interrupted."""
    flags = dict(flags_of(StudyOptions))
    for argument in arguments:
        name = argument.split("=")[0].removeprefix("--")
        if argument.startswith("--") and name not in flags and name.replace("-", "_") in VARIED:
            setting = name.replace("-", "_")
            raise ValueError(f"--{name} belongs to an algorithm or a network: write --vary {setting}=VALUE")
    check_flags(arguments, flags, {})
    read = with_whole_numbers(arguments, {flag for flag, is_whole in flags.items() if is_whole})
    with FIELDS:
        args = tyro.cli(StudyOptions, args=read, prog="policygrad study")
    shared = {setting.name: getattr(args, setting.name) for setting in fields(Settings)}
    shared |= {"env_kwargs": keywords("--env-kwargs", args.env_kwargs)}
    result = study(
        list(args.env),
        list(args.algos),
        vary=varied(args.vary),
        **{name: getattr(args, name) for name in ("out", "seeds", "cores", "on", "episodes")},
        **{name: value for name, value in shared.items() if name not in OWN},
    )
    study_table(result).show()
    if args.report and not result.missing:
        _write_report(result)
    return INTERRUPTED if result.missing else int(any(cell.failed for cell in result.cells))


def _write_report(result: SavedStudy) -> None:
    """Write the page about a study. If there is no room for it, the study has not failed."""
    from policygrad.reports import report

    try:
        say(f"the report is {report(result.path)}", stdout)
    except OSError as error:
        say(f"the report could not be written: {error}")


def varied(texts: Sequence[str]) -> dict[str, list[Any]]:
    """Return the values of `name=value,value` texts by name. Values are Python literals, or else text.

    >>> varied(["learning_rate=0.001,0.003", "hidden=(32,32),(64,64)", "optimizer=sgd,adam"])
    {'learning_rate': [0.001, 0.003], 'hidden': [(32, 32), (64, 64)], 'optimizer': ['sgd', 'adam']}

    Raises:
        ValueError: a text has no `=`, or a name is given twice.
    """
    found = dict[str, list[Any]]()
    for name, text in pairs("--vary", texts).items():
        try:
            values: Any = ast.literal_eval(f"[{text}]")
        except (ValueError, SyntaxError):
            values = [_literal(part) for part in text.split(",")]
        found[name.replace("-", "_")] = cast("list[Any]", values)
    return found


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def study_table(study: SavedStudy) -> Table:
    """Return a table of a study, with one row per environment and configuration."""
    table = Table(f"{study.path}", study.headings(), numbers=True)
    for row in study.table():
        table.add_row(*row)
    remarks = [
        f"{cell.name}: {len(cell.failed)} of {len(cell.seeds)} runs failed"
        for cell in study.cells
        if cell.failed
    ]
    if study.missing:
        remarks.append(
            f"{study.missing} runs are missing. Complete the study with the same command and --resume"
        )
    table.caption = "\n".join(remarks)
    return table
