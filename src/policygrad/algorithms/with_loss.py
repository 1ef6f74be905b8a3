"""The base class of algorithms with a per-sample loss, which can be replaced by a custom loss."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from typing import Any, ClassVar

from policygrad._support.checks import check_fields
from policygrad._support.lookup import name_of_object
from policygrad.algorithms.columns import Column, Columns, own_column
from policygrad.algorithms.own_loss import algorithm_of, check_names, check_read, default_of, numeric_names
from policygrad.algorithms.schedule import linear, scheduled
from policygrad.errors import LossError
from policygrad.interfaces import Engine
from policygrad.losses import (
    OUTPUTS,
    DerivativesFunction,
    Loss,
    LossFunction,
    digest_of_function,
    from_derivatives,
    place_of,
    traced,
)
from policygrad.types import F32, Batch, Outputs


@dataclass(frozen=True, kw_only=True)
class WithLoss:
    """Base class of algorithms with a per-sample loss: the loss, its coefficients and its columns.

    Raises:
        LossError: the loss cannot be traced, or reads something that the algorithm cannot supply.
        ValueError: a coefficient, a column or a setting would have no effect.
    """

    loss: LossFunction
    """Loss of one sample, loss(s, k). See docs/losses.md."""
    derivatives: DerivativesFunction | None = None
    """Hand-written derivatives of a loss with respect to log π, H and V, instead of `loss`."""
    coefficients: Mapping[str, float | linear] = field(
        default_factory=dict[str, "float | linear"], hash=False
    )
    """Coefficients of a custom loss, by name: numbers, or `linear(start, end)`."""
    columns: Mapping[str, Column] = field(default_factory=dict[str, Column], hash=False)
    """Columns of a custom loss, by name: functions of the columns of the whole batch."""

    supplied: ClassVar[tuple[str, ...]] = ("advantage", "target", "old_log_prob", "old_value")
    """Names of the columns that the algorithm can compute."""
    computed_coefficients: ClassVar[tuple[str, ...]] = ()
    """Names of the coefficients that the algorithm computes, in addition to its fields."""
    without_flags: ClassVar[tuple[str, ...]] = ("loss", "derivatives", "coefficients", "columns")
    """Names of the fields of this class, for which the command line has separate flags: see `cli.loss_options`."""
    learns_value_by_loss: ClassVar[bool] = True
    """True if V(s) is trained by the loss, which must then have a term for V(s)."""

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("coefficients", "columns"):
            given: Any = getattr(self, name)
            if not (isinstance(given, Mapping) and all(isinstance(key, str) for key in given)):  # pyright: ignore
                raise TypeError(f"{name} must be a dict with names as keys; got {given!r}")
        self._check_own()
        loss = self.traced_loss
        if "log_prob" not in loss.outputs:
            raise LossError(
                f"{self._loss_place} does not depend on s.log_prob, so the policy would not learn: the loss of the "
                "policy gradient is −s.advantage * s.log_prob"
            )
        if self.learns_value_by_loss and "value" not in loss.outputs:
            raise LossError(
                f"{self._loss_place} has no term for V(s), which {type(self).__name__} needs to estimate advantages: "
                "add (s.value - s.target)**2 / 2, times k.value_coef if the algorithm has it"
            )

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        own = vars(cls)
        for gone in ("cotangents", "coefficients"):
            if gone in own and (gone == "cotangents" or callable(own[gone])):
                raise TypeError(
                    f"{cls.__qualname__} has {gone}(...), which is no longer called: give it a field "
                    "`loss: LossFunction = my_loss` instead, where my_loss(s, k) returns the loss of one sample. Its "
                    "coefficients are the numeric fields of the class (see docs/losses.md)."
                )
        try:
            annotated = inspect.get_annotations(cls)
        except NameError:
            annotated = own
        for name in cls.without_flags:
            if name in own and name not in annotated:
                raise TypeError(
                    f"{cls.__qualname__}.{name} would be ignored, because it is not a field: make the class a "
                    f"dataclass, and declare `{name}: Any = ...` in it"
                )

    def __getstate__(self) -> dict[str, Any]:
        """Return only the fields. Cached properties are computed from them again."""
        return {f.name: getattr(self, f.name) for f in fields(self)}

    @property
    def has_own_loss(self) -> bool:
        """True if the loss is not the built-in one of the algorithm."""
        return self.derivatives is not None or self.loss is not default_of(algorithm_of(type(self)), "loss")

    @property
    def missing_columns(self) -> dict[str, str]:
        """Names of the columns that this configuration cannot supply, each with the reason."""
        return {}

    @cached_property
    def traced_loss(self) -> Loss:
        """The loss, or its hand-written derivatives, in the form that engines use."""
        return self._traced(self.loss) if self.derivatives is None else self._by_hand(self.derivatives)

    def check_unchanged(self) -> None:
        """Raise LossError if the loss no longer computes what it did when this configuration was created.

        A global or a closure variable that it refers to may have changed since. One engine would see the change, and
        the other would not.
        """
        if self.derivatives is None and self._traced(self.loss).digest != self.traced_loss.digest:
            raise LossError(
                f"{self._loss_place} no longer computes what it did when {type(self).__name__} was created, because "
                "something that it refers to has changed. Create the configuration again, or use a coefficient."
            )

    def coefficient_values(self, progress: float, **computed: float) -> dict[str, float]:
        """Return the coefficients that the loss reads, with their values at this progress through the run.

        A coefficient with the name of a field has its value. The value changes linearly if the field has an `_end`. A
        bound that is None is infinite.

        Args:
            progress: progress through the run, in [0, 1].
            computed: values that the algorithm has computed, which override the fields' values or add to them.
        """
        return {
            name: computed[name] if name in computed else scheduled(*self.schedule(name), progress)
            for name in self.traced_loss.coefficients
        }

    def schedule(self, name: str) -> tuple[float, float]:
        """Return a coefficient's values at the start and at the end of the run: see `coefficient_values`."""
        custom = self.coefficients.get(name)
        if isinstance(custom, linear):
            return custom.start, custom.end
        if custom is not None:
            return float(custom), float(custom)
        # the learning rate of V(s) may be that of the policy
        is_policy_s = name == "value_learning_rate" and getattr(self, name) is None
        field_name = "learning_rate" if is_policy_s else name
        start, end = getattr(self, field_name), getattr(self, f"{field_name}_end", None)
        if start is None:
            return math.inf, math.inf
        return float(start), float(start if end is None else end)

    def with_read_columns(
        self, engine: Engine, batch: Batch, *, old_log_prob: F32 | None = None, old_value: F32 | None = None
    ) -> Batch:
        """Return the batch with the columns that the loss reads in addition to advantages and targets.

        Args:
            engine: engine with the policy that acted, which is evaluated if old_log_prob is read and not passed.
            batch: the samples.
            old_log_prob: [B], log π(a|s) of the policy that acted.
            old_value: [B], V(s) when it acted.

        Raises:
            NonFiniteError: a custom column contains NaN or infinity.
        """
        read = self.traced_loss.columns
        if not self.columns and batch.columns.keys() >= set(read):
            return batch
        added = dict[str, F32]()
        if old_log_prob is None and "old_log_prob" in read and "old_log_prob" not in batch.columns:
            old_log_prob = engine.evaluate(batch.inputs, batch.action)[0]
        for name, column in (("old_log_prob", old_log_prob), ("old_value", old_value)):
            if name in read and column is not None:
                added[name] = column
        later: dict[str, Callable[[], F32]] = {
            "old_log_prob": lambda: (
                engine.evaluate(batch.inputs, batch.action)[0] if old_log_prob is None else old_log_prob
            )
        }
        if old_value is not None:
            later["old_value"] = lambda: old_value
        known = {name: column for name, column in batch.columns.items() if name not in self.columns}
        columns = Columns({**known, **added}, later)
        for name, function in self.columns.items():
            added[name] = own_column(name, function, columns, len(batch))
        return batch.with_columns(**added) if added else batch

    def loss_metric(self, outputs: Outputs, coefficients: Mapping[str, float]) -> dict[str, float]:
        """Return the metric `loss`, its mean over samples with these outputs; empty for hand-written derivatives."""
        loss = self.traced_loss
        if loss.root is None:
            return {}
        return {"loss": loss.mean(outputs.matrix, outputs.columns, coefficients)}

    def describe_loss(self) -> dict[str, Any]:
        """Return what `config.json` stores of the loss: a hash of its graph, and the details of a custom loss."""
        graph = {"loss_graph": self.traced_loss.digest}
        if not self.has_own_loss:
            return graph
        return graph | {
            "loss": self._loss_name,
            "coefficients": {
                name: [value.start, value.end] if isinstance(value, linear) else value
                for name, value in self.coefficients.items()
            },
            "columns": {
                name: f"{name_of_object(function)} {digest_of_function(function)[:16]}"
                for name, function in self.columns.items()
            },
        }

    @property
    def _loss_name(self) -> str:
        return name_of_object(self.loss if self.derivatives is None else self.derivatives)

    @property
    def _loss_place(self) -> str:
        return place_of(self.loss if self.derivatives is None else self.derivatives)

    def _names(self) -> tuple[list[str], list[str]]:
        """Return the names of the (columns, coefficients) that a loss may read."""
        missing = self.missing_columns
        columns = [name for name in (*OUTPUTS, *self.supplied, *self.columns) if name not in missing]
        return columns, [*numeric_names(self), *self.computed_coefficients, *self.coefficients]

    def _traced(self, function: LossFunction) -> Loss:
        columns, coefficients = self._names()
        known = tuple(columns), tuple(coefficients), tuple(self.missing_columns.items())
        # the library's losses never change, but a user's function may refer to something that does
        is_built_in = str(getattr(function, "__module__", "")).startswith("policygrad.")
        return (_cached_trace if is_built_in else _trace)(function, *known)

    def _by_hand(self, function: DerivativesFunction) -> Loss:
        return from_derivatives(function, *self._names(), self.missing_columns)

    def _check_own(self) -> None:
        """Raise unless everything that is passed with the loss is valid, and the loss reads it."""
        if self.derivatives is not None and self.loss is not default_of(type(self), "loss"):
            raise ValueError("hand-written derivatives replace the loss: pass only one of them")
        check_names(self, (*OUTPUTS, *self.supplied), self.computed_coefficients)
        check_read(self, self.traced_loss, self._loss_name)
        if self.has_own_loss:
            for name in self.unread_fields:
                if getattr(self, name) != default_of(type(self), name):
                    raise ValueError(
                        f"{name}={getattr(self, name)!r} would be ignored: {self._loss_name} does not read k.{name}. "
                        "Leave it out."
                    )

    @property
    def unread_fields(self) -> list[str]:
        """Names of the fields that the built-in loss reads and this one does not, with their `_end` fields."""
        built_in = self._traced(default_of(algorithm_of(type(self)), "loss")).coefficients
        unread = [
            name for name in built_in if name not in self.traced_loss.coefficients and hasattr(self, name)
        ]
        return [f for name in unread for f in (name, f"{name}_end") if hasattr(self, f)]


def _trace(
    function: LossFunction,
    columns: tuple[str, ...],
    coefficients: tuple[str, ...],
    missing: tuple[tuple[str, str], ...],
) -> Loss:
    return traced(function, columns, coefficients, dict(missing))


_cached_trace = cache(_trace)
