"""Environments: opening them, shaping their reward, and small ones whose every property is known."""

from policygrad.envs.kernel import Kernel
from policygrad.envs.kernel_vector import KernelEnv, KernelVectorEnv
from policygrad.envs.make import make, make_one
from policygrad.envs.options import Backend, EnvOptions
from policygrad.envs.registry import KERNELS, EnvLike, without_module
from policygrad.envs.shaping import PotentialShaping, Shaping, apply_shaping, elementwise
from policygrad.envs.vector import Environments

__all__ = [
    "Backend",
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
    "make",
    "make_one",
    "without_module",
]
