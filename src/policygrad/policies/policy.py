"""A policy that can act: a network, the distribution its outputs describe, and the spaces it was made for."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from gymnasium import spaces
from torch import Tensor, nn

from policygrad._support.isolation import ignored_numpy_errors, in_ordinary_torch
from policygrad.errors import NonFiniteError
from policygrad.policies import acting
from policygrad.policies.distributions import Distribution, DistributionName, distribution_for
from policygrad.policies.fit import check_same_spaces, check_sizes
from policygrad.policies.flat import flat_parameters, leave_inference_mode
from policygrad.policies.networks import PerceptronPolicy
from policygrad.policies.normalization import Moments, Normalization, RewardScale, write_normalizer
from policygrad.policies.tensors import as_tensors
from policygrad.spaces import (
    Space,
    action_size,
    as_rows,
    bounds_of,
    check_action_space,
    environment_actions,
    interval_units,
    is_composite,
    observation_numbers,
    observation_size,
    observed_part,
)
from policygrad.types import F32, F64, Array, Inputs, check_inputs

NO_NORMALIZATION = Normalization()


class Snapshot(NamedTuple):
    """A copy of a policy's state; see `Policy.snapshot`."""

    parameters: F32
    """[P] float32, in `parameters()` order."""
    buffers: dict[str, Tensor]
    """The normalizer's shift and scale, the running statistics, and the buffers of a custom network, by name."""


def _adopt_normalizer(policy: Policy, _: Any = None) -> None:
    """Set the normalizer from the policy's buffers, after they have been overwritten."""
    shift, scale = policy.observation_shift, policy.observation_scale
    policy.set_normalizer(shift.numpy(force=True).copy(), scale.numpy(force=True).copy())


