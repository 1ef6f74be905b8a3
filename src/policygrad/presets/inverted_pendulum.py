"""InvertedPendulum-v5: balance a pole on a cart; 1,000 is the most there is."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
