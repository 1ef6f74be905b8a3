"""Ailments of the reward: never seen, constant, badly scaled, or too late for the discount factor."""

from __future__ import annotations

import math

import numpy as np

from policygrad.doctor.evidence import Evidence
from policygrad.doctor.finding import Ailment, Finding
from policygrad.doctor.probe import Probe

SAME = 0.99
"""Share of the updates with one and the same mean return from which nothing can be learned from the others."""
FEWEST_RETURNS = 3
"""Number of updates in which episodes ended, below which equal means may be chance."""
LONGER = 10
"""Factor by which longer episodes are suggested."""
LARGE, SMALL = 30.0, 0.03
"""Root mean square error of V(s) above which rewards are too large for it, and standard deviation of the returns below
which an entropy bonus may outweigh them."""
HUGE, BEHIND = 300.0, 0.8
"""Error of V(s), and share of it that is bias, from which rewards are too large even if returns have risen."""
EXPLAINED = 0.5
"""Explained variance above which V(s) copes with the size of the rewards."""
SHARE_LEFT = 0.05
"""Share of a reward that has to be left after discounting, for the decision that it depends on to count."""
RARE = 0.2
"""Share of the steps below which rewards that differ from the usual one are events, with a delay before them."""


def _usual_return(e: Evidence) -> tuple[float, float]:
    """Return (most frequent mean return of an update, share of the updates that have it)."""
    returns = e.metric("return")
    returns = returns[~np.isnan(returns)]
    if len(returns) < FEWEST_RETURNS:
        return math.nan, 0.0
    values, counts = np.unique(returns, return_counts=True)
    return float(values[counts.argmax()]), float(counts.max() / len(returns))


def _has_same_length(e: Evidence) -> bool:
    lengths = e.metric("episode_length")
    return bool(np.nanmin(lengths) == np.nanmax(lengths))


def _nothing_else_seen(e: Evidence) -> bool:
    """Return whether almost all episodes of the run had one return, and the probe has seen one reward only."""
    _, share = _usual_return(e)
    return share >= SAME and (e.probe is None or not e.probe.rare_rewards)


def _never_seen(e: Evidence) -> Finding | None:
    usual, share = _usual_return(e)
    if not _nothing_else_seen(e) or usual > 0:
        return None
    if usual < 0 and not _has_same_length(e):
        return None
    length = float(np.nanmean(e.metric("episode_length")))
    words = (
        f"no reward that depends on the actions was seen: {share:.0%} of the updates had a mean return of exactly "
        f"{usual:g}, in {e.episodes:,} episodes of {length:,.0f} steps on average."
    )
    advice = "Reward progress with shaping (--shaping module:function), or begin episodes nearer to the goal."
    if not _has_same_length(e):
        return Finding(REWARD_NEVER_SEEN.name, words, advice)
    remedy = {"max_episode_steps": LONGER * round(length)}
    return Finding(
        REWARD_NEVER_SEEN.name,
        words,
        f"Let episodes last longer, so that chance finds the goal. {advice}",
        remedy,
    )


REWARD_NEVER_SEEN = Ailment(
    "reward never seen",
    "Exploration never reaches what is rewarded, so that all returns are equal and every advantage is 0.",
    "at least 99 % of the updates have the same mean return, which is 0, or the negative cost of all steps",
    "`--max-episode-steps` with a larger limit, or `--shaping`",
    _never_seen,
    explains=(
        "constant rewards", "no gradient", "V(s) explains nothing", "V(s) is biased", "the policy hardly changes",
        "steps too large", "batch too small", "entropy never falls", "learning rate too low", "discount too short",
        "entropy collapsed", "greedy and sampled returns differ", "observations lack the past", "reward scale",
        "too few updates", "observations never change", "learning rate too high",
        "standard deviation at its bound", "time limit reported as termination",
    ),
)  # fmt: skip


def _constant(e: Evidence) -> Finding | None:
    usual, share = _usual_return(e)
    if share < SAME or (e.probe is not None and (e.probe.rare_rewards or not _same_lengths(e.probe))):
        return None
    length = float(np.nanmean(e.metric("episode_length")))
    return Finding(
        CONSTANT_REWARDS.name,
        f"every episode has the same return, {usual:g} for {length:,.0f} steps, whatever the policy does: "
        f"{share:.0%} of the updates had exactly this mean.",
        "Check the reward that `step` returns: it must depend on the action or on the state that follows.",
    )


def _same_lengths(probe: Probe) -> bool:
    return len({len(episode) for episode in probe.all_played}) == 1


