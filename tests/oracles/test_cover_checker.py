"""Certificates of heads that bend: honest ones pass; no cover at all shows too small a bound."""

import json
import math
from fractions import Fraction

import numpy as np
import pytest
from certified import Run
from flint import arb, ctx, fmpq
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load
from test_bent import HEADS, pairs, sampled

from oracles import checker
from oracles.bent import prove_bent
from oracles.certificate import CertifiedLayer, CertifiedUnit, shown, write_certificates
from oracles.checker import integers
from oracles.claims import JUMPS, SMOOTH, Affine, Box, Claim, Proved, head_form
from oracles.cover_checker import Covered, bend, share, value
from oracles.heads import bend_of, enclosed

ONE = Fraction(1)
SMOOTH_HEADS = [head_form(op) for op in SMOOTH]
OTHERS = [head for head in HEADS if not head.two_slope and head.op not in JUMPS]
"""All that have no multipliers."""
MIXED = [("sigmoid", "identity"), ("tanh", "relu"), ("silu", "relu"), ("gelu", "hardswish")]


def exact(head):
    """A head as the checker has it."""
    return [head.op, {name: Fraction(number) for name, number in head.params}]


def over(box):
    """A layer of the checker over a box (n,), without units."""
    layer, size = Covered.__new__(Covered), len(box.lower)
    ends = [Fraction(end) for end in (*box.lower.tolist(), *box.upper.tolist())]
    whole, layer.common = integers(ends)
    layer.box = list(zip(whole[:size], whole[size:], strict=True))
    return layer


def side(affine):
    """((op, params, …), affine map) as the checker has it."""
    weights = [Fraction(w) for w in affine.weights.tolist()]
    return (*exact(affine.head), None), (*integers(weights), Fraction(affine.bias))


def rechecked(unit, program, box, covers):
    """What the checker makes of covers."""
    ways = (side(unit), side(program)), (side(program), side(unit))
    layer = over(box)
    return max(layer.covered(*way, cover) for way, cover in zip(ways, covers, strict=True))


def written(verdict):
    """The covers of a proof as in the file."""
    return shown(verdict.certificate)["covers"]


def near_pair(head, other=None, *, seed=0):
    """A unit and a program of four weights rounded to 2^-3, over a box of about the unit's size."""
    rng = np.random.default_rng(seed)
    weights, lower = rng.normal(size=4), -rng.random(4)
    program = Affine(np.round(weights * 8) / 8, 0.25, other or head)
    return Affine(weights, 0.3, head), program, Box(lower, lower + 1.5)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "heads",
    [*((h, h) for h in OTHERS), *(tuple(map(head_form, mixed)) for mixed in MIXED)],
    ids=lambda heads: " by ".join(head.op for head in heads),
)
def test_what_is_proved_is_checked(heads, seed):
    """Planted pairs of every head: the checker finds the bound again, which is near the truth."""
    pair = near_pair(*heads, seed=seed)
    verdict = prove_bent(*pair, Fraction(4))
    assert isinstance(verdict, Proved) and verdict.trust == "checked"
    found = max(Fraction(0), rechecked(*pair, written(verdict)))
    smooth = {head.op for head in heads} & {*SMOOTH}
    assert 0 <= verdict.bound - found <= (Fraction(1, 2**62) if smooth else 0)
    assert sampled(*pair) <= found <= sampled(*pair) * Fraction(11, 10) + Fraction(1, 100)


@settings(max_examples=25)
@given(pairs())
def test_no_point_exceeds_a_checked_bound(case):
    """Of any two heads that do not jump: accepted, and at or above what samples differ by."""
    unit, program, box = case
    if {unit.head.op, program.head.op} & {*JUMPS}:
        return
    verdict = prove_bent(unit, program, box, Fraction(100))
    assert isinstance(verdict, Proved)
    found = max(Fraction(0), rechecked(unit, program, box, written(verdict)))
    assert sampled(*case, per_side=5) <= found <= verdict.bound <= found + Fraction(1, 2**62)


SCALES = {"clip": (1.0, 0.5), "identity": (0.5, 1.0)}
NUMBERS = st.floats(-4, 4).map(lambda x: round(x * 16) / 16)
CELLS = st.lists(st.tuples(NUMBERS, st.sampled_from([-1, 0, 1]), NUMBERS), min_size=1, max_size=4)


