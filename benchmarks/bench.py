"""Compare the speed of this library with the libraries that people use: `make bench`.

Each figure is measured in a separate process, which is pinned to one core unless two are mentioned. In the training
benchmarks, all rows are run once before the next repeat begins, so that a drift of the machine's speed affects all of
them alike. Figures are medians of the repeats, and only their ratios are meaningful. The extra `peers` is needed;
libraries that are not installed are reported and left out. `--only` measures some parts again and keeps the others.
This writes `benchmarks/results/bench.md`, `bench.json` and two pictures.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from policygrad._support.files import write_atomically
from policygrad.runs.manifest import processor

HERE = Path(__file__).parent
RESULTS = HERE / "results"
BATCHES, WIDTHS = (64, 256, 1024), (64, 128, 256)

TRAINING: dict[str, tuple[str, list[str]]] = {
    "ours: REINFORCE with V(s), 64 environments": ("ours", ["reinforce", "--steps", "1500000"]),
    "ours: REINFORCE with V(s), 64 environments, two cores": (
        "ours",
        ["reinforce", "--steps", "1500000", "--cores", "2"],
    ),
    "ours: REINFORCE without V(s)": ("ours", ["reinforce_plain", "--steps", "1500000"]),
    "ours: REINFORCE with V(s), autograd engine": ("ours", ["reinforce_autograd", "--steps", "300000"]),
    "ours: REINFORCE with V(s), on Gymnasium's CartPole": (
        "ours",
        ["reinforce_gymnasium", "--steps", "300000"],
    ),
    "ours: PPO at the zoo's settings": ("ours", ["ppo", "--steps", "100000"]),
    "ours: PPO, autograd engine": ("ours", ["ppo_autograd", "--steps", "15000"]),
    "ours: PPO, 10 epochs of 64, a module of one's own": ("ours", ["ppo_residual", "--steps", "800000"]),
    "stable-baselines3 PPO, 10 epochs of 64, the same module": (
        "peers",
        ["sb3_ppo_residual", "--steps", "300000"],
    ),
    "the lesson's loop in plain torch": ("peers", ["lesson", "--steps", "8000", "--seed", "1"]),
    "stable-baselines3 PPO, the zoo's settings": ("peers", ["sb3_ppo", "--steps", "12000"]),
    "stable-baselines3 A2C, the zoo's settings": ("peers", ["sb3_a2c", "--steps", "15000"]),
    "CleanRL-style PPO": ("peers", ["cleanrl_ppo", "--steps", "15000"]),
    "tianshou REINFORCE": ("peers", ["tianshou_reinforce", "--steps", "10000"]),
    "rejax PPO on JAX, near the zoo's settings": ("peers", ["rejax_ppo", "--steps", "100000"]),
}
"""CartPole-v1 with 64-64 tanh networks: steps/s, learning included."""

CHEETAH: dict[str, tuple[str, list[str]]] = {
    "ours: REINFORCE, 64 EnvPool environments, two cores": (
        "ours", ["half_cheetah", "--steps", "128000", "--cores", "2"],
    ),
    "ours: PPO, 64 EnvPool environments, two cores": (
        "ours", ["half_cheetah_ppo", "--steps", "65536", "--cores", "2"],
    ),
    "EnvPool's physics alone, 64 environments, two cores": (
        "peers", ["envpool_physics", "--steps", "128000", "--num-envs", "64", "--threads", "2"],
    ),
    "stable-baselines3 PPO, 1 environment": ("peers", ["sb3_half_cheetah", "--steps", "4096"]),
    "stable-baselines3 PPO, 8 environments": ("peers", ["sb3_half_cheetah", "--steps", "4096", "--num-envs", "8"]),
}  # fmt: skip
"""HalfCheetah-v5: steps/s. PPO uses 10 epochs and minibatches of 64 samples in every library."""

UPDATE_SIZES: dict[str, dict[str, tuple[str, list[str]]]] = {
    "A2C, 8 environments, 5 steps per update": {
        "ours": ("ours", ["a2c", "--steps", "4000000"]),
        "stable-baselines3": ("peers", ["sb3_a2c", "--steps", "30000"]),
    },
    "actor-critic, 1 environment, 1 step per update": {
        "ours": ("ours", ["actor_critic", "--steps", "300000"]),
        "ours, with traces": ("ours", ["actor_critic_traces", "--steps", "300000"]),
        "ours, linear": ("ours", ["actor_critic_linear", "--steps", "1500000"]),
        "stable-baselines3 A2C": ("peers", ["sb3_a2c_one", "--steps", "5000"]),
    },
    "actor-critic, 8 environments, 1 step per update": {
        "ours": ("ours", ["actor_critic", "--steps", "1500000", "--num-envs", "8"]),
        "ours, with traces": ("ours", ["actor_critic_traces", "--steps", "800000", "--num-envs", "8"]),
    },
    "REINFORCE, 1 environment, 1 episode per update": {
        "ours, with V(s)": ("ours", ["reinforce_one", "--steps", "3000000"]),
        "ours, without V(s)": ("ours", ["reinforce_one_plain", "--steps", "6000000"]),
        "the lesson's loop in plain torch": ("peers", ["lesson", "--steps", "8000", "--seed", "1"]),
    },
    "REINFORCE, linear policy, short corridor, 1 episode per update": {
        "ours": ("ours", ["corridor", "--steps", "5000000"]),
    },
    "PPO, 256 environments, 64 steps, 1 epoch, minibatches of 8,192": {
        "ours": ("ours", ["ppo_large", "--steps", "3000000"]),
        "rejax on JAX": ("peers", ["rejax_ppo_large", "--steps", "2000000"]),
        "stable-baselines3": ("peers", ["sb3_ppo_large", "--steps", "65536"]),
    },
}
"""CartPole-v1 with 64-64 networks unless stated: steps/s with very small and with very large updates."""

ENGINES = {
    "ours": ("ours", "update", []),
    "ours, 16 minibatches a call": ("ours", "update", ["--minibatches", "16"]),
    "torch eager": ("peers", "update_torch_eager", []),
    "torch.compile": ("peers", "update_torch_compile", []),
    "JAX": ("peers", "update_jax", []),
}

START = """
import time; t = time.perf_counter()
import policygrad as pg
imported = time.perf_counter()
pg.train("CartPole-v1", pg.Reinforce(), steps=10, progress=False)
print(imported - t, time.perf_counter() - imported)
"""


def run(script: str, arguments: list[str]) -> dict[str, Any] | None:
    """Run a script and return the JSON that it prints. If it fails, print the reason on stderr and return None."""
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments]
    with tempfile.TemporaryDirectory() as folder:  # MuJoCo writes a log into the working directory
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder)
    if done.returncode:
        reason = done.stderr.strip().splitlines()[-1:]
        print(f"left out: {' '.join(arguments)}: {reason}", file=sys.stderr, flush=True)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def say(*words: object) -> None:
    print(*words, file=sys.stderr, flush=True)


def repeated(rows: dict[str, tuple[str, list[str]]], repeats: int) -> dict[str, list[dict[str, Any]]]:
    """Return the figures of each row, one per repeat. Rows that fail the first time are not tried again."""
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in rows}
    for i in range(repeats):
        for name, (script, arguments) in rows.items():
            if i and not found[name]:
                continue
            figures = run(script, arguments)
            if figures is not None:
                found[name].append(figures)
                rate = (
                    f"{figures['steps'] / figures['seconds']:,.0f} steps/s" if "steps" in figures else figures
                )
                say(f"{i + 1}/{repeats}", name, rate)
    return {name: figures for name, figures in found.items() if figures}


def updates(repeats: int) -> dict[str, list[float]]:
    """Return the seconds of one update for each engine, batch size and width."""
    rows = {
        f"{name}|{B}|{width}": (script, [function, "--B", str(B), "--width", str(width), *more])
        for B in BATCHES
        for width in WIDTHS
        for name, (script, function, more) in ENGINES.items()
    }
    rows |= {"sgemm": ("ours", ["sgemm"])}
    found = repeated(rows, repeats)
    return {
        name: [f.get("figure", f.get("seconds_per_update")) for f in figures]
        for name, figures in found.items()
    }


def curves() -> dict[str, list[tuple[float, float]]]:
    """Return pairs (size, figure) that show how the cost grows with each size, from one run per pair."""
    found: dict[str, list[tuple[float, float]]] = {}

    def curve(name: str, option: str, sizes: tuple[int, ...], arguments: list[str]) -> None:
        found[name] = []
        for size in sizes:
            figures = run("ours", [*arguments, f"--{option}", str(size)])
            if figures is not None:
                figure = figures["steps"] / figures["seconds"] if "steps" in figures else figures["figure"]
                found[name].append((size, figure))
        say(name, found[name])

    sizes = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    curve("environments: steps/s with V(s)", "num-envs", sizes, ["reinforce", "--steps", "400000"])
    curve("batch: seconds an update", "B", (1, 4, 16, 64, 256, 1024, 4096, 16384), ["update"])
    curve("width: seconds an update of 256", "width", (8, 16, 32, 64, 128, 256, 512), ["update"])
    curve("depth: seconds an update of 256", "depth", (1, 2, 3, 4, 6, 8), ["update"])
    return found


def start_up(repeats: int) -> dict[str, list[float]]:
    """Return the seconds of importing, and from there to the end of a first training, with a warm and a cold cache."""
    found: dict[str, list[float]] = {"import torch": [], "import policygrad": [], "first training, warm": []}
    torch_only = "import time; t = time.perf_counter(); import torch; print(time.perf_counter() - t)"

    def seconds(code: str, **environment: str) -> list[float]:
        done = subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env=os.environ | environment,
        )
        return [float(word) for word in done.stdout.split()]

    for _ in range(repeats):
        found["import torch"] += seconds(torch_only)
        imported, first = seconds(START)
        found["import policygrad"].append(imported)
        found["first training, warm"].append(first)
    with tempfile.TemporaryDirectory() as folder:
        found["first training, cold"] = seconds(START, NUMBA_CACHE_DIR=folder)[1:]
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        command = [
            sys.executable,
            "-m",
            "policygrad",
            "train",
            "CartPole-v1",
            "--stop-at",
            "475",
            "--out",
            f"{folder}/run",
        ]
        subprocess.run(command, capture_output=True, check=True)
        found["policygrad train CartPole-v1 --stop-at 475 --out ..., warm"] = [time.perf_counter() - began]
    return found


SOLVING = """
import json, sys, tempfile, time, statistics
sys.path.insert(0, sys.argv[1])
import policygrad as pg
from ours import QUICK
what, first, seeds, cores = sys.argv[2], *map(int, sys.argv[3:])
algorithm, num_envs = QUICK.get(what, ("reinforce", None))
options = dict(stop_at=475, steps=400_000, progress=False, num_envs=num_envs)
pg.train("CartPole-v1", algorithm, **options | {"steps": 100})
with tempfile.TemporaryDirectory() as folder:
    began = time.perf_counter()
    runs = pg.train("CartPole-v1", algorithm, seed=first, seeds=seeds, cores=cores, out=folder + "/runs", **options)
    wall = time.perf_counter() - began
