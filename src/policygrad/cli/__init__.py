"""The command line: `policygrad train`, `evaluate`, `proof`, `loss`, `metrics`, `check-env`."""

from __future__ import annotations

import difflib
import gc
import io
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import FrameType

from policygrad import __version__
from policygrad._support.console import say, stdout
from policygrad._support.garbage_pause import collection_paused
from policygrad.errors import EnvironmentFault, NonFiniteError
from policygrad.runs.interruption import INTERRUPTED

HELP = f"""policygrad {__version__}: policy-gradient reinforcement learning.

  policygrad train CartPole-v1 --out runs/cartpole     train a policy; shows progress, then a table
  policygrad evaluate runs/cartpole                    run it for 100 fresh episodes
  policygrad proof                                     hold REINFORCE against the exact gradient
  policygrad loss ppo                                  the equation of a loss, and its derived code
  policygrad metrics                                   what each logged number means
  policygrad check-env module:Env-v0                   check an environment, and how fast it is

Any Gymnasium id can be trained on. `policygrad COMMAND --help` lists all options of a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, 2 for a wrong setting."""
    if argv is None:
        # what a terminal cannot show, whoever prints it, must not end a command
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="replace")
    status = _run(list(sys.argv[1:] if argv is None else argv), freeze=argv is None)
    stdout.flush()
    failure = stdout.failure
    if failure is None:
        return status
    stdout.give_up()
    if not isinstance(failure, BrokenPipeError):
        # whoever reads from a pipe may have seen enough; a full disk is another thing
        status = _fail(f"the output could not be written: {failure.strerror}", status=status or 1)
    return status


def _run(arguments: list[str], *, freeze: bool) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(HELP, stdout)
        return 0
    if arguments[0] in ("-V", "--version"):
        say(__version__, stdout)
        return 0
    name, rest = arguments[0], arguments[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(COMMANDS)}"
        return _fail(f"unknown command {name!r}: {hint}")
    with _ending_at_once_on_ctrl_c(), collection_paused():
        module, function = COMMANDS[name].split(":")
        command: Callable[[list[str]], int] = getattr(import_module(module), function)
    if freeze:
        # all that has been imported stays until the end: nobody need look through it for garbage again
        gc.freeze()
    try:
        return command(rest)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except NonFiniteError as error:
        return _fail(str(error), status=1)
    except (ValueError, TypeError, OSError, EnvironmentFault) as error:
        if not _is_told_by_us(error):
            raise
        # the system's words, without its number
        words = error.strerror if isinstance(error, OSError) and error.filename is None else None
        return _fail(_with_flag(words or str(error)))


def _with_flag(message: str) -> str:
    """The message with the setting that it begins with written as a flag of the command line."""
    from policygrad.algorithms import ALGORITHMS
    from policygrad.cli.parse import flags_of, with_flag
    from policygrad.cli.train import Train

    flags = {"repeats": True, **dict(flags_of(Train))}
    for algorithm in ALGORITHMS.values():
        flags |= dict(flags_of(algorithm))
    return with_flag(message, flags)


@contextmanager
def _ending_at_once_on_ctrl_c() -> Generator[None]:
    """End the process on Ctrl-C within the block, where an exception would come out of the middle of an import."""
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before is not signal.default_int_handler:
        # ignored, or handled by whoever calls this
        yield
        return

    def end(number: int, frame: FrameType | None) -> None:
        os.write(2, b"policygrad: interrupted\n")
        os._exit(INTERRUPTED)

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _is_told_by_us(error: Exception) -> bool:
    """Whether the message is meant for the user: raised here, or by the system about a file of ours.

    What an environment raises keeps its traceback, for that is where its author has to look.
    """
    frames = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    ours = str(Path(__file__).parents[1])
    if isinstance(error, OSError) and error.filename is not None:
        return not any("gymnasium" in name for name in frames)
    return frames[-1].startswith(ours)


def _fail(message: str, status: int = 2) -> int:
    say(f"policygrad: {message}")
    return status


COMMANDS = {
    "train": "policygrad.cli.train:train_command",
    "evaluate": "policygrad.cli.evaluate:evaluate_command",
    "proof": "policygrad.cli.proof:proof_command",
    "loss": "policygrad.cli.loss:loss_command",
    "metrics": "policygrad.cli.metrics:metrics_command",
    "check-env": "policygrad.cli.check:check_command",
}
"""The function of each command; its module is imported when the command is given."""

__all__ = ["COMMANDS", "main"]
