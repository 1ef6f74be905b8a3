"""PPO as it comes, without a preset, beside stable-baselines3's PPO as it comes: ten environments, 200,000 steps.

    python benchmarks/defaults.py policygrad      # in an environment with the packages of third_party.txt
    python benchmarks/defaults.py sb3             # and with stable-baselines3
    python benchmarks/defaults.py table

The environments were named before anything was run on them. Each run's result is a line of
`results/defaults/LIBRARY.jsonl`, and a run that stands there is not run again. A score is the mean of 20 fresh episodes
of at most 10,000 steps: of the last model of stable-baselines3 the better of sampled and greedy, of the best policy of
policygrad its own way of acting.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import fmean
from typing import Any

import gymnasium as gym
import numpy as np

os.environ |= {"PYGAME_HIDE_SUPPORT_PROMPT": "1", "SDL_VIDEODRIVER": "dummy", "OMP_NUM_THREADS": "1"}
RESULTS = Path(__file__).parent / "results" / "defaults"
STEPS, SEEDS, EPISODES, LONGEST = 200_000, (0, 1, 2), 20, 10_000


def minigrid() -> gym.Env[Any, Any]:
    """What the agent sees as a grid of symbols, and where it looks."""
    import minigrid  # noqa: F401

    env = gym.wrappers.FilterObservation(
        gym.make("MiniGrid-Empty-5x5-v0"), filter_keys=["image", "direction"]
    )
    return gym.wrappers.DtypeObservation(gym.wrappers.FlattenObservation(env), np.float32)


def flappy() -> gym.Env[Any, Any]:
    """The pipes' and the bird's positions."""
    import flappy_bird_gymnasium  # noqa: F401

    return gym.make("FlappyBird-v0", use_lidar=False)


def board() -> gym.Env[Any, Any]:
    """2048: the board, one-hot."""
    import gymnasium_2048  # noqa: F401

    env = gym.wrappers.TimeLimit(gym.make("gymnasium_2048/TwentyFortyEight-v0"), LONGEST)
    return gym.wrappers.DtypeObservation(gym.wrappers.FlattenObservation(env), np.float32)


def breakout() -> gym.Env[Any, Any]:
    """Atari's memory, in [0, 1]."""
    import ale_py

    gym.register_envs(ale_py)
    env = gym.wrappers.FlattenObservation(gym.make("ALE/Breakout-v5", obs_type="ram"))
    unit = gym.spaces.Box(0.0, 1.0, (128,), np.float32)
    return gym.wrappers.TransformObservation(env, lambda o: np.asarray(o, np.float32) / np.float32(255), unit)


def panda() -> gym.Env[Any, Any]:
    """A goal environment: its observations are a Dict."""
    import panda_gym  # noqa: F401

    return gym.make("PandaReach-v3")


def registered(name: str) -> Callable[[], gym.Env[Any, Any]]:
    """One of Gymnasium's own."""
    return lambda: gym.make(name)


ENVIRONMENTS: dict[str, Callable[[], gym.Env[Any, Any]]] = {
    **{
        name: registered(name)
        for name in ("CartPole-v1", "Pendulum-v1", "Acrobot-v1", "LunarLander-v3", "Hopper-v5")
    },
    "MiniGrid-Empty-5x5-v0": minigrid,
    "FlappyBird-v0": flappy,
    "gymnasium_2048/TwentyFortyEight-v0": board,
    "ALE/Breakout-v5": breakout,
    "PandaReach-v3": panda,
}


def ours(make: Callable[[], gym.Env[Any, Any]], seed: int) -> dict[str, float]:
    """Train by policygrad's defaults."""
    import policygrad as pg

    # a factory: ids of these have presets
    run = pg.train(make, "ppo", steps=STEPS, seed=seed, vectorize="sync", progress=False)
    options: dict[str, Any] = {"seed": seed, "vectorize": "sync", "num_envs": 5, "max_episode_steps": LONGEST}
    sampled, greedy = (
        pg.evaluate(run.policy, make, EPISODES, greedy=g, **options).mean for g in (False, True)
    )
    return {
        "score": greedy if run.policy.greedy else sampled,
        "sampled": sampled,
        "greedy": greedy,
        "last_100": fmean(run.episode_returns[-100:]),
        "steps_per_second": run.steps / run.seconds,
    }


def theirs(make: Callable[[], gym.Env[Any, Any]], seed: int) -> dict[str, float]:
    """Train by stable-baselines3's defaults."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.monitor import Monitor

    env = Monitor(make())
    kind = "MultiInputPolicy" if isinstance(env.observation_space, gym.spaces.Dict) else "MlpPolicy"
    model = PPO(kind, env, seed=seed, device="cpu")
    began = time.perf_counter()
    model.learn(STEPS)
    seconds = time.perf_counter() - began
    sampled, greedy = (_evaluated(model, make(), seed, greedy) for greedy in (False, True))
    return {
        "score": max(sampled, greedy),
        "sampled": sampled,
        "greedy": greedy,
        "last_100": fmean(env.get_episode_rewards()[-100:]),
        "steps_per_second": model.num_timesteps / seconds,
    }


def _evaluated(model: Any, env: gym.Env[Any, Any], seed: int, greedy: bool) -> float:
    returns = []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=10_000 + 1000 * seed + episode)
        total, over, steps = 0.0, False, 0
        while not over and steps < LONGEST:
            action, _ = model.predict(observation, deterministic=greedy)
            discrete = isinstance(env.action_space, gym.spaces.Discrete)
            observation, reward, terminated, truncated, _ = env.step(int(action) if discrete else action)
            total, steps, over = total + float(reward), steps + 1, terminated or truncated
        returns.append(total)
    return fmean(returns)


def results(library: str) -> dict[tuple[str, int], dict[str, Any]]:
    """What has been run, by environment and seed."""
    file = RESULTS / f"{library}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {(row["env"], row["seed"]): row for row in map(json.loads, lines)}


def table() -> str:
    """Both libraries' scores, each environment's mean over its seeds."""
    rows = [
        "| environment | policygrad | stable-baselines3 | at least theirs | steps/s, ours / theirs |",
        "|-|-|-|-|-|",
    ]
    both = [results(library) for library in ("policygrad", "sb3")]
    for name in ENVIRONMENTS:
        found = [[of[name, seed] for seed in SEEDS if (name, seed) in of] for of in both]
        if not all(found):
            continue
        scores = [fmean(row["score"] for row in of) for of in found]
        seeds = [", ".join(f"{row['score']:.4g}" for row in of) for of in found]
        cells = [f"{score:.4g} ({each})" for score, each in zip(scores, seeds, strict=True)]
        speeds = " / ".join(f"{fmean(row['steps_per_second'] for row in of):,.0f}" for of in found)
        rows.append(
            f"| {name} | {cells[0]} | {cells[1]} | {'yes' if scores[0] >= scores[1] else 'no'} | {speeds} |"
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run what is left, or print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["policygrad", "sb3", "table"])
    parser.add_argument("--only", help="one environment")
    asked = parser.parse_args()
    if asked.what == "table":
        (RESULTS.parent / "defaults.md").write_text(table())
        sys.stdout.write(table())
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, make in ENVIRONMENTS.items():
        for seed in SEEDS:
            if (name, seed) in results(asked.what) or asked.only not in (None, name):
                continue
            row = {"env": name, "seed": seed, **(ours if asked.what == "policygrad" else theirs)(make, seed)}
            with (RESULTS / f"{asked.what}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
