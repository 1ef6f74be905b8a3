"""One run on many actors: each steps its share of the environments and computes the gradients of its own samples.

The leader of the run executes the algorithm as in a run without actors. Its engine and its collector ask the actors,
and add up their answers in a fixed order. Observations never leave the actors: the leader knows each one by a number.
"""

from policygrad.parallel.actors import Actors, LocalActors, Request
from policygrad.parallel.parallel_collector import ParallelCollector
from policygrad.parallel.parallel_engine import ParallelEngine
from policygrad.parallel.remote_actors import (
    Address,
    Remote,
    RemoteActors,
    Server,
    connect,
    pack_error,
    raise_packed,
)
from policygrad.parallel.share import Share
from policygrad.parallel.team import Team

__all__ = [
    "Actors",
    "Address",
    "LocalActors",
    "ParallelCollector",
    "ParallelEngine",
    "Remote",
    "RemoteActors",
    "Request",
    "Server",
    "Share",
    "Team",
    "connect",
    "pack_error",
    "raise_packed",
]
