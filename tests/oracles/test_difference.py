"""A network and its replacement, carried together: no difference exceeds its bound."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pairs import CURVES, ascended, dense_nets
from torch import Tensor

from oracles.difference import affine, bend, zonotope
from oracles.difference.answers import answers, difference_bound
from oracles.difference.curves import NoTransformer, Smooth
from oracles.difference.rounding import FLOAT32, FLOAT64, REAL, UNIT
from oracles.difference.zonotope import ball, box

SIZES = (5, 8, 7, 3)


def random_box(seed: int, width: float, size: int = SIZES[0]) -> tuple[Tensor, Tensor]:
    made = torch.Generator().manual_seed(seed)
    center, wide = torch.randn(2, size, generator=made, dtype=torch.float64)
    return center - width * wide.abs(), center + width * wide.abs()


def unsound(curve: str, *, seed: int, change: float, width: float) -> bool:
    """Whether float64 runs of both differ somewhere by more than the bound for such runs."""
    nets = dense_nets(SIZES, CURVES[curve], seed=seed, change=change)
    lower, upper = random_box(seed, width)
    bound = difference_bound(nets.carried(box(lower[None], upper[None]), FLOAT64))[0]
    return bool((ascended(nets, lower, upper, seed=seed) * (1 - UNIT) > bound).any())


@pytest.mark.parametrize("curve", CURVES)
@settings(max_examples=4)
@given(
    seed=st.integers(0, 2**20),
    change=st.sampled_from([0.0, 1e-6, 1e-2, 0.5]),
    width=st.sampled_from([1e-9, 0.05, 0.5, 3.0]),
)
def test_no_difference_is_above_its_bound(curve, seed, change, width):
    """Sampled, cornered and ascended differences lie within the bound, for every head."""
    assert not unsound(curve, seed=seed, change=change, width=width)


def tries() -> bool:
    """Whether the check above finds fault on a few networks."""
    return any(
        unsound(curve, seed=seed, change=change, width=0.5)
        for curve in ("relu", "tanh")
        for seed in range(2)
        for change in (1e-2, 0.3)
    )


def test_honest_steps_pass():
    assert not tries()


def without_symbols(values, name):
    return zonotope.Zonotope(values.center, torch.zeros_like(values.radius), values.blocks)


def wrong_slope(least, most, d, slope):
    found = honest_mean_value(least, most, d, slope)
    return bend.Strip(found.slope - 0.5, found.low, found.high)


def nearly_flat(self):
    return (self.high - self.low) / 16


def without_change(one, other, sign=1.0):
    return dict(one)


honest_mean_value = bend._mean_value


@pytest.mark.parametrize(
    ("module", "name", "broken"),
    [
        (bend, "fresh", without_symbols),
        (bend, "_mean_value", wrong_slope),
        (bend.Strip, "half", property(nearly_flat)),
        (affine, "_joined", without_change),
    ],
)
def test_broken_steps_are_caught(module, name, broken, monkeypatch):
    """A dropped error generator, a wrong slope, strips too low, a forgotten change of weights."""
    monkeypatch.setattr(module, name, broken)
    assert tries()


def test_affine_steps_are_exact():
    """Without heads the bound is the supremum, which a corner attains."""
    nets = dense_nets((6, 3), CURVES["relu"], seed=3, change=0.1)
    lower, upper = random_box(3, 1.0, 6)
    bound = difference_bound(nets.carried(box(lower[None], upper[None])))[0]
    share = torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * 6)
    corners = lower + (upper - lower) * share
    torch.testing.assert_close(bound, nets.apart(corners).abs().amax(0), rtol=1e-12, atol=1e-14)


def test_equal_networks_do_not_differ():
    """Replaced by itself, a network differs by nothing but what rounding may lose."""
    nets = dense_nets(SIZES, CURVES["relu"], seed=1, change=0.0)
    lower, upper = random_box(1, 1.0)
    pair = nets.carried(box(lower[None], upper[None]))
    assert difference_bound(pair).max() < 1e-12
    assert difference_bound(nets.carried(box(lower[None], upper[None]), FLOAT64)).max() < 1e-11


def test_round_balls():
    """In the ball of norm 2 an affine bound is center + r·|w|, and points of it stay below."""
    nets = dense_nets((6, 2), CURVES["relu"], seed=5, change=0.2)
    center, radius = torch.ones(1, 6, dtype=torch.float64), 0.3
    pair = nets.carried(ball(center, torch.full_like(center, radius), 2))
    change = nets.replaced[0].weight - nets.original[0].weight
    expected = nets.apart(center).abs()[0] + radius * change.norm(dim=1)
    torch.testing.assert_close(difference_bound(pair)[0], expected, rtol=1e-12, atol=1e-14)
    deep = dense_nets((6, 9, 2), CURVES["relu"], seed=5, change=0.2)
    bound = difference_bound(deep.carried(ball(center, torch.full_like(center, radius), 2)))
    steps = torch.randn(500, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    points = center + radius * steps / steps.norm(dim=1, keepdim=True)
    assert (deep.apart(points).abs() <= bound).all()


def in_random_order(steps, curve, x, made):
    """A float32 run in which every sum is taken in an order of its own."""
    for place, step in enumerate(steps):
        weight, bias = step.weight.float(), step.bias.float()
        total, order = torch.zeros(len(x), len(weight)), torch.randperm(x.shape[1], generator=made)
        for column in order.tolist():
            total = total + x[:, column, None] * weight[:, column]
        x = total + bias
        x = curve.value(x).float() if place < len(steps) - 1 else x
    return x


@pytest.mark.parametrize("curve", ["relu", "leaky", "clip"])
def test_float32_runs_lie_within(curve):
    """Both networks as float32 runs them, in random orders of their sums, at points and in balls;
    real arithmetic alone does not enclose them."""
    nets = dense_nets((40, 30, 20, 4), CURVES[curve], seed=2, change=1e-7)
    made, escaped = torch.Generator().manual_seed(0), 0
    x = torch.randn(20, 40, generator=made)
    inputs = box(x.double(), x.double())
    pair, real = nets.carried(inputs, FLOAT32), nets.carried(inputs)
    for _ in range(20):
        one, other = (
            in_random_order(steps, CURVES[curve], x, made).double()
            for steps in (nets.original, nets.replaced)
        )
        for values, known in ((one, pair.original), (other, pair.replaced)):
            assert (values >= known.lower).all() and (values <= known.upper).all()
        assert ((other - one).abs() <= difference_bound(pair)).all()
        escaped += int(((other - one).abs() > difference_bound(real)).sum())
    assert escaped


def test_float32_may_overflow():
    """Where a sum may be too large for float32 nothing is bounded, and nothing certified."""
    nets = dense_nets(SIZES, CURVES["relu"], seed=2, change=0.01)
    far = torch.full((1, SIZES[0]), 1e38, dtype=torch.float64)
    pair = nets.carried(box(far, far * 5), FLOAT32)
    assert torch.isinf(difference_bound(pair)).any()
    assert not answers(pair).same.any()


def test_a_smooth_head_has_no_float32():
    """What nobody has bounded is an error that says so."""
    smooth = CURVES["gelu"]
    assert isinstance(smooth, Smooth)
    with pytest.raises(NoTransformer, match="gelu as float32 computes it"):
        smooth.executed(torch.ones(1, dtype=torch.float64), FLOAT32)


@settings(max_examples=15)
@given(seed=st.integers(0, 2**20), radius=st.sampled_from([0.0, 0.02, 0.1]))
def test_certified_answers_are_kept(seed, radius):
    """At every point found in a certified ball, each network gives the certified answer."""
    nets = dense_nets(SIZES, CURVES["relu"], seed=seed, change=0.05)
    center = random_box(seed, 0.0)[0][None]
    found = answers(nets.carried(ball(center, torch.full_like(center, radius), math.inf)))
    made = torch.Generator().manual_seed(seed)
    points = center + radius * (2 * torch.rand(200, SIZES[0], generator=made).double() - 1)
    for certified, values in zip(
        (found.original, found.replaced), nets.values(points), strict=True
    ):
        if certified:
            assert (values.argmax(1) == found.answer).all()
    assert bool(found.same) == bool(found.original & found.replaced)


def test_answers_are_certified_at_points():
    """At radius 0 the answers are those of the networks, but for ties."""
    nets = dense_nets(SIZES, CURVES["relu"], seed=8, change=0.3)
    points = torch.randn(50, 5, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    found = answers(nets.carried(box(points, points), REAL))
    one, other = (values.argmax(1) for values in nets.values(points))
    assert found.original.all() and (found.answer == one).all()
    assert (found.replaced == (other == one)).all() and not found.replaced.all()
