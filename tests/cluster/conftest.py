"""A Ray cluster of two nodes, which listens on 127.0.0.1 only and asks for a token, for all tests of this folder."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

# a token of these tests' own, because Ray would write one into the home directory
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", "0123456789abcdef" * 2)
os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
# Ray replaces 127.0.0.1 by the outward address of this machine otherwise; it must be set before Ray is imported
os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")
# a node that has been killed is noticed after seconds instead of a quarter of a minute
os.environ.setdefault("RAY_health_check_initial_delay_ms", "500")
os.environ.setdefault("RAY_health_check_period_ms", "500")

ON_LOOPBACK: dict[str, Any] = {"node_ip_address": "127.0.0.1", "include_dashboard": False}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Any]:
    """A head without cores; the nodes of the tests do the work."""
    pytest.importorskip("ray", reason="run `pip install '.[ray]'`")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.cluster_utils import Cluster

        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **ON_LOOPBACK})
    yield cluster
    cluster.shutdown()


class Nodes:
    """The nodes that one test has started."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._nodes: list[Any] = []

    @property
    def address(self) -> str:
        return self._cluster.address

    def add(self, cores: int = 1, **options: Any) -> Any:
        node = self._cluster.add_node(num_cpus=cores, **ON_LOOPBACK | options)
        self._nodes.append(node)
        return node

    def kill(self, node: Any) -> None:
        """End a node and everything on it at once, as a power failure does."""
        self._nodes.remove(node)
        self._cluster.remove_node(node, allow_graceful=False)

    def remove_all(self) -> None:
        """Let the other nodes leave the cluster, which notices it at once."""
        for node in self._nodes:
            self._cluster.remove_node(node)


@pytest.fixture
def nodes(cluster: Any) -> Iterator[Nodes]:
    """A cluster to which the test adds nodes."""
    nodes = Nodes(cluster)
    yield nodes
    nodes.remove_all()
