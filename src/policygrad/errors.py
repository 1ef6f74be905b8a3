"""The errors that a user may want to catch by name; all else is ValueError or TypeError."""


class NonFiniteError(ArithmeticError):
    """A NaN or an infinity appeared; the message names the tensor, and no parameter was changed by it."""


class DamagedFileError(ValueError):
    """A file cannot be read. Its message is short, whatever the file holds."""

    def __init__(self, message: str) -> None:
        super().__init__(message if len(message) <= 800 else f"{message[:800]} ...")


class PolicyFileError(DamagedFileError):
    """A policy file is truncated, corrupted, of another format, or does not act as it did when saved."""


class CheckpointError(DamagedFileError):
    """A checkpoint is truncated, damaged, or of other settings than those that are to go on from it."""


class EnvironmentFault(RuntimeError):  # noqa: N818  # it is the environment that is at fault
    """An environment raised in a compiled function or in a process of its own, or broke Gymnasium's contract.

    The message says which environment it was, where, and what was expected.
    """


class LossError(TypeError):
    """A loss cannot be traced or differentiated; the message gives the line, and says what to write instead."""