done = [run for run in runs if run.solved_at is not None]
print(json.dumps({
    "solved": len(done), "of": seeds, "wall": wall, "seconds": [run.solved_seconds for run in done],
    "steps_until": [run.solved_at for run in done],
}))
"""


def solving() -> dict[str, dict[str, Any]]:
    """Train until the mean of the last 100 training returns is 475, on 100 seeds that were not used for tuning."""
    found: dict[str, dict[str, Any]] = {}
    for name, what, cores in (
        ("without V(s), one core", "without V(s)", 1),
        ("with V(s), one core", "with V(s)", 1),
        ("without V(s), two cores, files and all", "without V(s)", 2),
        ("the preset, with V(s), two cores, files and all", "preset", 2),
    ):
        arguments = [str(HERE), what, "1000", "100", str(cores)]
        done = subprocess.run(
            [sys.executable, "-c", SOLVING, *arguments], capture_output=True, text=True, check=True
        )
        found[name] = json.loads(done.stdout)
        say(name, {k: v for k, v in found[name].items() if not isinstance(v, list)})
    return found


BUDGETS = {"sb3_ppo": 100_000, "sb3_a2c": 300_000, "cleanrl_ppo": 500_000, "tianshou_reinforce": 100_000}
SEEDS = 10


def peers_solving() -> dict[str, list[dict[str, Any]]]:
    """Do the same with the other libraries, in one process per seed."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name, steps in BUDGETS.items():
        for seed in range(SEEDS):
            figures = run("peers", [name, "--steps", str(steps), "--seed", str(seed)])
            if figures is None:
                break
            found.setdefault(name, []).append(figures)
        say(name, [f["solved_seconds"] for f in found.get(name, [])])
    return found


