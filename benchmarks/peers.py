"""Measure the speed of other libraries: `python benchmarks/peers.py sb3_ppo --steps 100000 --seed 0`.

There is one function per library, with the settings that its docstring names, on one core and with 64-64 tanh
networks. A run prints one line of JSON. Each function imports the packages that it needs, so that it runs without
those of the others.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import statistics
import sys
import time
from collections import deque
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

CARTPOLE = "CartPole-v1"
WINDOW, SOLVED = 100, 475


@dataclass(frozen=True)
class Speed:
    """Speed of one run, including learning, but without imports and construction."""

    steps: int
    seconds: float
    solved_at: int | None = None
    """Steps until the mean of the last 100 training returns reached 475; None if it did not or is not reported."""
    solved_seconds: float | None = None
    last_100: float | None = None
    """Mean of the last 100 training returns, or of all if there are fewer than 100."""
    compile_seconds: float = 0.0
    """Seconds of compilation, which are not part of `seconds`."""


class Clock:
    """Measures the time since its construction, and records the training returns."""

    def __init__(self) -> None:
        self.returns: deque[float] = deque(maxlen=WINDOW)
        self.solved: tuple[int | None, float | None] = (None, None)
        self.began = time.perf_counter()

    def episode(self, episode_return: float, steps: int) -> None:
        """Record an episode that ended `steps` environment steps after the start."""
        self.returns.append(float(episode_return))
        if (
            self.solved[0] is None
            and len(self.returns) == WINDOW
            and statistics.fmean(self.returns) >= SOLVED
        ):
            self.solved = (steps, time.perf_counter() - self.began)

    def stop(self, steps: int) -> Speed:
        """Return the speed of the run, which ends now."""
        seconds = time.perf_counter() - self.began
        return Speed(steps, seconds, *self.solved, statistics.fmean(self.returns) if self.returns else None)


def lesson(steps: int, seed: int) -> Speed:
    """REINFORCE as in tutorials: plain torch, one environment, one episode per update.

    With their learning rate of 0.01, some seeds collapse to one action. Episodes are then short, and resets frequent.
    """
    import gymnasium as gym
    import torch
    from torch.distributions import Categorical

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    env = gym.make(CARTPOLE)
    policy = mlp(2, 64)
    optimizer = torch.optim.Adam(policy.parameters(), lr=0.01)
    env.reset(seed=seed)
    clock, done_steps = Clock(), 0
    while done_steps < steps:
        observation, _ = env.reset()
        log_probs, rewards, done = [], [], False
        while not done:
            distribution = Categorical(logits=policy(torch.from_numpy(observation)))
            action = distribution.sample()
            log_probs.append(distribution.log_prob(action))
            observation, reward, terminated, truncated, _ = env.step(action.item())
            rewards.append(float(reward))
            done = terminated or truncated
        returns: deque[float] = deque()
        for reward in reversed(rewards):
            returns.appendleft(reward + 0.99 * (returns[0] if returns else 0.0))
        weights = torch.tensor(returns)
        weights = (weights - weights.mean()) / (weights.std() + 1e-8)
        loss = -(torch.stack(log_probs) * weights).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        done_steps += len(rewards)
        clock.episode(sum(rewards), done_steps)
    return clock.stop(done_steps)


def sb3_ppo(steps: int, seed: int) -> Speed:
    """Stable-Baselines3's PPO at rl-baselines3-zoo's settings; the zoo's own budget is 100,000 steps."""
    return stable_baselines3(
        "PPO",
        CARTPOLE,
        8,
        steps,
        seed,
        n_steps=32,
        batch_size=256,
        n_epochs=20,
        gae_lambda=0.8,
        gamma=0.98,
        ent_coef=0.0,
        learning_rate=lambda remaining: 0.001 * remaining,
        clip_range=lambda remaining: 0.2 * remaining,
    )


def sb3_a2c(steps: int, seed: int) -> Speed:
    """Stable-Baselines3's A2C at rl-baselines3-zoo's settings; the zoo's own budget is 500,000 steps."""
    return stable_baselines3("A2C", CARTPOLE, 8, steps, seed, ent_coef=0.0)


