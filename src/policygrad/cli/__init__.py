"""The command line: `policygrad train`, `evaluate`, `proof`, `metrics`, `check-env`."""

from __future__ import annotations

import difflib
import gc
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path

from policygrad import __version__
from policygrad.garbage import collection_paused

with collection_paused():
    from policygrad.cli.check import check_command
    from policygrad.cli.evaluate import evaluate_command
    from policygrad.cli.show import metrics_command, proof_command
    from policygrad.cli.tables import INTERRUPTED
    from policygrad.cli.train import train_command
    from policygrad.errors import EnvironmentFault, NonFiniteError

HELP = f"""policygrad {__version__}: policy-gradient reinforcement learning.

  policygrad train CartPole-v1 --out runs/cartpole     train a policy; shows progress, then a table
  policygrad evaluate runs/cartpole                    run it for 100 fresh episodes
  policygrad proof                                     hold REINFORCE against the exact gradient
  policygrad metrics                                   what each logged number means
  policygrad check-env module:Env-v0                   check an environment, and how fast it is

Any Gymnasium id can be trained on. `policygrad COMMAND --help` lists all options of a command.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status, 2 for a wrong setting."""
    if argv is None:
        # all that has been imported stays until the end: nobody need look through it for garbage again
        gc.freeze()
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
    except (ValueError, TypeError, OSError, EnvironmentFault) as error:
        if not _is_told_by_us(error):
            raise
        return _fail(str(error))


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
    print(f"policygrad: {message}", file=sys.stderr)
    return status


COMMANDS: dict[str, Callable[[list[str]], int]] = {
    "train": train_command,
    "evaluate": evaluate_command,
    "proof": proof_command,
    "metrics": metrics_command,
    "check-env": check_command,
}

__all__ = ["COMMANDS", "main"]
