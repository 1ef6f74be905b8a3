"""How fast this machine runs the library: `make bench`.

Everything is measured in this one run, parts interleaved, medians of the repeats; machines drift, so compare
ratios. Writes `benchmarks/results/speed.md` and `speed.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import torch
from torch import nn

import policygrad as pg
from policygrad.algorithms.reinforce import cotangents
from policygrad.engines import make_engine
from policygrad.threads import single_thread
from policygrad.types import Batch

RESULTS = Path(__file__).parent / "results"
ENVS = 256
STEPS = 1_000_000


def training(engine: Any, baseline: Any, num_envs: int = ENVS, steps: int = STEPS) -> float:
    """Environment steps a second, learning included, on Gymnasium's own vectorised CartPole, 64-64 tanh."""
    run = pg.train(
        "CartPole-v1",
        pg.Reinforce(baseline=baseline),
        engine=engine,
        num_envs=num_envs,
        steps=steps,
        progress=False,
    )
    return run.steps / run.seconds


def physics(num_envs: int = ENVS, steps: int = 2000) -> float:
    """Steps a second of the same environment under random actions, with nothing else."""
    env = gym.make_vec("CartPole-v1", num_envs, vectorization_mode="vector_entry_point")
    env.reset(seed=0)
    actions = np.random.default_rng(0).integers(0, 2, (steps, num_envs))
    began = time.perf_counter()
    for action in actions:
        env.step(action)
    return steps * num_envs / (time.perf_counter() - began)


def sgemm(n: int = 512, repeats: int = 20) -> float:
    """GFLOP/s of a square float32 product in the BLAS that compiled code calls."""
    from scipy.linalg.blas import sgemm as multiply

    a = np.asfortranarray(np.random.default_rng(0).random((n, n), np.float32))
    began = time.perf_counter()
    for _ in range(repeats):
        multiply(1.0, a, a)
    return repeats * 2 * n**3 / (time.perf_counter() - began) / 1e9


def one_update(engine: str, B: int, width: int = 64, repeats: int = 100) -> float:
    """Seconds for one policy and value update, 4 observations, 2 actions; `eager` is plain torch."""
    rng = np.random.default_rng(0)
    space = gym.spaces.Box(-np.inf, np.inf, (4,))
    policy = pg.Policy(
        pg.DiscretePolicy(4, 2, width, activation="tanh", rng=rng), space, gym.spaces.Discrete(2)
    )
    value = pg.ValueNetwork(4, width, activation="tanh", rng=rng)
    batch = Batch(
        rng.standard_normal((B, 4)).astype(np.float32),
        rng.integers(0, 2, B),
        rng.standard_normal(B).astype(np.float32),
        rng.standard_normal(B).astype(np.float32),
    )
    if engine == "eager":
        step = plain_torch(policy, value, batch)
    else:
        motor = make_engine(policy, value, "adam", engine)  # type: ignore[arg-type]
        coefficients = np.array([1 / B, 0, 1 / B], np.float32)

        def step() -> None:
            motor.update(
                batch, cotangents, coefficients, policy_rate=1e-3, value_rate=1e-3, max_grad_norm=0.5
            )

    for _ in range(10):
        step()
    began = time.perf_counter()
    for _ in range(repeats):
        step()
    return (time.perf_counter() - began) / repeats


def plain_torch(policy: pg.Policy, value: nn.Module, batch: Batch) -> Callable[[], None]:
    """The same update as anybody would write it."""
    x, a = torch.from_numpy(batch.observation), torch.from_numpy(batch.action)
    advantage, target = torch.from_numpy(batch.advantage), torch.from_numpy(batch.target)
    optimizers = [torch.optim.Adam(m.parameters(), lr=1e-3) for m in (policy, value)]
    network: Any = policy.network

    def step() -> None:
        log_prob = torch.distributions.Categorical(logits=network.logits(x)).log_prob(a)
        loss = -(log_prob * advantage).mean() + 0.5 * (value(x) - target).square().mean()
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        for module, optimizer in zip((policy, value), optimizers, strict=True):
            nn.utils.clip_grad_norm_(module.parameters(), 0.5)
            optimizer.step()

    return step


