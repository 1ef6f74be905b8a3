"""Functions that cannot be traced as a loss are refused, with the line and with what to write instead."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import policygrad as pg
from policygrad.losses import traced, where


def refused(function: Any, message: str, **options: Any) -> str:
    with pytest.raises(pg.LossError, match=message) as caught:
        traced(function, **options)
    return str(caught.value)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda s, k: s.log_prob if s.advantage > 0 else s.value, r"where\(condition, a, b\)"),
        (lambda s, k: s.log_prob if k.beta else s.value, r"where\(condition, a, b\)"),
        (lambda s, k: (s.log_prob > 0 and s.value > 0) * s.value, "instead of `and`"),
        (lambda s, k: min(s.log_prob, s.value), r"minimum\(a, b\)"),
        (lambda s, k: max(s.log_prob, 0.0), r"maximum\(a, b\)"),
        (lambda s, k: where(0 < s.log_prob < 1, 1.0, 0.0), "a < b < c"),
        (lambda s, k: s.log_prob == 1, "instead of == and !="),
        (lambda s, k: s.log_prob != 1, "instead of == and !="),
        (lambda s, k: math.exp(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: float(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: int(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: round(s.log_prob), r"instead of float\(\)"),
        (lambda s, k: np.exp(s.log_prob), "numpy.exp .* use policygrad.losses.exp"),
        (lambda s, k: np.minimum(s.log_prob, 1), "numpy.minimum .* use policygrad.losses.minimum"),
        (lambda s, k: np.clip(s.log_prob, 0, 1), "numpy.clip .* use policygrad.losses.clip"),
        (lambda s, k: np.where(s.log_prob > 0, 1, 2), "numpy.where .* use policygrad.losses.where"),
        (lambda s, k: torch.exp(s.log_prob), "torch's exp .* use policygrad.losses.exp"),
        (lambda s, k: torch.clamp(s.log_prob, 0, 1), "torch's clamp .* use policygrad.losses.clip"),
        (lambda s, k: torch.ones(3) * s.log_prob, "torch's mul"),
        (lambda s, k: s.log_prob.clamp(0, 1), "no attribute 'clamp': use policygrad.losses.clip"),
        (lambda s, k: s.log_prob.detach(), "no attribute 'detach': use policygrad.losses.stop_gradient"),
        (lambda s, k: s.log_prob.mean(), "no attribute 'mean'"),
        (lambda s, k: s.log_prob[0], "no items to index or iterate over"),
        (lambda s, k: sum(s.log_prob), "no items to index or iterate over"),
        (lambda s, k: len(s.log_prob), "no items to index or iterate over"),
        (lambda s, k: s.log_prob**s.value, r"write x\*\*y as exp\(y \* log\(x\)\)"),
        (lambda s, k: 2**s.value, r"write 2\*\*x as exp"),
        (lambda s, k: s.log_prob % 2, "% and @|%, // and @"),
        (lambda s, k: s.log_prob // 2, "%, // and @"),
        (lambda s, k: (s.log_prob > 0) * s.value, "a condition is not a number"),
        (lambda s, k: where(s.log_prob, 1.0, 2.0), "need a condition"),
        (lambda s, k: s.log_prob > 0, "a number; got a condition"),
        (lambda s, k: 1.0, "returns the loss of one sample, a number; got 1.0"),
        (lambda s, k: None, "got None"),
        (lambda s, k: s.log_prob + np.ones(3), "cannot contain ndarray"),
        (lambda s, k: s.log_prob + "a", "cannot contain str"),
        (lambda s, k: s.log_prob + True, "True and False are not numbers"),
        (lambda s, k: s.kl, r"estimate KL\(π_old ‖ π\) by exp\(x\) − 1 − x"),
        (lambda s, k: s.log_prob + undefined, "NameError"),  # type: ignore[name-defined]  # noqa: F821
        (lambda s: s.log_prob, r"takes a sample and coefficients, as in `def loss\(s, k\)`"),
        (3, "a loss is a function"),
    ],
)
def test_a_function_that_cannot_be_traced_is_refused_with_what_to_write(function: Any, message: str):
    words = refused(function, message)
    if callable(function):
        assert Path(__file__).name in words


def test_the_faulty_line_is_named():
    def helper(x: Any) -> Any:
        return x if x > 0 else -x  # the line

    def loss(s: Any, k: Any) -> Any:
        return helper(s.log_prob)

    assert "return x if x > 0 else -x  # the line`" in refused(loss, "where")


def test_a_loss_from_an_interactive_session_is_traced_and_compiled():
    names: dict[str, Any] = {}
    exec("from policygrad.losses import exp\ndef loss(s, k): return -exp(s.log_prob) * s.advantage", names)
    run = pg.train("CartPole-v1", pg.Reinforce(loss=names["loss"]), steps=500, select=False)
    assert math.isfinite(run.updates.latest["loss"])
    exec("def bad(s, k):\n  return s.advantage if s.value else 0", names)
    assert "<string>:2" in refused(names["bad"], "where")
