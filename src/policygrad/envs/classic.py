"""The classic control problems of Gymnasium, compiled, with the same spaces, limits, rewards and dynamics.

Given the same state and the same action within the action space, a step is bit-identical to Gymnasium's. The
formulas therefore keep its order of operations and its precision, which is float64 with three peculiarities:

- NumPy 2 (NEP 50) computes a float32 action combined with a Python float in float32. The whole state of
  MountainCarContinuous is therefore float32 after its first step. NumPy 1 has other promotion rules.
- `x**2` of a NumPy scalar calls the C library's pow, which differs from x * x in the last bit about once in a
  thousand values. A compiler turns a constant exponent into x * x, so Acrobot and Pendulum keep the exponent in
  their state.
- Sines and cosines are those of the C library, which NumPy 2 uses for float64. Where NumPy has its own, they agree
  within a few units in the last place of float64, so a single step agrees within one unit of float32. For float32,
  NumPy always uses its own: Acrobot's observation right after a reset, when its state is float32, agrees within 1.2e-7.

Resets draw from the same distributions as Gymnasium's, but draw different numbers.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numba
import numpy as np
from gymnasium import spaces

from policygrad.envs.classic_pictures import PICTURES
from policygrad.envs.kernel import Kernel, uniform
from policygrad.types import F32, F64, Array

f32 = np.float32

# CartPole: a cart on a track is pushed left or right to keep a pole upright (Barto, Sutton & Anderson 1983).
CARTPOLE_GRAVITY = 9.8
POLE_MASS = 0.1
TOTAL_MASS = POLE_MASS + 1.0
HALF_LENGTH = 0.5
POLE_MOMENT = POLE_MASS * HALF_LENGTH
PUSH = 10.0
CARTPOLE_DT = 0.02
TRACK_END = 2.4
FALLEN = 12 * 2 * math.pi / 360


def _reset_cartpole(state: F64, rng: Array) -> None:
    for i in range(4):
        state[i] = uniform(rng, -0.05, 0.05)


def _step_cartpole(state: F64, action: F64, rng: Array) -> tuple[float, bool]:
    """Take one Euler step of Barto et al.'s equations without friction; the angle is clockwise from upright."""
    x, x_dot, theta, theta_dot = state[0], state[1], state[2], state[3]
    force = PUSH if action[0] == 1 else -PUSH
    cos, sin = math.cos(theta), math.sin(theta)
    pull = (force + POLE_MOMENT * (theta_dot * theta_dot) * sin) / TOTAL_MASS
    theta_acc = (CARTPOLE_GRAVITY * sin - cos * pull) / (
        HALF_LENGTH * (4.0 / 3.0 - POLE_MASS * (cos * cos) / TOTAL_MASS)
    )
    x_acc = pull - POLE_MOMENT * theta_acc * cos / TOTAL_MASS
    state[0] = x + CARTPOLE_DT * x_dot
    state[1] = x_dot + CARTPOLE_DT * x_acc
    state[2] = theta + CARTPOLE_DT * theta_dot
    state[3] = theta_dot + CARTPOLE_DT * theta_acc
    return 1.0, abs(state[0]) > TRACK_END or abs(state[2]) > FALLEN


def _observe_cartpole(state: F64, observation: F32) -> None:
    for i in range(4):
        observation[i] = state[i]


# MountainCar: a car too weak to climb a hill directly gains momentum by swinging (Moore 1990; Sutton 1996).
# Its height is y = sin 3x.
WESTERN_END = -1.2
EASTERN_END = 0.6
TOP_SPEED = 0.07
SLOPE = 0.0025
THRUST = 0.001
GOAL = 0.5
CONTINUOUS_THRUST = 0.0015
CONTINUOUS_GOAL = 0.45


def _reset_mountain_car(state: F64, rng: Array) -> None:
    state[0] = uniform(rng, -0.6, -0.4)
    state[1] = 0.0


def _step_mountain_car(state: F64, action: F64, rng: Array) -> tuple[float, bool]:
    """Take the step ẋ += THRUST (a - 1) - SLOPE cos 3x, x += ẋ. The western end is a wall that stops the car."""
    velocity = state[1] + ((action[0] - 1) * THRUST + math.cos(3 * state[0]) * (-SLOPE))
    velocity = min(max(velocity, -TOP_SPEED), TOP_SPEED)
    position = min(max(state[0] + velocity, WESTERN_END), EASTERN_END)
    if position == WESTERN_END and velocity < 0:
        velocity = 0.0
    state[0], state[1] = position, velocity
    return -1.0, position >= GOAL and velocity >= 0


def _observe_mountain_car(state: F64, observation: F32) -> None:
    observation[0], observation[1] = state[0], state[1]