@settings(max_examples=60)
@given(pairs(), NUMBERS, CELLS, st.booleans())
def test_any_cover_is_refused_or_tells_the_truth(case, start, cells, covering):
    """Cells at random, over too little, in any order, with any line: there is no bound, or it is
    one."""
    unit, program, box = case
    if {unit.head.op, program.head.op} & {*JUMPS}:
        return
    layer, outer, inner = over(box), side(unit), side(program)
    if covering:
        ends = [s * layer.largest(s, outer[1], Fraction(0), inner[1]) for s in (-ONE, ONE)]
        start, end = math.floor(ends[0] * 64) / 64, math.ceil(ends[1] * 64) / 64
        cells = [*sorted(cells)[:-1], (end, *cells[-1][1:])]
    try:
        found = layer.covered(outer, inner, {"start": start, "cells": cells})
    except (ValueError, KeyError):
        return
    grid = np.linspace(box.lower, box.upper, 5).T
    for point in np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, len(grid)):
        exact_point = [Fraction(x) for x in point.tolist()]
        ends = []
        for affine, sign in ((unit, -1), (program, 1)):
            terms = zip(affine.weights.tolist(), exact_point, strict=True)
            a = sum((Fraction(w) * x for w, x in terms), Fraction(affine.bias))
            ends.append(value(exact(affine.head), a, sign))
        assert ends[0] - ends[1] <= found


@pytest.mark.parametrize(
    "heads",
    [(head_form("clip", {"low": -4.0, "high": 0.0}), head_form("identity")), HEADS[:2]],
    ids=["of the first", "of the second"],
)
def test_kinks_inside_a_cell_are_seen(heads):
    """min(a, 0) − a/2 and a/2 − relu(a) are zero at a kink, and −1 at both ends of a cell."""
    outer, inner = (
        Affine(np.array([w]), 0.0, h) for w, h in zip(SCALES[heads[0].op], heads, strict=True)
    )
    layer = over(Box(np.full(1, -2.0), np.full(1, 2.0)))
    slope = float(inner.weights[0] / outer.weights[0])
    cover = {"start": -2.0, "cells": [[2.0, 1, slope]]}
    assert layer.covered(side(outer), side(inner), cover) == 0


@pytest.mark.parametrize("head", HEADS, ids=lambda head: head.op)
def test_both_tables_of_bends_agree(head):
    """The prover's facts, which tests compare with differences on a grid, are the checker's."""
    if head.op in JUMPS:
        return
    ours, theirs = bend_of(head), bend(*exact(head))
    assert (ours.kinks, ours.curvature, ours.third) == (theirs.kinks, theirs.second, theirs.third)
    falls, rises = ours.turn or (-math.inf, -math.inf)
    assert (falls, rises) == (theirs.falls, theirs.rises)
    assert (ours.least if ours.turn else None) == theirs.least


@settings(max_examples=50)
@given(st.sampled_from(SMOOTH_HEADS), st.fractions(-90, 90) | st.floats(-1e6, 1e6).map(Fraction))
def test_values_lie_on_their_side(head, x):
    """Of smooth heads, by less than 2^-79, as ball arithmetic says it; shares to 2^-90."""
    low, high = enclosed(head, x, x)
    above, below = (value(exact(head), x, sign) for sign in (1, -1))
    assert below <= low <= high <= above
    assert above - below <= Fraction(1, 2**78)


@settings(max_examples=30)
@given(st.fractions(-13, 13))
def test_shares_are_near(x):
    """The normal distribution's to 2^-90."""
    with ctx.workprec(256):
        ball = (-arb(fmpq(x.numerator, x.denominator)) / arb(2).sqrt()).erfc() / 2
        found = share("gelu", x)
        off = abs(ball - arb(fmpq(found.numerator, found.denominator)))
        assert off < arb(2) ** -90


@pytest.fixture(scope="module")
def honest():
    """The files of one layer with a unit of each smooth head, and hardswish."""
    heads = (*SMOOTH_HEADS, head_form("hardswish"))
    made = [near_pair(head, seed=seed) for seed, head in enumerate(heads)]
    box, names = made[0][2], {f"x_{k}": k for k in range(4)}
    weight = np.array([unit.weights for unit, _, _ in made], dtype=np.float32)
    bias = np.full(len(made), 0.25, dtype=np.float32)
    layer = CertifiedLayer("fc", weight, bias, box, names, 4, (0,), (0,), heads)
    units = []
    for channel, (_, program, _) in enumerate(made):
        own = Affine(weight[channel].astype(np.float64), 0.25, heads[channel])
        verdict = prove_bent(own, program, box, Fraction(2))
        assert isinstance(verdict, Proved)
        terms = [f"{w!r}*x_{k}" for k, w in enumerate(program.weights.tolist())]
        text = f"{program.head.op}({' + '.join(terms)} + 0.25)"
        units.append(CertifiedUnit("fc", channel, text, Claim(Fraction(2), "envelope"), verdict))
    return layer, units


