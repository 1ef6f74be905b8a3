"""Ant-v5: run forwards on four legs."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