def sb3_a2c_one(steps: int, seed: int) -> Speed:
    """Stable-Baselines3's A2C with one environment and one step per update, which is the one-step actor-critic."""
    return stable_baselines3("A2C", CARTPOLE, 1, steps, seed, n_steps=1, ent_coef=0.0)


def sb3_ppo_large(steps: int, seed: int) -> Speed:
    """Stable-Baselines3's PPO with large batches: 256 × 64 steps, one epoch of minibatches of 8,192."""
    return stable_baselines3("PPO", CARTPOLE, 256, steps, seed, n_steps=64, batch_size=8192, n_epochs=1)


def sb3_half_cheetah(steps: int, seed: int, num_envs: int = 1) -> Speed:
    """Stable-Baselines3's PPO at its defaults, with 2048 steps per rollout in total over all environments."""
    import mujoco

    # Gymnasium's model has a deprecated attribute, about which MuJoCo would write a log into the working directory.
    mujoco.set_mju_user_warning(lambda _: None)
    n_steps = 2048 // num_envs
    return stable_baselines3(
        "PPO", "HalfCheetah-v5", num_envs, steps, seed, n_steps=n_steps, batch_size=64, n_epochs=10
    )


def sb3_ppo_residual(steps: int, seed: int) -> Speed:
    """Stable-Baselines3's PPO with 10 epochs of minibatches of 64, on a module of one's own: `residual_layers`."""
    from stable_baselines3.common.policies import ActorCriticPolicy
    from torch import nn

    class Layers(nn.Module):
        latent_dim_pi = latent_dim_vf = 64

        def __init__(self) -> None:
            super().__init__()
            self.forward_actor, self.forward_critic = residual_layers(4), residual_layers(4)

        def forward(self, features: Any) -> Any:
            return self.forward_actor(features), self.forward_critic(features)

    class ResidualPolicy(ActorCriticPolicy):
        def _build_mlp_extractor(self) -> None:
            self.mlp_extractor = Layers()  # type: ignore[assignment]

    return stable_baselines3(
        "PPO", CARTPOLE, 8, steps, seed, ResidualPolicy, n_steps=256, batch_size=64, n_epochs=10
    )


def stable_baselines3(
    algorithm: str, env: str, num_envs: int, steps: int, seed: int, policy: Any = "MlpPolicy", **settings: Any
) -> Speed:
    """An algorithm of Stable-Baselines3. Its `MlpPolicy` has separate 64-64 tanh networks for policy and value."""
    import stable_baselines3 as sb3
    import torch
    from stable_baselines3.common.env_util import make_vec_env

    torch.set_num_threads(1)
    envs = make_vec_env(env, num_envs, seed=seed)
    model = getattr(sb3, algorithm)(policy, envs, seed=seed, device="cpu", **settings)

    def watch(names: dict[str, Any], _: dict[str, Any]) -> bool:
        for info in names["infos"]:
            if "episode" in info:
                clock.episode(info["episode"]["r"], model.num_timesteps)
        return True

    clock = Clock()
    model.learn(steps, callback=watch)
    return clock.stop(model.num_timesteps)


