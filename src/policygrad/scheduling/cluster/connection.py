"""Connecting to a Ray cluster, and saying in words why that is not possible."""

from __future__ import annotations

import importlib.metadata
import ipaddress
import logging
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator
from contextlib import ExitStack, contextmanager, suppress
from importlib import import_module
from typing import Any

from policygrad.runs.cluster_name import LOCAL, host_and_port
from policygrad.scheduling.cluster.local_cluster import SETTINGS, last_line, local_cluster
from policygrad.scheduling.cluster.nodes import cores_of_nodes, refuse_other_versions
from policygrad.scheduling.cluster.tokens import token_mode

OLDEST = (2, 60)
"""Oldest version of Ray that is supported."""
ANSWER = 5.0
"""Seconds that the machine at an address has to accept a connection."""
LONGEST_ATTEMPT = 30.0
"""Seconds that the first attempt to connect may take. Ray itself would wait for minutes."""
ATTEMPT = """
import sys
import ray
ray.init(sys.argv[1], log_to_driver=False, logging_level="error")
"""


@contextmanager
def connected(on: str, cores: int | None) -> Generator[Any]:
    """Yield the module `ray`, connected to a cluster. A connection that the program has made itself is used and kept.

    Args:
        on: `ray` to start a cluster on this machine, or the address of a running one.
        cores: number of cores of a cluster that is started; None means all of this machine.

    Raises:
        ValueError: Ray is not installed, or is too old.
        ConnectionError: there is no cluster at the address, or it cannot be used.
    """
    check_ray()
    with ExitStack() as opened:
        if _is_connected():
            ray: Any = import_module("ray")
            _check_same_cluster(ray, on)
        else:
            opened.enter_context(token_mode(starts_cluster=on == LOCAL))
            address = on
            if on == LOCAL:
                address = opened.enter_context(local_cluster(cores or os.cpu_count() or 1))
            else:
                _attempt(on)
            ray = import_module("ray")
            # shut down also if Ctrl-C interrupts what follows
            opened.callback(ray.shutdown)
            _connect(ray, address)
        refuse_other_versions(ray, list(cores_of_nodes(ray)))
        yield ray


def check_ray() -> None:
    """Raise ValueError unless a version of Ray that is supported is installed."""
    remedy = "Run pip install 'policygrad[ray]'"
    try:
        version = importlib.metadata.version("ray")
    except importlib.metadata.PackageNotFoundError:
        raise ValueError(f"on (--on) needs Ray, which is not installed. {remedy}") from None
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise ValueError(
            f"on (--on) needs Ray {'.'.join(map(str, OLDEST))} or later; this is {version}. {remedy}"
        )


def _is_connected() -> bool:
    return "ray" in sys.modules and sys.modules["ray"].is_initialized()


def is_loopback(address: str) -> bool:
    """Return True if an address HOST:PORT belongs to this machine only."""
    host, _ = host_and_port(address)
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost"


def _check_same_cluster(ray: Any, on: str) -> None:
    """Raise ConnectionError if the program is connected to another cluster than it names."""
    current = ray.get_runtime_context().gcs_address
    # Ray may name this machine by another address than the user
    same = on in (LOCAL, current) or (is_loopback(on) and host_and_port(on)[1] == host_and_port(current)[1])
    if not same:
        raise ConnectionError(
            f"this program is connected to the Ray cluster at {current} already, so it cannot use the one at {on}. "
            "Call ray.shutdown() first, or set on='ray' to use that cluster."
        )


def _connect(ray: Any, address: str) -> None:
    """Connect this process, without the signal handler and the messages of Ray."""
    constants: Any = import_module("ray._private.ray_constants")
    worker: Any = import_module("ray._private.worker")
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGTERM) if in_main_thread else None
    about_tokens = logging.getLogger("ray._private.authentication")
    level, usual, listen = about_tokens.level, constants.ENABLE_RAY_CLUSTER, worker.listen_error_messages
    about_tokens.setLevel(logging.ERROR)
    # Ray turns 127.0.0.1 into the outward address of this machine unless this is False
    constants.ENABLE_RAY_CLUSTER = not is_loopback(address)
    # Ray prints the log of a node that has died to the standard output, which is for results
    worker.listen_error_messages = lambda *_: None
    try:
        ray.init(address, log_to_driver=False, logging_level="error")
    except Exception as error:
        raise ConnectionError(_why(address, str(error))) from error
    finally:
        about_tokens.setLevel(level)
        constants.ENABLE_RAY_CLUSTER, worker.listen_error_messages = usual, listen
        if handler is not None:
            signal.signal(signal.SIGTERM, handler)


def _attempt(address: str) -> None:
    """Connect to a running cluster in another process first, which can be ended if it waits for too long.

    Raises:
        ConnectionError: the cluster cannot be used.
    """
    try:
        socket.create_connection(host_and_port(address), timeout=ANSWER).close()
    except OSError as error:
        raise ConnectionError(
            f"nothing answers at {address} (on, --on): {error.strerror or error}. Start a Ray cluster with ray start "
            "--head, whose output shows its address, or set on to ray for a cluster on this machine."
        ) from error
    settings = SETTINGS if is_loopback(address) else {}
    text = ""
    with subprocess.Popen(
        [sys.executable, "-c", ATTEMPT, address],
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=os.environ | settings,
    ) as process:
        assert process.stderr is not None
        deadline = threading.Timer(LONGEST_ATTEMPT, process.kill)
        deadline.start()
        try:
            for line in process.stderr:
                text += line
                if "InvalidAuthToken" in line:
                    # Ray would try again for 20 seconds
                    process.kill()
        finally:
            deadline.cancel()
    if process.returncode:
        raise ConnectionError(_why(address, text))


def _why(address: str, text: str) -> str:
    """Return why a cluster could not be used, from what Ray wrote."""
    if "AuthToken" in text or "authentication token" in text:
        return (
            f"the Ray cluster at {address} refused the authentication token of this machine. Copy the file "
            "~/.ray/auth_token from the cluster's head to this machine, or set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN."
        )
    if "Version mismatch" in text:
        found = [line.strip() for line in text.splitlines() if "Ray:" in line or "Python:" in line]
        theirs, own = ", ".join(found[:2]), ", ".join(found[2:])
        return (
            f"the Ray cluster at {address} has other versions than this process: it has {theirs}, and this process has "
            f"{own}. Install the same versions of Ray and Python here and on every node."
        )
    if not text or "Timed out" in text or "within 5 seconds" in text:
        return (
            f"what answers at {address} is not a Ray cluster, or is too busy. Give the address that ray start --head "
            "shows, which is that of the GCS (port 6379 by default)."
        )
    return (
        f"the Ray cluster at {address} cannot be used from this machine, which must be one of its nodes (ray start "
        f"--address={address}): {last_line(text)}"
    )
