"""Reading what runs leave behind."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from tensorboardX.proto.event_pb2 import Event

from policygrad.policies import Policy, flat_parameters
from policygrad.runs.run import Run
from policygrad.types import Array, Inputs


def history_rows(run: Run) -> list[dict[str, float]]:
    """Return the history as one row per update, without what was not logged in it."""
    history = run.history
    return [
        {name: float(column[i]) for name, column in history.items() if not np.isnan(column[i])}
        for i in range(len(history["steps"]))
    ]


def same_parameters(a: Policy, b: Policy) -> bool:
    """Return True if the parameters are bit-identical."""
    return torch.equal(flat_parameters(a), flat_parameters(b))


def act_with(policy: Policy) -> Callable[[Inputs, np.ndarray], Array]:
    """Return the policy's own way of acting, with the signature of an engine's `act`."""
    return lambda inputs, noise: policy.choose(Inputs(inputs.observation), noise)


def tensorboard_events(file: Path) -> list[Event]:
    """Return the events of a TensorBoard file: each record is a length, its checksum, the event and its checksum."""
    data, position, events = file.read_bytes(), 0, []
    while position < len(data):
        length = int.from_bytes(data[position : position + 8], "little")
        events.append(Event.FromString(data[position + 12 : position + 12 + length]))
        position += 16 + length
    return events
