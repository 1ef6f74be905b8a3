"""Settings that are known to work, one file per environment, with a reason for each value."""

from __future__ import annotations

from policygrad.algorithms import algorithm_class
from policygrad.presets import (
    acrobot,
    ant,
    bipedal_walker,
    cartpole,
    half_cheetah,
    hopper,
    inverted_double_pendulum,
    inverted_pendulum,
    lunar_lander,
    mountain_car,
    mountain_car_continuous,
    pendulum,
    reacher,
    swimmer,
    walker2d,
)
from policygrad.presets.preset import DEFAULT_ENVS, Preset

PRESETS: dict[str, dict[str, Preset]] = {
    "CartPole-v1": cartpole.PRESETS,
    "Acrobot-v1": acrobot.PRESETS,
    "MountainCar-v0": mountain_car.PRESETS,
    "MountainCarContinuous-v0": mountain_car_continuous.PRESETS,
    "Pendulum-v1": pendulum.PRESETS,
    "LunarLander-v3": lunar_lander.PRESETS,
    "LunarLanderContinuous-v3": lunar_lander.CONTINUOUS,
    "BipedalWalker-v3": bipedal_walker.PRESETS,
    "HalfCheetah-v5": half_cheetah.PRESETS,
    "Hopper-v5": hopper.PRESETS,
    "Walker2d-v5": walker2d.PRESETS,
    "Swimmer-v5": swimmer.PRESETS,
    "Ant-v5": ant.PRESETS,
    "Reacher-v5": reacher.PRESETS,
    "InvertedPendulum-v5": inverted_pendulum.PRESETS,
    "InvertedDoublePendulum-v5": inverted_double_pendulum.PRESETS,
}
"""Presets by environment and then by algorithm."""


def preset_for(environment: str, algorithm: str) -> Preset:
    """Return the environment's preset for an algorithm, or the algorithm's defaults if there is no preset.

    Raises:
        ValueError: there is no such algorithm; the message suggests similar names.
    """
    defaults = algorithm_class(algorithm)
    return PRESETS.get(environment, {}).get(algorithm) or Preset(defaults())


__all__ = ["DEFAULT_ENVS", "PRESETS", "Preset", "preset_for"]
