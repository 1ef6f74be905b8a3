"""Compare PPO with default settings in policygrad and stable-baselines3: ten environments, 200,000 steps.

    python benchmarks/defaults.py policygrad      # in an environment with the packages of third_party.txt
    python benchmarks/defaults.py sb3             # and with stable-baselines3
    python benchmarks/defaults.py table

policygrad runs without its presets. The environments were chosen before anything was run on them. The result of each
run is a line of `results/defaults/LIBRARY.jsonl`, and runs that are already there are skipped. A score is the mean
return of 20 fresh episodes of at most 10,000 steps. For stable-baselines3, it is that of the last model, with sampled
or greedy actions, whichever are better. For policygrad, it is that of the best policy, with its own way of acting.
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
    """MiniGrid: the grid of symbols that the agent sees, and its direction."""
    import minigrid  # noqa: F401

    env = gym.wrappers.FilterObservation(
        gym.make("MiniGrid-Empty-5x5-v0"), filter_keys=["image", "direction"]
    )
    return gym.wrappers.DtypeObservation(gym.wrappers.FlattenObservation(env), np.float32)


def flappy() -> gym.Env[Any, Any]:
    """Flappy Bird: the positions of the pipes and the bird."""
    import flappy_bird_gymnasium  # noqa: F401

    return gym.make("FlappyBird-v0", use_lidar=False)


def board() -> gym.Env[Any, Any]:
    """2048: the board in one-hot encoding."""
    import gymnasium_2048  # noqa: F401

    env = gym.wrappers.TimeLimit(gym.make("gymnasium_2048/TwentyFortyEight-v0"), LONGEST)
    return gym.wrappers.DtypeObservation(gym.wrappers.FlattenObservation(env), np.float32)


def breakout() -> gym.Env[Any, Any]:
    """Breakout: the memory of the Atari, scaled to [0, 1]."""
    import ale_py

    gym.register_envs(ale_py)
    env = gym.wrappers.FlattenObservation(gym.make("ALE/Breakout-v5", obs_type="ram"))
    unit = gym.spaces.Box(0.0, 1.0, (128,), np.float32)
    return gym.wrappers.TransformObservation(env, lambda o: np.asarray(o, np.float32) / np.float32(255), unit)


def panda() -> gym.Env[Any, Any]:
    """PandaReach: an environment with goals, whose observations are a Dict."""
    import panda_gym  # noqa: F401

    return gym.make("PandaReach-v3")


def registered(name: str) -> Callable[[], gym.Env[Any, Any]]:
    """Return a function that makes an environment of Gymnasium."""
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
    """Train with the defaults of policygrad."""
    import policygrad as pg

    # pass a factory, because some of the ids have presets
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
    """Train with the defaults of stable-baselines3."""
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
    """Return the results of the finished runs by environment and seed."""
    file = RESULTS / f"{library}.jsonl"
    lines = file.read_text().splitlines() if file.exists() else []
    return {(row["env"], row["seed"]): row for row in map(json.loads, lines)}


def table() -> str:
    """Return a Markdown table of the mean score over the seeds, for each environment and library."""
    rows = [
        "| environment | policygrad | stable-baselines3 | at least as good | steps/s, ours / theirs |",
        "|-|-|-|-|-|",
    ]
    both = [results(library) for library in ("policygrad", "sb3")]
    for name in ENVIRONMENTS:
        found = [[runs[name, seed] for seed in SEEDS if (name, seed) in runs] for runs in both]
        if not all(found):
            continue
        scores = [fmean(row["score"] for row in runs) for runs in found]
        seeds = [", ".join(f"{row['score']:.4g}" for row in runs) for runs in found]
        cells = [f"{score:.4g} ({each})" for score, each in zip(scores, seeds, strict=True)]
        speeds = " / ".join(f"{fmean(row['steps_per_second'] for row in runs):,.0f}" for runs in found)
        rows.append(
            f"| {name} | {cells[0]} | {cells[1]} | {'yes' if scores[0] >= scores[1] else 'no'} | {speeds} |"
        )
    return "\n".join(rows) + "\n"


def main() -> None:
    """Run what is missing, or write and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["policygrad", "sb3", "table"])
    parser.add_argument("--only", help="run only this environment")
    args = parser.parse_args()
    if args.what == "table":
        (RESULTS.parent / "defaults.md").write_text(table())
        sys.stdout.write(table())
        return
    RESULTS.mkdir(parents=True, exist_ok=True)
    for name, make in ENVIRONMENTS.items():
        for seed in SEEDS:
            if (name, seed) in results(args.what) or args.only not in (None, name):
                continue
            row = {"env": name, "seed": seed, **(ours if args.what == "policygrad" else theirs)(make, seed)}
            with (RESULTS / f"{args.what}.jsonl").open("a") as file:
                file.write(json.dumps(row) + "\n")
            print(row, flush=True)


if __name__ == "__main__":
    main()