def update_sizes(repeats: int) -> dict[str, dict[str, list[dict[str, Any]]]]:
    """Measure all rows of `UPDATE_SIZES`, interleaved."""
    rows = {f"{what}|{who}": row for what, group in UPDATE_SIZES.items() for who, row in group.items()}
    measured = repeated(rows, repeats)
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for name, figures in measured.items():
        what, who = name.split("|")
        found.setdefault(what, {})[who] = figures
    return found


PARTS: dict[str, Callable[[int], Any]] = {
    "training": lambda repeats: repeated(TRAINING, repeats),
    "update sizes": update_sizes,
    "half cheetah": lambda repeats: repeated(CHEETAH, repeats),
    "updates": lambda _: updates(1),  # each is already a median of 300
    "start": lambda _: start_up(3),
    "solving": lambda _: solving(),
    "curves": lambda _: curves(),
    "peers solving": lambda _: peers_solving(),
}


USUAL = [name for name in PARTS if name != "peers solving"]


def measure(parts: Sequence[str], repeats: int) -> None:
    """Measure these parts, and write the report with their new figures and the stored figures of the other parts."""
    from bench_report import draw, report

    file = RESULTS / "bench.json"
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    for name in parts:
        began = time.time()
        figures = PARTS[name](repeats)
        found[name] = {
            "machine": f"{processor()}, {os.cpu_count()} cores, Python {platform.python_version()}",
            "on": time.strftime("%Y-%m-%d"),
            "minutes": round((time.time() - began) / 60, 1),
            "repeats": repeats if name in ("training", "update sizes", "half cheetah") else None,
            "figures": figures,
        }
        write_atomically(file, (json.dumps(found, indent=1) + "\n").encode())
    if set(USUAL) <= set(found):
        write_atomically(RESULTS / "bench.md", report(found).encode())
        draw(found, RESULTS)
        print(report(found))
    else:
        say(f"no report yet: these parts have not been measured: {', '.join(set(USUAL) - set(found))}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument(
        "--only", nargs="+", choices=PARTS, default=USUAL,
        help="parts to measure (default: all except 'peers solving', which alone takes half an hour)",
    )  # fmt: skip
    options = parser.parse_args()
    measure(options.only, options.repeats)
