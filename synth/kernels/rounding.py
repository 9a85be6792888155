"""Fitted components made readable: named colours, parameters on human grids, short constants.

One parameter is put on its grid at a time, and the others are fitted again each time. The one that
costs most comes first, while most others can still make up for it: in the first layer of SqueezeNet
that loses a quarter more than the fit, and cheapest first twice as much as the fit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import numpy as np

from grammars.primitive import Real
from synth.kernels.colours import Axis
from synth.kernels.fit import Fit, kernels_at, led, losses_beside, losses_of, measured, polish
from synth.kernels.problem import Chains, Problem

MIX = 20.0  # bits that a mix of channels costs more than a named one
AFTER = 4  # steps of the others after each rounding
SETTLE = 4  # steps after colours are named
SLIDE = 3  # steps of a place at once
DEFAULTS = 4  # that are tried with the others fitted again, at most
MOVES = 60  # on the grids in the end, at most


@dataclass(frozen=True, eq=False)
class Readable:
    """One chain whose parameters are on their grids; the named colour of each component, if any."""

    chain: Chains
    axes: tuple[Axis | None, ...]


def readable(problem: Problem, chain: Chains, axes: Sequence[Axis]) -> Readable:
    """A chain of one row with colours named where that is worth it, and its parameters rounded."""
    chain, named = coloured(problem, chain, axes)
    snapped = on_grids(problem, chain)
    return Readable(facing(problem, settled(problem, snapped)), named)


def on_grids(problem: Problem, chain: Chains) -> Chains:
    """A chain of one row with all free parameters on their grids, one after the other."""
    return _snapped(problem, _within(problem, chain))


def coloured(
    problem: Problem, chain: Chains, axes: Sequence[Axis]
) -> tuple[Chains, tuple[Axis | None, ...]]:
    """A chain of one row with components, one after the other, along a named axis or a single
    channel where that is worth it, and those axes."""
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
        if problem.worth * np.log(losses[best] / loss) < MIX:
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
        fit = measured(problem, chain)
        place = _hardest(problem, chain, fit)
        many = led(problem, chain, fit, place, _near(problem, chain, place))
        many, losses = polish(problem, many, AFTER)
        chain = many.part([int(np.argmin(losses))])
    return chain


def settled(problem: Problem, chain: Chains) -> Chains:
    """A chain of one row moved on the grids, and with defaults for what they do as well for, while
    that pays."""
    chain, price = _descended(problem, chain)
    for _ in range(DEFAULTS):
        tried = _with_a_default(problem, chain)
        if tried is None:
            break
        other, cost = _descended(problem, _snapped(problem, tried))
        if cost >= price:
            break
        chain, price = other, cost
    return chain


def _with_a_default(problem: Problem, chain: Chains) -> Chains | None:
    """The chain with the parameter at its default that pays most, if any may, and the others of its
    component fitted again."""
    away = problem.movable[chain.forms[0]] & (chain.values[0] != problem.defaults[chain.forms[0]])
    places = np.argwhere(away)
    if not len(places):
        return None
    many = chain.part([0] * len(places))
    for row, (k, i) in enumerate(places):
        many.values[row, k, i] = problem.defaults[chain.forms[0, k], i]
        many.free[row, k] = problem.movable[chain.forms[0, k]]
        many.free[row, k, i] = False
    found, losses = polish(problem, many, SETTLE)
    saved = problem.bits[chain.forms[0]][places[:, 0], places[:, 1]]
    price = problem.worth * np.log(losses / losses_of(problem, chain)) - saved
    best = int(np.argmin(price))
    return found.part([best]) if price[best] < 0 else None


def _descended(problem: Problem, chain: Chains) -> tuple[Chains, float]:
    """Single moves on the grids while they pay, and what the chain costs in the end."""
    best = _price(problem, chain, losses_of(problem, chain))[0]
    for _ in range(MOVES):
        tried = [_best_move(problem, chain, k) for k in range(chain.forms.shape[1])]
        price, moved = min(tried, key=lambda pair: pair[0])
        if price >= best - 1e-9:
            break
        chain, best = moved, price
    return chain, float(best)


def _best_move(problem: Problem, chain: Chains, k: int) -> tuple[float, Chains]:
    """The chain with the move of a component that pays most, and what it costs then."""
    values = _moves(problem, chain, k)
    moved = chain.part([0] * len(values))
    moved.values[:, k] = values
    prices = _price(problem, moved, losses_beside(problem, chain, k, values))
    best = int(np.argmin(prices))
    return float(prices[best]), moved.part([best])


def _moves(problem: Problem, chain: Chains, k: int) -> np.ndarray:
    """(n, p) a component with a parameter at its default, or one or two of them moved by a step; a
    place by up to SLIDE steps down and right, because along a line that hardly matters."""
    form, own = int(chain.forms[0, k]), chain.values[0, k]
    able = np.flatnonzero(problem.movable[form])
    moved = own + _steps(problem, form, pairs=chain.forms.shape[1] == 1)
    rested = np.repeat(own[None], len(able), axis=0)
    rested[np.arange(len(able)), able] = problem.defaults[form, able]
    return np.concatenate([problem.on_grid(form, moved), rested])


def _steps(problem: Problem, form: int, *, pairs: bool) -> np.ndarray:
    """(n, p) changes of a form's parameters: one, any two where `pairs`, or a place."""
    unit = problem.steps[form] * np.eye(problem.size)
    able = [unit[i] for i in np.flatnonzero(problem.movable[form])]
    both = [sign * b + a for a, b in combinations(able, 2) for sign in (-1, 1)] if pairs else []
    moves = [sign * move for move in (*able, *both) for sign in (-1, 1)]
    names = problem.forms[form].names
    if {"dy", "dx"} <= set(names):
        down, right = unit[names.index("dy")], unit[names.index("dx")]
        by = range(-SLIDE, SLIDE + 1)
        moves += [i * down + j * right for i in by for j in by if i and j]
    return np.array(moves)


