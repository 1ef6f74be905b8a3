"""A Ray cluster of this machine's cores, which listens on 127.0.0.1 only.

A process of its own starts it, in a session of its own: Ctrl-C in a terminal and SIGTERM to a group of processes would
otherwise end Ray's processes before the runs in them are saved.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager

HEAD = """
import sys
import ray
context = ray.init(
    "local", num_cpus=int(sys.argv[1]), include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False,
    logging_level="error",
)
print(context.address_info["gcs_address"], flush=True)
sys.stdin.read()
ray.shutdown()
"""
"""Program that starts a cluster, prints its address, and ends the cluster when its input ends, as it does if this
process is killed."""
SETTINGS = {
    # Ray replaces 127.0.0.1 by the outward address of this machine otherwise
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # GPUs are visible to runs, as they are without Ray
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
FAREWELL = 15.0
"""Seconds that the cluster has to end before it is killed."""


@contextmanager
def local_cluster(cores: int) -> Generator[str]:
    """Start a Ray cluster on this machine, yield its address, and end it.

    Raises:
        ConnectionError: Ray could not start.
    """
    with (
        tempfile.TemporaryFile() as errors,
        subprocess.Popen(
            [sys.executable, "-c", HEAD, str(cores)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            env=os.environ | SETTINGS,
            start_new_session=True,
        ) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            address = process.stdout.readline().decode().strip()
            if not address:
                errors.seek(0)
                raise ConnectionError(
                    f"Ray could not start on this machine: {last_line(errors.read().decode(errors='replace'))}"
                )
            yield address
        finally:
            process.stdin.close()
            try:
                process.wait(FAREWELL)
            except subprocess.TimeoutExpired:
                process.kill()


def last_line(text: str) -> str:
    """Return the last line of a program's errors, which says what went wrong if it ended with an exception."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it ended without a message"
