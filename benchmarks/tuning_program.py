"""One tuning program for many units: a sum of bumps over the angle, turned and scaled for each."""

from dataclasses import dataclass
from math import log2

import numpy as np
from scipy.optimize import least_squares

STEPS = 720  # of half a degree
DEGREES = np.arange(STEPS) / 2
SIXTYFOURTHS, WIDEST, REACH = 64, 64, 90  # grids: heights, widths and centres in whole degrees
START = ((1.0, 0.0, 20.0), (0.1, 45.0, 20.0), (0.1, -45.0, 20.0))
LARGEST = 1024  # of the gains, which are whole numbers
ROUNDS = 8


@dataclass(frozen=True, eq=False)
class TuningProgram:
    """`bumps` (K, 3) of height, centre and width in degrees; an angle and a gain (U,) a unit."""

    bumps: np.ndarray
    angles: np.ndarray
    gains: np.ndarray

    @property
    def text(self) -> str:
        """The shared function, as it is said to a person."""
        terms = (f"{h:+g}*bump(x, {m:g}, {w:g})" for h, m, w in self.bumps)
        return f"gain*({' '.join(terms).removeprefix('+')})"

    @property
    def bits(self) -> float:
        """What the constants take on their grids, in all."""
        bump = log2(2 * SIXTYFOURTHS) + log2(2 * REACH + 1) + log2(WIDEST)
        return len(self.bumps) * bump + len(self.angles) * (log2(STEPS) + log2(LARGEST))

    def responses(self) -> np.ndarray:
        """(U, 720) at every half degree."""
        shape = (tuning(self.bumps, DEGREES - angle) for angle in self.angles)
        return self.gains[:, None] * np.stack(list(shape))


def tuning(bumps: np.ndarray, degrees: np.ndarray) -> np.ndarray:
    """Σ height · exp(−((x − centre) / width)² / 2) of x = degrees in −180 … 180."""
    x = _wrapped(degrees)
    return sum((h * np.exp(-((_wrapped(x - m) / w) ** 2) / 2) for h, m, w in bumps), 0 * x)


def fit_program(curves: np.ndarray, fitted: np.ndarray) -> TuningProgram:
    """Least squares of the FVUs of all units (U, 720), on the steps `fitted` (720,) alone.

    Constants go on their grids at the end; then angles and gains are found again.
    """
    seen = curves[:, fitted]
    scales = np.sqrt(((seen - seen.mean(1, keepdims=True)) ** 2).sum(1))
    bumps = np.array(START)
    angles, gains = _placed(bumps, curves, fitted)
    for _ in range(ROUNDS):
        bumps, angles, gains = _together(bumps, angles, gains, seen, scales, DEGREES[fitted])
    bumps = _on_grids(bumps)
    angles, gains = _placed(bumps, curves, fitted)
    return TuningProgram(bumps, angles, gains)


def r_squared(curve: np.ndarray, said: np.ndarray) -> float:
    """1 − FVU, with the variance of the steps that are compared."""
    return float(1 - ((curve - said) ** 2).sum() / ((curve - curve.mean()) ** 2).sum())


def rotated(curves: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """(U, U, 720): unit j turned by whole steps and scaled so that it is nearest to unit i on the
    steps `fitted`, at [j, i]: what one measured curve says of the others."""
    found = np.empty((len(curves), len(curves), STEPS))
    for j, one in enumerate(curves):
        turned = np.stack([np.roll(one, shift) for shift in range(STEPS)])
        for i, other in enumerate(curves):
            shift, gain = _nearest(turned[:, fitted], other[fitted])
            found[j, i] = gain * turned[shift]
    return found


def _together(
    bumps: np.ndarray,
    angles: np.ndarray,
    gains: np.ndarray,
    seen: np.ndarray,
    scales: np.ndarray,
    degrees: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some steps of all constants together."""
    units, cut = len(angles), bumps.size

    def parts(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return x[:cut].reshape(-1, 3), x[cut : cut + units], x[cut + units :] * scales

    def errors(x: np.ndarray) -> np.ndarray:
        shape, turns, heights = parts(x)
        said = [h * tuning(shape, degrees - a) for a, h in zip(turns, heights, strict=True)]
        return ((seen - np.stack(said)) / scales[:, None]).ravel()

    start = np.concatenate([bumps.ravel(), angles, gains / scales])
    return parts(least_squares(errors, start, max_nfev=10).x)


def _on_grids(bumps: np.ndarray) -> np.ndarray:
    """Heights in sixty-fourths of the largest, centres and widths in whole degrees."""
    heights = np.round(bumps[:, 0] / np.abs(bumps[:, 0]).max() * SIXTYFOURTHS) / SIXTYFOURTHS
    centres = np.clip(np.round(bumps[:, 1] - bumps[0, 1]), -REACH, REACH)
    widths = np.clip(np.round(np.abs(bumps[:, 2])), 1, WIDEST)
    return np.stack([heights, centres, widths], axis=1)


def _placed(
    bumps: np.ndarray, curves: np.ndarray, fitted: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """For each unit the half degree and the whole gain that are nearest on the steps `fitted`."""
    turned = np.stack([tuning(bumps, DEGREES - angle) for angle in DEGREES])[:, fitted]
    found = [_nearest(turned, curve[fitted]) for curve in curves]
    gains = np.clip(np.round([gain for _, gain in found]), 1, LARGEST)
    return DEGREES[[place for place, _ in found]], gains


def _nearest(turned: np.ndarray, curve: np.ndarray) -> tuple[int, float]:
    """Which of the curves (S, n), times what, is nearest to one (n,)."""
    gains = turned @ curve / np.maximum((turned**2).sum(1), 1e-12)
    errors = ((curve - gains[:, None] * turned) ** 2).sum(1)
    place = int(errors.argmin())
    return place, float(gains[place])


def _wrapped(degrees: np.ndarray) -> np.ndarray:
    return (degrees + 180) % 360 - 180
