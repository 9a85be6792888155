"""Kernel primitives as functions of arrays of parameters: many kernels of a family at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from grammars.grammar import Grammar
from grammars.kernels import Formula
from grammars.primitive import Parameter, Primitive, Real
from grammars.program import Node, Sort, Value, call
from synth.kernels.numbers import host


@dataclass(frozen=True, eq=False)
class Window:
    """The P positions (down, right) of a layer's window from its centre, (P,) each."""

    down: np.ndarray
    right: np.ndarray

    @staticmethod
    def of(offsets: Sequence[tuple[int, int]]) -> "Window":
        down, right = np.array(offsets, dtype=np.float64).T
        return Window(down, right)

    @property
    def reach(self) -> float:
        """The largest distance from the centre along an axis."""
        return float(max(np.abs(self.down).max(), np.abs(self.right).max()))


@dataclass(frozen=True, eq=False)
class Form:
    """A kernel primitive over arrays: values (S, p) of its p parameters give kernels (S, P)."""

    primitive: Primitive

    @cached_property
    def specs(self) -> tuple[Parameter, ...]:
        return tuple(spec for _, spec in self.primitive.parameters)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Of the parameters."""
        return tuple(name for name, _ in self.primitive.parameters)

    @cached_property
    def low(self) -> np.ndarray:
        return np.array([spec.low for spec in self.specs], dtype=np.float64)

    @cached_property
    def high(self) -> np.ndarray:
        """The largest values (p,); of what has a period, one period beyond the smallest."""
        return np.where(self.periods > 0, self.low + self.periods, [s.high for s in self.specs])

    @cached_property
    def periods(self) -> np.ndarray:
        """(p,) periods, zero where there is none."""
        return np.array([getattr(s, "period", None) or 0.0 for s in self.specs], dtype=float)

    @cached_property
    def movable(self) -> np.ndarray:
        """(p,) which parameters are real; whole ones are as a search starts with them."""
        return np.array([isinstance(spec, Real) for spec in self.specs])

    @cached_property
    def sizes(self) -> np.ndarray:
        """(p,) how many points the grids have."""
        return np.array([s.size if isinstance(s, Real) else s.high - s.low + 1 for s in self.specs])

    @cached_property
    def steps(self) -> np.ndarray:
        """(p,) the steps of the grids."""
        return np.array([s.step if isinstance(s, Real) else 1 for s in self.specs], dtype=float)

    def kernels(self, values: np.ndarray, window: Window, xp: Any = np) -> np.ndarray:
        """Kernels (S, P), not rounded, at the positions of a window; where `xp` has its numbers."""
        if xp is not np:
            try:
                return self._together(values, window, xp)
            except (AttributeError, TypeError, RuntimeError):  # a body that only numpy can do
                return xp.asarray(self.kernels(host(values), window))
        try:
            return self._together(values, window, np)
        except ValueError:  # a body that asks whether an array is true
            return np.stack([self._together(row[None], window, np)[0] for row in values])

    def wrapped(self, values: np.ndarray) -> np.ndarray:
        """Values (S, p) of the same kernels within the ranges of what has a period, and folded as
        their primitive says, which may change a sign.

        A half turn of an axis changes the sign of a phase.
        """
        result = values.copy()
        turned = self.periods > 0
        low, period = self.low[turned], self.periods[turned]
        turns = np.floor((values[:, turned] - low) / period)
        result[:, turned] -= turns * period
        names = self.names
        if "phase" in names and "angle" in names:
            phase, angle = names.index("phase"), names.index("angle")
            odd = np.floor((values[:, angle] - self.low[angle]) / 180.0) % 2 == 1
            if self.periods[angle] == 180.0:
                result[odd, phase] = -result[odd, phase] % self.periods[phase]
        if folded := self.primitive.folded:
            params = dict(zip(names, result.T, strict=True))
            for name, column in folded(np, **params).items():
                result[:, names.index(name)] = column
        return result

    def snapped(self, values: Sequence[float] | np.ndarray) -> tuple[Value, ...]:
        """The nearest grid points."""
        return tuple(_snapped(spec, float(v)) for spec, v in zip(self.specs, values, strict=True))

    def node(self, values: Sequence[float] | np.ndarray) -> Node:
        """The kernel as a program, for values on their grids."""
        return call(self.primitive.name, **dict(zip(self.names, self.snapped(values), strict=True)))

    def _together(self, values: np.ndarray, window: Window, xp: Any) -> np.ndarray:
        params = {name: values[:, i, None] for i, name in enumerate(self.names)}  # (S, 1)
        found = self.primitive.body(_Sampler(window, xp), **params)
        shape = len(values), len(window.down)
        return found if found.shape == shape else xp.broadcast_to(found, shape)


def forms_of(grammar: Grammar) -> tuple[Form, ...]:
    """The kernels of a grammar that take parameters alone."""
    found = (p for p in grammar.primitives if p.result is Sort.WEIGHTS and not p.args)
    return tuple(Form(primitive) for primitive in found)


@dataclass(frozen=True)
class _Sampler:
    """What a kernel's body needs of an algebra: a table is its formula at the window."""

    window: Window
    xp: Any

    def table(self, formula: Formula) -> np.ndarray:
        xp = self.xp
        down, right = (xp.asarray(places)[None] for places in (self.window.down, self.window.right))
        with np.errstate(all="ignore"):
            values = xp.asarray(formula(xp, down, right))
        finite = xp.isfinite(values)
        return values if finite.all() else xp.where(finite, values, 0.0)


def _snapped(spec: Parameter, value: float) -> Value:
    if isinstance(spec, Real):
        return spec.snap(value)
    return int(np.clip(round(value), spec.low, spec.high))
