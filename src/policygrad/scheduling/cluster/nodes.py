"""The nodes of a cluster: how many cores they have, and whether their versions are those of this process."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from policygrad import __version__

PACKAGES = ("ray", "numpy", "torch", "numba")
"""Packages on which the results depend, or whose objects are sent."""
LONGEST_CHECK = 60.0
"""Seconds that a node has to start a process and to report its versions."""


def cores_of_nodes(ray: Any) -> dict[str, int]:
    """Return the number of cores of each node that is alive, by the node's id, without those that have none."""
    nodes: Iterable[Any] = ray.nodes()
    found = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in nodes if node["Alive"]}
    return {node: cores for node, cores in found.items() if cores}


def own_versions() -> dict[str, str]:
    """Return the versions of this process by name."""
    return _reporter()(PACKAGES) | {"policygrad": __version__}


def refuse_other_versions(ray: Any, nodes: Sequence[str]) -> None:
    """Raise ConnectionError if a node has other versions than this process.

    Args:
        ray: the module, connected to the cluster.
        nodes: ids of the nodes.
    """
    strategies: Any = ray.util.scheduling_strategies
    remote = ray.remote(_reporter())
    asked = {
        node: remote.options(
            num_cpus=0,
            max_retries=0,
            scheduling_strategy=strategies.NodeAffinitySchedulingStrategy(node, soft=False),
        ).remote(PACKAGES)
        for node in nodes
    }
    addresses = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes()}
    own = own_versions()
    for node, answer in asked.items():
        try:
            theirs: dict[str, str] = ray.get(answer, timeout=LONGEST_CHECK)
        except ray.exceptions.RayError as error:
            if node not in cores_of_nodes(ray):
                # it has died, which Ray has noticed only now
                continue
            raise ConnectionError(
                f"the node {addresses[node]} of the Ray cluster does not start processes: {error}"
            ) from error
        differences = [
            f"{name} {theirs[name]} there and {own[name]} here" for name in own if theirs[name] != own[name]
        ]
        if differences:
            raise ConnectionError(
                f"the node {addresses[node]} of the Ray cluster has other versions than this process: "
                f"{', '.join(differences)}. Install the same versions on every node."
            )


def _reporter() -> Callable[[Sequence[str]], dict[str, str]]:
    """Return a function that reports versions. Being local, it is sent by value to nodes with another policygrad."""

    def versions(packages: Sequence[str]) -> dict[str, str]:
        def version(name: str) -> str:
            try:
                # a build for GPUs has the same version
                return importlib.metadata.version(name).split("+")[0]
            except importlib.metadata.PackageNotFoundError:
                return "(not installed)"

        found = {"python": ".".join(platform.python_version_tuple()[:2])}
        found |= {name: version(name) for name in packages}
        try:
            from policygrad import __version__ as own
        except ImportError:
            own = "(not installed)"
        return found | {"policygrad": own}

    return versions
