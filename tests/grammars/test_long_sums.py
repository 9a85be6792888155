"""Sums of very many taps go through shortcuts, which give what the long way gives."""

import numpy as np
import pytest
from random_programs import core

from grammars.compiled import compile_bank
from grammars.hoist import headed_sum, hoist
from grammars.program import Node, call, const, leaves, linear, tap, taps_of

TAPS = [tap("a", c, y, x) for c in range(4) for y in (-1, 0, 1) for x in (-1, 0)]
INDEX = {(str(t["bank"]), t["channel"], t["dy"], t["dx"]): i for i, t in enumerate(TAPS)}


def total(count: int, bias: float = 0.5) -> Node:
    return linear([((i + 1) / 4, t) for i, t in enumerate(TAPS[:count])], bias)


@pytest.mark.parametrize("program", [total(9), call("relu", total(9)), call("tanh", total(2))])
def test_the_sum_under_a_head_is_its_hoisted_row(program: Node) -> None:
    """Skeleton and row are those of `hoist`."""
    found, whole = headed_sum(program, core()), hoist(program, core())
    assert found is not None and found.skeleton == whole.skeleton
    assert [hoist(row, core()).rows for row in found.rows] == [whole.rows]


@pytest.mark.parametrize(
    "program",
    [
        const(1.0),
        TAPS[0],
        call("relu", TAPS[0]),
        call("max", total(3), total(4)),
        linear([(0.5, call("relu", total(3))), (1.0, TAPS[0])]),
    ],
)
def test_other_programs_are_no_such_sums(program: Node) -> None:
    """Constants, single taps, several sums and sums of bent terms go the long way."""
    assert headed_sum(program, core()) is None


def test_part_of_a_bank_is_the_bank_of_some() -> None:
    """Units of any skeleton, in any order, give what they give in the whole bank."""
    programs = [call("relu", total(5)), const(2.0), call("max", total(3), total(6)), TAPS[3]]
    programs += [call("relu", total(8, -1.0)), total(4)]
    bank = compile_bank(programs, INDEX, core())
    patches = np.random.default_rng(0).standard_normal((7, len(TAPS)))
    whole = bank.apply(patches)
    for units in ([0], [5, 2, 0], [1], [4, 3, 1], [*range(6)]):
        part = bank.part(units)
        assert part.units == len(units) and len(part.weight) <= len(bank.weight)
        assert np.allclose(part.apply(patches), whole[:, units], rtol=0, atol=1e-14)
    assert bank.part([]).units == 0


def test_taps_of_many_programs() -> None:
    """Each tap once, inside sums and out of them."""
    programs = [call("relu", total(5)), TAPS[7], call("max", TAPS[6], total(2)), const(0.0)]
    assert leaves(programs) == {*TAPS[:5], TAPS[6], TAPS[7]}
    assert taps_of(programs[2]) == (*TAPS[:2], TAPS[6])
