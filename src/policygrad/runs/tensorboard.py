"""Logging of a run's metrics for TensorBoard."""

from __future__ import annotations

import math
import time
from pathlib import Path


class Events:
    """Writes rows of metrics for TensorBoard, one event per row, in the thread that logs them.

    Args:
        path: the run folder.
        after: number of steps after which the run is resumed. TensorBoard drops later steps in other event files.

    tensorboardX's own `SummaryWriter` passes the events to a thread through a queue. A Ctrl-C at the wrong moment could
    leave that queue in a state in which closing it waits forever.
    """

    flush_interval = 10.0
    """Seconds between two flushes."""

    def __init__(self, path: Path, *, after: int | None = None) -> None:
        # imported here because it is slow to import
        from tensorboardX.event_file_writer import EventsWriter
        from tensorboardX.proto.event_pb2 import Event, SessionLog  # pyright: ignore[reportAttributeAccessIssue]

        # two writers in the same second must not share a file
        self._writer = EventsWriter(str(path / "events"), f".{time.time_ns()}")
        self._flushed = time.monotonic()
        if after is not None:
            self._writer.write_event(
                Event(wall_time=time.time(), step=after + 1, session_log=SessionLog(status=SessionLog.START))
            )

    def log(self, row: dict[str, float]) -> None:
        """Append a row. Values that are not finite are left out."""
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
        """Flush and close the file."""
        self._writer.close()
