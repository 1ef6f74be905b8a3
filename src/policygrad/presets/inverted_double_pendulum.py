"""InvertedDoublePendulum-v5: balance two poles, one on the other, on a cart."""

from policygrad.presets import mujoco

PRESETS = {**mujoco.PRESETS}
