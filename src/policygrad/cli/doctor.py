"""`policygrad doctor`: name why a run has not learned its task, with evidence and a remedy."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import tyro

from policygrad._support.console import console, stdout
from policygrad.cli.keywords import keywords
from policygrad.cli.parse import parse
from policygrad.doctor import AILMENTS, Finding
from policygrad.doctor.finding import flag
from policygrad.envs import Backend
from policygrad.envs.options import Vectorize
from policygrad.runs.examining import diagnose


@dataclass(frozen=True)
class Doctor:
    """Name why a run has not learned its task, with evidence and a remedy.

    The metrics of the run are compared with those of healthy runs, and a few episodes are played with its last policy
    and with random actions. The exit status is 1 if something was found.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """Run folder."""
    play: bool = True
    """Play a few episodes. Without them, only the metrics are examined, and the environment is not opened."""
    threshold: float | None = None
    """Mean return that the run should have reached. By default, the threshold of the run or of the environment."""
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
    seed: int = 0
    """Seed of the episodes."""


def doctor_command(arguments: list[str]) -> int:
    """Run `policygrad doctor` and return its exit status, which is 1 if something was found."""
    args = parse(Doctor, arguments, "policygrad doctor")
    options: dict[str, Any] = {
        name: given
        for name in ("backend", "wrap", "vectorize", "max_episode_steps")
        if (given := getattr(args, name)) is not None
    }
    if args.env_kwargs is not None:
        options["env_kwargs"] = keywords("--env-kwargs", args.env_kwargs)
    findings = diagnose(
        args.run, args.env, threshold=args.threshold, play=args.play, seed=args.seed, **options
    )
    out = console(stdout)
    if not findings:
        looked_for = [ailment.name for ailment in AILMENTS if args.play or not ailment.needs_probe]
        out.print(f"{args.run}: nothing was found. The doctor looked for: {', '.join(looked_for)}.")
        return 0
    command = _command_of(args.run)
    for number, finding in enumerate(findings, 1):
        out.print(f"{number}. {finding.name}")
        out.print(f"   {_sentence(finding.words)}")
        out.print(f"   {finding.advice}")
        if finding.remedy:
            # a command must stay on one line, so that it can be copied
            out.print(f"   $ {treatment(command, finding, args.run)}", soft_wrap=True)
    return 1


def _sentence(words: str) -> str:
    return words[:1].upper() + words[1:]


def _command_of(run: Path) -> list[str] | None:
    """Return the arguments of the `policygrad train` that made a run; None if it was not made by one."""
    try:
        command: Any = json.loads((run / "manifest.json").read_text(encoding="utf-8"))["command"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    is_command = (
        isinstance(command, list) and len(command) > 2 and all(isinstance(word, str) for word in command)
    )  # pyright: ignore
    if not is_command or command[1] != "train":
        return None
    return command[1:]  # pyright: ignore[reportUnknownVariableType]


def treatment(command: Sequence[str] | None, finding: Finding, run: Path) -> str:
    """Return the command that trains again with a remedy, next to the run that it is for.

    Args:
        command: the arguments that made the run; None if they are unknown, and only the flags are returned.
        finding: the finding, with a remedy.
        run: the folder of the run.

    >>> words = ["train", "CartPole-v1", "--learning-rate", "1.0", "--out", "runs/y"]
    >>> treatment(words, Finding("a", "b", "c", {"learning_rate": 0.01}), Path("runs/y"))
    'policygrad train CartPole-v1 --learning-rate 0.01 --out runs/y-treated'
    """
    if command is None:
        return f"policygrad train ... {finding.flags}"
    changed = {"out", "overwrite", "resume", *finding.remedy}
    kept = list(_without(command, {name.replace("_", "-") for name in changed}))
    flags = [word for name, value in finding.remedy.items() for word in flag(name, value).split()]
    return shlex.join(["policygrad", *kept, *flags, "--out", f"{run}-treated"])


def _without(command: Iterable[str], names: set[str]) -> Iterable[str]:
    """Yield the words of a command except for the flags of these names and their values."""
    skipping = False
    for word in command:
        if word.startswith("--"):
            name = word[2:].partition("=")[0].replace("_", "-")
            skipping = name in names or name.removeprefix("no-") in names
        if not skipping:
            yield word
