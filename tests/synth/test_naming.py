"""Units are called after what their programs look for."""

from functools import cache

import pytest
from emitting import choice, read
from torch import nn

from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, bank, call, const, linear, tap
from synth.assembly import names_of
from synth.naming import readable_names

IMAGE = bank("input_1", 3)
RED = tap("input_1", 0)


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel", "colour"), installed=False)


def over(name: str, source: Node = RED, gain: float = 0.5, **changed: float) -> Node:
    specs = grammar()[name].parameters
    kernel = call(name, **{n: changed.get(n, spec.default) for n, spec in specs})
    return call("relu", linear([(gain, call("conv", kernel, source))], -0.125))


def both(first: Node, second: Node) -> Node:
    (a,), (b,) = first.args, second.args
    return call("relu", linear([(1.0, a), (1.0, b)]))


def names(*programs: Node | None, taken: tuple[str, ...] = ()) -> list[str]:
    """What the units of these programs are called, in their order."""
    network = read(nn.Sequential(nn.Conv2d(3, len(programs), 7), nn.ReLU()), 3, 12, 12)
    chosen = choice(network.layers[0], dict(enumerate(programs)))
    plain = names_of(network.layers, grammar())
    given = readable_names([chosen], grammar(), {*plain, *grammar(), *taken})
    found = names_of(network.layers, grammar(), given)
    return [found.of("0", c) for c in range(len(programs))]


@pytest.mark.parametrize(
    ("program", "name"),
    [
        (over("edge", angle=45.0), "edge_45"),
        (over("gabor", angle=90.0, gain=-1.0), "gabor_90"),
        (over("gaussian"), "spot"),
        (over("gaussian", gain=-0.5), "dark_spot"),
        (over("bar", gain=-0.5, angle=30.0), "dark_bar_30"),
        (over("curve", angle=120.0, radius=6.0), "curve_120_r6"),
        (over("edge", call("luminance", IMAGE, bgr=0)), "edge_0"),
        (over("gaussian", call("red_green", IMAGE, bgr=1)), "red_green_spot"),
        (both(over("edge", gain=2.0, angle=10.0), over("gaussian", gain=0.125)), "edge_10"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_unit_is_called_after_its_kernel(program: Node, name: str) -> None:
    assert names(program) == [name]


def test_others_keep_their_channel() -> None:
    """Taps, constants, opaque units and sums in which no kernel leads."""
    mixed = both(over("edge", angle=0.0), over("edge", angle=90.0))
    found = names(linear([(0.5, RED)], 1.0), const(0.5), None, mixed)
    assert found == ["m0_0", "m0_1", "m0_2", "m0_3"]


def test_equal_names_are_numbered_in_order() -> None:
    edges = [over("edge", angle=45.0, gain=gain) for gain in (0.5, 1.0, 2.0)]
    assert names(*edges) == ["edge_45", "edge_45_n2", "edge_45_n3"]


def test_names_that_mean_something_else_are_left() -> None:
    """A program may only be named what nothing else is called."""
    assert names(over("edge", angle=45.0), taken=("edge_45",)) == ["edge_45_n1"]
    assert names(over("patch"), over("patch", gain=2.0)) == ["patch_n1", "patch_n2"]


def test_stems_are_those_of_whole_banks() -> None:
    network = read(nn.Sequential(nn.Conv2d(3, 2, 3)), 3, 8, 8)
    found = names_of(network.layers, grammar(), {("0", 0): "edge_45"})
    assert (found.stem("0"), found.stem("input_1"), found.stem("else")) == ("m0", "input_1", None)
