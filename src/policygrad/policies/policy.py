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
from policygrad.policies.distributions import Distribution, DistributionName, distribution_for
from policygrad.policies.faults import check_actions
from policygrad.policies.fit import check_same_spaces, check_sizes
from policygrad.policies.flat import flat_parameters, leave_inference_mode
from policygrad.policies.modes import evaluation_mode
from policygrad.policies.networks import PerceptronPolicy
from policygrad.policies.normalization import SMALLEST_VARIANCE, Moments, Normalization, RewardScale
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
    """A policy's state at some time; see `Policy.snapshot`."""

    parameters: F32
    """[P] float32, in `parameters()` order."""
    buffers: dict[str, Tensor]
    """How observations are seen, running statistics, and those of a network of one's own."""


def _adopt_normalizer(policy: Policy, _: Any = None) -> None:
    """See observations as the buffers say, once others have been written there."""
    shift, scale = policy.observation_shift, policy.observation_scale
    policy.set_normalizer(shift.numpy(force=True).copy(), scale.numpy(force=True).copy())


def as_tensors(inputs: Inputs, device: torch.device) -> Inputs:
    """The same with torch tensors on a device in place of arrays."""
    if inputs.image is None and inputs.memory is None and inputs.legal is None:
        observation: Any = torch.from_numpy(inputs.observation).to(device)
        return Inputs(observation)
    arrays: list[Any] = [inputs.observation, inputs.image, inputs.memory, inputs.legal]
    tensors: list[Any] = [None if array is None else torch.from_numpy(array).to(device) for array in arrays]
    return Inputs(*tensors)


