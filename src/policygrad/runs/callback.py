"""The user's function that training calls after every row of the history."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from policygrad.policies import Policy
from policygrad.runs.run import Run

OnUpdate: TypeAlias = Callable[["Update"], "bool | None"]
"""A function that is called after every row of the history. It returns True to end the run, and None or False to
continue."""


@dataclass(frozen=True)
class Update:
    """A row of the history, and the policy as it is after the row's last update."""

    metrics: dict[str, float]
    """The row: each metric by name (see `metrics.METRICS`); NaN where it is not defined."""
    policy: Policy = field(repr=False)
    """The policy that is being trained, not a copy. The next update changes it, and changing it here changes the
    training. `copy.deepcopy(update.policy)` keeps it as it is."""
    run: Run = field(repr=False)
    """The run up to this row, with its `history`, `seed` and `out`. Its best policy is chosen when the run ends."""

    @property
    def steps(self) -> int:
        """Number of samples learned from."""
        return int(self.metrics["steps"])


def wants_to_end(answer: Any) -> bool:
    """Return whether an answer of `on_update` ends the run; raise TypeError unless it is True, False or None."""
    if answer is None or isinstance(answer, bool | np.bool_):
        return bool(answer)
    raise TypeError(
        f"on_update returned {answer!r}; expected True to end the run, and None or False to continue it"
    )
