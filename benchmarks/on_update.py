"""What `on_update` costs where training runs in machine code, which then returns after every row of the history.

`python benchmarks/on_update.py` trains on CartPole-v1 with and without a function that does nothing, in turn, and
prints the shortest CPU times, which other programs disturb little, as a table in Markdown.
"""

from __future__ import annotations

import time

import policygrad as pg

STEPS, REPEATS = 200_000, 7


def seconds_and_rows(algorithm: str, with_function: bool, steps: int = STEPS) -> tuple[float, int]:
    """Train, and return the CPU seconds of `train` and the number of rows."""
    began = time.process_time()
    run = pg.train(
        "CartPole-v1", algorithm, steps=steps, loop="compiled", select=False, progress=False,
        on_update=(lambda update: None) if with_function else None,
    )  # fmt: skip
    return time.process_time() - began, len(run.updates)


def main() -> None:
    print("| algorithm | rows | steps per row | without | with `on_update` | with / without | per row |")
    print("|-|-|-|-|-|-|-|")
    for algorithm in ("ppo", "a2c", "reinforce"):
        seconds: dict[bool, list[float]] = {False: [], True: []}
        rows = 0
        for repeat in range(REPEATS + 1):
            for way, times in seconds.items():
                took, rows = seconds_and_rows(algorithm, way)
                if repeat:
                    # the first pair compiles or loads machine code
                    times.append(took)
        without, with_it = (min(seconds[way]) for way in (False, True))
        per_row = 1000 * (with_it - without) / rows
        print(
            f"| {algorithm} | {rows:,} | {STEPS // rows:,} | {without:.2f} s | {with_it:.2f} s "
            f"| {with_it / without:.2f} | {per_row:.2f} ms |",
            flush=True,
        )


if __name__ == "__main__":
    main()