@pytest.fixture
def run(honest, tmp_path):
    """The same, read and free to be changed."""
    layer, units = honest
    write_certificates(tmp_path, [layer], units)
    document = json.loads((tmp_path / "certificates.json").read_text())
    return Run(document, load((tmp_path / "units.safetensors").read_bytes()))


def test_honest_certificates_are_accepted_and_left_alone_by_the_other_checker(run, tmp_path):
    """All pass; a checker that knows no covers judges none of them."""
    assert run.check(tmp_path) == ([f"fc[{c}]" for c in range(5)], [])
    assert checker.check(tmp_path) == ([], [])


def cover(change):
    """A change of the first cover."""

    def corrupt(certificate):
        change(certificate["covers"][0])

    return corrupt


def cells(change):
    return cover(lambda cover: cover.update(cells=change(cover["cells"])))


def fewer(key, by):
    def corrupt(certificate):
        certificate[key] = str(Fraction(certificate[key]) - by)

    return corrupt


def epsilon_below(certificate):
    certificate["epsilon"] = str(Fraction(certificate["bound"]) - Fraction(1, 2**50))


def swapped(certificate):
    certificate["covers"] = certificate["covers"][::-1]
    certificate["program"] = certificate["program"].replace("x_0", "x_9").replace("x_9", "x_1")


def no_covers(certificate):
    del certificate["covers"]


CORRUPT = {
    "starts late": cover(lambda c: c.update(start=c["start"] + 0.25)),
    "ends early": cells(lambda c: [*c[:-1], [c[-1][0] - 0.25, *c[-1][1:]]]),
    "last cell left out": cells(lambda c: c[:-1]),
    "no cells": cells(lambda c: []),
    "cells that do not join": cells(lambda c: [[c[-1][0], *c[0][1:]], *c]),
    "backwards": cells(lambda c: c[::-1]),
    "side below": cells(lambda c: [[end, -1, slope] for end, _, slope in c]),
    "side unknown": cells(lambda c: [[end, 2, slope] for end, _, slope in c]),
    "side a half": cells(lambda c: [[end, 0.5, slope] for end, _, slope in c]),
    "slopes more": cells(lambda c: [[end, at, slope + 0.25] for end, at, slope in c]),
    "slopes less": cells(lambda c: [[end, at, slope - 0.25] for end, at, slope in c]),
    "slope infinite": cells(lambda c: [[c[0][0], c[0][1], math.inf], *c[1:]]),
    "end not a number": cells(lambda c: [[math.nan, *c[0][1:]], *c[1:]]),
    "end a text": cells(lambda c: [[str(c[0][0]), *c[0][1:]], *c[1:]]),
    "a cell of two numbers": cells(lambda c: [c[0][:2], *c[1:]]),
    "one cover": lambda certificate: certificate["covers"].pop(),
    "three covers": lambda certificate: certificate["covers"].append(certificate["covers"][0]),
    "covers of nothing": lambda certificate: certificate.update(covers=None),
    "multipliers instead": lambda c: c.update(no_covers(c) or {"multipliers": ["1"] * 4}),
    "multipliers besides": lambda c: c.update(multipliers=["1"] * 4),
    "neither": no_covers,
    "bound less": fewer("bound", Fraction(1, 2**50)),
    "bound more": fewer("bound", -Fraction(1, 2**50)),
    "epsilon below the bound": epsilon_below,
    "another head": lambda c: c.update(program=c["program"].replace("(", "(3.0 + ", 1)),
    "another program": swapped,
}


@pytest.mark.parametrize("name", CORRUPT)
def test_corrupted_certificates_are_rejected(run, tmp_path, name):
    """Of every head, with a reason."""
    for certificate in run.document["certificates"]:
        CORRUPT[name](certificate)
    report = run.check(tmp_path)
    assert report.accepted == []
    assert len(report.rejected) == 5 and all(len(reason) > 10 for _, reason in report.rejected)


@pytest.mark.parametrize("tensor", ["upper", "lower", "weight", "bias"])
def test_other_numbers_than_those_of_the_claim_are_rejected(run, tmp_path, tensor):
    """A wider box, and other weights."""
    run.tensors[f"fc.{tensor}"] += -0.125 if tensor == "lower" else 0.125
    assert run.check(tmp_path).accepted == []
