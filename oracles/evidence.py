"""Probe evidence: how far programs and units differ on recorded inputs."""

import numpy as np


def fvu(programs: np.ndarray, unit: np.ndarray, variance: float) -> np.ndarray:
    """Fraction of variance unexplained, E[(program − unit)²] / variance, of (n, C) programs.

    `unit` is (n,) and `variance` that of the unit on the fit probes. Where it is zero the result is
    0 for programs equal to the unit on every probe and infinite for the others.
    """
    return unexplained(((programs - unit[:, None]) ** 2).mean(0), variance)


def unexplained(squared: np.ndarray, variance: float) -> np.ndarray:
    """`fvu` from mean squared errors (C,)."""
    if variance > 0:
        return squared / variance
    return np.where(squared == 0, 0.0, np.inf)


def largest_error(programs: np.ndarray, unit: np.ndarray) -> np.ndarray:
    """max |program − unit| over (n, C) programs."""
    return np.abs(programs - unit[:, None]).max(0, initial=0.0)
