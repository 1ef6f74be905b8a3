"""The actors of a run on the nodes of a cluster. Ray places them; the leader then speaks to each of them directly."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from policygrad._support.lookup import import_also_from, working_directory_importable
from policygrad._support.threads import single_thread
from policygrad.parallel import (
    Address,
    Remote,
    RemoteActors,
    Server,
    Share,
    connect,
    pack_error,
    raise_packed,
)
from policygrad.runs.experiment import Experiment
from policygrad.scheduling.cluster.local_cluster import last_line
from policygrad.scheduling.cluster.nodes import cores_of_nodes, refuse_other_versions
from policygrad.scheduling.sending import packed, unpacked

LONGEST_WAIT = 120.0
"""Seconds to wait until actors have started, which includes the time until cores are free."""
NOTICE = 5.0
"""Seconds until the user is told that actors are waiting for cores."""


class ActorHost:
    """Hosts one actor of a run in a process of a cluster. It is a Ray actor.

    Args:
        path: folders from which the main process imports modules.
    """

    def __init__(self, path: list[str]) -> None:
        import_also_from(path)
        self._server: Server | None = None
        self._share: Share | None = None
        self._keeps: Any = None

    def build(self, host: str, parcel: bytes, seed: int, actor: int) -> Address | bytes:
        """Build an actor's share of a run; return where it listens, or the error that occurred."""
        try:
            with working_directory_importable(), single_thread():
                contents, self._keeps = unpacked(parcel)
                contents.register()
                self._share = contents.experiment.share(seed, actor)
        except BaseException as error:
            return pack_error(error)
        self._server = Server(host)
        return self._server.address

    def serve(self) -> None:
        """Answer the leader until it closes the connection."""
        assert self._server is not None
        assert self._share is not None
        with single_thread():
            self._server.serve(self._share)


class _RayActor:
    """An actor on a node; see `Remote`."""

    def __init__(self, ray: Any, host: Any, node: str, address: Address) -> None:
        self._ray, self._host, self._node = ray, host, node
        self._serving = host.serve.remote()
        self.connection: Connection = connect(address)

    def ended(self) -> str | None:
        """Return why it has ended, in words; None as long as it exists."""
        if self._node not in cores_of_nodes(self._ray):
            return "its node is gone"
        ready, _ = self._ray.wait([self._serving], timeout=0)
        if not ready:
            return None
        try:
            self._ray.get(self._serving)
        except self._ray.exceptions.ActorUnavailableError:
            return "it cannot be reached"
        except Exception as error:
            # Ray goes on about what may have ended it
            return last_line(str(error)).split(". ")[0]
        return "it has closed the connection"

    def close(self) -> None:
        """End it."""
        self.connection.close()
        with suppress(Exception):
            self._ray.kill(self._host)


def actors_on(ray: Any, say: Callable[[str], None]) -> Callable[[Experiment, int], RemoteActors]:
    """Return the function that starts the actors of a run on the nodes of a cluster, each on one core.

    Args:
        ray: the module, connected to the cluster.
        say: called with messages.
    """

    def start(experiment: Experiment, seed: int) -> RemoteActors:
        actors = experiment.settings.actors
        assert actors is not None
        cores = sum(cores_of_nodes(ray).values())
        if cores < actors:
            raise ValueError(
                f"actors={actors} (--actors) needs as many cores, and the Ray cluster has {cores}. Use fewer actors, "
                "or start more nodes."
            )
        parcel = packed(experiment.without_callback())
        say(f"actors: {actors} on a Ray cluster of {cores} cores")

        def started(indices: Sequence[int]) -> list[Remote]:
            if len(indices) < actors:
                # the nodes may be others than when the run began
                refuse_other_versions(ray, list(cores_of_nodes(ray)))
            return _started(ray, say, parcel.data, seed, indices)

        return RemoteActors(started, actors)

    return start


def _started(
    ray: Any, say: Callable[[str], None], parcel: bytes, seed: int, indices: Sequence[int]
) -> list[Remote]:
    """Start the actors with these indices.

    Raises:
        ConnectionError: there was no room for them.
        Exception: whatever an environment or a network raises that cannot be made there.
    """
    remote = ray.remote(ActorHost).options(num_cpus=1, max_restarts=0, scheduling_strategy="SPREAD")
    hosts = [remote.remote([str(path) for path in sys.path]) for _ in indices]
    try:
        places = _wait(ray, [host.__ray_call__.remote(_place) for host in hosts], say)
        contents = ray.put(parcel)
        building = [
            host.build.remote(address, contents, seed, actor)
            for host, (_, address), actor in zip(hosts, places, indices, strict=True)
        ]
        addresses: list[Address | bytes] = _wait(ray, building, say)
        for address in addresses:
            if isinstance(address, bytes):
                raise_packed(address)
        return [
            _RayActor(ray, host, node, address)
            for host, (node, _), address in zip(hosts, places, addresses, strict=True)
            if isinstance(address, Address)
        ]
    except BaseException:
        for host in hosts:
            ray.kill(host)
        raise


def _place(_: ActorHost) -> tuple[str, str]:
    """Return the id of this node, and its address as the other nodes know it."""
    import ray

    return ray.get_runtime_context().get_node_id(), ray.util.get_node_ip_address()


def _wait(ray: Any, calls: list[Any], say: Callable[[str], None]) -> list[Any]:
    """Return the answers to calls; raise ConnectionError if some do not answer in time, or are lost."""
    began, told = time.monotonic(), False
    while time.monotonic() - began < LONGEST_WAIT:
        _, waiting = ray.wait(calls, num_returns=len(calls), timeout=NOTICE)
        if not waiting:
            try:
                return ray.get(calls)
            except ray.exceptions.RayError as error:
                raise ConnectionError(
                    f"an actor was lost while it started: {last_line(str(error))}"
                ) from error
        if not told:
            say(f"{len(waiting)} of {len(calls)} actors wait for a free core of the cluster, or are starting")
            told = True
    raise ConnectionError(
        f"the actors did not start within {LONGEST_WAIT:g} seconds: the cores of the Ray cluster are in use, or a node "
        "is gone. Use fewer actors (--actors), or start more nodes."
    )
