"""Common values: found where they are planted, never dearer, and exactly the same programs."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import torch
from emitting import choice, emitted, read
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from grammars.coding import decode, encode
from grammars.common import spelled_out
from grammars.grammar import Grammar, load_grammar
from grammars.names import Names
from grammars.parser import parse_program
from grammars.program import Node, bank, call, const, linear, tap
from grammars.siblings import references
from grammars.text import format_program
from synth.assembly import LayerChoice, names_of, source_bits
from synth.common.choose import with_common
from synth.naming import common_names
from synth.network import Network

IMAGE = "input_1"


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel", "colour", "formula"), installed=False)


@cache
def network(units: int) -> Network:
    """A layer of so many units over images of three channels."""
    torch.manual_seed(0)
    how = {"kernel_size": 7, "padding": 3, "stride": 2}
    return read(nn.Sequential(nn.Conv2d(3, units, **how), nn.ReLU()), 3, 12, 12)


def choice_of(programs: list[Node | None], family: tuple[int, ...] = ()) -> LayerChoice:
    layer = network(len(programs)).layers[0]
    chosen = choice(layer, dict(enumerate(programs)))
    units = (replace(u, family=0 if u.channel in family else None) for u in chosen.units)
    return replace(chosen, units=tuple(units))


def shared(chosen: LayerChoice) -> LayerChoice:
    (found,) = with_common([chosen], grammar())
    return found


def bits(chosen: LayerChoice) -> int:
    return source_bits([chosen], grammar())


def named(chosen: LayerChoice) -> Names:
    plain = names_of([chosen.layer], grammar())
    return names_of([chosen.layer], grammar(), common_names([chosen], plain, set(plain)))


def kernel(name: str, **changed: float) -> Node:
    specs = grammar()[name].parameters
    return call(name, **{n: changed.get(n, spec.default) for n, spec in specs})


def seen(name: str, source: Node, **changed: float) -> Node:
    return call("conv", kernel(name, **changed), source)


def unit(terms: list[tuple[float, Node]], bias: float = -0.125) -> Node:
    return call("relu", linear(terms, bias))


LIGHT = call("luminance", bank(IMAGE, 3), bgr=0)
GABORS = [seen("gabor", LIGHT, angle=angle, sigma=1.75) for angle in (40.0, 130.0)]
EDGES = [seen("edge", tap(IMAGE, i % 3), angle=20.0 * i) for i in range(8)]


def planted() -> list[Node | None]:
    """Six units over two gabors, each with gains of its own and beside an edge; two others."""
    one, two = GABORS
    six = [unit([(0.5 + i / 8, one), (-0.75, two), (0.25, EDGES[i])]) for i in range(6)]
    return [*six, const(0.5), unit([(0.5, EDGES[7])])]


def apart() -> list[Node | None]:
    """Units that share no more than single taps."""
    taps = [tap(IMAGE, i % 3, 0, i % 2) for i in range(6)]
    return [unit([(0.5 * (i + 1), t), (0.375, EDGES[i])]) for i, t in enumerate(taps)]


def check_same(chosen: LayerChoice) -> None:
    """What is written says what the programs do: spelled out, as text, and as a stream."""
    values, names, bank_ = chosen.common.values, named(chosen), chosen.layer.name
    texts = [format_program(p, names, grammar()) for p in (*values, *chosen.written())]
    (*read_values,) = (parse_program(t, names, grammar()) for t in texts[: len(values)])
    written = [parse_program(text, names, grammar()) for text in texts[len(values) :]]
    assert tuple(spelled_out(written, read_values, bank_, grammar())) == chosen.programs()
    source = [chosen.source()]
    stream = encode(source, grammar())
    assert len(stream) == bits(chosen)
    assert list(decode(stream.to_bytes(), [chosen.scope], grammar())) == source


def test_two_gabors_of_six_units_get_names() -> None:
    """They are written once, the six units read them, and the whole is shorter by a fifth."""
    before = choice_of(planted())
    after = shared(before)
    assert set(after.common.values) == set(GABORS)
    pairs = zip(after.programs(), after.written(), strict=True)
    assert [program != said for program, said in pairs] == [True] * 6 + [False] * 2
    assert bits(after) < 0.8 * bits(before)
    assert after.programs() == before.programs() and after.expanded(grammar()) == before.programs()
    check_same(after)


def test_units_and_their_shares_make_the_stream() -> None:
    """All bits but for the counts belong to some unit."""
    after = shared(choice_of(planted()))
    counts = 3 + 1 + 3  # that values are shared, no families, two values
    assert sum(u.bits for u in after.units) + counts == bits(after)


def test_what_has_nothing_in_common_stays_as_it_is(tmp_path: Path) -> None:
    """The same stream and the same file, byte by byte."""
    before = choice_of(apart())
    after = shared(before)
    assert after.units == before.units and not after.common.values
    streams = [encode([c.source()], grammar()).to_bytes() for c in (before, after)]
    assert streams[0] == streams[1]
    texts = [of(c, tmp_path).text for c in (before, after)]
    assert texts[0] == texts[1]


def of(chosen: LayerChoice, folder: Path):
    how = {"grammar": grammar(), "names": named(chosen)}
    return emitted(network(len(chosen.units)), folder, choose=lambda _: chosen, **how)


def test_the_emitted_file_computes_them_once(tmp_path: Path) -> None:
    """`decompiled.py` is the replacement, with each gabor in one statement."""
    result = of(shared(choice_of(planted())), tmp_path)
    assert result.error(torch.randn(3, 3, 12, 12)) <= 1e-6
    assert result.error(torch.randn(2, 3, 12, 12, dtype=torch.float64)) <= 1e-6
    assert result.text.count("conv(gabor(") == 2
    assert "m0_gabor_1 = conv(gabor(angle=" in result.text
    assert "0.625*m0_gabor_1" in result.text


def test_parts_of_sums_up_to_a_gain(tmp_path: Path) -> None:
    """Twelve taps in one ratio, doubled or turned around, beside taps of one's own."""
    ratios = [(float(w), tap(IMAGE, i % 3, i // 3 - 1, 1)) for i, w in enumerate((3, 5, -7, 1) * 3)]
    units = [
        unit([*((g * w, t) for w, t in ratios), (1.5, tap(IMAGE, i % 3, -2, i - 2))], 0.25 * i)
        for i, g in enumerate((0.125, -0.25, 0.5, 0.125, 1.0))
    ]
    after = shared(choice_of([*units]))
    assert after.common.values == (linear(ratios),)
    check_same(after)
    assert of(after, tmp_path).error(torch.randn(2, 3, 12, 12)) <= 1e-6


def test_trees_of_formulas_and_names_within_names(tmp_path: Path) -> None:
    """A product is shared by some units, and a part of it by others too."""
    one, two = GABORS
    product = call("mul", one, call("square", linear([(0.5, two)], 0.75)))
    units = [unit([(0.5 + i / 4, product), (0.25, EDGES[i])]) for i in range(3)]
    units += [unit([(i / 2, one), (0.25, two), (0.75, EDGES[i])], 0.5 * i) for i in range(3, 8)]
    after = shared(choice_of([*units]))
    *parts, last = after.common.values
    assert set(parts) == set(GABORS) and last.op == "mul"
    assert references(last, "0:common") == (0, 1)
    check_same(after)
    assert of(after, tmp_path).error(torch.randn(2, 3, 12, 12)) <= 1e-6


def test_values_that_values_alone_read(tmp_path: Path) -> None:
    """Two large products get names, and then a gabor of both, which no unit reads by its name."""
    one, two = GABORS
    squares = [
        call("square", call("mul", EDGES[i], linear([(0.5, two)], i + 0.75))) for i in (6, 7)
    ]
    large = [call("mul", one, square) for square in squares]
    units = [unit([(0.5 + i / 4, large[i % 2]), (0.25, EDGES[i])]) for i in range(6)]
    after = shared(choice_of([*units]))
    numbers = [references(p, "0:common") for p in (*after.common.values, *after.written())]
    unread = {*range(len(after.common.values))}.difference(*numbers[-6:])
    assert unread
    counts = 3 + 1 + (len(after.common.values) + 1).bit_length() * 2 - 1
    assert sum(u.bits for u in after.units) + counts == bits(after)
    check_same(after)
    assert of(after, tmp_path).error(torch.randn(2, 3, 12, 12)) <= 1e-6


def test_families_are_left_alone() -> None:
    """Members are written by their table, whatever they share with other units."""
    programs = planted()
    before = choice_of(programs, family=(0, 1, 2))
    after = shared(before)
    assert after.written()[:3] == before.programs()[:3]
    assert after.units[:3] == before.units[:3]
    check_same(after)


def test_siblings_stay_what_they_are() -> None:
    """What reads a sibling has no name, and units that are read may be written by names."""
    programs = [*planted(), call("relu", linear([(-1.0, tap("0:pre", 0))]))]
    after = shared(choice_of(programs))
    assert after.common.values and after.written()[-1] == programs[-1]
    check_same(after)


taps = st.builds(tap, st.just(IMAGE), st.integers(0, 2), st.integers(-1, 1), st.integers(-1, 1))
weights = st.integers(-12, 12).filter(bool).map(lambda n: n / 8)
sums = st.lists(st.tuples(weights, taps), min_size=2, max_size=9).map(linear)


@st.composite
def banks(draw: st.DrawFn) -> list[Node]:
    """Units that are made from a few parts, by gains, beside terms of their own."""
    parts = [*draw(st.lists(sums, min_size=1, max_size=3)), *GABORS]
    parts += [call("square", parts[0]), call("mul", parts[0], parts[-1])]
    gains = st.sampled_from((-1.0, 0.25, 0.5, 1.0, 2.0, 3.0))
    some = st.lists(st.tuples(gains, st.sampled_from(parts)), min_size=1, max_size=4)
    own = st.lists(st.tuples(weights, taps), max_size=3)
    terms = draw(st.lists(st.tuples(some, own), min_size=6, max_size=6))
    return [unit([*a, *b], draw(weights)) for a, b in terms]


@settings(max_examples=10, deadline=None)
@given(banks())
def test_any_bank_says_the_same_in_no_more_bits(programs: list[Node]) -> None:
    """Names change no program, and no stream gets longer."""
    before = choice_of([*programs])
    after = shared(before)
    assert bits(after) < bits(before) or not after.common.values
    assert after.programs() == before.programs()
    check_same(after)


def test_names_that_do_not_pay_for_all_layers_are_not_given() -> None:
    """That values are shared is said of every layer, a bit each; what is saved outweighs it."""
    own = [unit([(0.5 + i / 4, GABORS[0]), (0.25, EDGES[i])]) for i in range(3)]
    pays, other = choice_of([*own]), choice_of([const(0.5), const(0.25)])
    saved = bits(pays) - bits(shared(pays))
    assert saved > 0
    enough, many = ([pays, *[other] * count] for count in (saved - 1, saved))
    assert with_common(enough, grammar())[0].common.values
    assert not with_common(many, grammar())[0].common.values
