"""Records are JSON and come back equal: programs, floats to the bit, and infinities."""

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small import BANK, CORE, HEADS, chosen, dense_layer

from grammars.program import PRE, Node, const, linear, tap
from synth.assembly import Status, UnitChoice, names_of
from synth.choice import Point
from synth.engine import with_head
from synth.fronts import Candidate
from synth.layers import Head
from synth.packing import unpacked
from synth.records import Records

COLUMNS, UNITS = 5, 4
LAYER = dense_layer([np.ones(COLUMNS)] * UNITS, [0.0] * UNITS, [Head("relu")] * UNITS)
RECORDS = Records(names_of([LAYER], CORE), CORE)

figures = st.floats(0, allow_nan=False, allow_infinity=True)
numbers = st.floats(-1e6, 1e6, allow_nan=False).map(lambda v: v + 0.0)
dyadics = st.integers(-(2**20), 2**20).map(lambda n: n / 2**10)


@st.composite
def programs(draw: st.DrawFn) -> Node:
    """Constants, references and sums under any head."""
    own = st.builds(tap, st.sampled_from(["fc1", f"fc1{PRE}"]), st.integers(0, UNITS - 1))
    taps = st.builds(tap, st.just(BANK), st.integers(0, COLUMNS - 1))
    if draw(st.booleans()):
        return draw(st.builds(const, numbers) | own)
    terms = draw(st.lists(st.tuples(dyadics, taps | own), max_size=5))
    return with_head(draw(st.sampled_from(HEADS)), linear(terms, draw(dyadics)))


candidates = st.builds(
    Candidate,
    programs(),
    st.integers(1, 10**6),
    figures,
    figures,
    figures,
    figures,
    st.sampled_from(["linear", "mine"]),
)


@st.composite
def choices(draw: st.DrawFn) -> tuple[UnitChoice, ...]:
    return tuple(
        UnitChoice(
            channel,
            draw(st.sampled_from(list(Status))),
            draw(st.none() | programs()),
            draw(st.integers(1, 10**6)),
            draw(figures),
            draw(figures),
            "linear",
        )
        for channel in range(UNITS)
    )


@given(st.lists(candidates, max_size=5))
def test_fronts_come_back(front):
    """A front is read back equal, candidate by candidate, and written the same again."""
    text = RECORDS.front(front)
    found = RECORDS.read_front(text)
    assert found == tuple(front)
    assert RECORDS.front(found) == text


@given(choices(), numbers, st.integers(0, 10**9), figures, st.floats(0, 1))
def test_points_come_back(units, multiplier, bits, kl, share):
    """A choice for all layers is read back with its figures, its scope and every unit."""
    choice = chosen(LAYER, [None] * UNITS)
    point = Point(multiplier, (type(choice)(LAYER, LAYER.scope, units),), bits, kl, share)
    found = RECORDS.read_point(RECORDS.point(point), [LAYER])
    assert (found.multiplier, found.bits, found.kl, found.agreement) == (
        multiplier,
        bits,
        kl,
        share,
    )
    (back,) = found.choices
    assert all(isinstance(u.status, Status) for u in back.units)
    assert back.units == units and back.layer is LAYER and back.scope == LAYER.scope
    assert RECORDS.point(found) == RECORDS.point(point)


@given(choices())
def test_rows_with_null_for_infinity_come_back(units):
    """Rows as `programs.json` has them, with null for infinity and more keys, are read."""
    rows = []
    for unit in units:
        row = {k: None if v == float("inf") else v for k, v in RECORDS.unit(unit).items()}
        rows.append(json.loads(json.dumps(row | {"verdict": "proved"}, allow_nan=False)))
    (found,) = RECORDS.read_choices({"fc1": rows}, [LAYER])
    assert found.units == units


def test_records_are_text():
    """Programs stand in records as the text that a person reads."""
    program = linear([(0.75, tap(BANK, 1)), (-1.0, tap(f"fc1{PRE}", 2))], 0.5)
    candidate = Candidate(program, 12, 0.25, 0.5, 1.0, float("inf"), "linear")
    (row,) = unpacked(RECORDS.front([candidate]))
    assert row == asdict(candidate) | {"program": "-pre(fc1_2) + 0.75*input_1_1 + 0.5"} or (
        row["program"] == "0.75*input_1_1 - pre(fc1_2) + 0.5"
    )
    assert set(row) == set(Candidate.__dataclass_fields__)


def test_a_layer_that_is_missing():
    """Rows without a layer of the network raise KeyError with its name."""
    with pytest.raises(KeyError, match="fc1"):
        RECORDS.read_choices({}, [LAYER])
