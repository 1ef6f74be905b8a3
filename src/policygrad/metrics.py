"""The metrics that a run logs: their units, their formulas, and their values in a healthy run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """Explains a metric."""

    unit: str
    """Unit; "—" for a pure number."""
    formula: str
    """What the metric measures."""
    healthy: str
    """What a healthy run shows."""
    low: float | None = None
    """Lower end of the healthy range, where `healthy` gives one as a number."""
    high: float | None = None
    """Upper end of the healthy range, where `healthy` gives one as a number."""


METRICS: dict[str, Metric] = {
    "steps": Metric(
        "environment steps", "samples learned from since the start of the run, without idle rows", "grows"
    ),
    "episodes": Metric("episodes", "episodes finished since the start of the run", "grows"),
    "seconds": Metric(
        "s", "wall-clock time of collecting and learning, without evaluations and writing files", "grows"
    ),
    "return": Metric(
        "reward", "mean over the episodes of this update of Σ_t r_t: original reward, undiscounted", "rises"
    ),
    "return_100": Metric("reward", "mean return of the last 100 training episodes (fewer at the start)", "rises"),
    "eval_return": Metric(
        "reward", "mean return of fresh greedy episodes after this update; only with `eval_every`", "rises"
    ),
    "eval_cut": Metric(
        "episodes", "evaluation episodes truncated by a step limit because the environment has none; only if there "
        "are any", "absent; otherwise the greedy policy may repeat an action that leads nowhere",
    ),
    "shaped_return": Metric("reward", "like `return`, but of the shaped reward; only with shaping", "rises"),
    "episode_length": Metric("steps", "mean over the episodes of this update", "depends on the task"),
    "idle_share": Metric(
        "fraction", "rows stepped while waiting for the slowest environment / all rows", "below 0.5", high=0.5
    ),
    "loss": Metric(
        "—", "mean of the algorithm's loss over the samples of the update, for each sample before the last optimizer "
        "step that uses it; TRPO and NPG log `surrogate_improvement` instead",
        "has no trend; it does not measure progress",
    ),
    "entropy": Metric(
        "nats", "mean H(π(·|s)) before the update; differential entropy for continuous actions",
        "falls slowly; at 0 (or below −3 per dimension) exploration is over",
    ),
    "policy_grad_norm": Metric(
        "—", "‖∇L‖₂ of the policy before clipping, at the last step of the update",
        "finite, without lasting growth",
    ),
    "gradient_snr": Metric(
        "—", "‖G‖² / tr Cov(g) of the policy's gradient g of one step with mean G, averaged over about the last 100 "
        "measurements; NaN until the second step",
        "falls in the course of a run; below about 0.01, steps are mostly noise", low=0.01,
    ),
    "noise_scale": Metric(
        "samples", "gradient noise scale tr Σ / ‖G‖², with the covariance Σ of the gradient of a single sample: the "
        "number of samples of a step whose noise is as large as its gradient; NaN where the gradient is lost in noise",
        "near the number of samples of a step: a much larger one calls for more samples per step, and a much smaller "
        "one for fewer, or for a larger learning rate",
    ),
    "learning_rate": Metric("—", "learning rate of the policy according to its schedule", "as configured"),
    "value_loss": Metric("reward²", "½ mean (V(s) − G)² before the update", "falls relative to Var(G)"),
    "value_grad_norm": Metric(
        "—", "‖∇L‖₂ of V(s) before clipping, at the last step of the update", "finite",
    ),
    "explained_variance": Metric(
        "—", "1 − Var(G − V)/Var(G) before the update; for ActorCritic, over roughly the last 1,000 samples, with "
        "smaller weights for older ones",
        "approaches 1; near 0 the baseline has no effect",
    ),
    "value_bias": Metric(
        "reward", "mean (V(s) − G) before the update", "near 0 relative to the standard deviation of the returns"
    ),
    "kl": Metric(
        "nats", "mean KL(π_old ‖ π) over the samples after the update; TRPO and NPG compute it, the others estimate it "
        "by r − 1 − log r with r = π/π_old, and all except PPO use at most 256 of the samples",
        "0.003 to 0.03 if an update takes several steps (TRPO: up to max_kl), less if it takes one; more means that "
        "the policy changes too much", high=0.03,
    ),
    "clip_share": Metric(
        "fraction", "samples with |r − 1| > ε after the update / all samples", "0.05 to 0.3", low=0.05, high=0.3
    ),
    "largest_ratio": Metric(
        "—", "max r after the update, over the same samples as `kl`",
        "below 3; if much larger, single samples dominate the step", high=3.0,
    ),
    "policy_steps": Metric(
        "steps", "optimizer steps of the policy in the update", "epochs × minibatches; fewer if the KL stopped them"
    ),
    "kl_penalty": Metric("—", "weight β of the KL penalty in this update", "settles"),
    "surrogate_improvement": Metric(
        "advantage", "mean((π_new/π_old − 1) A) after the step, over the samples that the step was computed from",
        "above 0", low=0.0,
    ),
    "step_fraction": Metric(
        "fraction", "part of the natural gradient step that the line search took; 0 if it accepted none, so that "
        "nothing changed",
        "1 or a little less; if it is often 0, there are too few samples or max_kl is too large",
    ),
    "cg_residual": Metric(
        "—", "‖g − (F + λ)x‖₂/‖g‖₂ when the conjugate gradient stopped",
        "below 0.3; otherwise raise cg_iterations or damping", high=0.3,
    ),
    "clipped_actions": Metric(
        "fraction", "sampled action components outside the box / all components; only if actions are clipped to it",
        "below 0.3; otherwise the environment sees little of what the policy does", high=0.3,
    ),
    "std": Metric(
        "units of the box", "mean σ if it is a parameter; for `squashed`, before tanh; for gSDE, σ of the noise at the "
        "‖φ(s)‖² that `GSDEPolicy` documents",
        "falls slowly, but not to its bound",
    ),
}  # fmt: skip


def register(
    name: str,
    *,
    unit: str,
    formula: str,
    healthy: str,
    low: float | None = None,
    high: float | None = None,
) -> None:
    """Register a metric of a custom algorithm, so that its `learn` may return it.

    Args:
        name: a Python identifier.
        unit: unit of the metric; "—" for a pure number.
        formula: one line that says what the metric measures.
        healthy: what a healthy run shows.
        low, high: the healthy range as numbers, which charts shade; None where it has no end.

    Raises:
        ValueError: a different metric has this name, or the name is not an identifier.
    """
    metric = Metric(unit, formula, healthy, low, high)
    if not name.isidentifier():
        raise ValueError(f"the name of a metric must be a Python identifier; got {name!r}")
    if METRICS.get(name, metric) != metric:
        raise ValueError(f"there is already a metric {name!r} ({METRICS[name].formula}): choose another name")
    METRICS[name] = metric


RENAMED = {"test_return": "eval_return", "test_cut": "eval_cut"}
"""Metrics that earlier versions logged under another name: from the old name to the new one."""


def current_name(name: str) -> str:
    """Return the name of a metric in this version, unless somebody has registered another metric under the old name."""
    return name if name in METRICS else RENAMED.get(name, name)


def check_registered(names: object) -> None:
    """Raise KeyError unless every name is registered, so that every logged metric can be looked up."""
    unknown = set(names) - METRICS.keys()  # type: ignore[arg-type, call-overload]
    if unknown:
        raise KeyError(
            f"metrics that are not registered: {sorted(unknown)}. Register them with policygrad.metrics.register."
        )
