"""HalfCheetah-v5: run forwards."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
