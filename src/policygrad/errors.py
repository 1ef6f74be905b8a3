"""The errors that a user may want to catch by name; all other errors are ValueError or TypeError."""


class NonFiniteError(ArithmeticError):
    """Raised when a NaN or an infinity appears.

    The message names the tensor. The faulty values have not changed any parameter.
    """


class DamagedFileError(ValueError):
    """Raised when a file cannot be read. The message is cut after 800 characters, because it may quote the file."""

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= 800 else f"{message[:800]} ...")


class PolicyFileError(DamagedFileError):
    """Raised when a policy file is truncated, corrupted, in another format, or does not act as it did when saved."""


class CheckpointError(DamagedFileError):
    """Raised when a checkpoint is truncated, damaged, or has other settings than the run that resumes from it."""


class EnvironmentFault(RuntimeError):  # noqa: N818  # the environment is at fault, not this library
    """Raised when an environment fails in a compiled function or in its own process, or violates Gymnasium's API.

    The message says which environment it was, where it failed, and what was expected.
    """


class RunProcessError(RuntimeError):
    """Raised when a process that trained one of several seeds ended unexpectedly.

    The message says which seed it was, how the process ended, and what is left of the run.
    """


class ActorLostError(ConnectionError):
    """Raised when an actor of a run no longer answers, because its process or its machine has ended.

    The message says which actors they are, and why.
    """


class LossError(TypeError):
    """Raised when a loss cannot be traced or differentiated. The message gives the line and what to write instead."""