def _reset_mountain_car_continuous(state: F64, rng: Array) -> None:
    state[0] = uniform(rng, -0.6, -0.4)
    state[1] = 0.0
    state[2] = 3 * state[0]


def _step_mountain_car_continuous(state: F64, action: F64, rng: Array) -> tuple[float, bool]:
    """Take a step like `_step_mountain_car`, in float32 and with a force in [-1, 1].

    The state also stores 3x, because a reset computes it in float64 and a step computes it in float32.
    """
    force = f32(min(max(action[0], -1.0), 1.0))
    velocity = f32(state[1]) + (force * f32(CONTINUOUS_THRUST) - f32(SLOPE * math.cos(state[2])))
    velocity = min(max(velocity, f32(-TOP_SPEED)), f32(TOP_SPEED))
    position = f32(state[0] + velocity)
    position = min(max(position, f32(WESTERN_END)), f32(EASTERN_END))
    if position == f32(WESTERN_END) and velocity < 0:
        velocity = f32(0)
    state[0], state[1], state[2] = position, velocity, f32(3) * position
    terminated = bool(position >= f32(CONTINUOUS_GOAL) and velocity >= 0)
    return (100.0 if terminated else 0.0) - action[0] * action[0] * 0.1, terminated


# Acrobot: torque at the joint between two links swings them up to the height of one link (Sutton 1996).
ACROBOT_GRAVITY = 9.8
LINK_MASS = 1.0
LINK_LENGTH = 1.0
LINK_CENTER = 0.5
LINK_INERTIA = 1.0
ACROBOT_DT = 0.2
TOP_SPEED_1 = 4 * math.pi
TOP_SPEED_2 = 9 * math.pi


def _reset_acrobot(state: F64, rng: Array) -> None:
    for i in range(4):
        state[i] = f32(uniform(rng, -0.1, 0.1))


@numba.njit(error_model="numpy")
def _accelerations(
    theta1: float, theta2: float, dtheta1: float, dtheta2: float, torque: float, two: float
) -> tuple[float, float]:
    """Return (θ̈₁, θ̈₂) of Sutton & Barto (1998), section 11.3, where θ̈₂ differs from Sutton (1996)."""
    m, length, center, inertia, g = LINK_MASS, LINK_LENGTH, LINK_CENTER, LINK_INERTIA, ACROBOT_GRAVITY
    cos2, sin2 = math.cos(theta2), math.sin(theta2)
    d1 = m * center**2 + m * (length**2 + center**2 + 2 * length * center * cos2) + inertia + inertia
    d2 = m * (center**2 + length * center * cos2) + inertia
    phi2 = m * center * g * math.cos(theta1 + theta2 - math.pi / 2)
    phi1 = (
        -m * length * center * math.pow(dtheta2, two) * sin2
        - 2 * m * length * center * dtheta2 * dtheta1 * sin2
        + (m * center + m * length) * g * math.cos(theta1 - math.pi / 2)
        + phi2
    )
    ddtheta2 = (torque + d2 / d1 * phi1 - m * length * center * math.pow(dtheta1, two) * sin2 - phi2) / (
        m * center**2 + inertia - math.pow(d2, two) / d1
    )
    return -(d2 * ddtheta2 + phi1) / d1, ddtheta2


@numba.njit(error_model="numpy")
def _wrap(angle: float) -> float:
    while angle > math.pi:
        angle -= 2 * math.pi
    while angle < -math.pi:
        angle += 2 * math.pi
    return angle


def _step_acrobot(state: F64, action: F64, rng: Array) -> tuple[float, bool]:
    """Take one step of the classical Runge-Kutta method.

    The first angle is 0 when its link hangs down; the second angle is relative to the first link.
    """
    a, b, u, v, two = state[0], state[1], state[2], state[3], state[4]
    torque = action[0] - 1
    h = ACROBOT_DT
    half = h / 2
    p, q = _accelerations(a, b, u, v, torque, two)
    u2, v2 = u + half * p, v + half * q
    p2, q2 = _accelerations(a + half * u, b + half * v, u2, v2, torque, two)
    u3, v3 = u + half * p2, v + half * q2
    p3, q3 = _accelerations(a + half * u2, b + half * v2, u3, v3, torque, two)
    u4, v4 = u + h * p3, v + h * q3
    p4, q4 = _accelerations(a + h * u3, b + h * v3, u4, v4, torque, two)
    theta1 = _wrap(a + h / 6 * (u + 2 * u2 + 2 * u3 + u4))
    theta2 = _wrap(b + h / 6 * (v + 2 * v2 + 2 * v3 + v4))
    state[0], state[1] = theta1, theta2
    state[2] = min(max(u + h / 6 * (p + 2 * p2 + 2 * p3 + p4), -TOP_SPEED_1), TOP_SPEED_1)
    state[3] = min(max(v + h / 6 * (q + 2 * q2 + 2 * q3 + q4), -TOP_SPEED_2), TOP_SPEED_2)
    terminated = -math.cos(theta1) - math.cos(theta2 + theta1) > 1.0
    return 0.0 if terminated else -1.0, terminated


