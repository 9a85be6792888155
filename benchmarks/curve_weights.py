"""How much of the weights between two layers of a curve circuit one family of arcs explains."""

from dataclasses import dataclass
from functools import cache
from itertools import product

import numpy as np

from grammars.grammar import load_grammar
from synth.kernels.forms import Form, Window

RADII, WIDTHS, SPANS, SHIFTS = (2.0, 3.0, 4.0, 6.0), (0.75, 1.0), (30.0, 60.0), (-0.5, 0.0, 0.5)
PLACES = tuple(range(-90, 91, 15))  # degrees along the arc from its middle
CLOCKWISE = -1.0  # the tuning curves' angles, as they stand in the picture


@dataclass(frozen=True)
class Shape:
    """What all pairs share: the arc's radius, and the width and span of a segment, in pixels and
    degrees; `shift` pixels the arc lies outside of the window's centre."""

    radius: float
    width: float
    span: float
    shift: float


@dataclass(frozen=True, eq=False)
class Explained:
    """Shares of the sum of squares of the weights of each target (T,), and of all.

    `by_pair` where each pair has its own place along the arc, `by_source` where a source has one
    place for all targets; each pair has a gain in both.
    """

    shape: Shape
    by_pair: np.ndarray
    by_source: np.ndarray
    all_by_pair: float
    all_by_source: float


def explain(weights: np.ndarray, angles: np.ndarray) -> Explained:
    """Weights (S, T, h, w), and the preferred angle (T,) of each target in degrees.

    The kernel of a pair is gain · curve(angle − preferred, …): a short segment of an arc through
    the centre that bulges where the target's preferred curve does. The shape is the one of a small
    grid that explains most by pair.
    """
    shapes = (Shape(*values) for values in product(RADII, WIDTHS, SPANS, SHIFTS))
    return max(
        (_explained(weights, angles, shape) for shape in shapes), key=lambda e: e.all_by_pair
    )


def segments(shape: Shape, angle: float, size: tuple[int, int]) -> np.ndarray:
    """(P, h·w) kernels of norm 1, a segment of the arc that bulges towards `angle` at each place;
    parameters are on the primitive's grids."""
    form = _curve()
    middle, turns = np.deg2rad(angle), np.deg2rad(angle + np.array(PLACES))
    out = shape.shift - shape.radius
    right = out * np.cos(middle) + shape.radius * np.cos(turns)
    up = out * np.sin(middle) + shape.radius * np.sin(turns)
    rows = [
        form.snapped((np.rad2deg(t) % 360, shape.radius, shape.width, shape.span, 0.0, -y, x))
        for t, y, x in zip(turns, up, right, strict=True)
    ]
    centre = [(length - 1) // 2 for length in size]
    places = [(y - centre[0], x - centre[1]) for y in range(size[0]) for x in range(size[1])]
    kernels = form.kernels(np.array(rows, dtype=np.float64), Window.of(places))
    return kernels / np.maximum(np.linalg.norm(kernels, axis=1, keepdims=True), 1e-9)


def _explained(weights: np.ndarray, angles: np.ndarray, shape: Shape) -> Explained:
    flat = weights.reshape(*weights.shape[:2], -1)
    size = weights.shape[2], weights.shape[3]
    kernels = np.stack([segments(shape, CLOCKWISE * a, size) for a in angles])  # (T, P, h·w)
    squares = np.einsum("stw,tpw->stp", flat, kernels) ** 2
    pair = squares.max(2)
    place = squares.sum(1).argmax(1)
    source = np.take_along_axis(squares, place[:, None, None], axis=2)[:, :, 0]
    total = (flat**2).sum((0, 2))
    shares = pair.sum(0) / total, source.sum(0) / total
    return Explained(shape, *shares, *(float(p.sum() / total.sum()) for p in (pair, source)))


@cache
def _curve() -> Form:
    return Form(load_grammar(tags=("kernel",), installed=False)["curve"])
