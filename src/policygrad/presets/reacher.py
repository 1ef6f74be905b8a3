"""Reacher-v5: reach a point with a two-link arm, in 50 steps."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
