"""Walker2d-v5: walk forwards on two legs without falling."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
