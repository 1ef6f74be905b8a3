"""The rows of the scoreboard: every preset, its goal, and the published results."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from policygrad.presets import PRESETS

Rule = Literal["tianshou", "cleanrl", "zoo"]
"""Rule by which a run is scored; see `scoreboard_scores.RULES`."""

TEST_EVERY, TEST_EPISODES = 30_000, 10
"""Steps between tianshou's evaluations during training, and the episodes of each."""


@dataclass(frozen=True)
class Published:
    """A published result of another library."""

    rule: Rule
    mean: float
    std: float | None
    """Standard deviation over seeds; None if it is not published (the zoo has one seed)."""
    steps: int


@dataclass(frozen=True)
class Goal:
    """The condition for success, which was set before the runs."""

    rule: Rule
    score: float
    share: float | None = None
    """Fraction of the seeds that must reach the score; None if the mean over the seeds must reach it."""
    within: int | None = None
    """Number of steps allowed."""

    def __str__(self) -> str:
        score = f"{self.score:g}".replace("-", "−")
        return (
            f"mean ≥ {score}"
            if self.share is None
            else f"greedy ≥ {score} on {100 * self.share:g} % of seeds"
        )


@dataclass(frozen=True)
class Row:
    """An algorithm on an environment, with its preset."""

    environment: str
    algorithm: str
    steps: int
    seeds: int = 10
    label: str = ""
    """Label that distinguishes rows of the same preset."""
    goal: Goal | None = None
    published: tuple[Published, ...] = ()
    episodes: int = 100
    """Number of episodes of the greedy evaluation after training."""

    @property
    def title(self) -> str:
        """The algorithm with its label."""
        return f"{self.algorithm}-{self.label}" if self.label else self.algorithm

    @property
    def name(self) -> str:
        """Name for `ONLY=`, and folder of the runs."""
        return f"{self.environment}/{self.title}"

    @property
    def eval_every(self) -> int | None:
        """Steps between evaluations during training, which cost up to a third of the time; None if no rule needs it."""
        return TEST_EVERY if any(p.rule == "tianshou" for p in self.published) else None


ACTOR_CRITICS = ("a2c", "ppo", "trpo", "npg")
GOALS = {
    "CartPole-v1": 490,
    "Acrobot-v1": -85,
    "MountainCar-v0": -115,
    "MountainCarContinuous-v0": 91,
    "Pendulum-v1": -170,
    "LunarLander-v3": 240,
    "LunarLanderContinuous-v3": 260,
}
"""Greedy return that nine of ten seeds must reach, within the zoo's steps if the zoo has the algorithm."""
WITHIN = {"MountainCarContinuous-v0": 100_000}
"""Steps allowed where the goal is from another algorithm of the zoo: here from A2C; its PPO has 88 in 20,000 steps."""
REINFORCE_GOALS = ("CartPole-v1", "MountainCarContinuous-v0")

MUJOCO = (
    "HalfCheetah", "Hopper", "Walker2d", "Swimmer", "Ant", "Reacher", "InvertedPendulum", "InvertedDoublePendulum",
)  # fmt: skip
TIANSHOU = {
    ("reinforce", 3_000_000): "884±41 396±65 412±52 35±1 475±134 -10.5±0.7 999±2 1060±308",
    ("a2c", 1_000_000): "1830±1068 1253±458 1092±709 37±2 3485±433 -6.7±2.3 1000 9258±277",
    ("a2c", 3_000_000): "2377±1364 1609±530 1805±1056 40±2 5237±237 -5.2±0.5 1000 9351±13",
    ("ppo", 1_000_000): "5784±1244 2609±701 3589±757 67±99 3258±1079 -4.1±0.3 1000 9231±270",
    ("trpo", 1_000_000): "4471±805 2046±1038 3827±783 41±20 2867±708 -5.1±0.8 1000 8435±1073",
    ("npg", 1_000_000): "3485±717 1915±551 2503±963 32±8 2358±518 -4.5±0.5 1000 9243±276",
}
"""Results in the order of `MUJOCO`, from ten seeds (examples/mujoco/README.md), on versions 2 and 3 of MuJoCo's
environments."""
MUJOCO_STEPS = {
    "reinforce": 3_000_000,
    "a2c": 1_000_000,
    "ppo": 1_000_000,
    "trpo": 1_000_000,
    "npg": 1_000_000,
}

