"""Fitted components made readable: named colours, parameters on human grids, short constants.

One parameter is put on its grid at a time, and the others are fitted again each time. The one that
costs most comes first, while most others can still make up for it: in the first layer of SqueezeNet
that loses a quarter more than the fit, and cheapest first twice as much as the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from grammars.primitive import Real
from synth.kernels.colours import Axis
from synth.kernels.fit import Chains, Problem, losses_of, measured, polish
from synth.kernels.search import WORTH

MIX = 20.0  # bits that a mix of channels costs more than a named one
AFTER = 4  # steps of the others after each rounding
SETTLE = 4  # steps after colours are named
MOVES = 60  # on the grids in the end, at most


@dataclass(frozen=True, eq=False)
class Readable:
    """One chain whose parameters are on their grids; the named colour of each component, if any."""

    chain: Chains
    axes: tuple[Axis | None, ...]


def readable(problem: Problem, chain: Chains, axes: Sequence[Axis]) -> Readable:
    """A chain of one row with colours named where that is worth it, and its parameters rounded."""
    chain, named = _coloured(problem, chain, axes)
    snapped = _snapped(problem, _within(problem, chain))
    return Readable(_descended(problem, snapped), named)


def _coloured(
    problem: Problem, chain: Chains, axes: Sequence[Axis]
) -> tuple[Chains, tuple[Axis | None, ...]]:
    """Components one after the other along a named axis or a single channel."""
    number, channels = chain.forms.shape[1], problem.channels
    named: list[Axis | None] = [None] * number
    if channels == 1:
        return chain, tuple(named)
    options = np.array([*(axis.weights for axis in axes), *np.eye(channels)])
    loss = measured(problem, chain).losses[0]
    for k in range(number):
        mixes = np.repeat(chain.mixes, len(options), axis=0)
        mixes[:, k] = 0.0
        mixes[:, k, :, 0] = options
        many = replace(chain.part([0] * len(options)), mixes=mixes)
        many, losses = polish(problem, many, AFTER)
        best = int(np.argmin(losses))
        if WORTH * np.log(losses[best] / loss) < MIX:
            chain, loss = many.part([best]), losses[best]
            named[k] = axes[best] if best < len(axes) else None
    return polish(problem, chain, SETTLE)[0], tuple(named)


def _within(problem: Problem, chain: Chains) -> Chains:
    """The same kernels with what turns in its first turn."""
    values = chain.values.copy()
    for k, number in enumerate(chain.forms[0]):
        form = problem.forms[number]
        size = len(form.specs)
        values[0, k, :size] = form.wrapped(values[0, k, None, :size])[0]
    return replace(chain, values=values)


def _snapped(problem: Problem, chain: Chains) -> Chains:
    """All parameters on their grids, one after the other."""
    while chain.free.any():
        k, i = _hardest(problem, chain)
        choices = _near(problem, chain, k, i)
        many = chain.part([0] * len(choices))
        many.values[:, k, i] = [value for value, _ in choices]
        many.free[:, k, i] = False
        fitted, losses = polish(problem, many, AFTER)
        bits = np.array([bits for _, bits in choices])
        best = int(np.argmin(WORTH * np.log(losses) + bits))
        chain = fitted.part([best])
    return chain


def _descended(problem: Problem, chain: Chains) -> Chains:
    """Single steps on the grids while they pay."""
    best = _price(problem, chain)[0]
    for _ in range(MOVES):
        moves = _moves(problem, chain)
        prices = _price(problem, moves)
        place = int(np.argmin(prices))
        if prices[place] >= best - 1e-9:
            break
        chain, best = moves.part([place]), prices[place]
    return chain


def _moves(problem: Problem, chain: Chains) -> Chains:
    """The chain with one parameter a step up or down, or at its default."""
    changes = []
    for k, number in enumerate(chain.forms[0]):
        for i, spec in enumerate(problem.forms[number].specs):
            value = float(chain.values[0, k, i])
            if isinstance(spec, Real):
                near = {spec.snap(value - spec.step), spec.snap(value + spec.step), spec.default}
                changes += [(k, i, point) for point in sorted(near - {value})]
    many = chain.part([0] * len(changes))
    for row, (k, i, point) in enumerate(changes):
        many.values[row, k, i] = point
    return many


def _price(problem: Problem, chains: Chains) -> np.ndarray:
    """(B,) bits of the parameters and of what is left."""
    defaults = problem.defaults[chains.forms]
    bits = np.where(chains.values == defaults, 0.0, problem.bits[chains.forms])
    return WORTH * np.log(losses_of(problem, chains)) + bits.sum((1, 2))


def _hardest(problem: Problem, chain: Chains) -> tuple[int, int]:
    """(component, parameter): whose rounding costs most once the others make up for it."""
    hessian = measured(problem, chain).hessian[0]
    free = np.flatnonzero(chain.free[0].ravel())
    inner = hessian[np.ix_(free, free)]
    diagonal = np.diagonal(inner)
    inner = inner + np.diag(1e-6 * diagonal + 1e-9 * diagonal.max(initial=0.0) + 1e-300)
    apart = _distances(problem, chain)[free]
    cost = apart**2 / np.diagonal(np.linalg.inv(inner))
    place = int(free[np.argmax(cost)])
    return divmod(place, problem.size)


def _distances(problem: Problem, chain: Chains) -> np.ndarray:
    """(K·p,) how far each parameter is from its grid, in steps."""
    steps, low = problem.steps[chain.forms[0]], problem.low[chain.forms[0]]
    places = (chain.values[0] - low) / steps
    return np.abs(places - np.rint(places)).ravel()


def _near(problem: Problem, chain: Chains, k: int, i: int) -> list[tuple[float, float]]:
    """Grid points that a parameter may move to, and their bits: its neighbours and the default."""
    spec = problem.forms[chain.forms[0, k]].specs[i]
    value = float(chain.values[0, k, i])
    assert isinstance(spec, Real)  # whole ones are not free
    half = spec.step / 2
    found = {spec.snap(value - half), spec.snap(value + half), spec.snap(value)}
    full = 2.0 + (spec.size - 1).bit_length()
    points = [(point, 1.0 if point == spec.default else full) for point in sorted(found)]
    return points if spec.default in found else [*points, (spec.default, 1.0)]
