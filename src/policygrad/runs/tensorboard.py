"""A run's metrics for TensorBoard."""

from __future__ import annotations

import math
import time
from pathlib import Path


class Events:
    """Rows of metrics for TensorBoard, one event each, written where they are logged.

    Args:
        path: the run folder.
        after: the run goes on after so many steps: TensorBoard drops what other files have of later ones.

    tensorboardX's own `SummaryWriter` hands them to a thread through a queue: a Ctrl-C in the midst of that could
    leave the queue such that closing it waited for ever.
    """

    flush_interval = 10.0
    """Seconds."""

    def __init__(self, path: Path, *, after: int | None = None) -> None:
        # heavy, and only needed here
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

        # two writers within a second must not have one file
        self._writer = EventsWriter(str(path / "events"), f".{time.time_ns()}")
        self._flushed = time.monotonic()
        if after is not None:
            self._writer.write_event(
                Event(wall_time=time.time(), step=after + 1, session_log=SessionLog(status=SessionLog.START))
            )

    def log(self, row: dict[str, float]) -> None:
        """Append a row; what is not finite is a point that is not there."""
        from tensorboardX.proto.event_pb2 import Event  # pyright: ignore[reportAttributeAccessIssue]
        from tensorboardX.proto.summary_pb2 import Summary  # pyright: ignore[reportAttributeAccessIssue]

        points = [
            Summary.Value(tag=name, simple_value=value)
            for name, value in row.items()
            if name != "steps" and math.isfinite(value)
        ]
        event = Event(wall_time=time.time(), step=int(row["steps"]), summary=Summary(value=points))
        self._writer.write_event(event)
        if time.monotonic() - self._flushed >= self.flush_interval:
            self._writer.flush()
            self._flushed = time.monotonic()

    def close(self) -> None:
        """Flush, and let go of the file."""
        self._writer.close()