ZOO = {
    "CartPole-v1": {"a2c": (500, 500_000), "ppo": (500, 100_000), "trpo": (500, 100_000)},
    "Acrobot-v1": {"a2c": (-83, 500_000), "ppo": (-74, 1_000_000), "trpo": (-83, 100_000)},
    "MountainCar-v0": {"a2c": (-111, 1_000_000), "ppo": (-110, 1_000_000), "trpo": (-107, 100_000)},
    "MountainCarContinuous-v0": {"a2c": (91, 100_000), "ppo": (88, 20_000), "trpo": (93, 50_000)},
    "Pendulum-v1": {"a2c": (-163, 1_000_000), "ppo": (-172, 100_000), "trpo": (-175, 100_000)},
    "LunarLander-v3": {"a2c": (156, 200_000), "ppo": (242, 1_000_000), "trpo": (133, 200_000)},
    "LunarLanderContinuous-v3": {"a2c": (84, 5_000_000), "ppo": (271, 1_000_000), "trpo": (262, 200_000)},
    "BipedalWalker-v3": {"a2c": (300, 5_000_000), "ppo": (288, 5_000_000), "trpo": (182, 1_000_000)},
    "HalfCheetah-v5": {"a2c": (3041, 1_000_000), "ppo": (5819, 1_000_000), "trpo": (1785, 1_000_000)},
}
"""Results and steps from rl-baselines3-zoo's benchmark.md, with one seed each; the landers are version 2."""

CLEANRL: dict[str, tuple[float, float | None, int]] = {
    "CartPole-v1": (490, 6, 500_000),
    "Acrobot-v1": (-86, 1, 500_000),
    "MountainCar-v0": (-200, None, 500_000),
    "HalfCheetah-v5": (1443, 46, 1_000_000),
    "Walker2d-v5": (2288, 572, 1_000_000),
    "Hopper-v5": (2383, 272, 1_000_000),
    "InvertedPendulum-v5": (963, 22, 1_000_000),
}
"""Mean, standard deviation and steps of CleanRL's PPO, from three seeds."""


def rows() -> list[Row]:
    """Return all rows, environment by environment in the order of the presets."""
    found = []
    for environment, presets in PRESETS.items():
        mujoco = environment.removesuffix("-v5") in MUJOCO
        for algorithm, preset in presets.items():
            steps = MUJOCO_STEPS.get(algorithm, preset.steps) if mujoco else preset.steps
            found.append(_row(environment, algorithm, steps, mujoco))
            if mujoco and algorithm == "a2c":
                found.append(_row(environment, algorithm, 3_000_000, mujoco, "3M"))
    return found


def _row(environment: str, algorithm: str, steps: int, mujoco: bool, label: str = "") -> Row:
    published = _published(environment, algorithm, steps)
    return Row(
        environment,
        algorithm,
        steps,
        5 if mujoco else 10,
        label,
        _goal(environment, algorithm, published),
        published,
        # the returns depend strongly on the initial state
        500 if environment == "Pendulum-v1" else 100,
    )


def _published(environment: str, algorithm: str, steps: int) -> tuple[Published, ...]:
    found = []
    name = environment.removesuffix("-v5")
    if name in MUJOCO and (algorithm, steps) in TIANSHOU:
        mean, _, std = TIANSHOU[algorithm, steps].split()[MUJOCO.index(name)].partition("±")
        found.append(Published("tianshou", float(mean), float(std) if std else None, steps))
    if environment in CLEANRL and algorithm == "ppo":
        found.append(Published("cleanrl", *CLEANRL[environment]))
    # a row with three times as many steps would only look better
    if algorithm in ZOO.get(environment, {}) and not (name in MUJOCO and steps > 1_000_000):
        mean, their_steps = ZOO[environment][algorithm]
        found.append(Published("zoo", mean, None, their_steps))
    return tuple(found)


def _goal(environment: str, algorithm: str, published: tuple[Published, ...]) -> Goal | None:
    for theirs in published:
        if theirs.rule == "tianshou":
            return Goal("tianshou", theirs.mean, within=theirs.steps)
    if environment in GOALS and (algorithm in ACTOR_CRITICS or environment in REINFORCE_GOALS):
        _, within = ZOO[environment].get(algorithm, (None, None))
        if algorithm in ACTOR_CRITICS:
            within = WITHIN.get(environment, within)
        return Goal("zoo", GOALS[environment], share=0.9, within=within)
    return None


def chosen(rows: Sequence[Row], only: str | None) -> list[Row]:
    """Return the rows that match one of the patterns, which are separated by commas.

    A pattern is the name of a row or of an environment, and may contain `*`.

    Raises:
        ValueError: a pattern matches no row.
    """
    if not only:
        return list(rows)
    patterns = [pattern.strip() for pattern in only.split(",")]

    def named(row: Row, pattern: str) -> bool:
        return fnmatchcase(row.name, pattern) or fnmatchcase(row.environment, pattern)

    for pattern in patterns:
        if not any(named(row, pattern) for row in rows):
            raise ValueError(
                f"no row is called {pattern!r}; the rows are {', '.join(row.name for row in rows)}"
            )
    return [row for row in rows if any(named(row, pattern) for pattern in patterns)]
