"""Swimmer-v5: swim forwards."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
