"""A point lies above a curve of a baseline, or it does not."""

import pytest

from benchmarks.baseline_curves import Measured, at, compared

CURVE = [Measured(0.02, 1.0, 0.5, None), Measured(0.04, 0.01, 0.9, None)]


def test_between_two_points_logs_are_linear():
    """Half way between 1 and 0.01 nats is 0.1; beyond its ends a curve goes on as it is."""
    middle = at(CURVE, 0.03)
    assert (middle.kl, middle.agreement) == (pytest.approx(0.1), pytest.approx(0.7))
    assert at(CURVE, 0.01).kl == 1.0 and at(CURVE, 0.2).kl == pytest.approx(0.01)
    assert at(CURVE[:1], 0.5).agreement == 0.5


@pytest.mark.parametrize(
    ("kl", "agreement", "holds"),
    [(0.09, 0.7, [True, True]), (0.11, 0.8, [False, True]), (0.05, 0.6, [True, False])],
)
def test_both_kl_and_agreement_are_held(kl, agreement, holds):
    """At 3 % the curve has 0.1 nats and 70 %."""
    checks = list(compared("net", [Measured(0.03, kl, agreement, 0.9)], "rounding", CURVE))
    assert [c.holds for c in checks] == holds
    assert all("at 3.0%, against rounding" in c.name for c in checks)
