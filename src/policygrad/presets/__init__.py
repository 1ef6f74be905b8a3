"""Settings known to work, one file an environment, each value with its reason."""

from __future__ import annotations

from policygrad.algorithms import algorithm_class
from policygrad.presets import cartpole, mountain_car_continuous
from policygrad.presets.preset import Preset

PRESETS: dict[str, dict[str, Preset]] = {
    "CartPole-v1": cartpole.PRESETS,
    "MountainCarContinuous-v0": mountain_car_continuous.PRESETS,
}
"""By environment, then by algorithm."""


def preset_for(environment: str, algorithm: str) -> Preset:
    """The environment's preset for an algorithm, or the algorithm's defaults where there is none.

    Raises:
        ValueError: there is no such algorithm; the nearest names are offered.
    """
    defaults = algorithm_class(algorithm)
    return PRESETS.get(environment, {}).get(algorithm) or Preset(defaults())


__all__ = ["PRESETS", "Preset", "preset_for"]