def facing(problem: Problem, chain: Chains) -> Chains:
    """The same with positive gains, where half a turn of a kernel is its negative."""
    gains, values = measured(problem, chain).gains[0], chain.values.copy()
    for k, form in enumerate(chain.forms[0].tolist()):
        if gains[k][np.argmax(np.abs(gains[k]))] > 0:
            continue
        for i in np.flatnonzero(problem.periods[form] == 360.0):
            turned = values[0, k].copy()
            turned[i] += 180.0
            pair = np.stack([values[0, k], problem.on_grid(form, turned[None])[0]])
            if np.abs(kernels_at(problem, np.array([form, form]), pair).sum(0)).max() < 1e-9:
                values[0, k] = pair[1]
                break
    return replace(chain, values=values)


def _price(problem: Problem, chains: Chains, losses: np.ndarray) -> np.ndarray:
    """(B,) bits of the parameters and of what is left."""
    defaults = problem.defaults[chains.forms]
    bits = np.where(chains.values == defaults, 0.0, problem.bits[chains.forms])
    return problem.worth * np.log(losses) + bits.sum((1, 2))


def _hardest(problem: Problem, chain: Chains, fit: Fit) -> int:
    """The parameter (of K·p) whose rounding costs most once the others make up for it."""
    hessian = fit.hessian[0]
    free = np.flatnonzero(chain.free[0].ravel())
    inner = hessian[np.ix_(free, free)]
    diagonal = np.diagonal(inner)
    inner = inner + np.diag(1e-6 * diagonal + 1e-9 * diagonal.max(initial=0.0) + 1e-300)
    apart = _distances(problem, chain)[free]
    cost = apart**2 / np.diagonal(np.linalg.inv(inner))
    return int(free[np.argmax(cost)])


def _distances(problem: Problem, chain: Chains) -> np.ndarray:
    """(K·p,) how far each parameter is from its grid, in steps."""
    steps, low = problem.steps[chain.forms[0]], problem.low[chain.forms[0]]
    places = (chain.values[0] - low) / steps
    return np.abs(places - np.rint(places)).ravel()


def _near(problem: Problem, chain: Chains, place: int) -> np.ndarray:
    """The points of its grid on both sides of a parameter."""
    k, i = divmod(place, problem.size)
    spec = problem.forms[chain.forms[0, k]].specs[i]
    assert isinstance(spec, Real)  # whole ones are not free
    value, half = float(chain.values[0, k, i]), spec.step / 2
    return np.array(sorted({spec.snap(value - half), spec.snap(value + half)}))
