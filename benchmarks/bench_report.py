"""Report the results of `bench.py` as Markdown and as pictures."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import Any

from ours import flops

median = statistics.median

KNEES = """\
## How the cost grows

Each point is one run. The curves bend for these reasons:

- **Environments.** With one environment, normalized advantages teach nothing from one episode to the next: episodes
  stay short, and the time is mostly that of calling an update. With a few, the matrix products are small. From about
  16 environments on, their tiles are full.
- **Batch.** Up to about 16 samples, an update costs as much as for one sample: the call from Python, the transposition
  of the weights, and Adam's step on every parameter. Beyond that, the cost of the matrix products dominates, which is
  proportional to the batch.
- **Width.** Below 32, the same fixed cost dominates. Above, the products of the hidden layers do, which grow with the
  square of the width.
- **Depth.** With one hidden layer, no matrix product has two wide sides. Each further layer adds the same cost.
"""


PEERS = {
    "sb3_ppo": "stable-baselines3 PPO",
    "sb3_a2c": "stable-baselines3 A2C",
    "cleanrl_ppo": "CleanRL-style PPO",
    "tianshou_reinforce": "tianshou REINFORCE",
}


def rate(figures: list[dict[str, Any]]) -> float:
    return median(f["steps"] / f["seconds"] for f in figures)


def table(head: tuple[str, ...], rows: list[tuple[Any, ...]]) -> list[str]:
    lines = [f"| {' | '.join(head)} |", f"|{'-|' * len(head)}"]
    return [*lines, *(f"| {' | '.join(map(str, row))} |" for row in rows), ""]


REINFORCE = "ours: REINFORCE with V(s), 64 environments"
OWN_MODULE = "ours: PPO, 10 epochs of 64, a module of one's own"


def training(found: dict[str, Any]) -> list[str]:
    rows = found["training"]
    bases = {"module": OWN_MODULE, "PPO": "ours: PPO at the zoo's settings", "": REINFORCE}
    lines = []
    for name, figures in rows.items():
        base = next(base for word, base in bases.items() if word in name)
        mine = rate(rows[base])
        speeds = [f["steps"] / f["seconds"] for f in figures]
        extra = (
            f"; plus {median(f['compile_seconds'] for f in figures):.1f} s of compilation"
            if figures[0].get("compile_seconds")
            else ""
        )
        lines.append((
            name + extra, f"{median(speeds):,.0f}", f"{min(speeds):,.0f} to {max(speeds):,.0f}",
            f"{mine / median(speeds):.1f}", f"{median(f['peak_mib'] for f in figures):,.0f}",
        ))  # fmt: skip
    return [
        "## CartPole-v1: environment steps per second, learning included",
        "",
        *table(("", "steps/s", "range", "speedup of ours", "peak MiB"), lines),
        "The speedup compares PPO with our PPO at the zoo's settings, PPO on a module of one's own with our PPO on "
        "that module (a run of about a minute, compilation included), and the rest with our REINFORCE with V(s). All "
        "networks have two hidden layers of 64 tanh units.",
        "",
    ]  # fmt: skip


def update_sizes(found: dict[str, Any]) -> list[str]:
    lines = []
    for what, rows in found["update sizes"].items():
        first = next(iter(rows.values()))
        for who, figures in rows.items():
            speeds = [f["steps"] / f["seconds"] for f in figures]
            compiling = median(f.get("compile_seconds", 0.0) for f in figures)
            extra = f"; plus {compiling:.1f} s of compilation" if compiling else ""
            lines.append((
                what, who + extra, f"{median(speeds):,.0f}", f"{min(speeds):,.0f} to {max(speeds):,.0f}",
                f"{rate(first) / median(speeds):.1f}",
            ))  # fmt: skip
    return [
        "## CartPole-v1 with small and with large updates: steps per second, learning included",
        "",
        *table(("", "library", "steps/s", "range", "speedup of the first"), lines),
        "All networks but the linear ones have two hidden layers of 64 units.",
        "",
    ]


def half_cheetah(found: dict[str, Any]) -> list[str]:
    rows = found["half cheetah"]
    if not rows:
        return []
    reinforce, ppo = (
        rate(rows[f"ours: {name}, 64 EnvPool environments, two cores"]) for name in ("REINFORCE", "PPO")
    )
    lines = [
        (name, f"{rate(figures):,.0f}", f"{reinforce / rate(figures):.2f}", f"{ppo / rate(figures):.2f}")
        for name, figures in rows.items()
    ]
    headings = ("", "steps/s", "speedup of our REINFORCE", "speedup of our PPO")
    return ["## HalfCheetah-v5", "", *table(headings, lines)]


def updates(found: dict[str, Any]) -> list[str]:
    rows = {name: median(figures) for name, figures in found["updates"].items()}
    peak = rows.pop("sgemm")
    engines = list(dict.fromkeys(name.split("|")[0] for name in rows))
    lines = []
    for B, width in dict.fromkeys(tuple(map(int, name.split("|")[1:])) for name in rows):
        times = [rows.get(f"{engine}|{B}|{width}") for engine in engines]
        share = [f"{flops(B, width) / t / 1e9 / peak:.2f}" if t else "—" for t in times[:2]]
        lines.append((B, width, *(f"{t * 1e6:,.0f}" if t else "—" for t in times), *share))
    return [
        "## One update of policy and V(s), in µs",
        "",
        *table(("B", "width", *engines, "fraction of sgemm", "fraction, 16 per call"), lines),
        f"sgemm of 512 × 512 matrices ran at {peak:.0f} GFLOP/s; the fraction counts only the operations of matrix "
        "products. PPO passes several minibatches per call, such as the 16 here, and so pays the cost of Python once.",
        "",
    ]


def solving(found: dict[str, Any]) -> list[str]:
    lines = [
        (
            name, f"{f['solved']} of {f['of']}", f"{median(f['steps_until']):,.0f} ({max(f['steps_until']):,})",
            f"{median(f['seconds']):.3f} ({max(f['seconds']):.2f})", f"{f['wall']:.1f}",
        )
        for name, f in found["solving"].items()
    ]  # fmt: skip
    for name, runs in found.get("peers solving", {}).items():
        done = [f for f in runs if f["solved_at"] is not None]
        steps, seconds = [f["solved_at"] for f in done], [f["solved_seconds"] for f in done]
        lines.append((
            f"{PEERS[name]}, one core", f"{len(done)} of {len(runs)} in {runs[0]['steps']:,}",
            f"{median(steps):,.0f} ({max(steps):,})" if done else "—",
            f"{median(seconds):.1f} ({max(seconds):.1f})" if done else "—", "",
        ))  # fmt: skip
    return [
        "## CartPole-v1 until solved: the mean of the last 100 training returns reaches 475",
        "",
        *table(("", "solved", "steps: median (maximum)", "seconds: median (maximum)", "all runs, s"), lines),
    ]


def start_up(found: dict[str, Any]) -> list[str]:
    lines = [(name, f"{median(seconds):.2f}") for name, seconds in found["start"].items()]
    return ["## Start-up", "", *table(("", "seconds"), lines)]


def report(parts: dict[str, Any]) -> str:
    found = {name: part["figures"] for name, part in parts.items()}
    when = [
        (name, part["machine"], part["on"], part["repeats"] or "—", f"{part['minutes']:.0f}")
        for name, part in parts.items()
    ]
    return "\n".join([
        "Each figure is measured on one core unless two are mentioned. Steps per second are medians of repeats that "
        "were interleaved with those of the other rows of the table. The speed of a machine drifts: compare "
        "only ratios within a table.",
        "",
        *training(found), *update_sizes(found), *updates(found), *half_cheetah(found), *solving(found),
        *start_up(found),
        KNEES, "![How the cost grows](bench_curves.png)", "",
        "## Dates and machines", "", *table(("part", "machine", "date", "repeats", "minutes"), when),
        *(f"{part['note']}\n" for part in parts.values() if "note" in part),
    ])  # fmt: skip


def draw(parts: dict[str, Any], folder: Path) -> None:
    """Draw `bench.png`, which compares steps/s, and `bench_curves.png`, the cost against the size."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogFormatterSciNotation, NullLocator

    from policygrad._support.files import save_png

    found = {name: part["figures"] for name, part in parts.items()}
    rows = sorted((rate(figures), name) for name, figures in found["training"].items())
    figure = Figure(figsize=(9, 4.8), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    colors = ["#2166ac" if name.startswith("ours") else "0.65" for _, name in rows]
    bars = axes.barh([name for _, name in rows], [speed for speed, _ in rows], color=colors)
    axes.bar_label(bars, [f"{speed:,.0f}" for speed, _ in rows], padding=3, fontsize=8)
    axes.set(
        xscale="log",
        xlabel="environment steps per second, learning included",
        title="CartPole-v1, 64-64 tanh",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(axis="y", labelsize=8)
    axes.set_xlim(right=rows[-1][0] * 4)
    save_png(figure, folder / "bench.png")

    figure = Figure(figsize=(10, 7), dpi=120, layout="constrained")
    for axes, (name, points) in zip(figure.subplots(2, 2).flat, found["curves"].items(), strict=False):
        what, _, unit = name.partition(": ")
        axes.plot([x for x, _ in points], [y for _, y in points], "o-", color="#2166ac")
        axes.set(xscale="log", yscale="log", xlabel=what, ylabel=unit)
        axes.set_xticks([x for x, _ in points], [f"{x:,}" for x, _ in points], fontsize=8)
        axes.xaxis.set_minor_locator(NullLocator())
        axes.yaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=(2, 0.5)))
        axes.grid(alpha=0.25)
        axes.spines[["top", "right"]].set_visible(False)
    save_png(figure, folder / "bench_curves.png")
