"""Families in the emitted file: loops and tables with the same numbers as each unit by itself."""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import pytest
import torch
from emitting import Emitted, choice, emitted, read
from torch import nn

from grammars.grammar import Grammar, load_grammar
from grammars.program import Node, bank, call, const, linear, tap
from synth.emission.loops import loops_of

IMAGE = "input_1"


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel", "colour"), installed=False)


def kernel(name: str, **changed: float) -> Node:
    specs = grammar()[name].parameters
    return call(name, **{n: changed.get(n, spec.default) for n, spec in specs})


def unit(gain: float, weights: Node, source: Node | None = None, bias: float = -0.125) -> Node:
    source = source or call("luminance", bank(IMAGE, 3), bgr=0)
    return call("relu", linear([(gain, call("conv", weights, source))], bias))


def looped() -> list[Node]:
    """Two scales, two phases and three angles, in no order."""
    found = []
    for angle, phase, scale in product((0.0, 45.0, 90.0), (0.0, 90.0), (1.0, 2.0)):
        params = {"sigma": 1.25 * scale, "wavelength": 4.0 * scale, "phase": phase}
        found.append(unit(0.75 / scale, kernel("gabor", angle=angle, **params)))
    order = np.random.default_rng(0).permutation(len(found))
    return [found[i] for i in order]


def tabled() -> list[Node]:
    """Edges with gains, biases and sources of their own; one has a gain of one."""
    rows = [(0.5, 10.0, 0, 0.25), (-1.5, 200.0, 2, 0.0), (1.0, 55.0, 1, -1.0)]
    return [unit(g, kernel("edge", angle=a), tap(IMAGE, c), bias=b) for g, a, c, b in rows]


def of(folder: Path, programs: list[Node], *families: tuple[int, ...], **geometry) -> Emitted:
    given = geometry or {"kernel_size": 7, "padding": 3, "stride": 2}
    network = read(nn.Sequential(nn.Conv2d(3, len(programs), **given), nn.ReLU()), 3, 12, 12)
    chosen = choice(network.layers[0], dict(enumerate(programs)))
    numbers = {c: n for n, family in enumerate(families) for c in family}
    units = tuple(replace(u, family=numbers.get(u.channel)) for u in chosen.units)
    chosen = replace(chosen, units=units)
    return emitted(network, folder, choose=lambda _: chosen, grammar=grammar())


def test_loops(tmp_path: Path) -> None:
    """What is a product of a few values is written as loops over these."""
    programs = [*looped(), const(0.5), unit(0.5, kernel("patch"))]
    result = of(tmp_path, programs, tuple(range(12)))
    assert result.error(torch.randn(3, 3, 12, 12)) <= 1e-6
    text = " ".join(result.text.split())
    assert "for angle in (0.0, 45.0, 90.0)" in text
    assert "for phase in (0.0, 90.0)" in text
    assert text.count("gabor(") == 2  # where it is defined, and in the family's function


def test_tables(tmp_path: Path) -> None:
    """What is none is a table, a row a unit; sources and gains of one are values like others."""
    result = of(tmp_path, tabled(), (0, 1, 2))
    assert result.error(torch.randn(3, 3, 12, 12)) <= 1e-6
    assert "(55.0, input_1[:, 1], 1.0, -1.0)," in result.text


@pytest.mark.parametrize("seed", range(4))
def test_any_families_have_the_same_numbers(seed: int, tmp_path: Path) -> None:
    """Several families in one layer, in any order of channels, beside other units."""
    rng = np.random.default_rng(seed)
    programs = [*looped(), *tabled(), const(0.25), unit(2.0, kernel("gaussian"))]
    order = rng.permutation(len(programs)).tolist()
    places = [[p for p, i in enumerate(order) if i in kin] for kin in (range(12), range(12, 15))]
    result = of(tmp_path, [programs[i] for i in order], *map(tuple, places))
    assert result.error(torch.randn(2, 3, 12, 12)) <= 1e-6
    assert result.error(torch.randn(2, 3, 12, 12, dtype=torch.float64)) <= 1e-6


def test_equal_units_are_written_out(tmp_path: Path) -> None:
    """A family without a difference has no function."""
    result = of(tmp_path, [unit(0.5, kernel("patch"))] * 3, (0, 1, 2))
    assert result.error(torch.randn(2, 3, 12, 12)) <= 1e-6
    assert "like_" not in result.text


def test_names_of_the_network_are_kept(tmp_path: Path) -> None:
    """A source that is called as a parameter is: the family's name gives way."""
    network = read(nn.Sequential(nn.Conv2d(3, 2, 5)), 3, 9, 9)
    chosen = choice(network.layers[0], dict(enumerate(tabled()[:2])))
    units = tuple(replace(u, family=0) for u in chosen.units)
    result = emitted(
        network, tmp_path, choose=lambda _: replace(chosen, units=units), grammar=grammar()
    )
    assert result.error(torch.randn(2, 3, 9, 9)) <= 1e-6


def test_loops_need_every_combination_once() -> None:
    """A missing combination, or one that is there twice, makes a table."""
    full = [*product("ab", "123")]
    for rows, count in ((full, 2), (full[:-1], 1), ([*full[:-1], full[0]], 1)):
        columns = dict(zip(("x", "y"), zip(*rows, strict=True), strict=True))
        loops, order = loops_of(columns)
        assert len(loops) == count and sorted(order) == list(range(len(rows)))
        walked = [*product(*(loop.rows for loop in loops))]
        for place, row in zip(order, walked, strict=True):
            pairs = zip(loops, row, strict=True)
            values = {n: v for loop, r in pairs for n, v in zip(loop.names, r, strict=True)}
            assert values == {name: columns[name][place] for name in columns}


def test_what_goes_together_is_one_loop() -> None:
    """A width that follows the wavelength is in its loop."""
    rows = [(w, s, a) for (w, s), a in product((("4", "1"), ("8", "2")), ("0", "90", "180"))]
    columns = dict(zip(("wavelength", "sigma", "angle"), zip(*rows, strict=True), strict=True))
    loops, _ = loops_of(columns)
    assert sorted(loop.names for loop in loops) == [("angle",), ("wavelength", "sigma")]