def cleanrl_ppo(steps: int, seed: int) -> Speed:
    """PPO in the style of CleanRL and at its defaults; the default budget is 500,000 steps."""
    import gymnasium as gym
    import torch
    from torch import nn
    from torch.distributions import Categorical

    T, N, epochs, minibatches, rate = 128, 4, 4, 4, 2.5e-4
    gamma, gae_lambda, clip, entropy_weight, value_weight, max_norm = 0.99, 0.95, 0.2, 0.01, 0.5, 0.5
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    envs = gym.vector.SyncVectorEnv(
        [lambda: gym.wrappers.RecordEpisodeStatistics(gym.make(CARTPOLE))] * N,
        # CleanRL was written for this mode. With Gymnasium's current default, it would learn from rows of resets.
        autoreset_mode=gym.vector.AutoresetMode.SAME_STEP,
    )
    policy, value = mlp(2, 64), mlp(1, 64)
    for network, last in ((policy, 0.01), (value, 1.0)):
        layers = [layer for layer in network if isinstance(layer, nn.Linear)]
        for layer in layers:
            nn.init.orthogonal_(layer.weight, last if layer is layers[-1] else 2**0.5)
            nn.init.zeros_(layer.bias)
    parameters = [*policy.parameters(), *value.parameters()]
    optimizer = torch.optim.Adam(parameters, lr=rate, eps=1e-5)
    observations, actions = torch.zeros(T, N, 4), torch.zeros(T, N, dtype=torch.long)
    log_probs, rewards, dones, values, advantages = (torch.zeros(T, N) for _ in range(5))
    observation = torch.from_numpy(envs.reset(seed=seed)[0])
    done = torch.zeros(N)
    clock, done_steps, updates = Clock(), 0, max(1, steps // (T * N))
    for update in range(updates):
        optimizer.param_groups[0]["lr"] = rate * (1 - update / updates)
        for t in range(T):
            observations[t], dones[t] = observation, done
            with torch.no_grad():
                distribution = Categorical(logits=policy(observation))
                action = distribution.sample()
                values[t] = value(observation).flatten()
            actions[t], log_probs[t] = action, distribution.log_prob(action)
            row, reward, terminated, truncated, info = envs.step(action.numpy())
            observation, rewards[t] = torch.from_numpy(row), torch.from_numpy(reward)
            done = torch.from_numpy(terminated | truncated).float()
            done_steps += N
            if "final_info" in info:
                for episode_return in info["final_info"]["episode"]["r"][terminated | truncated]:
                    clock.episode(episode_return, done_steps)
        with torch.no_grad():
            next_value, next_done, tail = value(observation).flatten(), done, torch.zeros(N)
            for t in reversed(range(T)):
                delta = rewards[t] + gamma * (1 - next_done) * next_value - values[t]
                advantages[t] = tail = delta + gamma * gae_lambda * (1 - next_done) * tail
                next_value, next_done = values[t], dones[t]
            targets = (advantages + values).flatten()
        x, a, old, v0, all_advantages = (
            tensor.flatten(0, 1) for tensor in (observations, actions, log_probs, values, advantages)
        )
        for _ in range(epochs):
            for rows in np.split(rng.permutation(T * N), minibatches):
                distribution = Categorical(logits=policy(x[rows]))
                ratio = (distribution.log_prob(a[rows]) - old[rows]).exp()
                advantage = all_advantages[rows]
                advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
                surrogate = torch.min(advantage * ratio, advantage * ratio.clamp(1 - clip, 1 + clip)).mean()
                v = value(x[rows]).flatten()
                near = v0[rows] + (v - v0[rows]).clamp(-clip, clip)
                errors = torch.max((v - targets[rows]).square(), (near - targets[rows]).square())
                loss = -surrogate - entropy_weight * distribution.entropy().mean()
                loss = loss + value_weight * 0.5 * errors.mean()
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(parameters, max_norm)
                optimizer.step()
    return clock.stop(done_steps)


def tianshou_reinforce(steps: int, seed: int) -> Speed:
    """Tianshou's REINFORCE at the settings of its CartPole example, with 8 episodes from 8 environments per update."""
    import gymnasium as gym
    import torch
    from tianshou.algorithm import Reinforce
    from tianshou.algorithm.modelfree.reinforce import DiscreteActorPolicy
    from tianshou.algorithm.optim import AdamOptimizerFactory
    from tianshou.data import Collector, VectorReplayBuffer
    from tianshou.env import DummyVectorEnv
    from tianshou.trainer import OnPolicyTrainerParams
    from tianshou.utils.net.common import Net

    class Watched(Collector):
        steps = 0

        def collect(self, *args: Any, **kwargs: Any) -> Any:
            stats = super().collect(*args, **kwargs)
            self.steps += stats.n_collected_steps
            for episode_return in stats.returns:
                clock.episode(episode_return, self.steps)
            return stats

    torch.set_num_threads(1)
    torch.manual_seed(seed)
    # Tianshou shuffles its minibatches with NumPy's global generator.
    np.random.seed(seed)  # noqa: NPY002
    envs = DummyVectorEnv([lambda: gym.make(CARTPOLE) for _ in range(8)])
    envs.seed(seed)
    network = Net(state_shape=4, action_shape=2, hidden_sizes=(64, 64), activation=torch.nn.Tanh)
    for layer in network.modules():
        if isinstance(layer, torch.nn.Linear):
            torch.nn.init.orthogonal_(layer.weight, 2**0.5)
            torch.nn.init.zeros_(layer.bias)
    policy = DiscreteActorPolicy(actor=network, action_space=gym.spaces.Discrete(2))
    algorithm = Reinforce(
        policy=policy, gamma=0.95, return_standardization=True, optim=AdamOptimizerFactory(lr=1e-3)
    )
    collector = Watched(algorithm, envs, VectorReplayBuffer(20_000, 8))
    settings = OnPolicyTrainerParams(
        training_collector=collector,
        max_epochs=1,
        epoch_num_steps=steps,
        collection_step_num_env_steps=None,
        collection_step_num_episodes=8,
        update_step_num_repetitions=2,
        batch_size=64,
        show_progress=False,
        verbose=False,
    )
    clock = Clock()
    algorithm.run_training(settings)
    return clock.stop(collector.steps)


def rejax_ppo(steps: int, seed: int) -> Speed:
    """Rejax's PPO on JAX at `sb3_ppo`'s settings, with Gymnax's CartPole; it reports no training returns.

    It has no schedule for the clip range, which is constant here. It always clips the value loss, and it clips
    gradients element by element.
    """
    return rejax(steps, seed, N=8, T=32, epochs=20, minibatches=1, gamma=0.98, gae_lambda=0.8)


def rejax_ppo_large(steps: int, seed: int) -> Speed:
    """Like `rejax_ppo`, at `sb3_ppo_large`'s settings."""
    return rejax(steps, seed, N=256, T=64, epochs=1, minibatches=2, gamma=0.99, gae_lambda=0.95)


def rejax(
    steps: int, seed: int, *, N: int, T: int, epochs: int, minibatches: int, gamma: float, gae_lambda: float
) -> Speed:
    """PPO of Rejax, on one core."""
    one_xla_thread()
    import jax
    import optax
    from rejax import PPO

    iterations = max(1, -(-steps // (N * T)))
    algorithm = PPO.create(
        env=CARTPOLE,
        agent_kwargs={"activation": "tanh", "hidden_layer_sizes": (64, 64)},
        total_timesteps=iterations * N * T,
        eval_freq=iterations * N * T,
        skip_initial_evaluation=True,
        num_envs=N,
        num_steps=T,
        num_epochs=epochs,
        num_minibatches=minibatches,
        learning_rate=optax.linear_schedule(0.001, 0.0, iterations * epochs * minibatches),
        gamma=gamma,
        gae_lambda=gae_lambda,
        clip_eps=0.2,
        ent_coef=0.0,
        max_grad_norm=0.5,
    )
    algorithm = algorithm.replace(eval_callback=lambda *_: ())
    key = jax.random.key(seed)
    began = time.perf_counter()
    train = jax.jit(lambda key: algorithm.train(key)).lower(key).compile()
    compiled = time.perf_counter()
    state, _ = jax.block_until_ready(train(key))
    return Speed(int(state.global_step), time.perf_counter() - compiled, compile_seconds=compiled - began)


def envpool_physics(num_envs: int = 64, steps: int = 100_000, threads: int = 1) -> Speed:
    """EnvPool's HalfCheetah-v5 alone, with the clipped actions of an untrained Gaussian policy."""
    import envpool

    env = envpool.make("HalfCheetah-v5", env_type="gymnasium", num_envs=num_envs, num_threads=threads, seed=0)
    actions = np.random.default_rng(0).standard_normal((256, num_envs, 6)).clip(-1, 1)
    env.reset()
    clock, rounds = Clock(), -(-steps // num_envs)
    for i in range(rounds):
        env.step(actions[i % len(actions)])
    return clock.stop(rounds * num_envs)


def update_torch_eager(B: int, width: int = 64) -> float:
    """Return the seconds of one update of policy and value network in plain torch."""
    import torch
    from torch import nn

    torch.set_num_threads(1)
    x, a, advantage, target = map(torch.from_numpy, batch(B))
    networks = mlp(2, width), mlp(1, width)
    optimizers = [torch.optim.Adam(network.parameters(), lr=1e-3) for network in networks]

    def update() -> None:
        policy, value = networks
        log_prob = torch.distributions.Categorical(logits=policy(x)).log_prob(a)
        loss = -(log_prob * advantage).mean() + 0.5 * (value(x).flatten() - target).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for network, optimizer in zip(networks, optimizers, strict=True):
            nn.utils.clip_grad_norm_(network.parameters(), 0.5)
            optimizer.step()

    return median_seconds(update)


def update_torch_compile(B: int, width: int = 64) -> float:
    """Do the same with `torch.compile`, with everything from the forward pass to Adam in one graph.

    If only the loss is compiled, and clipping and Adam are torch's own, it is several times slower.
    """
    import torch
    from torch.func import functional_call, grad

    torch.set_num_threads(1)
    data = tuple(map(torch.from_numpy, batch(B)))
    policy, value = networks = mlp(2, width), mlp(1, width)
    parameters = [{name: p.detach() for name, p in net.named_parameters()} for net in networks]
    first, second = (
        [{name: torch.zeros_like(p) for name, p in d.items()} for d in parameters] for _ in range(2)
    )
    count = torch.zeros(())

    def loss(p: Any, v: Any, x: Any, a: Any, advantage: Any, target: Any) -> Any:
        log_prob = functional_call(policy, p, (x,)).log_softmax(-1).gather(1, a[:, None]).flatten()
        error = functional_call(value, v, (x,)).flatten() - target
        return -(log_prob * advantage).mean() + 0.5 * error.square().mean()

    @torch.compile
    def update(*data: Any) -> None:
        count.add_(1)
        gradients = grad(loss, argnums=(0, 1))(*parameters, *data)
        for p, m, s, g in zip(parameters, first, second, gradients, strict=True):
            norm = sum(gi.square().sum() for gi in g.values()).sqrt()
            shrink = (0.5 / (norm + 1e-6)).clamp(max=1.0)
            for name, gi in g.items():
                m[name].mul_(0.9).add_(gi * shrink, alpha=0.1)
                s[name].mul_(0.999).add_((gi * shrink).square(), alpha=0.001)
                scale = (s[name] / (1 - 0.999**count)).sqrt() + 1e-8
                p[name].sub_(0.001 * m[name] / (1 - 0.9**count) / scale)

    return median_seconds(lambda: update(*data))


def update_jax(B: int, width: int = 64) -> float:
    """Do the same with JAX and Optax, compiled as one function, waiting for the end of each update."""
    one_xla_thread()
    import jax
    import jax.numpy as jnp
    import optax

    rng = np.random.default_rng(0)

    def network(outputs: int) -> list[tuple[Any, Any]]:
        sizes = ((4, width), (width, width), (width, outputs))
        return [(jnp.asarray(rng.normal(0, n**-0.5, (n, m)), jnp.float32), jnp.zeros(m)) for n, m in sizes]

    def forward(layers: Any, x: Any) -> Any:
        *hidden, (w, b) = layers
        for wi, bi in hidden:
            x = jnp.tanh(x @ wi + bi)
        return x @ w + b

    def loss(networks: Any, x: Any, a: Any, advantage: Any, target: Any) -> Any:
        policy, value = networks
        log_probs = jax.nn.log_softmax(forward(policy, x))
        log_prob = jnp.take_along_axis(log_probs, a[:, None], 1)[:, 0]
        error = forward(value, x)[:, 0] - target
        return -(log_prob * advantage).mean() + 0.5 * (error**2).mean()

    adam = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(1e-3))

    def update(networks: Any, states: Any, *data: Any) -> Any:
        gradients = jax.grad(loss)(networks, *data)
        moves, states = zip(*map(adam.update, gradients, states), strict=True)
        return optax.apply_updates(networks, moves), states

    data = tuple(map(jnp.asarray, batch(B)))
    networks = network(2), network(1)
    state = [networks, tuple(map(adam.init, networks))]
    compiled = jax.jit(update, donate_argnums=(0, 1))

    def step() -> None:
        state[:] = jax.block_until_ready(compiled(*state, *data))

    return median_seconds(step)


def mlp(outputs: int, width: int) -> Any:
    """Return a torch network with CartPole's 4 inputs and two hidden tanh layers."""
    from torch import nn

    return nn.Sequential(
        nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, outputs)
    )


def residual_layers(inputs: int, width: int = 64) -> Any:
    """Return a torch module of one's own: two tanh layers, the second with a skip connection."""
    import torch
    from torch import nn

    class Residual(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(inputs, width), nn.Linear(width, width)

        def forward(self, state: Any) -> Any:
            hidden = torch.tanh(self.first(state))
            return hidden + torch.tanh(self.second(hidden))

    return Residual()


def batch(B: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return random observations, actions, advantages and value targets."""
    rng = np.random.default_rng(0)
    x, advantage, target = (rng.standard_normal(shape, np.float32) for shape in ((B, 4), B, B))
    return x, rng.integers(0, 2, B), advantage, target


def median_seconds(update: Callable[[], None], repeats: int = 300) -> float:
    """Return the median seconds of a call, without the first calls, which compile."""
    found = []
    for _ in range(repeats + 30):
        began = time.perf_counter()
        update()
        found.append(time.perf_counter() - began)
    return statistics.median(found[30:])


def one_xla_thread() -> None:
    """Limit XLA to one thread. This must be called before JAX starts; JAX never uses more threads than cores."""
    os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")


def peak_mib() -> float:
    """Return the peak memory of this process in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, getrusage includes the memory of the parent at the fork
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024**2 if sys.platform == "darwin" else 1024)


PEERS: dict[str, tuple[Callable[..., Speed | float], str]] = {
    "lesson": (lesson, "torch"),
    "sb3_ppo": (sb3_ppo, "stable-baselines3"),
    "sb3_ppo_residual": (sb3_ppo_residual, "stable-baselines3"),
    "sb3_a2c": (sb3_a2c, "stable-baselines3"),
    "sb3_a2c_one": (sb3_a2c_one, "stable-baselines3"),
    "sb3_ppo_large": (sb3_ppo_large, "stable-baselines3"),
    "cleanrl_ppo": (cleanrl_ppo, "torch"),
    "tianshou_reinforce": (tianshou_reinforce, "tianshou"),
    "rejax_ppo": (rejax_ppo, "rejax"),
    "rejax_ppo_large": (rejax_ppo_large, "rejax"),
    "sb3_half_cheetah": (sb3_half_cheetah, "stable-baselines3"),
    "envpool_physics": (envpool_physics, "envpool"),
    "update_torch_eager": (update_torch_eager, "torch"),
    "update_torch_compile": (update_torch_compile, "torch"),
    "update_jax": (update_jax, "jax"),
}
"""Each function, and the package whose speed it measures."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("--steps", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--num-envs", type=int, default=1)
    parser.add_argument(
        "--threads", type=int, default=1, help="number of cores; for envpool_physics also of threads"
    )
    parser.add_argument("--B", type=int, default=256, help="samples per update")
    parser.add_argument("--width", type=int, default=64)
    options = vars(parser.parse_args())
    peer, package = PEERS[options["peer"]]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options["threads"]])
    settings = {name: options[name] for name in inspect.signature(peer).parameters}
    found = peer(**settings)
    figures = asdict(found) if isinstance(found, Speed) else {"seconds_per_update": found}
    line = {"peer": options["peer"], "version": f"{package} {version(package)}", **settings, **figures}
    print(json.dumps(line | {"peak_mib": round(peak_mib(), 1)}))


if __name__ == "__main__":
    main()
