import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from oracles.claims import (
    Affine,
    AffineBank,
    Box,
    Claim,
    Pairing,
    Proved,
    Refuted,
    Unknown,
    apply_head,
    below,
    dyadics,
    evaluate,
    gap_at,
    head_form,
    pair_heads,
    power_of_two,
)

finite = st.floats(allow_nan=False, allow_infinity=False)


@given(arrays(np.float64, st.integers(0, 6), elements=finite))
def test_dyadics_are_exact(values):
    """Integers times the power of two are the floats themselves, subnormal ones included."""
    exact = dyadics(values)
    scale = power_of_two(exact.exponent)
    assert [m * scale for m in exact.integers] == [Fraction(v) for v in values.tolist()]


def test_dyadics_are_short():
    """Weights that are multiples of 1/4 become small integers."""
    assert dyadics(np.array([0.25, -3.0, 0.0])).integers == [1, -12, 0]


@given(st.fractions(min_value=0, max_value=10**9))
def test_below_never_rounds_up(value):
    """A difference that is reported as a float is not overstated."""
    assert 0 <= value - Fraction(below(value)) <= value * Fraction(1, 2**52)


@pytest.mark.parametrize("verdict", [Proved("checked", Fraction(1)), Unknown("why"), None])
def test_a_verdict_has_no_truth_value(verdict):
    """``if verdict`` would hide the third answer, so it raises."""
    verdict = verdict or Refuted(np.zeros(1), 1.0) if verdict is None else verdict
    with pytest.raises(TypeError, match="no truth value"):
        bool(verdict)


@pytest.mark.parametrize(
    ("lower", "upper", "message"),
    [
        ([0.0, 2.0], [1.0, 1.0], r"lower\[1\] = 2.0 is above upper 1.0"),
        ([0.0], [np.nan], r"upper\[0\] is nan"),
        ([-np.inf], [0.0], r"lower\[0\] is -inf"),
        ([0.0, 0.0], [1.0], "shapes"),
        (0.0, 1.0, "shapes"),
    ],
)
def test_a_box_names_what_is_wrong(lower, upper, message):
    """A box that is empty, infinite or misshapen is refused with the value and its place."""
    with pytest.raises(ValueError, match=message):
        Box(np.array(lower), np.array(upper))


def test_numbers_are_copied_and_read_only():
    """A box does not change when the array it came from does."""
    lower = np.zeros(2)
    box = Box(lower, np.ones(2))
    lower[0] = 5
    assert box.lower.tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        box.lower[0] = 1


@pytest.mark.parametrize(
    ("op", "params"),
    [
        ("mish", {}),
        ("relu", {"slope": 0.1}),
        ("leaky_relu", {}),
        ("clip", {"low": 1.0, "high": 0.0}),
        ("clip", {"low": 1.0}),
        ("prelu", {"slope": float("nan")}),
    ],
)
def test_odd_heads_are_refused(op, params):
    """A head without a bound, or with wrong parameters, raises and names it."""
    with pytest.raises(ValueError, match=op):
        head_form(op, params)


HEADS = [
    ("identity", {}, lambda a: a),
    ("relu", {}, lambda a: max(a, 0.0)),
    ("abs", {}, abs),
    ("leaky_relu", {"slope": 0.01}, lambda a: a if a > 0 else 0.01 * a),
    ("prelu", {"slope": 1.5}, lambda a: a if a > 0 else 1.5 * a),
    ("prelu", {"slope": -0.5}, lambda a: a if a > 0 else -0.5 * a),
    ("clip", {"low": 0.0, "high": 6.0}, lambda a: min(max(a, 0.0), 6.0)),
    ("sigmoid", {}, lambda a: 0.5 + 0.5 * np.tanh(a / 2)),
    ("tanh", {}, np.tanh),
    ("gelu", {}, lambda a: 0.5 * a * math.erfc(-a / math.sqrt(2))),
    ("silu", {}, lambda a: a * (0.5 + 0.5 * np.tanh(a / 2))),
    ("hardsigmoid", {}, lambda a: min(max(a + 3, 0.0), 6.0) / 6),
    ("hardswish", {}, lambda a: a * min(max(a + 3, 0.0), 6.0) / 6),
]


@pytest.mark.parametrize(("op", "params", "meaning"), HEADS, ids=[f"{h[0]}{h[1]}" for h in HEADS])
@given(value=st.floats(-1000, 1000), other=st.floats(-1000, 1000))
def test_heads_mean_what_they_say(op, params, meaning, value, other):
    """The exact head equals its definition, and keeps to its slopes or its Lipschitz constant."""
    form = head_form(op, params)
    exact = apply_head(form, Fraction(value))
    assert float(exact) == pytest.approx(meaning(value), rel=1e-12, abs=1e-12)
    if form.two_slope:
        assert exact == max(Fraction(slope) * Fraction(value) for slope in form.slopes)
    gap = abs(exact - apply_head(form, Fraction(other)))
    reach = Fraction(form.lipschitz) * abs(Fraction(value) - Fraction(other))
    assert gap <= reach + Fraction(1, 2**45)


def test_equal_heads_pair_and_others_do_not():
    """Two-slope heads pair freely, monotone ones only with themselves."""
    relu, leaky = head_form("relu"), head_form("leaky_relu", {"slope": 0.5})
    six = head_form("clip", {"low": 0, "high": 6})
    assert pair_heads(relu, leaky) == Pairing((0.0, 1.0), (0.5, 1.0), 1.0, True)
    assert pair_heads(six, six) == Pairing((1.0, 1.0), (1.0, 1.0), 1.0, False)
    assert isinstance(pair_heads(six, head_form("clip", {"low": 0, "high": 5})), Unknown)
    assert isinstance(pair_heads(head_form("sigmoid"), relu), Unknown)


def test_a_replay_is_exact():
    """The difference at a point is the exact number, below any float rounding."""
    relu = head_form("relu")
    unit = Affine(np.array([1.0, 2.0**-60]), 0.0, relu)
    program = Affine(np.array([1.0, 0.0]), 0.0, relu)
    assert gap_at(unit, program, np.array([1.0, 1.0])) == Fraction(1, 2**60)
    assert evaluate(unit, np.array([-1.0, 0.0])) == 0


@pytest.mark.parametrize("op", ["sigmoid", "tanh", "gelu", "silu"])
def test_a_smooth_replay_does_not_overstate(op):
    """Equal smooth heads differ by nothing, and a tiny difference is not claimed."""
    unit = Affine(np.array([1.0]), 0.1, head_form(op))
    nearly = Affine(np.array([1.0]), float(np.nextafter(0.1, 1)), head_form(op))
    assert gap_at(unit, nearly, np.array([0.3])) == 0


def test_banks_and_claims_check_their_sizes():
    """A bank with the wrong number of biases or no inputs, and a negative epsilon, are refused."""
    relu = head_form("relu")
    with pytest.raises(ValueError, match="bank of shapes"):
        AffineBank(np.zeros((2, 3)), np.zeros(3), (relu, relu))
    with pytest.raises(ValueError, match="n >= 1"):
        AffineBank(np.zeros((1, 0)), np.zeros(1), (relu,))
    with pytest.raises(ValueError, match="epsilon is -1"):
        Claim(Fraction(-1), "envelope")
    assert len(AffineBank(np.zeros((2, 3)), np.zeros(2), (relu, relu))) == 2
