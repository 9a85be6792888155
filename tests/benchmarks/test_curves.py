"""Planted tuning programs and planted arcs are found again by the benchmark of curves."""

import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest

from benchmarks.curve_weights import CLOCKWISE, PLACES, Shape, explain, segments
from benchmarks.panels import Panel, save_panels
from benchmarks.tuning_program import DEGREES, TuningProgram, fit_program, r_squared, rotated

BUMPS = np.array([[1.0, 0.0, 18.0], [0.25, 40.0, 16.0], [0.125, -50.0, 20.0]])
PLANTED = TuningProgram(BUMPS, np.array([10.0, 100.5, 222.0, 355.0]), np.array([50, 7, 300, 900]))
FITTED = (DEGREES // 10) % 2 == 0


def test_a_planted_program_is_found() -> None:
    """From half of the arcs, the other half is said to within the grids, with noise beside."""
    curves = PLANTED.responses()
    noise = np.random.default_rng(0).standard_normal(curves.shape)
    found = fit_program(curves + 0.01 * curves.max(1, keepdims=True) * noise, FITTED)
    left_out = zip(curves[:, ~FITTED], found.responses()[:, ~FITTED], strict=True)
    assert min(r_squared(curve, said) for curve, said in left_out) > 0.99
    np.testing.assert_allclose((found.angles - PLANTED.angles + 180) % 360 - 180, 0, atol=3)
    assert found.text.startswith("gain*(1*bump(x, 0, 1") and 100 < found.bits < 200


def test_what_is_left_out_is_not_looked_at() -> None:
    """Other numbers on the steps left out change nothing."""
    curves = PLANTED.responses()
    other = np.where(FITTED, curves, 1e6)
    one, two = (fit_program(c, FITTED) for c in (curves, other))
    assert one.text == two.text
    np.testing.assert_array_equal(one.responses(), two.responses())
    np.testing.assert_array_equal(
        rotated(curves, FITTED)[:2], rotated(np.vstack([curves[:2], other[2:]]), FITTED)[:2]
    )


def test_a_planted_arc_is_explained() -> None:
    """Weights that are segments of one arc are explained wholly, and noise is not."""
    shape, angles = Shape(3.0, 1.0, 60.0, 0.0), np.array([0.0, 90.0, 200.0])
    kernels = np.stack([segments(shape, CLOCKWISE * a, (9, 9)) for a in angles])  # (T, P, 81)
    generator = np.random.default_rng(0)
    places = generator.integers(len(PLACES), size=5)
    gains = generator.standard_normal((5, 3))
    weights = gains[:, :, None] * kernels[:, places].transpose(1, 0, 2)
    found = explain(weights.reshape(5, 3, 9, 9), angles)
    assert found.shape == shape
    assert found.all_by_source == pytest.approx(1.0) == found.by_pair.min()
    noise = explain(generator.standard_normal((5, 3, 9, 9)), angles)
    assert noise.all_by_source <= noise.all_by_pair < 0.2


def test_panels(tmp_path: Path) -> None:
    """The picture is well-formed and has a pair of lines a unit."""
    panels = [Panel(f"unit {i} & more", [0.0, 1.0, 0.5], [0.1, 0.9, 0.4]) for i in range(7)]
    save_panels(tmp_path / "panels.svg", "a < b", panels)
    root = ElementTree.parse(tmp_path / "panels.svg").getroot()
    assert sum(element.tag.endswith("polyline") for element in root) == 14
