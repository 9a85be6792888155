"""The step through heads: σ(x) of each network, and σ(x') − σ(x), each between parallel lines.

A head is enclosed by slope·x + [low, high], the strip of least height among a few slopes (DeepZ,
Singh et al. 2018); the height becomes a noise symbol. The difference is (mean value theorem)
s·Δ with s in [least, most] slope over both ranges, and less where x and x' say so: σ(x) − least·x
never falls and σ(x) − most·x never rises, so that their differences are known from the ends.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from oracles.difference.curves import Curve
from oracles.difference.pair import Pair, Range, Spread, within
from oracles.difference.rounding import UNIT, Semantics, grown, up
from oracles.difference.zonotope import Symbols, Zonotope, affinely, fresh, widened

ROUNDINGS = 8 * UNIT  # of few operations, relative to the sum of the sizes of what they join


@dataclass(frozen=True, eq=False)
class Strip:
    """slope·x + low … slope·x + high, elementwise.

    With `lean` = (tilt, rest) it is known besides that what it encloses lies within tilt·x + rest
    of the strip's middle.
    """

    slope: Tensor
    low: Tensor
    high: Tensor
    lean: Range | None = None

    @property
    def height(self) -> Tensor:
        return self.high - self.low

    @cached_property
    def middle(self) -> Tensor:
        return (self.low + self.high) / 2

    @cached_property
    def half(self) -> Tensor:
        """How far low and high lie from the middle, rounded up."""
        return up(torch.maximum(up(self.high - self.middle), up(self.middle - self.low)))

    def meet(self, other: "Strip") -> "Strip":
        """What lies in both strips of one slope."""
        return Strip(self.slope, *within((self.low, self.high), (other.low, other.high)))


def bent_pair(pair: Pair, curve: Curve, name: str, semantics: Semantics) -> Pair:
    """Both networks through a head, and symbols called after `name` for what that loses."""
    a, b, d = pair.ranges
    errors = [curve.executed(torch.maximum(x[0].abs(), x[1].abs()), semantics) for x in (a, b)]
    original = _enclosed(pair.original, strip(curve, a), errors[0], f"{name}:original")
    replaced = _enclosed(pair.replaced, strip(curve, b), errors[1], f"{name}:replaced")
    return Pair(
        original, replaced, *_difference(pair, difference_strip(curve, a, b, d), errors, name)
    )


def bent_zonotope(zonotope: Zonotope, curve: Curve, name: str, semantics: Semantics) -> Zonotope:
    """One network alone through a head."""
    ends = zonotope.lower, zonotope.upper
    error = curve.executed(torch.maximum(ends[0].abs(), ends[1].abs()), semantics)
    return _enclosed(zonotope, strip(curve, ends), error, name)


def _enclosed(zonotope: Zonotope, strip: Strip, error: Tensor, name: str) -> Zonotope:
    middle = affinely(zonotope, strip.slope, strip.middle)
    return fresh(widened(middle, grown(strip.half + error, 1)), name)


def _difference(
    pair: Pair, strip: Strip, errors: Sequence[Tensor], name: str
) -> tuple[Zonotope, Spread]:
    error, made = grown(errors[0] + errors[1], 1), f"{name}:difference"
    middle = widened(affinely(pair.difference, strip.slope, strip.middle), error)
    tilt, rest = strip.lean or (torch.zeros_like(strip.half), strip.half)
    extent = affinely(pair.difference, tilt, rest)
    return fresh(widened(middle, strip.half), made), Spread(extent, middle.radius, Symbols(made))


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
    between = _mean_value(least, most, d, (least + most) / 2)
    lowest = _lowest([from_low, from_high, between])
    tilt, rest = _lean(least, most, d, between)
    leans = lowest.height == between.height
    lean = torch.where(leans, tilt, 0.0), torch.where(leans, rest, lowest.half)
    return replace(lowest, lean=lean)


def _lowest(strips: Sequence[Strip]) -> Strip:
    """The strip of least height, elementwise; the last among equals."""
    best = strips[0]
    for other in strips[1:]:
        lower = other.height <= best.height
        pairs = ((other.slope, best.slope), (other.low, best.low), (other.high, best.high))
        slope, low, high = (torch.where(lower, new, old) for new, old in pairs)
        best = Strip(slope, low, high)
    return best


def _lean(least: Tensor, most: Tensor, d: Range, strip: Strip) -> Range:
    """(tilt, rest): |s − slope|·|Δ| lies below a chord of |Δ| over its range and zero."""
    low, high = d[0].clamp_max(0), d[1].clamp_min(0)
    half = up(torch.maximum(up(most - strip.slope), up(strip.slope - least)))
    tilt = half * ((high + low) / (high - low)).nan_to_num(0.0)
    rest = half * (-2 * high * (low / (high - low)).nan_to_num(0.0))
    size = half * torch.maximum(high, -low)
    return tilt, grown(rest + ROUNDINGS * size + strip.middle.abs(), 3)


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