def _observe_acrobot(state: F64, observation: F32) -> None:
    observation[0], observation[1] = math.cos(state[0]), math.sin(state[0])
    observation[2], observation[3] = math.cos(state[1]), math.sin(state[1])
    observation[4], observation[5] = state[2], state[3]


# Pendulum: a motor too weak to lift a pendulum directly swings it up and holds it there with little torque.
PENDULUM_GRAVITY = 10.0
PENDULUM_DT = 0.05
TOP_SPIN = 8.0
TOP_TORQUE = 2.0


def _reset_pendulum(state: F64, rng: Array) -> None:
    state[0] = uniform(rng, -math.pi, math.pi)
    state[1] = uniform(rng, -1.0, 1.0)


def _step_pendulum(state: F64, action: F64, rng: Array) -> tuple[float, bool]:
    """Take a step of θ̈ = 3g/2 sin θ + 3u, a rod of unit mass and length, at cost θ² + 0.1 θ̇² + 0.001 u²."""
    theta, spin, two = state[0], state[1], state[2]
    torque = f32(min(max(action[0], -TOP_TORQUE), TOP_TORQUE))
    angle = (theta + math.pi) % (2 * math.pi) - math.pi
    effort = f32(0.001) * math.pow(torque, f32(two))
    cost = math.pow(angle, two) + 0.1 * math.pow(spin, two) + effort
    spin = spin + (1.5 * PENDULUM_GRAVITY * math.sin(theta) + f32(3) * torque) * PENDULUM_DT
    spin = min(max(spin, -TOP_SPIN), TOP_SPIN)
    state[0], state[1] = theta + spin * PENDULUM_DT, spin
    return -cost, False


def _observe_pendulum(state: F64, observation: F32) -> None:
    observation[0], observation[1], observation[2] = math.cos(state[0]), math.sin(state[0]), state[1]


def _box(*high: float) -> spaces.Box:
    bound = np.array(high, f32)
    return spaces.Box(-bound, bound, dtype=f32)


_CAR_SPACE = spaces.Box(np.array([WESTERN_END, -TOP_SPEED], f32), np.array([EASTERN_END, TOP_SPEED], f32))

CLASSIC: dict[str, Kernel] = {
    kernel.name: replace(kernel, **PICTURES[kernel.name])
    for kernel in (
        Kernel(
            name="CartPole-v1",
            observation_space=_box(2 * TRACK_END, np.inf, 2 * FALLEN, np.inf),
            action_space=spaces.Discrete(2),
            state=np.zeros(4),
            max_steps=500,
            reward_threshold=475.0,
            reset=_reset_cartpole,
            step=_step_cartpole,
            observe=_observe_cartpole,
        ),
        Kernel(
            name="MountainCar-v0",
            observation_space=_CAR_SPACE,
            action_space=spaces.Discrete(3),
            state=np.zeros(2),
            max_steps=200,
            reward_threshold=-110.0,
            reset=_reset_mountain_car,
            step=_step_mountain_car,
            observe=_observe_mountain_car,
        ),
        Kernel(
            name="MountainCarContinuous-v0",
            observation_space=_CAR_SPACE,
            action_space=_box(1.0),
            state=np.zeros(3),
            max_steps=999,
            reward_threshold=90.0,
            reset=_reset_mountain_car_continuous,
            step=_step_mountain_car_continuous,
            observe=_observe_mountain_car,
        ),
        Kernel(
            name="Acrobot-v1",
            observation_space=_box(1.0, 1.0, 1.0, 1.0, TOP_SPEED_1, TOP_SPEED_2),
            action_space=spaces.Discrete(3),
            state=np.array([0.0, 0.0, 0.0, 0.0, 2.0]),
            max_steps=500,
            reward_threshold=-100.0,
            reset=_reset_acrobot,
            step=_step_acrobot,
            observe=_observe_acrobot,
        ),
        Kernel(
            name="Pendulum-v1",
            observation_space=_box(1.0, 1.0, TOP_SPIN),
            action_space=_box(TOP_TORQUE),
            state=np.array([0.0, 0.0, 2.0]),
            max_steps=200,
            reset=_reset_pendulum,
            step=_step_pendulum,
            observe=_observe_pendulum,
        ),
    )
}
"""The compiled environments by their Gymnasium id."""