def fresh(code: str, environment: dict[str, str] | None = None) -> float:
    """Seconds that a fresh process prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    return float(done.stdout.split()[-1])


IMPORT = "import time; t = time.perf_counter(); import {}; print(time.perf_counter() - t)"
START = (
    "import time, policygrad as pg; from policygrad.engines import make_engine; import gymnasium as gym; "
    "import numpy as np; from policygrad.algorithms.reinforce import cotangents; "
    "p = pg.Policy(pg.DiscretePolicy(4, 2, rng=np.random.default_rng(0)), gym.spaces.Box(-1, 1, (4,)), "
    "gym.spaces.Discrete(2)); t = time.perf_counter(); make_engine(p, None, 'adam', 'fused'); "
    "from policygrad.engines.signatures import cotangents_address; cotangents_address(cotangents); "
    "print(time.perf_counter() - t)"
)
"""From a policy to compiled code that is ready to run, in a process that has imported the library only."""


def cold_start() -> float:
    """Seconds to the first compiled call with an empty cache."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        return fresh(START, {**os.environ, "NUMBA_CACHE_DIR": folder})


def measure(repeats: int) -> dict[str, list[float]]:
    """Every figure, `repeats` times, interleaved."""
    parts: dict[str, Callable[[], float]] = {
        "sgemm, GFLOP/s": sgemm,
        "physics alone, steps/s": physics,
        "fused, no baseline, steps/s": lambda: training("fused", "none"),
        "fused, V(s) with 4 value steps, steps/s": lambda: training("fused", "value"),
        "autograd, V(s) with 4 value steps, steps/s": lambda: training("autograd", "value"),
        "fused, V(s), 8 environments, steps/s": lambda: training("fused", "value", 8, 60_000),
        "import torch, s": lambda: fresh(IMPORT.format("torch")),
        "import policygrad, s": lambda: fresh(IMPORT.format("policygrad")),
        "compiled code, warm start, s": lambda: fresh(START),
    }
    for B in (64, 256, 1024):
        for engine in ("fused", "autograd", "eager"):
            parts[f"one update, B = {B}, {engine}, s"] = lambda B=B, e=engine: one_update(e, B)
    found: dict[str, list[float]] = {name: [] for name in parts}
    training("fused", "value", 8, 100)  # compile before anything is timed
    with single_thread():
        for i in range(repeats):
            for name, part in parts.items():
                found[name].append(part())
                print(f"{i + 1}/{repeats}  {name}: {found[name][-1]:.6g}", file=sys.stderr, flush=True)
    found["compiled code, cold start, s"] = [cold_start()]
    return found


def report(found: dict[str, list[float]]) -> str:
    """Markdown: a figure a row, then the ratios that the machine's mood does not change."""
    median = {name: statistics.median(values) for name, values in found.items()}
    rows = [
        f"| {name} | {value:,.4g} | {min(found[name]):,.4g} – {max(found[name]):,.4g} |"
        for name, value in median.items()
    ]
    fused = median["fused, V(s) with 4 value steps, steps/s"]
    ratios = {
        "training with V(s), fused against autograd": fused
        / median["autograd, V(s) with 4 value steps, steps/s"],
        "training with V(s) against physics alone": fused / median["physics alone, steps/s"],
        "import policygrad against import torch": median["import policygrad, s"] / median["import torch, s"],
    }
    for B in (64, 256, 1024):
        ratios[f"one update at B = {B}, eager torch against fused"] = (
            median[f"one update, B = {B}, eager, s"] / median[f"one update, B = {B}, fused, s"]
        )
        flops = 3 * 2 * B * (2 * 4 * 64 + 2 * 64 * 64 + 3 * 64)
        share = flops / median[f"one update, B = {B}, fused, s"] / 1e9 / median["sgemm, GFLOP/s"]
        ratios[f"one update at B = {B}, share of sgemm's speed"] = share
    return "\n".join(
        [
            f"Measured on {platform.platform()}, {os.cpu_count()} cores, one of them used; Python "
            f"{platform.python_version()}, torch {torch.__version__}. CartPole-v1 is Gymnasium's vectorised one, "
            f"{ENVS} environments where no other number is given, networks 64-64 tanh. "
            f"Medians of {len(next(iter(found.values())))} interleaved repeats (the cold start once).",
            "",
            "| | median | range |",
            "|-|-|-|",
            *rows,
            "",
            "| ratio | |",
            "|-|-|",
            *(f"| {name} | {value:.2f} |" for name, value in ratios.items()),
            "",
        ]
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    figures = measure(parser.parse_args().repeats)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "speed.json").write_text(json.dumps(figures, indent=2) + "\n")
    (RESULTS / "speed.md").write_text(report(figures))
    print(report(figures))
