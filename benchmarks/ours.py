"""Measure the speed of this library, with the same interface as `peers.py`.

Usage: `python benchmarks/ours.py reinforce --seed 1`.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any

import gymnasium as gym
import numpy as np
from peers import Speed, batch, median_seconds, peak_mib, residual_layers
from torch import nn

import policygrad as pg
from policygrad._support.threads import single_thread
from policygrad.engines import make_engine
from policygrad.interfaces import Step, Update
from policygrad.presets import preset_for
from policygrad.types import Batch, Inputs, Minibatches

CARTPOLE = "CartPole-v1"
QUICK: dict[str, tuple[pg.Reinforce, int]] = {
    "without V(s)": (pg.Reinforce(baseline="time", gamma=0.995, learning_rate=0.01), 12),
    "with V(s)": (pg.Reinforce(gamma=0.995, learning_rate=0.005, value_steps=1), 6),
}
"""Fastest settings that we know for solving CartPole-v1, with their number of environments; tuned on seeds 0 to 299."""


def speed_of(run: pg.Run) -> Speed:
    return Speed(
        run.steps, run.seconds, run.solved_at, run.solved_seconds, float(np.mean(run.episode_returns[-100:]))
    )


def trained(algorithm: Any, steps: int, seed: int, **options: Any) -> Speed:
    """Train briefly, so that everything is compiled and loaded, and then measure a training."""
    pg.train(CARTPOLE, algorithm, **options | {"steps": 100, "progress": False})
    return speed_of(pg.train(CARTPOLE, algorithm, steps=steps, seed=seed, progress=False, **options))


def reinforce(steps: int, seed: int, num_envs: int = 64, cores: int = 1) -> Speed:
    """REINFORCE with V(s) on whole episodes, with one step of each network per update."""
    return trained(pg.Reinforce(value_steps=1, gamma=0.995), steps, seed, num_envs=num_envs, cores=cores)


def reinforce_autograd(steps: int, seed: int, num_envs: int = 64) -> Speed:
    """Like `reinforce`, with the autograd engine."""
    return trained(
        pg.Reinforce(value_steps=1, gamma=0.995), steps, seed, num_envs=num_envs, engine="autograd"
    )


def reinforce_plain(steps: int, seed: int, num_envs: int = 64) -> Speed:
    """REINFORCE without V(s)."""
    return trained(pg.Reinforce(baseline="none", gamma=0.995), steps, seed, num_envs=num_envs)


def reinforce_gymnasium(steps: int, seed: int, num_envs: int = 64) -> Speed:
    """Like `reinforce`, on Gymnasium's own vectorized CartPole."""
    algorithm = pg.Reinforce(value_steps=1, gamma=0.995)
    return trained(algorithm, steps, seed, num_envs=num_envs, backend="gymnasium")


def zoo_ppo() -> Any:
    return preset_for(CARTPOLE, "ppo").algorithm


def ppo(steps: int, seed: int) -> Speed:
    """PPO at the zoo's settings, with the fused engine."""
    return trained(zoo_ppo(), steps, seed, num_envs=8)


def ppo_autograd(steps: int, seed: int) -> Speed:
    """Like `ppo`, with the autograd engine."""
    return trained(zoo_ppo(), steps, seed, num_envs=8, engine="autograd")


def ppo_residual(steps: int, seed: int) -> Speed:
    """PPO with 10 epochs of minibatches of 64, on a torch module that only the autograd engine can run.

    Compilation and everything else that happens in the first training is included.
    """

    def network(inputs: int, outputs: int) -> nn.Module:
        return nn.Sequential(residual_layers(inputs), nn.Linear(64, outputs))

    def value(inputs: int) -> nn.Module:
        return network(inputs, 1)

    algorithm = pg.PPO(horizon=256, epochs=10, minibatch_size=64)
    options: dict[str, Any] = {"num_envs": 8, "progress": False, "engine": "autograd"}
    began = time.perf_counter()
    run = pg.train(CARTPOLE, algorithm, policy=network, value=value, steps=steps, seed=seed, **options)
    return replace(speed_of(run), seconds=time.perf_counter() - began)


def a2c(steps: int, seed: int) -> Speed:
    """A2C at its defaults, which are 8 environments and 5 steps here."""
    return trained(pg.A2C(), steps, seed, num_envs=8, loop="compiled")


def reinforce_one(steps: int, seed: int, baseline: Any = "value") -> Speed:
    """REINFORCE at its defaults with one environment, so with one episode per update."""
    return trained(pg.Reinforce(baseline=baseline), steps, seed, num_envs=1, loop="compiled")


def reinforce_one_plain(steps: int, seed: int) -> Speed:
    """Like `reinforce_one`, without V(s)."""
    return reinforce_one(steps, seed, "none")


def actor_critic(
    steps: int, seed: int, num_envs: int = 1, decay: float = 0.0, hidden: Any = (64, 64)
) -> Speed:
    """The one-step actor-critic at its defaults, with traces of this decay."""
    algorithm = pg.ActorCritic(policy_trace=decay, value_trace=decay)
    network = pg.Network(hidden=hidden)
    return trained(algorithm, steps, seed, num_envs=num_envs, network=network, loop="compiled")


def actor_critic_traces(steps: int, seed: int, num_envs: int = 1) -> Speed:
    """Like `actor_critic`, with traces that decay by 0.9."""
    return actor_critic(steps, seed, num_envs, 0.9)


def actor_critic_linear(steps: int, seed: int, num_envs: int = 1) -> Speed:
    """Like `actor_critic`, with networks without hidden layers."""
    return actor_critic(steps, seed, num_envs, hidden=())


