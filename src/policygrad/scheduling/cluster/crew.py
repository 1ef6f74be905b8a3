"""The workers of a cluster: starting them where there are free cores, calling them, and noticing that they are gone."""

from __future__ import annotations

import sys
import time
import warnings
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from policygrad.scheduling.cluster.cluster_worker import Assignment, ClusterWorker
from policygrad.scheduling.cluster.nodes import cores_of_nodes, refuse_other_versions

LOOK_FOR_NODES = 2.0
"""Seconds between two looks at the nodes, of which some may be new and others gone."""


class WorkerDiedError(Exception):
    """Raised when a worker is gone. Whoever calls it gives its job to another one."""


@dataclass(eq=False)
class Member:
    """A worker, as the main process sees it."""

    actor: Any
    node: str
    """Id of its node."""
    cores: int
    call: Any = None
    """Reference of the call in progress; None while it is idle."""
    repeat: Any = None
    """Function that makes the call in progress again."""
    started: bool = False
    """True once it has answered its first call."""
    sees_folder: bool = False
    """True if run folders on its node are those of the main process."""
    received: int = 0
    """Number of messages received about the current job."""
    known: set[str] = field(default_factory=set[str])
    """Keys of the experiments that it has."""


class Crew:
    """Workers on the nodes of a cluster.

    Args:
        ray: the module, connected to the cluster.
        most: number of cores to use at most; None uses all.
        token: file by which a worker recognizes that its node sees the folder of the runs; None if it does not.
    """

    def __init__(self, ray: Any, most: int | None, token: Path | None) -> None:
        self._ray = ray
        self._most = most
        self._token = token
        self._remote = ray.remote(ClusterWorker)
        self._nodes = cores_of_nodes(ray)
        self._looked = time.monotonic()
        self._refused = set[str]()
        self.members: list[Member] = []
        self.failed_starts: list[str] = []
        """Nodes on which a worker did not start."""

    def is_alive(self, node: str) -> bool:
        """Return True if a node has not been reported dead."""
        return node in cores_of_nodes(self._ray)

    def idle(self, cores: int) -> Member | None:
        """Return a worker with so many cores that has nothing to do."""
        return next((m for m in self.members if m.started and m.call is None and m.cores == cores), None)

    def staff(self, wanted: Sequence[int]) -> None:
        """Start workers for jobs that want so many cores, in this order, and end those that no job needs."""
        still = Counter(wanted)
        for member in list(self.members):
            if member.call is None and not still[member.cores]:
                self.end(member)
        free = Counter(member.cores for member in self.members if not member.started or member.call is None)
        for cores in wanted:
            if free[cores]:
                free[cores] -= 1
            elif (node := self._node_with(cores)) is not None:
                self._start(node, cores)

    def has_room(self, cores: int) -> bool:
        """Return True if a job that wants so many cores fits on a node."""
        return any(there >= cores for there in self._nodes.values())

    def call(self, member: Member, method: str, *arguments: Any) -> None:
        """Call a method of a worker, whose answer `answered` returns."""
        member.repeat = lambda: getattr(member.actor, method).remote(*arguments)
        member.call = member.repeat()

    def answered(self, timeout: float) -> list[Member]:
        """Wait until a worker has answered, but not longer than `timeout` seconds, and return all that have.

        Those whose node is gone are among them: Ray may wait forever for an answer that was lost with its node.
        """
        self._look_for_nodes()
        if gone := [member for member in self.members if member.node not in self._nodes]:
            return gone
        by_call = {member.call: member for member in self.members if member.call is not None}
        if not by_call:
            time.sleep(timeout)
            return []
        ready, _ = self._ray.wait(list(by_call), num_returns=1, timeout=timeout)
        if ready:
            ready, _ = self._ray.wait(list(by_call), num_returns=len(by_call), timeout=0)
        return [by_call[call] for call in ready]

    def result(self, member: Member) -> Any:
        """Return the answer of a worker; None if the call had to be made again.

        Raises:
            WorkerDiedError: the worker is gone.
        """
        errors = self._ray.exceptions
        if member.node not in self._nodes:
            self.end(member)
            raise WorkerDiedError("its node is gone")
        try:
            answer = self._ray.get(member.call)
        except (errors.ActorUnavailableError, errors.ObjectLostError):
            # the connection was lost, or the answer with its node; if the worker is gone, the next answer says so
            member.call = member.repeat()
            return None
        except errors.RayError as error:
            self.end(member)
            self._look_for_nodes(now=True)
            if not member.started and member.node in self._nodes:
                self.failed_starts.append(str(error))
            raise WorkerDiedError(str(error)) from error
        member.call = None
        if not member.started:
            member.started, member.sees_folder = True, bool(answer)
        return answer

    def begin(self, member: Member, assignment: Assignment) -> None:
        """Give a worker a job."""
        member.received = 0
        member.known.add(assignment.order.experiment)
        self.call(member, "begin", assignment)

    def end(self, member: Member) -> None:
        """End a worker, whatever it does."""
        if member in self.members:
            self.members.remove(member)
            with suppress(Exception):
                self._ray.kill(member.actor)

    def close(self) -> None:
        """End all workers."""
        for member in list(self.members):
            self.end(member)

    def _start(self, node: str, cores: int) -> None:
        affinity = self._ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy(node, soft=False)
        options = self._remote.options(num_cpus=cores, max_restarts=0, scheduling_strategy=affinity)
        member = Member(options.remote([str(path) for path in sys.path]), node, cores)
        self.members.append(member)
        self.call(member, "sees", self._token)

    def _node_with(self, cores: int) -> str | None:
        """Return the node with the most free cores, if these are enough."""
        used = Counter[str]()
        for member in self.members:
            used[member.node] += member.cores
        if self._most is not None and sum(used.values()) + cores > self._most:
            return None
        free = {node: there - used[node] for node, there in self._nodes.items()}
        best = max(free, key=lambda node: free[node], default=None)
        return best if best is not None and free[best] >= cores else None

    def _look_for_nodes(self, *, now: bool = False) -> None:
        if not now and time.monotonic() - self._looked < LOOK_FOR_NODES:
            return
        self._looked = time.monotonic()
        alive = cores_of_nodes(self._ray)
        for node in alive.keys() - self._nodes.keys() - self._refused:
            try:
                refuse_other_versions(self._ray, [node])
            except ConnectionError as error:
                self._refused.add(node)
                warnings.warn(
                    f"a node that joined the cluster is not used: {error}", RuntimeWarning, stacklevel=2
                )
        self._nodes = {node: cores for node, cores in alive.items() if node not in self._refused}
