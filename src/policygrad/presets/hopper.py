"""Hopper-v5: hop forwards on one leg without falling."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