def corridor(steps: int, seed: int) -> Speed:
    """REINFORCE with a linear policy and one episode per update on Sutton & Barto's short corridor."""
    plain: dict[str, Any] = {"normalize_advantages": False, "average": "episodes", "max_grad_norm": None}
    algorithm = pg.Reinforce(gamma=1.0, baseline="none", optimizer="sgd", learning_rate=2**-13, **plain)
    options: dict[str, Any] = {"num_envs": 1, "network": pg.Network(hidden=()), "progress": False}
    options |= {"loop": "compiled", "select": False}
    pg.train("ShortCorridor-v0", algorithm, steps=100, **options)
    return speed_of(pg.train("ShortCorridor-v0", algorithm, steps=steps, seed=seed, **options))


def ppo_large(steps: int, seed: int) -> Speed:
    """PPO with large batches, as PufferLib uses it: 256 × 64 steps, one epoch of minibatches of 8,192."""
    return trained(pg.PPO(horizon=64, epochs=1, minibatch_size=8192), steps, seed, num_envs=256)


def half_cheetah(steps: int, seed: int, num_envs: int = 64, cores: int = 2) -> Speed:
    """REINFORCE with V(s) on EnvPool's HalfCheetah-v5."""
    return on_half_cheetah(pg.Reinforce(value_steps=1, episodes_per_env=1), steps, seed, num_envs, cores)


def half_cheetah_ppo(steps: int, seed: int, num_envs: int = 64, cores: int = 2) -> Speed:
    """PPO on EnvPool's HalfCheetah-v5: 10 epochs over 2,048 samples in minibatches of 64."""
    return on_half_cheetah(preset_for("HalfCheetah-v5", "ppo").algorithm, steps, seed, num_envs, cores)


def on_half_cheetah(algorithm: Any, steps: int, seed: int, num_envs: int, cores: int) -> Speed:
    options: dict[str, Any] = {"num_envs": num_envs, "cores": cores, "progress": False}
    pg.train("CartPole-v1", algorithm, steps=100, progress=False)
    return speed_of(
        pg.train("HalfCheetah-v5", algorithm, steps=steps, seed=seed, backend="envpool", **options)
    )


def update(B: int, width: int = 64, depth: int = 2, engine: str = "fused", minibatches: int = 1) -> float:
    """Return the seconds of one update of policy and V(s), or, with several minibatches per call, of one minibatch."""
    rng = np.random.default_rng(0)
    space = gym.spaces.Box(-np.inf, np.inf, (4,))
    shape: dict[str, Any] = {"depth": depth, "activation": "tanh", "rng": rng}
    policy = pg.Policy(pg.DiscretePolicy(4, 2, width, **shape), space, gym.spaces.Discrete(2))
    engine = make_engine(policy, pg.ValueNetwork(4, width, **shape), "adam", engine)  # type: ignore[arg-type]
    x, a, advantage, target = batch(B * minibatches)
    whole = Batch(Inputs(x), a, {"advantage": advantage, "target": target})
    parts = None
    if minibatches > 1:
        order = rng.permutation(B * minibatches)
        parts = Minibatches(order, np.arange(minibatches + 1) * B)
    coefficients = {"entropy_coef": 0.0, "value_coef": 1.0}
    request = Update(whole, pg.A2C().traced_loss, coefficients, Step(1e-3, 1e-3, 0.5), parts)
    with single_thread():
        seconds = median_seconds(lambda: engine.update(request))
    return seconds / minibatches


def flops(B: int, width: int, depth: int = 2) -> int:
    """Return the multiplications and additions in the matrix products of an update of both networks.

    The backward pass needs twice as many as the forward pass.
    """
    return 3 * 2 * B * (2 * (4 * width + (depth - 1) * width * width) + 3 * width)


def sgemm(n: int = 512, repeats: int = 20) -> float:
    """Return the GFLOP/s of a square float32 matrix product in SciPy's BLAS, the best of five."""
    from scipy.linalg.blas import sgemm as multiply

    a = np.asfortranarray(np.random.default_rng(0).random((n, n), np.float32))
    with single_thread():
        seconds = min(median_seconds(lambda: multiply(1.0, a, a), repeats) for _ in range(5))
    return 2 * n**3 / seconds / 1e9


OURS: dict[str, Callable[..., Any]] = {
    f.__name__: f
    for f in (
        reinforce, reinforce_autograd, reinforce_plain, reinforce_gymnasium, ppo, ppo_autograd, ppo_residual,
        a2c, reinforce_one, reinforce_one_plain, actor_critic, actor_critic_traces, actor_critic_linear, corridor,
        ppo_large, half_cheetah, half_cheetah_ppo, update, sgemm,
    )
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", choices=OURS)
    for option, default in (("steps", 100_000), ("seed", 0), ("num-envs", None), ("cores", 1), ("B", 256)):
        parser.add_argument(f"--{option}", type=int, default=default)
    for option, default in (("width", 64), ("depth", 2), ("minibatches", 1)):
        parser.add_argument(f"--{option}", type=int, default=default)
    options = vars(parser.parse_args())
    function = OURS[options["name"]]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options["cores"]])
    parameters = inspect.signature(function).parameters
    settings = {name: value for name, value in options.items() if name in parameters and value is not None}
    found = function(**settings)
    figures = asdict(found) if isinstance(found, Speed) else {"figure": found}
    print(json.dumps({"name": options["name"], **settings, **figures, "peak_mib": round(peak_mib(), 1)}))


if __name__ == "__main__":
    main()
