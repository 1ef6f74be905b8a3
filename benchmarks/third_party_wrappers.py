"""A factory and a wrapper for third-party environments that need more than their id."""

from __future__ import annotations

from typing import Any

import gymnasium as gym
import numpy as np


def weighed(env: gym.Env[Any, Any]) -> gym.Env[Any, Any]:
    """Return the environment with the mean of its several objectives as the reward."""
    from mo_gymnasium.wrappers import LinearReward

    objectives = env.unwrapped.reward_space.shape[0]  # type: ignore[attr-defined]
    return LinearReward(env, weight=np.full(objectives, 1 / objectives))


def make_trading() -> gym.Env[Any, Any]:
    """Return an environment of gym-trading-env whose prices are a random walk."""
    import gym_trading_env  # noqa: F401
    import pandas as pd

    walk = 100 * np.exp(np.cumsum(np.random.default_rng(0).normal(0, 0.01, 500)))
    prices = pd.DataFrame(
        {"open": walk, "high": walk, "low": walk, "close": walk, "volume": 1.0, "feature_close": walk / 100},
        index=pd.date_range("2020-01-01", periods=500, freq="h"),
    )
    return gym.make("TradingEnv", df=prices)
