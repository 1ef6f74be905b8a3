"""Every number that a run logs: its unit, its formula, and what a healthy run shows."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Metric:
    """What a logged number means."""

    unit: str
    formula: str
    healthy: str


METRICS: dict[str, Metric] = {
    "steps": Metric("environment steps", "samples learned from since the start; idle rows not counted", "grows"),
    "episodes": Metric("episodes", "finished since the start", "grows"),
    "seconds": Metric("s", "wall-clock time of collecting and learning, without tests and files", "grows"),
    "return": Metric(
        "reward", "mean over this update's episodes of Σ_t r_t, original reward, undiscounted", "rises"
    ),
    "return_100": Metric("reward", "mean return of the last 100 training episodes (fewer at the start)", "rises"),
    "eval_return": Metric(
        "reward", "mean return of fresh episodes, greedy, after this update; with `eval_every` only", "rises"
    ),
    "eval_cut": Metric(
        "episodes", "episodes of the test that a step limit ended, where the environment has none; only if any",
        "absent; otherwise the greedy policy may repeat an action that leads nowhere",
    ),
    "shaped_return": Metric("reward", "as `return`, of the shaped reward; logged with shaping only", "rises"),
    "episode_length": Metric("steps", "mean over this update's episodes", "depends on the task"),
    "idle_share": Metric(
        "share", "rows stepped while waiting for the slowest environment / all rows", "below 0.5"
    ),
    "loss": Metric(
        "—", "mean of the algorithm's loss over the update's samples, before the networks' last step on each of them; "
        "TRPO and NPG have `surrogate_improvement` instead", "no trend; do not read it as progress"
    ),
    "entropy": Metric(
        "nats", "mean H(π(·|s)) before the update; differential for continuous actions",
        "falls slowly; at 0 (or below −3 a dimension) exploration is over",
    ),
    "policy_grad_norm": Metric(
        "—", "‖∇L‖₂ of the policy before clipping; PPO: at its last step in the update", "finite, no lasting growth"
    ),
    "learning_rate": Metric("—", "the policy's, as scheduled", "as configured"),
    "value_loss": Metric("reward²", "½ mean (V(s) − G)² before the update", "falls relative to Var(G)"),
    "value_grad_norm": Metric(
        "—", "‖∇L‖₂ of V(s) before clipping: its first step in the update, or the last of its minibatches",
        "finite",),
    "explained_variance": Metric(
        "—", "1 − Var(G − V)/Var(G) before the update; ActorCritic: of its last 1,000 samples or so, older ones fading",
        "towards 1; near 0 the baseline does nothing"
    ),
    "value_bias": Metric("reward", "mean (V(s) − G) before the update", "near 0 beside the returns' deviation"),
    "kl": Metric(
        "nats", "mean KL(π_old ‖ π) over the samples after the update; TRPO and NPG compute it, the others estimate it "
        "by r − 1 − log r, r = π/π_old, and all but PPO from up to 256 of the samples",
        "0.003 to 0.03 where an update is of several steps (TRPO: up to max_kl), less for one; more is a step too far",
    ),
    "clip_share": Metric("share", "samples with |r − 1| > ε after the update / all", "0.05 to 0.3"),
    "largest_ratio": Metric(
        "—", "max r after the update, over the same samples as `kl`", "below 3; much more: single samples rule the step"
    ),
    "policy_steps": Metric(
        "steps", "optimiser steps of the policy in the update", "epochs × minibatches; fewer where the KL stopped them"
    ),
    "kl_penalty": Metric("—", "weight β of the KL penalty, as it was used", "settles"),
    "surrogate_improvement": Metric(
        "advantage", "mean((π_new/π_old − 1) A) after the step, over the samples it was made from", "above 0"
    ),
    "step_fraction": Metric(
        "share", "of the natural step what the line search took; 0: none was accepted, nothing changed",
        "1 or a little below; often 0 means too few samples or a max_kl too large",
    ),
    "cg_residual": Metric(
        "—", "‖g − (F + λ)x‖₂/‖g‖₂ where the conjugate gradient stopped",
        "below 0.3; above, raise cg_iterations or damping",
    ),
    "clipped_actions": Metric(
        "share", "sampled action components outside the box / all; only where actions are clipped to it",
        "below 0.3; above, the environment sees little of what the policy does",
    ),
    "std": Metric(
        "units of the box", "mean σ where it is a parameter, of `squashed` before tanh; of gSDE the noise's, where "
        "‖φ(s)‖² is as `GSDEPolicy` says",
        "falls slowly, not to its bound",
    ),
}  # fmt: skip


def register(name: str, *, unit: str, formula: str, healthy: str) -> None:
    """Register a metric that an algorithm of one's own logs: `learn` may then return it.

    Args:
        name: a Python identifier.
        unit: what it is counted in; "—" for a pure number.
        formula: what it is, in a line.
        healthy: what a healthy run shows.

    Raises:
        ValueError: there is another metric of this name, or it is not an identifier.
    """
    metric = Metric(unit, formula, healthy)
    if not name.isidentifier():
        raise ValueError(f"the name of a metric must be a Python identifier; got {name!r}")
    if METRICS.get(name, metric) != metric:
        raise ValueError(f"there is a metric {name!r} already ({METRICS[name].formula}): choose another name")
    METRICS[name] = metric


def check_registered(names: object) -> None:
    """Raise KeyError unless every name is in the registry: nothing is logged that nobody can look up."""
    unknown = set(names) - METRICS.keys()  # type: ignore[arg-type, call-overload]
    if unknown:
        raise KeyError(
            f"metrics that are not registered: {sorted(unknown)}. policygrad.metrics.register says what they mean"
        )