class Policy(nn.Module):
    """Chooses actions in an environment. It contains every step between an observation and an action.

    Args:
        network: maps observations [B, D] float32 to the parameters of a distribution: logits [B, n] for choices, and
            for a Box (mean, std), or (α, β) with `beta`. It is a network of this library or any torch module.
        observation_space: Box or MultiBinary (flattened), Discrete or MultiDiscrete (one-hot), or a Dict or Tuple
            of these (concatenated; `spaces.observed_part` describes what is left out).
        action_space: Discrete, MultiDiscrete, MultiBinary, or a Box of floats.
        distribution: the distribution that the outputs parameterize, if the class of the network does not determine
            it: a name as in `Network`, or a custom `Distribution`.
        scale_observations: True maps the finite bounds of a Box to [−1, 1].
        scale_actions: True makes a Gaussian or gSDE policy act in units of the box: see `Network`.
        normalization: the running statistics that the policy keeps and learns with.
        environment_name: used in error messages.

    Raises:
        ValueError: the spaces are not supported, or the network is for the other kind of actions.
    """

    observation_shift: Tensor
    observation_scale: Tensor

    @in_ordinary_torch
    def __init__(
        self,
        network: nn.Module,
        observation_space: Space,
        action_space: Space,
        *,
        distribution: DistributionName | Distribution = "auto",
        scale_observations: bool = False,
        scale_actions: bool = True,
        normalization: Normalization = NO_NORMALIZATION,
        environment_name: str = "the environment",
    ) -> None:
        super().__init__()
        check_action_space(action_space)
        self.scale_actions = scale_actions
        self.distribution: Distribution = distribution_for(
            distribution, network, action_space, environment_name, scale_actions
        )
        leave_inference_mode(network)
        self.network = network
        observation_space, _ = observed_part(observation_space)
        self.observation_space = observation_space
        self.action_space = action_space
        self.observation_size = observation_size(observation_space)
        self.greedy = False
        """Default of `act`'s argument of this name: True takes the most probable action, False samples one."""
        shift, scale = _bounds_to_unit(observation_space, self.observation_size, scale_observations)
        # cloned, because writing to these buffers must not change the arrays that the normalizer uses
        self.register_buffer("observation_shift", torch.from_numpy(shift).clone())
        self.register_buffer("observation_scale", torch.from_numpy(scale).clone())
        self.normalization = normalization
        self._limit = math.inf
        self.observation_moments = self.reward_scale = None
        if normalization.normalize_observations:
            numeric = isinstance(observation_space, spaces.Box) or is_composite(observation_space)
            if scale_observations or not numeric:
                remedy = (
                    "scale_observations (--no-scale-observations)"
                    if scale_observations
                    else "normalize_observations"
                )
                raise ValueError(
                    f"normalize_observations needs unscaled observations in a Box, Dict or Tuple. Leave out {remedy}."
                )
            self.observation_moments = Moments(self.observation_size)
            self._limit = normalization.clip_observations
        if normalization.normalize_rewards:
            self.reward_scale = RewardScale()
        self.set_normalizer(shift, scale)
        self.register_load_state_dict_post_hook(_adopt_normalizer)
        self._rng = np.random.default_rng()
        check_sizes(network, self.observation_size, action_size(action_space), environment_name)
        flat_parameters(network)

    def _apply(self, fn: Any, recurse: bool = True) -> Policy:
        """Move or cast the module except its normalizer, which stays float64 on the CPU, where observations arrive."""
        names = ("observation_shift", "observation_scale")
        kept = {name: self._buffers.pop(name) for name in names}
        try:
            super()._apply(fn, recurse)
        finally:
            self._buffers = {**kept, **self._buffers}
        return self

    @property
    def device(self) -> torch.device:
        """The device on which the network computes."""
        parameter = next(self.network.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def set_normalizer(self, shift: F64, scale: F64) -> None:
        """Set the normalizer to (x − shift) · scale; both arguments are [D] float64."""
        self.observation_shift.copy_(torch.from_numpy(shift))
        self.observation_scale.copy_(torch.from_numpy(scale))
        self._shift, self._scale = shift, scale
        self._is_identity = not (np.any(shift != 0) or np.any(scale != 1) or math.isfinite(self._limit))

    @property
    def observation_limit(self) -> float:
        """The limit c where normalized observations are clipped to [−c, c]; infinity if they are not clipped."""
        return self._limit

    @property
    def num_choices(self) -> int | None:
        """Number of actions of a Discrete action space; None for other spaces."""
        return int(self.action_space.n) if isinstance(self.action_space, spaces.Discrete) else None

    def refresh_normalizer(self) -> None:
        """Set the normalizer from the current statistics. Call it between updates: it must not change within one."""
        if self.observation_moments is not None and self.observation_moments.count > 0:
            shift, scale = np.empty(self.observation_size), np.empty(self.observation_size)
            write_normalizer(*self.observation_moments.arrays(), shift, scale)
            self.set_normalizer(shift, scale)

    def project(self) -> None:
        """Clamp the log standard deviations to their bounds, if they are parameters."""
        if isinstance(self.network, PerceptronPolicy):
            self.network.project()

    def snapshot(self) -> Snapshot:
        """Return a copy of everything that learning changes."""
        return self.snapshots()()

    def snapshots(self) -> Callable[[], Snapshot]:
        """Return a faster `snapshot` for repeated use; it is valid as long as no parameter tensor is replaced."""
        parameters, buffers = flat_parameters(self.network), dict(self.named_buffers())

        def take() -> Snapshot:
            copies = {name: buffer.clone() for name, buffer in buffers.items()}
            return Snapshot(parameters.numpy(force=True).copy(), copies)

        return take

    def restore(self, snapshot: Snapshot) -> None:
        """Set the policy to the state that a snapshot recorded."""
        flat_parameters(self.network).copy_(torch.from_numpy(snapshot.parameters))
        for name, buffer in self.named_buffers():
            buffer.copy_(snapshot.buffers[name])
        _adopt_normalizer(self)

    def encode(self, observations: Array) -> F32:
        """Return observations [N, *shape] as the network sees them: [N, D] float32, flat, (x − shift) · scale, clipped.

        Observations of a Dict or a Tuple must already be flattened, [N, D]. The difference is computed in float64, so
        large states that float32 cannot distinguish remain distinct. The result never shares memory with the argument,
        which protects a rollout from environments that write every observation into the same array.
        """
        return self.normalized(observation_numbers(self.observation_space, observations))

    def normalized(self, numbers: Array) -> F32:
        """Return the flat numbers [N, D] of observations as the network sees them: see `encode`."""
        if self._is_identity:
            return np.array(numbers, np.float32, order="C")
        encoded = np.ascontiguousarray((numbers - self._shift) * self._scale, np.float32)
        # a batch with a NaN or an infinity is not clipped, so that the caller can detect them
        if np.isfinite(encoded.sum(dtype=np.float64)):
            np.clip(encoded, -self._limit, self._limit, out=encoded)
        return encoded

    def encode_checked(self, observations: Any) -> tuple[F32, bool]:
        """Encode one or several observations of the space: return ([N, D] float32, whether it was a single one).

        Raises:
            ValueError, NonFiniteError: for the same reasons as in `act`.
        """
        rows, single = as_rows(self.observation_space, observations)
        with ignored_numpy_errors():
            encoded = self.encode(rows)
        if not np.isfinite(encoded).all():
            raise NonFiniteError(f"the observation has a NaN or an infinity: {observations}")
        return encoded, single

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """Draw the noise of n actions, [n] or [n, ·] float64: see `draw_noise` of each distribution."""
        return self.distribution.draw_noise(rng, n)

    def environment_actions(self, actions: Array) -> Array:
        """Convert stored actions [N] or [N, K] to those of the environment, [N, *shape] in the action space's dtype."""
        return environment_actions(self.action_space, self.distribution.in_units(actions))

    def forward(self, inputs: Inputs) -> Any:
        """Return the distribution's parameters for B rows of tensors: log π [B, n], (mean, log std), ..."""
        check_inputs(inputs, "policy(Inputs(tensor))")
        return self.distribution.parameters_of(self.network, inputs)

    def act(
        self, observation: Any, greedy: bool | None = None, rng: np.random.Generator | None = None
    ) -> Any:
        """Return the action for one observation, or the actions for a batch of them, ready for the environment.

        Args:
            observation: an element of the observation space, or a batch of them, [N, *shape].
            greedy: True takes the most probable action (the median for a squashed Gaussian), False samples one. The
                default is `Policy.greedy`, which training sets to the mode that scored better at its end, or to
                sampling if nothing was scored. Samples use fresh noise at every call; only rollouts keep gSDE's noise
                for several steps.
            rng: generator for the samples; by default the policy's own, which is seeded by the operating system.

        Raises:
            ValueError: the observation does not have the shape of the space.
            NonFiniteError: the observation has a NaN or an infinity, or the network's output allows no action.
        """
        return acting.act(self, observation, self.greedy if greedy is None else greedy, rng or self._rng)

    @in_ordinary_torch
    @torch.no_grad()
    def probabilities(self, observation: Any) -> F32:
        """Return π(a|s) of each action, [A] for one observation or [N, A] for a batch of them: see `act`.

        Raises:
            ValueError: the actions are not Discrete, or the observation does not have the shape of the space.
        """
        return acting.probabilities(self, observation)

    @in_ordinary_torch
    @torch.no_grad()
    def choose(self, inputs: Inputs, noise: F64 | None) -> Array:
        """Return stored actions, [N] or [N, K] int64 or [N, K] float32, for N rows.

        They are sampled from the noise (see `draw_noise`), or the most probable ones if it is None. A choice is −1 if
        the logits do not define a softmax: see `faults.check_actions`.
        """
        check_inputs(inputs, "policy.choose(Inputs(observation), noise)")
        device = self.device
        parameters = self(as_tensors(inputs, device))
        if noise is None:
            return self.distribution.mode(parameters).numpy(force=True)
        return self.distribution.sample(parameters, torch.from_numpy(noise).to(device)).numpy(force=True)

    def check_spaces(self, observation_space: Space, action_space: Space, name: str) -> None:
        """Raise ValueError unless these are the spaces that the policy was made for."""
        check_same_spaces((self.observation_space, self.action_space), observation_space, action_space, name)


def _bounds_to_unit(space: Space, size: int, wanted: bool) -> tuple[F64, F64]:
    """Return (shift, scale), each [D] float64, that map each finite interval of a Box to [−1, 1]."""
    if not (wanted and isinstance(space, spaces.Box)):
        return np.zeros(size), np.ones(size)
    middle, half = interval_units(*bounds_of(space))
    return middle, 1 / half
