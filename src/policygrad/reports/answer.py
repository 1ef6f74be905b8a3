"""The answer of a report in words: which configuration is best, by how much, and how certain that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from policygrad.reports.cell_numbers import CellNumbers
from policygrad.reports.ranking import Ranking, Standing, over_environments
from policygrad.reports.wording import counted, ends, estimate_in_words, listed, number, p_value
from policygrad.statistics import Comparison
from policygrad.studies.saved_cell import ScoreName
from policygrad.studies.saved_study import SavedStudy

SCORE_WORDS: dict[ScoreName, str] = {
    "greedy": "mean return of the best policy over fresh episodes with greedy actions",
    "sampled": "mean return of the best policy over fresh episodes with sampled actions",
    "last_100": "mean return of the last 100 training episodes",
}
MOST_NAMED = 3
"""Largest number of environments that the headline names."""


@dataclass(frozen=True)
class Answer:
    """What is known about one environment."""

    environment: str
    standing: Standing
    headline: str
    """The answer in one sentence."""
    sentences: list[str]
    """How large the difference is, how certain it is, and how many runs solved the environment."""


def headline(rankings: Sequence[Ranking]) -> str:
    """Return the answer over all environments in one or two sentences."""
    started = [one for one in rankings if one.cells]
    if not started:
        return "No run has finished, so there is no answer yet."
    if len(started) == 1:
        return _headline(started[0])
    if not any(one.against for one in started):
        return _alone_on_several(started)
    decided, leading, tied = dict[str, list[str]](), dict[str, list[str]](), list[str]()
    for one in started:
        best = one.cells[0].cell.configuration
        if one.standing == "decided":
            decided.setdefault(best, []).append(one.environment)
        elif one.against and _is_tied(one):
            tied.append(one.environment)
        elif one.against:
            leading.setdefault(best, []).append(one.environment)
    words = [f"{name} is best on {_where(names, started)}." for name, names in decided.items()]
    if leading:
        parts = [f"{name} scores highest on {_where(names, started)}" for name, names in leading.items()]
        few = [one for one in started if one.standing in ("not decided", "too few seeds")]
        reason = "there are too few seeds to decide that" if _all_too_few(few) else "that is not decided"
        words.append(f"{listed(parts)}, but {reason}.")
    if tied:
        words.append(f"The best configurations score the same on {_where(tied, started)}.")
    return " ".join(words)


def _where(names: Sequence[str], among: Sequence[Ranking]) -> str:
    if len(names) == len(among) > 2:
        return f"all {len(names)} environments"
    return listed(names) if len(names) <= MOST_NAMED else f"{len(names)} of {len(among)} environments"


def _all_too_few(rankings: Sequence[Ranking]) -> bool:
    return all(one.standing == "too few seeds" for one in rankings)


def _is_tied(ranked: Ranking) -> bool:
    return next(iter(ranked.against.values())).difference == 0


def _alone_on_several(started: Sequence[Ranking]) -> str:
    """Return what a single configuration reached on several environments."""
    known = [one for one in started if one.cells[0].survival is not None]
    name = started[0].cells[0].cell.configuration
    if not known:
        return f"{name} was trained on {counted(len(started), 'environment')}, none of which has a threshold."
    every = [one.environment for one in known if one.cells[0].solved == len(one.cells[0].cell.finished)]
    some = [one.environment for one in known if one.cells[0].solved and one.environment not in every]
    parts = [(every, "in every run"), (some, "in some runs")]
    words = [f"{_where(names, started)} {how}" for names, how in parts if names]
    return f"{name} solved {listed(words)}." if words else f"{name} solved none of {len(known)} environments."


def progress(study: SavedStudy) -> list[str]:
    """Return how many runs finished, failed or are missing, in sentences."""
    total = sum(len(cell.seeds) for cell in study.cells)
    finished = sum(len(cell.finished) for cell in study.cells)
    failed = sum(len(cell.failed) for cell in study.cells)
    waiting = sum(not cell.seeds for cell in study.cells)
    if total and total == finished:
        words = ["The run has finished." if total == 1 else f"All {counted(total, 'run')} finished."]
    else:
        words = [f"{finished:,} of {counted(total, 'run')} finished."]
    if failed:
        them = "it" if failed == 1 else "them"
        words.append(f"{counted(failed, 'run')} failed; scores and curves leave {them} out.")
    if study.missing:
        has = "has" if study.missing == 1 else "have"
        words.append(
            f"{counted(study.missing, 'run')} {has} not finished, because training was interrupted or is still going "
            "on. This page shows what there was when it was written."
        )
    if waiting:
        has = "has" if waiting == 1 else "have"
        words.append(f"{counted(waiting, 'combination')} of environment and configuration {has} not begun.")
    return words


def together(rankings: Sequence[Ranking]) -> str | None:
    """Return how the two best configurations compare over all environments; None if there is only one of either."""
    found = over_environments(rankings)
    if found is None:
        return None
    best, second, comparison = found
    if comparison.verdict == "not decided":
        verdict = "which does not decide between the two"
    else:
        verdict = f"so {best if comparison.verdict == 'a is better' else second} is better"
    return (
        f"Over {counted(len(comparison.environments), 'environment')} together, a run of {best} scores higher than a "
        f"run of {second} with probability {estimate_in_words(comparison.improvement)}, {verdict} "
        f"({p_value(comparison.p)})."
    )


def answer(ranked: Ranking) -> Answer:
    """Return what is known about the environment of a ranking."""
    sentences = list[str]()
    if ranked.cells:
        best = ranked.cells[0]
        assert best.summary is not None
        if len(best.scores) > 1:
            name = best.cell.configuration
            sentences.append(f"The mean score of {name} is {estimate_in_words(best.summary.mean)}.")
        if ranked.against:
            second, comparison = next(iter(ranked.against.items()))
            sentences.append(_difference(best.cell.configuration, second, comparison))
            sentences += _others(ranked)
            sentences.append(_solved(ranked.cells))
    return Answer(ranked.environment, ranked.standing, _headline(ranked), sentences)


def _headline(ranked: Ranking) -> str:
    if not ranked.cells:
        return "No run has finished."
    if not ranked.against:
        return _alone(ranked.cells[0])
    best, where = ranked.cells[0].cell.configuration, ranked.environment
    if ranked.standing == "decided":
        return f"{best} is best on {where}."
    if _is_tied(ranked):
        return f"{best} and {next(iter(ranked.against))} score the same on {where}."
    if ranked.standing == "too few seeds":
        return f"{best} scores highest on {where}, but there are too few seeds to decide."
    return f"{best} scores highest on {where}, but that is not decided."


def _difference(best: str, second: str, comparison: Comparison) -> str:
    """Return how much better the best configuration is than the second, and whether that is decided."""
    text = f"It scores {number(comparison.difference)} more than {second}, the next best"
    if comparison.difference == 0:
        text = f"{best} and {second} have the same mean score"
    if math.isnan(comparison.low):
        return f"{text}. One seed says nothing about chance; train {comparison.fewest} or more of each."
    text += f" ({ends(comparison.low, comparison.high, comparison.level)}, {p_value(comparison.p)})"
    if comparison.verdict == "a is better":
        return f"{text}. That is decided."
    fewest = min(comparison.n)
    if fewest < comparison.fewest:
        return f"{text}. {counted(fewest, 'seed')} of each cannot decide; train {comparison.fewest} or more."
    if comparison.low == comparison.high:
        return f"{text}."
    if comparison.needed is None:
        return f"{text}. That is not decided, and a difference this small would take more than 1,000 seeds of each."
    return (
        f"{text}. That is not decided. If the true difference is as large as this one, about {comparison.needed:,} "
        "seeds of each would probably decide."
    )


def _others(ranked: Ranking) -> list[str]:
    """Return how the best configuration compares with those after the second."""
    rest = list(ranked.against.items())[1:]
    beaten = [name for name, comparison in rest if comparison.verdict == "a is better"]
    undecided = [name for name, comparison in rest if comparison.verdict != "a is better"]
    best, words = ranked.cells[0].cell.configuration, list[str]()
    if beaten:
        also = "also " if ranked.standing == "decided" else ""
        words.append(f"{best} is {also}better than {listed(beaten)}.")
    if undecided and ranked.standing != "too few seeds":
        either = "" if beaten else " either"
        words.append(f"Against {listed(undecided)} it is not decided{either}.")
    return words


def _solved(cells: Sequence[CellNumbers]) -> str:
    """Return how many runs of each configuration solved the environment."""
    known = [cell for cell in cells if cell.survival is not None]
    if not known:
        return "The environment has no threshold, so no run counts as solved."
    solved = f"mean return of 100 training episodes ≥ {number(known[0].cell.threshold)}"
    if not any(cell.solved for cell in known):
        return f"No run solved it ({solved})."
    return (
        f"Solved ({solved}): {'; '.join(f'{cell.cell.configuration} in {_share(cell)}' for cell in known)}."
    )


def _share(cell: CellNumbers) -> str:
    """Return how many runs of a cell were solved, and the steps by which half of them were."""
    runs = counted(len(cell.cell.finished), "run")
    middle = cell.survival.median if cell.survival is not None else None
    within = "" if middle is None else f", half of the runs within {number(middle)} steps"
    return f"{cell.solved} of {runs}{within}"


def _alone(cell: CellNumbers) -> str:
    """Return what the only configuration of an environment reached."""
    name, where, runs = cell.cell.configuration, cell.cell.environment, cell.cell.finished
    score = f"a {'score' if len(cell.scores) == 1 else 'mean score'} of {number(cell.mean)}"
    if cell.survival is None:
        return f"{name} reached {score} on {where}, which has no threshold."
    if len(runs) > 1:
        return f"{name} solved {where} in {_share(cell)}, and reached {score}."
    steps = runs[0].solved_at
    if steps is None:
        return (
            f"{name} reached {score} on {where}, and did not solve it within {number(runs[0].steps)} steps."
        )
    return f"{name} solved {where} after {number(steps)} steps, and reached {score}."