class Policy(nn.Module):
    """What acts in an environment. Everything between an observation and an action is in here.

    Args:
        network: maps observations [B, D] float32 to a distribution's parameters: logits [B, n] for choices,
            (mean, std) or, of `beta`, (α, β) for a Box. One of this library's or any module of your own.
        observation_space: Box or MultiBinary (flattened), Discrete or MultiDiscrete (one-hot), or a Dict or Tuple
            of these (side by side; see `spaces.observed_part` for what is left out).
        action_space: Discrete, MultiDiscrete, MultiBinary, or a Box of floats.
        distribution: what the outputs mean, where the network does not say so itself: see `Network`; or a
            `Distribution` of your own.
        scale_observations: map a Box's finite bounds to [−1, 1].
        scale_actions: a Gaussian's or gSDE's actions are in units of the box: see `Network`.
        normalization: what running statistics it keeps, and learns by.
        environment_name: for error messages.

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
        """How `act` chooses where it is not told: the most probable action, or a sample."""
        shift, scale = _bounds_to_unit(observation_space, self.observation_size, scale_observations)
        # memory of their own: snapshots keep the arrays
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
                    f"normalize_observations is for a Box whose bounds are not scaled already: leave out {remedy}"
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
        """Move or cast the module, but not its normalizer: that is float64 on the CPU, where observations come in."""
        names = ("observation_shift", "observation_scale")
        kept = {name: self._buffers.pop(name) for name in names}
        try:
            super()._apply(fn, recurse)
        finally:
            self._buffers = {**kept, **self._buffers}
        return self

    @property
    def device(self) -> torch.device:
        """Where the network computes."""
        parameter = next(self.network.parameters(), None)
        return torch.device("cpu") if parameter is None else parameter.device

    def set_normalizer(self, shift: F64, scale: F64) -> None:
        """See the network's observations as (x − shift) · scale from now on; both are [D] float64."""
        self.observation_shift.copy_(torch.from_numpy(shift))
        self.observation_scale.copy_(torch.from_numpy(scale))
        self._shift, self._scale = shift, scale
        self._is_identity = not (np.any(shift != 0) or np.any(scale != 1) or math.isfinite(self._limit))

    @property
    def observation_limit(self) -> float:
        """What the network sees is clipped to plus and minus this; infinity where it is not."""
        return self._limit

    @property
    def num_choices(self) -> int | None:
        """How many actions there are, of a Discrete; None of others."""
        return int(self.action_space.n) if isinstance(self.action_space, spaces.Discrete) else None

    def refresh_normalizer(self) -> None:
        """See observations by the statistics as they are now; between updates, so that within one nothing moves."""
        if self.observation_moments is not None and self.observation_moments.count > 0:
            deviation = np.sqrt(self.observation_moments.variance() + SMALLEST_VARIANCE)
            mean = self.observation_moments.mean.numpy(force=True)
            self.set_normalizer(mean.copy(), 1 / deviation)

    def project(self) -> None:
        """Bring the log standard deviations back within their bounds, where they are parameters."""
        if isinstance(self.network, PerceptronPolicy):
            self.network.project()

    def snapshot(self) -> Snapshot:
        """A copy of all that learning changes."""
        return self.snapshots()()

    def snapshots(self) -> Callable[[], Snapshot]:
        """`snapshot` for many times, while no parameter is replaced by another tensor."""
        parameters, buffers = flat_parameters(self.network), dict(self.named_buffers())

        def take() -> Snapshot:
            copies = {name: buffer.clone() for name, buffer in buffers.items()}
            return Snapshot(parameters.numpy(force=True).copy(), copies)

        return take

    def restore(self, snapshot: Snapshot) -> None:
        """Be as the policy was at a snapshot."""
        flat_parameters(self.network).copy_(torch.from_numpy(snapshot.parameters))
        for name, buffer in self.named_buffers():
            buffer.copy_(snapshot.buffers[name])
        _adopt_normalizer(self)

    def encode(self, observations: Array) -> F32:
        """Observations [N, *shape] as the network sees them: [N, D] float32, flat, (x − shift) · scale, clipped.

        Those of a Dict or a Tuple are given flattened, [N, D]. The difference is taken in float64: where numbers
        are large, states that float32 cannot tell apart stay apart. The result is always in memory of its own,
        which protects a rollout from environments that write each observation into one array.
        """
        return self.normalized(observation_numbers(self.observation_space, observations))

    def normalized(self, numbers: Array) -> F32:
        """Return numbers [N, D] of observations as the network sees them: see `encode`."""
        if self._is_identity:
            return np.array(numbers, np.float32, order="C")
        encoded = np.ascontiguousarray((numbers - self._shift) * self._scale, np.float32)
        # what is infinite stays so, for those who look for it
        if np.isfinite(encoded.sum(dtype=np.float64)):
            np.clip(encoded, -self._limit, self._limit, out=encoded)
        return encoded

    def encode_checked(self, observations: Any) -> tuple[F32, bool]:
        """Encode one observation, or several, of the space's own form: ([N, D], whether it was one).

        Raises:
            ValueError, NonFiniteError: as `act`.
        """
        rows, single = as_rows(self.observation_space, observations)
        with ignored_numpy_errors():
            encoded = self.encode(rows)
        if not np.isfinite(encoded).all():
            raise NonFiniteError(f"observation has a NaN or an infinity: {observations}")
        return encoded, single

    def draw_noise(self, rng: np.random.Generator, n: int) -> F64:
        """The randomness of n actions, [n] or [n, ·] float64: see `draw_noise` of each distribution."""
        return self.distribution.draw_noise(rng, n)

    def environment_actions(self, actions: Array) -> Array:
        """Stored actions [N] or [N, K] to those the environment gets, [N, *shape] of the action space's dtype."""
        return environment_actions(self.action_space, self.distribution.in_units(actions))

    def forward(self, inputs: Inputs) -> Any:
        """The distribution's parameters for B rows of tensors: log π [B, n], (mean, log std), ..."""
        check_inputs(inputs, "policy(Inputs(tensor))")
        return self.distribution.parameters_of(self.network, inputs)

    def act(
        self, observation: Any, greedy: bool | None = None, rng: np.random.Generator | None = None
    ) -> Any:
        """The action for one observation, or the actions for a batch of them, ready for the environment.

        Args:
            observation: of the observation space's form, or several of them, [N, *shape].
            greedy: the most probable action (of a squashed Gaussian the median) rather than a sampled one. If left
                out, the policy's own way, `Policy.greedy`: the one that scored better at the end of its training,
                and sampled where nothing was scored. A sample is of fresh noise at every call; only rollouts hold
                gSDE's.
            rng: where a sample's randomness comes from; the policy's own, seeded from the machine, by default.

        Raises:
            ValueError: the observation's shape is not the space's.
            NonFiniteError: it holds a NaN or an infinity, or the network gave what no action can be chosen from.
        """
        encoded, single = self.encode_checked(observation)
        greedy = self.greedy if greedy is None else greedy
        noise = None if greedy else self.draw_noise(rng or self._rng, len(encoded))
        # acting is not training: dropout and the like are off, whatever the module's mode
        with evaluation_mode(self):
            chosen = self.choose(Inputs(encoded), noise)
        check_actions(self, encoded, chosen)
        actions = self.environment_actions(chosen)
        if not single:
            return actions
        return int(actions[0]) if isinstance(self.action_space, spaces.Discrete) else actions[0]

    @in_ordinary_torch
    @torch.no_grad()
    def choose(self, inputs: Inputs, noise: F64 | None) -> Array:
        """Stored actions, [N] or [N, K] int64 or [N, K] float32, for N rows.

        They are sampled by the noise (see `draw_noise`); without any they are the most probable. A choice is −1
        where the network's logits are no softmax: see `faults.check_actions`.
        """
        check_inputs(inputs, "policy.choose(Inputs(observation), noise)")
        device = self.device
        parameters = self(as_tensors(inputs, device))
        if noise is None:
            return self.distribution.mode(parameters).numpy(force=True)
        return self.distribution.sample(parameters, torch.from_numpy(noise).to(device)).numpy(force=True)

    def check_spaces(self, observation_space: Space, action_space: Space, name: str) -> None:
        """Raise ValueError unless these are the spaces that the policy was made for."""
        own = self.observation_space, self.action_space
        check_same_spaces(own, observation_space, action_space, name)


def _bounds_to_unit(space: Space, size: int, wanted: bool) -> tuple[F64, F64]:
    """(shift, scale), each [D] float64, that take each finite interval of a Box to [−1, 1]."""
    if not (wanted and isinstance(space, spaces.Box)):
        return np.zeros(size), np.ones(size)
    middle, half = interval_units(*bounds_of(space))
    return middle, 1 / half
