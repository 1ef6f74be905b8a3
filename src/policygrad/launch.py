"""`train`: from an environment and an algorithm to a run, or to one for each of many seeds."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, overload

import gymnasium as gym
import torch
from gymnasium.vector import VectorEnv
from torch import nn

from policygrad.algorithms import Algorithm, algorithm_class
from policygrad.checks import check_is_a, is_finite, whole
from policygrad.engines import EngineName
from policygrad.envs import Backend, EnvLike, PotentialShaping, Shaping
from policygrad.experiment import Experiment
from policygrad.policies import Network, Normalization, Policy
from policygrad.presets import Preset, preset_for
from policygrad.progress import make_progress
from policygrad.run import Run
from policygrad.seeds import run_seeds


@overload
def train(
    env: EnvLike, algorithm: str | Algorithm = "reinforce", *, seeds: None = None, **settings: Any
) -> Run: ...
@overload
def train(
    env: EnvLike, algorithm: str | Algorithm = "reinforce", *, seeds: int, **settings: Any
) -> list[Run]: ...
def train(  # pyright: ignore[reportInconsistentOverload]  # what the overloads leave open is said here
    env: EnvLike,
    algorithm: str | Algorithm = "reinforce",
    *,
    steps: int | None = None,
    seed: int = 0,
    seeds: int | None = None,
    out: str | Path | None = None,
    num_envs: int | None = None,
    backend: Backend = "auto",
    engine: EngineName = "auto",
    cores: int | None = None,
    stop_at: float | None = None,
    test_every: int | None = None,
    test_episodes: int = 10,
    network: Network | None = None,
    normalization: Normalization | None = None,
    policy: nn.Module | None = None,
    value: nn.Module | None = None,
    shaping: Shaping | Literal["preset"] | None = "preset",
    device: str = "cpu",
    overwrite: bool = False,
    resume: bool = False,
    progress: bool | None = None,
) -> Run | list[Run]:
    """Train a policy, or several with different seeds.

    Given an id and an algorithm's name, all that is left out comes from the environment's preset, or the
    defaults where it has none; given a configuration, a factory or an object, from the defaults.

    Args:
        env: a Gymnasium id, a `Kernel`, a factory, an environment or a vector environment.
        algorithm: a name, or a configuration such as `Reinforce(gamma=0.9)`.
        steps: the budget, in environment steps; the episodes that it falls into are finished.
        seed: of everything random. The same seed and cores on the same machine give the same bits.
        seeds: train so many, with seed, seed + 1, ..., each as it would be alone, `cores` of them at a time.
            One that ends in a NaN is among the results (`ended="non-finite"`) and does not stop the others.
        out: a folder for the run, or for a folder of each seed; None saves nothing.
        num_envs: how many environments side by side.
        backend: who runs an id's environments, see `make`: `compiled`, `envpool`, `gymnasium`, or `auto`.
        engine: `fused`, `autograd`, or `auto` for fused where it can be.
        cores: over how many the fused engine's compiled environments and large batches are split in one run,
            which pays from a few thousand samples an update, and how many threads EnvPool has; left out,
            they are one core and a thread a core. With `seeds`, how many runs at a time, each on one core; all
            there are where left out.
        stop_at: end when the mean of the last 100 returns reaches this.
        test_every: after so many steps, and so many again, run fresh episodes with the most probable actions:
            `test_return` in the history. They count neither as steps nor for what is the best policy.
        test_episodes: how many each time.
        network: the shape of the policy and of V(s).
        normalization: of observations and rewards, by running statistics that go into the policy file.
        policy: instead of one made from `network`: a torch module (see `Policy`), or a `Policy` to go on
            with. It is trained in place.
        value: likewise for V(s): a module [B, D] -> [B] or [B, 1].
        shaping: what is learned from instead of the reward; None for the reward itself. Returns are
            always of the environment's own reward.
        device: where torch computes, in the autograd engine.
        overwrite: replace an earlier run at `out`.
        resume: go on with the run at `out` from its last checkpoint, or begin it where there is none yet. Every
            other argument is as it was, but for `steps`, `stop_at` and the tests. On compiled environments, and on
            Gymnasium's where an update takes whole episodes, the run becomes what it would have been uninterrupted,
            to the bit; elsewhere the episodes that were under way are lost. With `seeds`, of which there may be more
            than before, each goes on where it stood.
        progress: show how far it is; None does so on a terminal.

    Returns:
        The run, or with `seeds` the list of them. Ctrl-C ends them early and returns them as well, with
        `ended="interrupted"`.

    Raises:
        ValueError, TypeError: a setting is wrong; the message says which and what to do.
        FileExistsError: there is something at `out` already.
        FileNotFoundError: there is a run to resume at `out`, but no checkpoint.
        CheckpointError: it is damaged, or not of this training.
        NonFiniteError: a NaN or an infinity appeared (a `run.StoppedError`, whose `run` is what was learned
            until then). Whatever is raised while training, what was learned is saved at `out`.
    """
    if isinstance(policy, Policy) and normalization is None:
        # what it keeps is part of it
        normalization = policy.normalization
    settings = _resolve(
        env,
        algorithm,
        steps=steps,
        num_envs=num_envs,
        network=network,
        normalization=normalization,
        shaping=shaping,
    )
    _check_device(device)
    if not (out is None or isinstance(out, str | os.PathLike)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"out must be the path of a folder; got {out!r}")
    if progress not in (None, True, False):
        raise TypeError(f"progress must be True, False or None; got {progress!r}")
    seed = whole("seed", seed, at_least=0)
    if test_every is not None and isinstance(env, gym.Env | VectorEnv):
        raise ValueError(
            "test_every needs environments beside the one given: give an id, a Kernel or a factory"
        )
    one = Experiment(
        env,
        settings,
        num_envs=num_envs if isinstance(env, gym.Env | VectorEnv) else settings.num_envs,
        backend=backend,
        engine=engine,
        cores=1 if cores is None or seeds is not None else whole("cores", cores, at_least=1),
        env_threads=cores if seeds is None else 1,
        stop_at=_check_stop_at(stop_at),
        test_every=None if test_every is None else whole("test_every", test_every, at_least=1),
        test_episodes=whole("test_episodes", test_episodes, at_least=1),
        policy=policy,
        value=value,
        device=device,
    )
    if resume and (out is None or overwrite):
        raise ValueError(
            "resume (--resume) goes on with the run in a folder: name it by out (--out), and leave overwrite out"
        )
    if seeds is not None:
        count = whole("seeds", seeds, at_least=1)
        at_a_time = (os.cpu_count() or 1) if cores is None else whole("cores", cores, at_least=1)
        display = make_progress(settings.steps * count, progress)
        return run_seeds(
            one,
            range(seed, seed + count),
            display,
            at_a_time,
            out=out,
            overwrite=overwrite,
            resume=resume,
        )
    display = make_progress(settings.steps, progress)
    with display:
        return one.run(seed, display, out=out, overwrite=overwrite, resume=resume)


def _resolve(
    env: EnvLike,
    algorithm: str | Algorithm,
    *,
    steps: int | None = None,
    num_envs: int | None = None,
    network: Network | None = None,
    normalization: Normalization | None = None,
    shaping: Shaping | Literal["preset"] | None = "preset",
) -> Preset:
    """All settings of a run: what is given, and for the rest the preset's or the defaults, as `train` says.

    Raises:
        ValueError, TypeError: as `train`.
    """
    if isinstance(algorithm, str):
        # a factory or an object may be anything, whatever it calls itself
        settings = (
            preset_for(env, algorithm) if isinstance(env, str) else Preset(algorithm_class(algorithm)())
        )
    elif not isinstance(algorithm, type) and isinstance(algorithm, Algorithm):  # pyright: ignore[reportUnnecessaryIsInstance]
        settings = Preset(algorithm)
    else:
        hint = "; call it to make one" if isinstance(algorithm, type) else ""  # pyright: ignore
        raise TypeError(f"algorithm must be a name or a configuration; got {algorithm!r}{hint}")
    for kind, name, value in ((Network, "network", network), (Normalization, "normalization", normalization)):
        if value is not None:
            check_is_a(kind, name, value)
    given = {"steps": steps, "num_envs": num_envs, "network": network, "normalization": normalization}
    settings = replace(settings, **{name: value for name, value in given.items() if value is not None})
    if shaping != "preset":
        if not (shaping is None or callable(shaping)):
            raise TypeError(f"shaping must be a function, None or 'preset'; got {shaping!r}")
        settings = replace(settings, shaping=shaping)
    if isinstance(settings.shaping, PotentialShaping):
        settings = replace(settings, shaping=settings.shaping.with_gamma(settings.algorithm.gamma))
    return replace(
        settings,
        steps=whole("steps", settings.steps, at_least=1),
        num_envs=whole("num_envs", settings.num_envs, at_least=1),
    )


def _check_stop_at(stop_at: float | None) -> float | None:
    """A finite number, or None."""
    if stop_at is None:
        return None
    if not is_finite(stop_at):
        raise ValueError(f"stop_at must be a finite number; got {stop_at!r}")
    return float(stop_at)


def _check_device(device: str) -> None:
    """Raise ValueError unless torch can compute there."""
    try:
        torch.empty(0, dtype=torch.float32, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ValueError(
            f"device {device!r} cannot be used here: take 'cpu', or one that this machine has and its torch "
            f"({torch.__version__}) was built for"
        ) from error