CONSTANT_REWARDS = Ailment(
    "constant rewards",
    "All rewards are equal and so are all episodes' lengths, so that no action is better than another.",
    "at least 99 % of the updates have the same mean return, and playing shows a single reward and a single length",
    "repair the reward of the environment",
    _constant,
    explains=REWARD_NEVER_SEEN.explains[1:],
)


def _badly_scaled(e: Evidence) -> Finding | None:
    if e.setting("normalize_rewards", False):
        return None
    error, bias = math.sqrt(2 * e.recent("value_loss")), e.recent("value_bias")
    explained = e.recent("explained_variance")
    deviation = e.deviation_of_targets
    advice = "Divide rewards by the standard deviation of their discounted sum: --normalize-rewards."
    remedy = {"normalize_rewards": True}
    # V(s) may be behind in a run that is learning, but not by so much
    far_behind = error > HUGE and abs(bias) > BEHIND * error
    if (e.fruitless or far_behind) and error > LARGE and explained < EXPLAINED:
        return Finding(
            REWARD_SCALE.name,
            f"rewards are too large for V(s): it misses the returns by {error:.3g} (bias {bias:+.3g}) and explains "
            f"{max(explained, 0.0):.0%} of their variance.",
            advice,
            remedy,
        )
    bonus = e.setting("entropy_coef", 0.0)
    if (
        bonus > 0
        and deviation < min(SMALL, bonus)
        and e.setting("normalize_advantages") in (None, False, "none")
    ):
        return Finding(
            REWARD_SCALE.name,
            f"rewards are too small: the returns have a standard deviation of {deviation:.2g}, and the entropy bonus "
            f"with its weight of {bonus:g} outweighs them.",
            advice,
            remedy,
        )
    return None


REWARD_SCALE = Ailment(
    "reward scale",
    "Returns are so large that V(s) cannot reach them, or so small that the entropy bonus outweighs them.",
    f"V(s) misses the returns by more than {LARGE:g} and explains less than half of their variance, and returns did "
    f"not rise or the error is above {HUGE:g}; or the standard deviation of the returns is below the weight of the "
    "entropy bonus, and advantages are not normalized",
    "`--normalize-rewards`",
    _badly_scaled,
    explains=(
        "V(s) is biased", "V(s) explains nothing", "entropy never falls", "batch too small", "learning rate too low",
        "the policy hardly changes", "greedy and sampled returns differ",
    ),
)  # fmt: skip


def _too_late(e: Evidence) -> Finding | None:
    gamma, probe = e.setting("gamma"), e.probe
    if gamma is None or probe is None or not 0 < probe.rare_rewards < RARE:
        return None
    delay = _typical_delay(probe)
    left = gamma**delay
    if left >= SHARE_LEFT:
        return None
    # 1/(1 − γ) becomes twice the delay
    suggested = float(f"{1 - 1 / max(2 * delay, 2.0):.4g}")
    return Finding(
        DISCOUNT_TOO_SHORT.name,
        f"the rewards that matter come after {delay:.0f} steps, when discounting with gamma={gamma:g} has left "
        f"{left:.1g} of them.",
        f"Raise gamma to {suggested:g}, which leaves {suggested**delay:.0%}.",
        {"gamma": suggested} | ({"gae_lambda": 0.98} if 0 < (e.setting("gae_lambda") or 0.0) < 0.98 else {}),
    )


def _typical_delay(probe: Probe) -> float:
    """Return the median number of steps before an unusual reward, since the previous one or the start of the episode.

    Rewards of random actions are weighted by how much they differ from the usual one, because a policy that cannot see
    far goes for the small rewards nearby.
    """
    gaps, weights = list[float](), list[float]()
    for episode in probe.by_chance:
        unusual = np.flatnonzero(episode.rewards != probe.usual_reward)
        gaps += (np.diff(unusual, prepend=-1) - 1).tolist()
        weights += np.abs(episode.rewards[unusual] - probe.usual_reward).tolist()
    if not gaps:
        return 0.0
    order = np.argsort(gaps)
    middle = np.searchsorted(np.cumsum(np.array(weights)[order]), sum(weights) / 2)
    return gaps[order[min(int(middle), len(gaps) - 1)]]


DISCOUNT_TOO_SHORT = Ailment(
    "discount too short",
    "Rewards come so long after the decisions that they depend on that discounting leaves nothing of them.",
    "fewer than a fifth of the steps have a reward other than the usual one, and γ to the power of the typical wait "
    f"for it is below {SHARE_LEFT:g}",
    "`--gamma` nearer to 1",
    _too_late,
    explains=(
        "batch too small", "V(s) explains nothing", "learning rate too low", "observations lack the past",
    ),
    needs_probe=True,
)  # fmt: skip
