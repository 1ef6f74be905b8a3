"""How one run scales with its actors: measurements on this machine, a cost model, and what it predicts.

`python benchmarks/actors.py` measures what the actors of a few runs cost, on a Ray cluster of this machine with one and
with two actors, and prints tables in Markdown: what crosses the network, the fitted costs, the model beside the
measurements, and its prediction for 8 and 64 actors on nodes of their own. It takes about five minutes and needs two
cores on which nothing else runs.
"""

from __future__ import annotations

import argparse
import pickle
import statistics
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import policygrad as pg
from policygrad._support.threads import single_thread
from policygrad.parallel import RemoteActors, Request
from policygrad.runs.experiment import Experiment
from policygrad.runs.interruption import Interruption
from policygrad.runs.progress import Silent
from policygrad.runs.running import run_experiment
from policygrad.runs.settings import settings_from
from policygrad.scheduling.cluster import actors_on, connected

CASES: dict[str, tuple[str, Any, dict[str, Any]]] = {
    "HalfCheetah-v5, PPO, minibatches of 64": ("HalfCheetah-v5", "ppo", {"steps": 60_000}),
    "HalfCheetah-v5, PPO, minibatches of 8,192": (
        "HalfCheetah-v5",
        pg.PPO(horizon=128, epochs=4, minibatch_size=8_192),
        {"steps": 100_000, "num_envs": 256, "network": pg.Network(hidden=(256, 256))},
    ),
    "HalfCheetah-v5, TRPO": ("HalfCheetah-v5", pg.TRPO(horizon=64), {"steps": 100_000, "num_envs": 64}),
    "CartPole-v1, A2C": ("CartPole-v1", pg.A2C(horizon=64), {"steps": 2_000_000, "num_envs": 256}),
}
COLLECTING = ("collect_steps", "collect_round")
NETWORK = 1.25e9
"""Bytes per second of the network between nodes, 10 Gbit/s, which is assumed."""
LATENCY = 50e-6
"""Seconds that a message and its answer take longer in such a network than in one machine, which is assumed."""


@dataclass
class Costs:
    """What the updates of one run cost with K actors: means per update, in seconds and bytes."""

    collecting: float
    computing: float
    """Asking actors for anything else."""
    leader: float
    asks: float
    sent: float
    received: float
    """Bytes to and from all actors together."""
    samples: float
    speed: float
    """Steps per second."""


class Metered:
    """Actors whose answers are timed and counted, after the first few updates."""

    def __init__(self, actors: Any) -> None:
        self._actors, self.count, self.may_be_lost = actors, actors.count, actors.may_be_lost
        self.seconds, self.asks = Counter[str](), Counter[str]()
        self.sent = self.received = 0
        self.counts_bytes = False

    def ask(self, requests: Sequence[Request]) -> list[Any]:
        began = time.perf_counter()
        answers = self._actors.ask(requests)
        self.seconds[requests[0].method] += time.perf_counter() - began
        self.asks[requests[0].method] += 1
        if self.counts_bytes:
            self.sent += sum(len(pickle.dumps(request, protocol=5)) for request in requests)
            self.received += sum(len(pickle.dumps(answer, protocol=5)) for answer in answers)
        return answers

    def replace_lost(self) -> None:
        self._actors.replace_lost()

    def close(self) -> None:
        self._actors.close()


def experiment_of(env: str, algorithm: Any, settings: dict[str, Any]) -> Experiment:
    settings = {"select": False, "progress": False, **settings}
    return Experiment(env, *settings_from(settings).resolved(env, algorithm))


def run(experiment: Experiment, start: Callable[..., Any] | None) -> pg.Run:
    display = Silent()
    with Interruption(display.say) as interruption:
        return run_experiment(experiment, 0, display, interruption, start_actors=start)


def measured(ray: Any, case: tuple[str, Any, dict[str, Any]], actors: int, *, counts_bytes: bool) -> Costs:
    """Train with that many actors, and return the costs of an update."""
    env, algorithm, settings = case
    found = list[Metered]()

    def start(experiment: Experiment, seed: int) -> Any:
        found.append(Metered(actors_on(ray, lambda message: None)(experiment, seed)))
        found[0].counts_bytes = counts_bytes
        return found[0]

    result = run(experiment_of(env, algorithm, {**settings, "actors": actors}), start)
    metered = found[0]
    updates = sum(metered.asks[name] for name in COLLECTING)
    seconds, steps = result.history["seconds"], result.history["steps"]
    total = seconds[-1] / updates
    collecting = sum(metered.seconds[name] for name in COLLECTING) / updates
    computing = sum(metered.seconds.values()) / updates - collecting
    return Costs(
        collecting, computing, total - collecting - computing, sum(metered.asks.values()) / updates,
        metered.sent / updates, metered.received / updates, steps[-1] / updates, steps[-1] / seconds[-1],
    )  # fmt: skip


