"""Training jobs on the nodes of a Ray cluster. Only this package imports Ray, and only when a cluster is used."""

from policygrad.scheduling.cluster.connection import connected
from policygrad.scheduling.cluster.ray_scheduler import RayScheduler
from policygrad.scheduling.cluster.run_actors import actors_on

__all__ = ["RayScheduler", "actors_on", "connected"]
