"""The command line: `policygrad` and its commands, of which `COMMANDS` is the list."""

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
from policygrad._support.child_processes import RemoteTraceback
from policygrad._support.console import say, stdout
from policygrad._support.garbage_pause import collection_paused
from policygrad.errors import EnvironmentFault, NonFiniteError
from policygrad.runs.interruption import INTERRUPTED

HELP = f"""policygrad {__version__}: policy-gradient reinforcement learning.

  policygrad train CartPole-v1 --out runs/cartpole     train a policy and show a table of results
  policygrad study CartPole-v1 --algos a2c ppo         train many seeds of several algorithms side by side
  policygrad compare studies/x:a2c studies/x:ppo       tell which is better, or how many seeds would tell
  policygrad report studies/x                          write one HTML page about a study or a run
  policygrad evaluate runs/cartpole                    run the trained policy for 100 fresh episodes
  policygrad watch runs/cartpole                       watch the trained policy in a window, or record a video
  policygrad doctor runs/cartpole                      name why a run has not learned its task, and a remedy
  policygrad prove --quick                             compare all estimators with exact gradients
  policygrad loss ppo                                  print the equation of a loss and its derived code
  policygrad metrics                                   explain each logged metric
  policygrad check-env module:Env-v0                   check an environment and measure its speed
  policygrad exercise                                  learn policy gradients by exercises, graded exactly

You can train on any Gymnasium environment id. `policygrad COMMAND --help` lists all options of a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status, which is 2 for a wrong setting."""
    if argv is None:
        # a character that the terminal cannot show must not end a command, no matter which code prints it
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
        # a reader may close the pipe once it has seen enough; other failures, such as a full disk, are errors
        status = _fail(f"the output could not be written: {failure.strerror}", status=status or 1)
    return status


def _run(arguments: list[str], *, freeze: bool) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        say(HELP, stdout)
        return 0
    if arguments[0] in ("-V", "--version"):
        say(__version__, stdout)
        return 0
    name, rest = FORMER.get(arguments[0], arguments[0]), arguments[1:]
    if name not in COMMANDS:
        near = difflib.get_close_matches(name, COMMANDS, n=1, cutoff=0.4)
        hint = f"did you mean {near[0]}?" if near else f"the commands are {', '.join(COMMANDS)}"
        return _fail(f"unknown command {name!r}: {hint}")
    with _exit_at_once_on_ctrl_c(), collection_paused():
        module, function = COMMANDS[name].split(":")
        command: Callable[[list[str]], int] = getattr(import_module(module), function)
    if freeze:
        # imported modules stay alive until the process ends, so the garbage collector need not scan them again
        gc.freeze()
    try:
        return command(rest)
    except KeyboardInterrupt:
        return _fail("interrupted", INTERRUPTED)
    except NonFiniteError as error:
        return _fail(str(error), status=1)
    except (ValueError, TypeError, OSError, EnvironmentFault) as error:
        if not _is_for_the_user(error):
            raise
        # the message of the operating system, without the error number
        words = error.strerror if isinstance(error, OSError) and error.filename is None else None
        return _fail(_with_flag(words or str(error)))


def _with_flag(message: str) -> str:
    """Return the message with the setting at its beginning written as a command-line flag."""
    from policygrad.algorithms import ALGORITHMS
    from policygrad.cli.parse import flags_of, with_flag
    from policygrad.cli.train import Train

    flags = {"repeats": True, **dict(flags_of(Train))}
    for algorithm in ALGORITHMS.values():
        flags |= dict(flags_of(algorithm))
    return with_flag(message, flags)


@contextmanager
def _exit_at_once_on_ctrl_c() -> Generator[None]:
    """End the process at once on Ctrl-C within the block, where an exception would interrupt an import halfway."""
    before = signal.getsignal(signal.SIGINT)
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or before is not signal.default_int_handler:
        # the signal is ignored, or the caller handles it
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


def _is_for_the_user(error: Exception) -> bool:
    """Return True if the message is meant for the user.

    It is if this package raised the error, or if the operating system raised it about a file of this package. Errors
    of an environment keep their traceback, because its author needs it.
    """
    cause = error.__cause__
    frames = (
        cause.filenames
        if isinstance(cause, RemoteTraceback)
        else [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    )
    ours = str(Path(__file__).parents[1])
    if isinstance(error, OSError) and error.filename is not None:
        return not any("gymnasium" in name for name in frames)
    return frames[-1].startswith(ours)


def _fail(message: str, status: int = 2) -> int:
    say(f"policygrad: {message}")
    return status


COMMANDS = {
    "train": "policygrad.cli.train:train_command",
    "study": "policygrad.cli.study:study_command",
    "compare": "policygrad.cli.compare:compare_command",
    "report": "policygrad.cli.report:report_command",
    "evaluate": "policygrad.cli.evaluate:evaluate_command",
    "watch": "policygrad.cli.watch:watch_command",
    "doctor": "policygrad.cli.doctor:doctor_command",
    "prove": "policygrad.cli.prove:prove_command",
    "loss": "policygrad.cli.loss:loss_command",
    "metrics": "policygrad.cli.metrics:metrics_command",
    "check-env": "policygrad.cli.check:check_command",
    "exercise": "policygrad.cli.exercise:exercise_command",
}
FORMER = {"proof": "prove"}
"""Former names of commands."""
"""Function of each command. Its module is imported only when the command is run."""

__all__ = ["COMMANDS", "main"]
