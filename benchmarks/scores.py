"""Measure the returns of the REINFORCE presets on ten seeds each: `make scores`.

All seeds from 0 to 9 are reported. The best policy of each run is evaluated on 100 fresh episodes. This writes
`benchmarks/results/scores.md`, `scores.json` and the learning curves in `docs/images/`.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from curves import COLORS, Curve, Level, draw

import policygrad as pg
from policygrad.presets import preset_for

ROOT = Path(__file__).parents[1]
SEEDS = range(10)
PICTURES = {
    "CartPole-v1": (475, "cartpole.png"),
    "MountainCarContinuous-v0": (90, "mountain_car_continuous.png"),
}
PLAIN = pg.Reinforce(gamma=0.99, baseline="none", learning_rate=0.001)


@dataclass(frozen=True)
class Entry:
    """A row of the table: a configuration and its settings."""

    environment: str
    title: str
    algorithm: pg.Reinforce
    settings: dict[str, Any]


def entries() -> list[Entry]:
    """Return the rows of the table."""
    cart, car = "CartPole-v1", "MountainCarContinuous-v0"
    cart_preset, car_preset = (preset_for(env, "reinforce") for env in (cart, car))
    shaping = car_preset.shaping
    car_settings = {"network": car_preset.network, "steps": car_preset.steps, "num_envs": 8}
    no_baseline = replace(cart_preset.algorithm, baseline="none")
    return [
        Entry(cart, "V(s)", cart_preset.algorithm, {"network": cart_preset.network, "steps": 150_000}),
        Entry(cart, "no baseline", no_baseline, {"network": cart_preset.network, "steps": 200_000}),
        Entry(
            car, "V(s), potential, 8 environments", car_preset.algorithm, car_settings | {"shaping": shaping}
        ),
        Entry(car, "plain: no baseline, no shaping, 1 environment", PLAIN, {"steps": 300_000, "num_envs": 1}),
    ]


def train_one(entry: Entry, seed: int) -> dict[str, Any]:
    """Train and evaluate a run, and return its results."""
    run = pg.train(entry.environment, entry.algorithm, seed=seed, progress=False, **entry.settings)
    greedy, sampled = (
        pg.evaluate(run.policy, entry.environment, 100, greedy=g, seed=seed) for g in (True, False)
    )
    return {
        "title": entry.title,
        "environment": entry.environment,
        "seed": seed,
        "steps": run.steps,
        "seconds": run.seconds,
        "solved_at": run.solved_at,
        "last_100": run.updates.latest["return_100"],
        "greedy": greedy.mean,
        "sampled": sampled.mean,
        "curve": [run.history["steps"].tolist(), run.history["return_100"].tolist()],
    }


def by_title(results: list[dict[str, Any]], title: str) -> list[dict[str, Any]]:
    return [r for r in results if r["title"] == title]


def table(results: list[dict[str, Any]]) -> str:
    """Return a Markdown table with one row per configuration."""
    lines = [
        "Each row summarizes ten seeds, 0 to 9. A run is solved when the mean of its last 100 training returns reaches "
        "475 (CartPole) or 90 (car). The greedy return is that of the best policy over 100 fresh episodes. Ranges are "
        "over the seeds; every run is in `scores.json`.",
        "",
        "| environment | REINFORCE | budget | solved | steps until solved, median (range) "
        "| greedy return, median (range) |",
        "|-|-|-|-|-|-|",
    ]
    for entry in entries():
        runs = by_title(results, entry.title)
        solved = [r["solved_at"] for r in runs if r["solved_at"] is not None]
        steps = f"{statistics.median(solved):,.0f} ({min(solved):,} – {max(solved):,})" if solved else "—"
        greedy = [r["greedy"] for r in runs]
        returns = f"{statistics.median(greedy):.1f} ({min(greedy):.1f} – {max(greedy):.1f})"
        budget = f"{entry.settings['steps']:,}"
        lines.append(
            f"| {entry.environment} | {entry.title} | {budget} | {len(solved)} of {len(runs)} | {steps} | {returns} |"
        )
    return "\n".join([*lines, ""])


def draw_curves(results: list[dict[str, Any]], threshold: float, path: Path) -> None:
    """Draw each seed's running mean of returns and their median, with one color per configuration."""
    titles = list(dict.fromkeys(r["title"] for r in results))
    curves = [
        Curve(title, [run["curve"] for run in by_title(results, title)], color)
        for title, color in zip(titles, COLORS, strict=False)
    ]
    title = f"{results[0]['environment']}, REINFORCE: each seed, median and quartiles"
    draw(path, title, curves, [Level(f"solved: {threshold:g}", threshold)], each_seed=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="measure only this environment, and keep the results of the others")
    only = parser.parse_args().only
    chosen = [entry for entry in entries() if only in (None, entry.environment)]
    jobs = [(entry, seed) for entry in chosen for seed in SEEDS]
    folder = ROOT / "benchmarks" / "results"
    folder.mkdir(exist_ok=True)
    results: list[dict[str, Any]] = []
    if only is not None:
        earlier = json.loads((folder / "scores.json").read_text())
        results = [r for r in earlier if r["environment"] != only]
    # potentials are functions, which are pickled by name, so the spawned processes import them
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        for result in pool.map(train_one, *zip(*jobs, strict=True)):
            results.append(result)
            print(json.dumps(without_curve(result)), file=sys.stderr, flush=True)
    (folder / "scores.json").write_text(json.dumps([without_curve(r) for r in results], indent=1) + "\n")
    (folder / "scores.md").write_text(table(results))
    for environment, (threshold, picture) in PICTURES.items():
        if only in (None, environment):
            draw_curves(
                [r for r in results if r["environment"] == environment],
                threshold,
                ROOT / "docs/images" / picture,
            )
    print(table(results))


def without_curve(result: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in result.items() if name != "curve"}


if __name__ == "__main__":
    main()
