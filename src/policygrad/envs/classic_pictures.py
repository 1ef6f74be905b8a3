"""Pictures of the classic control problems, which need neither a display nor pygame.

Each function draws the state [S] of a compiled environment of `classic`, as [H, W, 3] uint8.
"""

from __future__ import annotations

import math
from typing import Any

from policygrad._support.canvas import Canvas, Point
from policygrad.types import F64, Array

WIDTH = 480
INK, BODY, ACCENT, PALE = "#222222", "#2b5c8a", "#c8792b", "#c9ced6"
TRACK_END = 2.4
"""Position at which an episode of CartPole ends."""
HILL = [-1.2 + 0.02 * i for i in range(91)]
"""Positions at which the ground of MountainCar is drawn."""


def cartpole(state: F64) -> Array:
    """Draw the cart at x and the pole at the angle θ, which is clockwise from upright."""
    x, theta = float(state[0]), float(state[2])
    canvas = Canvas(WIDTH, (-2.8, 2.8), (-0.6, 1.9))
    canvas.line([(-2.8, 0.0), (2.8, 0.0)], 0.015, INK)
    for end in (-TRACK_END, TRACK_END):
        canvas.line([(end, -0.12), (end, 0.12)], 0.03, PALE)
    canvas.polygon([(x - 0.25, 0.0), (x + 0.25, 0.0), (x + 0.25, 0.26), (x - 0.25, 0.26)], BODY)
    joint = x, 0.2
    canvas.line([joint, (x + math.sin(theta), 0.2 + math.cos(theta))], 0.09, ACCENT)
    canvas.disk(joint, 0.04, INK)
    return canvas.pixels()


def mountain_car(state: F64) -> Array:
    """Draw the car on the hill, with a flag at the goal of MountainCar."""
    return _car(state, goal=0.5)


def mountain_car_continuous(state: F64) -> Array:
    """Draw the car on the hill, with a flag at the goal of MountainCarContinuous."""
    return _car(state, goal=0.45)


def _car(state: F64, goal: float) -> Array:
    x = float(state[0])
    canvas = Canvas(WIDTH, (-1.25, 0.65), (-0.1, 1.25))
    canvas.polygon([(-1.2, -0.2), *((at, _height(at)) for at in HILL), (0.6, -0.2)], PALE)
    top = _height(goal) + 0.18
    canvas.line([(goal, _height(goal)), (goal, top)], 0.008, INK)
    canvas.polygon([(goal, top), (goal + 0.09, top - 0.03), (goal, top - 0.06)], ACCENT)
    slope = math.atan2(_height(x + 0.01) - _height(x - 0.01), 0.02)
    cos, sin = math.cos(slope), math.sin(slope)

    def of_car(along: float, above: float) -> Point:
        return x + along * cos - above * sin, _height(x) + along * sin + above * cos

    canvas.polygon([of_car(-0.07, 0.02), of_car(0.07, 0.02), of_car(0.05, 0.085), of_car(-0.05, 0.085)], BODY)
    for along in (-0.045, 0.045):
        canvas.disk(of_car(along, 0.022), 0.022, INK)
    return canvas.pixels()


def _height(x: float) -> float:
    return 0.45 * math.sin(3 * x) + 0.55


def acrobot(state: F64) -> Array:
    """Draw the two links, whose free end has to rise above the line."""
    first, second = float(state[0]), float(state[0] + state[1])
    joint = math.sin(first), -math.cos(first)
    end = joint[0] + math.sin(second), joint[1] - math.cos(second)
    canvas = Canvas(360, (-2.2, 2.2), (-2.2, 2.2))
    canvas.line([(-2.2, 1.0), (2.2, 1.0)], 0.02, PALE)
    canvas.line([(0.0, 0.0), joint], 0.16, BODY)
    canvas.line([joint, end], 0.16, ACCENT)
    for center in ((0.0, 0.0), joint):
        canvas.disk(center, 0.06, INK)
    return canvas.pixels()


def pendulum(state: F64) -> Array:
    """Draw the rod at the angle θ, which is counterclockwise from upright."""
    theta = float(state[0])
    canvas = Canvas(360, (-1.3, 1.3), (-1.3, 1.3))
    canvas.line([(0.0, 0.0), (-math.sin(theta), math.cos(theta))], 0.16, BODY)
    canvas.disk((0.0, 0.0), 0.05, INK)
    return canvas.pixels()


PICTURES: dict[str, dict[str, Any]] = {
    "CartPole-v1": {"render": cartpole, "render_fps": 50.0},
    "MountainCar-v0": {"render": mountain_car, "render_fps": 30.0},
    "MountainCarContinuous-v0": {"render": mountain_car_continuous, "render_fps": 30.0},
    "Acrobot-v1": {"render": acrobot, "render_fps": 15.0},
    "Pendulum-v1": {"render": pendulum, "render_fps": 30.0},
}
"""Fields of `Kernel` for each problem: its picture, and Gymnasium's number of pictures per second."""
