"""The step through heads: σ(x) of each network, and σ(x') − σ(x), each between parallel lines.

A head is enclosed by slope·x + [low, high], the strip of least height among a few slopes (DeepZ,
Singh et al. 2018); the height becomes a noise symbol. The difference is (mean value theorem)
s·Δ with s in [least, most] slope over both ranges, and less where x and x' say so: σ(x) − least·x
never falls and σ(x) − most·x never rises, so that their differences are known from the ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from oracles.difference.curves import Curve
from oracles.difference.pair import Pair, Range, symbolised
from oracles.difference.rounding import UNIT, Semantics, gamma, grown, up
from oracles.difference.zonotope import Zonotope

ROUNDINGS = 8 * UNIT  # of few operations, relative to the sum of the sizes of what they join


@dataclass(frozen=True, eq=False)
class Strip:
    """slope·x + low … slope·x + high, elementwise."""

    slope: Tensor
    low: Tensor
    high: Tensor

    @property
    def height(self) -> Tensor:
        return self.high - self.low

    def meet(self, other: "Strip") -> "Strip":
        """What lies in both strips of one slope."""
        return Strip(self.slope, *_meet((self.low, self.high), (other.low, other.high)))


def bent_pair(pair: Pair, curve: Curve, name: str, semantics: Semantics) -> Pair:
    """Both networks through a head, and symbols called after `name` for what that loses."""
    a, b, d = pair.ranges
    original = along(pair.original, strip(curve, a))
    replaced = along(pair.replaced, strip(curve, b))
    difference = along(pair.difference, difference_strip(curve, a, b, d))
    lost = [curve.executed(torch.maximum(x[0].abs(), x[1].abs()), semantics) for x in (a, b)]
    return symbolised(
        Pair(
            widened(original, lost[0]),
            widened(replaced, lost[1]),
            widened(difference, grown(lost[0] + lost[1], 1)),
        ),
        name,
    )


def along(zonotope: Zonotope, strip: Strip) -> Zonotope:
    """slope·x and the middle of the strip, with half of its height in the radius."""
    middle = (strip.low + strip.high) / 2
    half = up(torch.maximum(up(strip.high - middle), up(middle - strip.low)))
    size = strip.slope.abs()
    lost = gamma(4) * (size * zonotope.magnitude + middle.abs())
    radius = grown(size * zonotope.radius + half + lost, 4)
    scale = strip.slope[:, None]
    blocks = {s: block * scale for s, block in zonotope.blocks.items()}
    return Zonotope(strip.slope * zonotope.center + middle, radius, blocks)


def widened(zonotope: Zonotope, error: Tensor) -> Zonotope:
    """The zonotope with an error added to its radius."""
    return Zonotope(zonotope.center, grown(zonotope.radius + error, 1), zonotope.blocks)


def strip(curve: Curve, ends: Range) -> Strip:
    """A strip around σ(x) over a range."""
    lower, upper = ends
    least, most = curve.slopes(lower, upper)
    if not curve.straight:  # σ(x) − least·x and σ(x) − most·x are monotone: their ends suffice
        return _lowest([_strip(curve, ends, slope) for slope in (least, most)])
    rise = (curve.value(upper) - curve.value(lower)) / (upper - lower)
    chord = torch.where(upper > lower, rise, least).clamp(least, most)
    return _strip(curve, ends, chord)


def difference_strip(curve: Curve, a: Range, b: Range, d: Range) -> Strip:
    """A strip around σ(x') − σ(x) over the ranges of x, x' and Δ = x' − x."""
    least, most = curve.slopes(torch.minimum(a[0], b[0]), torch.maximum(a[1], b[1]))
    from_low = _turned(curve, a, b, least, rising=True).meet(_mean_value(least, most, d, least))
    from_high = _turned(curve, a, b, most, rising=False).meet(_mean_value(least, most, d, most))
    small, large = (-d[0]).clamp_min(0), d[1].clamp_min(0)
    share = torch.minimum(small, large) / (small + large)
    middle = (least + (most - least) * share.nan_to_num(0.0)).clamp(least, most)
    return _lowest([from_low, from_high, _mean_value(least, most, d, middle)])


def _lowest(strips: Sequence[Strip]) -> Strip:
    """The strip of least height, elementwise; the first among equals."""
    best = strips[0]
    for other in strips[1:]:
        lower = other.height < best.height
        pairs = ((other.slope, best.slope), (other.low, best.low), (other.high, best.high))
        best = Strip(*(torch.where(lower, new, old) for new, old in pairs))
    return best


def _strip(curve: Curve, ends: Range, slope: Tensor) -> Strip:
    """Of a slope: the residual is extreme at the ends or at a corner between them."""
    points = [*ends, *(c.clamp(*ends) for c in (c.expand_as(ends[0]) for c in curve.corners))]
    residuals = [_residual(curve, x, slope) for x in points]
    low = torch.stack([value - error for value, error in residuals]).amin(0)
    high = torch.stack([value + error for value, error in residuals]).amax(0)
    return Strip(slope, low, high)


def _residual(curve: Curve, x: Tensor, slope: Tensor) -> tuple[Tensor, Tensor]:
    """σ(x) − slope·x, and a bound of its error."""
    value, straight = curve.value(x), slope * x
    error = ROUNDINGS * (value.abs() + straight.abs()) + 2 * curve.error(x)
    return value - straight, error


def _turned(curve: Curve, a: Range, b: Range, slope: Tensor, *, rising: bool) -> Strip:
    """σ(x') − σ(x) − slope·Δ, where the residual of each is monotone."""
    first, last = (0, 1) if rising else (1, 0)
    (a_low, a_low_error), (a_high, a_high_error) = (
        _residual(curve, a[end], slope) for end in (first, last)
    )
    (b_low, b_low_error), (b_high, b_high_error) = (
        _residual(curve, b[end], slope) for end in (first, last)
    )
    low, low_error = b_low - a_high, b_low_error + a_high_error
    high, high_error = b_high - a_low, b_high_error + a_low_error
    return Strip(slope, low - _more(low, low_error), high + _more(high, high_error))


def _more(value: Tensor, error: Tensor) -> Tensor:
    """The error of a difference of two, with that of the difference itself."""
    return ROUNDINGS * value.abs() + 2 * error


def _mean_value(least: Tensor, most: Tensor, d: Range, slope: Tensor) -> Strip:
    """(s − slope)·Δ with s in least … most."""
    corners = torch.stack([(s - slope) * end for s in (least, most) for end in d])
    size = torch.maximum(least.abs(), most.abs()) + slope.abs()
    lost = ROUNDINGS * size * torch.maximum(d[0].abs(), d[1].abs())
    return Strip(slope, corners.amin(0) - lost, corners.amax(0) + lost)


def _meet(one: Range, other: Range) -> Range:
    return torch.maximum(one[0], other[0]), torch.minimum(one[1], other[1])
