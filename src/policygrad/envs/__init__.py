"""Environments: how to open them, reward shaping, and small problems with known transition probabilities."""

from policygrad.envs.kernel import Kernel
from policygrad.envs.kernel_env import KernelEnv
from policygrad.envs.kernel_vector import KernelVectorEnv
from policygrad.envs.make import make, make_one
from policygrad.envs.options import Backend, EnvOptions
from policygrad.envs.registry import KERNELS, EnvLike, without_module
from policygrad.envs.shaping import CompiledPotential, PotentialShaping, Shaping, apply_shaping, elementwise
from policygrad.envs.stacking import last_observations
from policygrad.envs.vector import Environments

__all__ = [
    "Backend",
    "CompiledPotential",
    "KERNELS",
    "EnvLike",
    "EnvOptions",
    "Environments",
    "Kernel",
    "KernelEnv",
    "KernelVectorEnv",
    "PotentialShaping",
    "Shaping",
    "apply_shaping",
    "elementwise",
    "last_observations",
    "make",
    "make_one",
    "without_module",
]