def round_trip(ray: Any, actors: int, payload: int) -> tuple[float, float]:
    """Return the median seconds of asking actors to return some bytes, and the leader's CPU seconds of it."""
    experiment = experiment_of("CartPole-v1", pg.A2C(), {"actors": actors, "steps": 100})
    started: RemoteActors = actors_on(ray, lambda message: None)(experiment, 0)
    try:
        requests = [Request("echo", (b"x" * payload,))] * actors
        times, cpu = list[float](), list[float]()
        for _ in range(500):
            began = time.perf_counter(), time.thread_time()
            started.ask(requests)
            times.append(time.perf_counter() - began[0])
            cpu.append(time.thread_time() - began[1])
        return statistics.median(times), statistics.median(cpu)
    finally:
        started.close()


def table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    print("| " + " | ".join(headings) + " |")
    print("|" + "-|" * len(headings))
    for row in rows:
        print("| " + " | ".join(row) + " |")
    print(flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3, help="number of runs of each kind, in turns")
    rounds: int = parser.parse_args().rounds
    with connected("ray", 2) as ray, single_thread():
        (one, per_actor), (two, _) = (round_trip(ray, actors, 0) for actors in (1, 2))
        large, _ = round_trip(ray, 1, 1_000_000)
        per_call = one - per_actor
        # each message is sent and returned
        per_byte = (large - one) / 2e6
        print(
            f"Asking one actor takes {1e6 * one:.0f} µs, of which the leader computes for {1e6 * per_actor:.0f} µs. "
            f"Asking two takes {1e6 * two:.0f} µs. Messages add {1e9 * per_byte:.2f} ns per byte.\n"
        )
        for name, case in CASES.items():
            alone, costs = list[float](), {1: list[Costs](), 2: list[Costs]()}
            for _ in range(rounds):
                env, algorithm, settings = case
                plain = run(experiment_of(env, algorithm, {**settings, "cores": 1, "loop": "python"}), None)
                alone.append(plain.history["steps"][-1] / plain.history["seconds"][-1])
                for actors, list_of in costs.items():
                    list_of.append(measured(ray, case, actors, counts_bytes=False))
            traffic = {actors: measured(ray, case, actors, counts_bytes=True) for actors in costs}
            best = {actors: max(found, key=lambda one: one.speed) for actors, found in costs.items()}
            report(name, max(alone), best, traffic, per_call, per_actor, per_byte)


def report(
    name: str,
    alone: float,
    best: dict[int, Costs],
    traffic: dict[int, Costs],
    per_call: float,
    per_actor: float,
    per_byte: float,
) -> None:
    """Fit the model to the costs with one and two actors, and print what it predicts."""
    one = best[1]
    growth = {k: getattr(traffic[2], k) - getattr(traffic[1], k) for k in ("sent", "received")}
    calls = one.asks - 1
    moved = per_byte * (traffic[1].sent + traffic[1].received)
    # what the actors compute, without the calls and the messages
    work = max(one.computing - calls * (per_call + per_actor) - moved, 0.0)

    def predicted(actors: int, share: int, *, network: bool) -> float:
        """Return the seconds of an update of `share` times as many samples."""
        sent, received = (
            share * (getattr(traffic[1], k) - growth[k]) + growth[k] * actors
            if share == 1
            else share * getattr(traffic[1], k)
            for k in ("sent", "received")
        )
        latency = per_call + (LATENCY if network else 0.0)
        messages = (sent + received) * (max(per_byte, 1 / NETWORK) if network else per_byte)
        waiting = (calls + 1) * (latency + actors * per_actor) + messages
        return (one.collecting + work) * share / actors + one.leader * share + waiting

    print(f"## {name}\n")
    table(
        ("actors", "asks per update", "bytes to the actors", "bytes from the actors", "per sample"),
        [
            (
                str(k), f"{c.asks:.0f}", f"{c.sent:,.0f}", f"{c.received:,.0f}",
                f"{(c.sent + c.received) / c.samples:,.0f}",
            )
            for k, c in traffic.items()
        ],
    )  # fmt: skip
    table(
        ("actors", "collecting", "asking for the rest", "leader", "steps/s", "steps/s of the model"),
        [
            (
                str(k), f"{1e3 * c.collecting:.1f} ms", f"{1e3 * c.computing:.1f} ms", f"{1e3 * c.leader:.1f} ms",
                f"{c.speed:,.0f}", f"{c.samples / predicted(k, 1, network=False):,.0f}",
            )
            for k, c in best.items()
        ],
    )  # fmt: skip
    print(f"Without actors on one core: {alone:,.0f} steps/s.\n")
    rows = list[tuple[str, str, str]]()
    for actors in (1, 2, 8, 64):
        same = one.samples / predicted(actors, 1, network=True)
        more = actors * one.samples / predicted(actors, actors, network=True)
        rows.append((str(actors), f"{same:,.0f} ({same / alone:.1f})", f"{more:,.0f} ({more / alone:.1f})"))
    table(("actors", "same updates: steps/s (× alone)", "updates larger by the number of actors"), rows)


if __name__ == "__main__":
    main()
