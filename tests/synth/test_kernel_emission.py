"""Kernels and colour axes in the emitted file: readable, and the same numbers."""

import re
import subprocess
import sys
from dataclasses import replace
from functools import cache, wraps
from pathlib import Path

import pytest
import torch
from emitting import Emitted, choice, emitted, read
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from grammars.grammar import Grammar, load_grammar
from grammars.parser import parse_program
from grammars.primitive import Real
from grammars.program import Node, Value, bank, call, linear, tap
from synth.emission.kernels import KernelTexts
from synth.network import Network

IMAGE = "input_1"


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel", "colour"), installed=False)


@cache
def texts() -> KernelTexts:
    return KernelTexts(grammar())


KERNELS = sorted(p.name for p in grammar().primitives if p.result == "weights")


def kernel(name: str, grammar_: Grammar | None = None, **changed: Value) -> Node:
    parameters = (grammar_ or grammar())[name].parameters
    return call(name, **{n: changed.get(n, spec.default) for n, spec in parameters})


def conv(kernel_: Node, source: Node) -> Node:
    return call("conv", kernel_, source)


RED, GREEN, BLUE = (tap(IMAGE, c) for c in range(3))
IMAGE_BANK = bank(IMAGE, 3)
GABOR = kernel("gabor", angle=45.0, dx=0.5)
PROGRAMS = (
    call(
        "relu",
        linear(
            [
                (0.75, conv(GABOR, call("luminance", IMAGE_BANK, bgr=0))),
                (1.0, conv(kernel("line"), linear([(0.5, RED), (-0.25, BLUE)]))),
                (0.125, tap(IMAGE, 1, 1, 0)),
            ],
            -0.125,
        ),
    ),
    call("relu", conv(GABOR, call("luminance", IMAGE_BANK, bgr=1))),
    conv(kernel("patch"), GREEN),
    call("abs", linear([(-0.5, conv(kernel("edge", angle=270.0), RED)), (0.25, RED)], 0.5)),
    linear([(0.25, conv(kernel("curve"), call("red_green", IMAGE_BANK, bgr=0)))]),
    call("relu", linear([(-1.0, tap("0:pre", 2))])),
)
GEOMETRIES = (
    {"kernel_size": 3},
    {"kernel_size": 7, "stride": 2, "padding": 3},
    {"kernel_size": 3, "dilation": 2, "padding": 2},
    {"kernel_size": (4, 2), "stride": (1, 2), "padding": (1, 0)},
    {"kernel_size": 12},
    {"kernel_size": 1},
    {"kernel_size": (3, 5), "dilation": (5, 3), "padding": 9},
)


def within(network: Network, programs: tuple[Node, ...]) -> tuple[Node, ...]:
    """Programs with taps of the rows that a layer's window has."""
    rows = {dy for dy, _ in network.layers[0].geometry.offsets()}
    down = tap(IMAGE, 1, 1, 0)
    return programs if 1 in rows else tuple(_exchanged(p, down, GREEN) for p in programs)


def _exchanged(node: Node, old: Node, new: Node) -> Node:
    if node == old:
        return new
    return Node(node.op, tuple(_exchanged(a, old, new) for a in node.args), node.params)


def network(**geometry) -> Network:
    return read(nn.Sequential(nn.Conv2d(3, len(PROGRAMS), **geometry)), 3, 12, 12)


def of(network: Network, folder: Path, *programs: Node | None) -> Emitted:
    chosen = choice(network.layers[0], dict(enumerate(programs)))
    return emitted(network, folder, choose=lambda _: chosen, grammar=grammar())


@pytest.mark.parametrize("geometry", GEOMETRIES, ids=str)
def test_the_same_numbers_at_every_geometry(geometry, tmp_path: Path) -> None:
    """Strides, padding, dilation and even windows: the text computes what the module does."""
    read_ = network(**geometry)
    result = of(read_, tmp_path, *within(read_, PROGRAMS))
    assert result.error(torch.randn(5, 3, 12, 12)) <= 1e-6
    assert result.error(torch.randn(2, 3, 12, 12, dtype=torch.float64)) <= 1e-6


def test_a_line_is_its_program(tmp_path: Path) -> None:
    """Under `conv` the channels are maps; but for that a line parses back to the program."""
    result = of(network(kernel_size=5, padding=2), tmp_path, *PROGRAMS)
    lines = {unit: text for _, unit, text in result.lines()}
    assert lines[0] == (
        "relu( 0.125*shift(input_1_1, dy=1) "
        "+ 0.75*conv(gabor(angle=45.0, dx=0.5), luminance(input_1)) "
        "+ conv(line(), 0.5*input_1[:, 0] - 0.25*input_1[:, 2]) - 0.125 )"
    )
    for unit, program in enumerate(PROGRAMS):
        text = re.sub(r"\[:, (\d)\]", r"_\1", lines[unit])
        assert parse_program(text, result.names, grammar()) == program


def test_the_file_alone(tmp_path: Path) -> None:
    """Kernels are functions of the file, with the helpers that they call, and axes are sums."""
    result = of(network(kernel_size=5), tmp_path, *PROGRAMS)
    assert "def turned(np, down, right, angle, dy, dx):\n" in result.text
    wanted = "return 0.3125 * image[:, 0] + 0.5625 * image[:, 1] + 0.125 * image[:, 2]\n"
    assert wanted in result.text and "return image[:, 0] - image[:, 1]\n" in result.text
    assert "import numpy" not in result.text and "gaussian" not in result.text
    assert result.forward()(torch.randn(2, 3, 12, 12)).shape == (2, len(PROGRAMS), 8, 8)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E9,F,E501,E701"]
    done = subprocess.run([*command, "--line-length", "100", result.path], capture_output=True)
    assert done.returncode == 0, done.stdout


def anywhere(name: str) -> st.SearchStrategy[Node]:
    """A kernel with parameters on their grids."""
    parts = {
        n: st.integers(0, spec.size - 1).map(spec.value)
        if isinstance(spec, Real)
        else st.integers(spec.low, spec.high)
        for n, spec in grammar()[name].parameters
    }
    return st.fixed_dictionaries(parts).map(lambda params: call(name, **params))


@pytest.mark.parametrize("name", KERNELS)
@settings(max_examples=20)
@given(st.data())
def test_functions_give_the_very_tables(name, data):
    """Every kernel that there is has a text, whose numbers are those that proofs speak of."""
    assert texts().tells(data.draw(anywhere(name)))


def test_tables_are_compared() -> None:
    """A text that gave another number anywhere would not be written."""
    exact = grammar()["gaussian"]
    body = exact.body
    near = wraps(body)(lambda k, **params: {**body(k, **params), (0, 0): 0.5})
    other = KernelTexts(Grammar((replace(exact, body=near),)))
    assert texts().tells(kernel("gaussian")) and not other.tells(kernel("gaussian"))


UNTOLD = (
    conv(GABOR, tap(IMAGE, 0, 1, 0)),
    call("shift", conv(GABOR, RED), dy=1, dx=-1),
    conv(kernel("gaussian"), conv(GABOR, RED)),
    call("relu", linear([(0.5, call("luminance", IMAGE_BANK, bgr=0)), (0.25, RED)])),
    call(
        "relu",
        linear([(1.0, conv(kernel("line"), linear([(0.5, RED), (1.0, tap(IMAGE, 1, 0, 1))])))]),
    ),
    call("relu", conv(GABOR, call("shift", call("luminance", IMAGE_BANK, bgr=0), dy=1, dx=0))),
)


def test_what_no_line_can_hold_is_stored(tmp_path: Path) -> None:
    """Kernels over anything but mixes of whole channels become rows of weights."""
    result = of(network(kernel_size=5, padding=2), tmp_path, *UNTOLD)
    assert result.error(torch.randn(3, 3, 12, 12)) <= 1e-6
    assert "conv(" not in result.text
    both = of(network(kernel_size=5, padding=2), tmp_path, *UNTOLD[:3], *PROGRAMS[:3])
    assert both.error(torch.randn(3, 3, 12, 12)) <= 1e-6
    assert "conv(" in both.text and "sum_1" in both.text


USER = '''
from grammars.evaluation import mixed
from grammars.kernels import turned
from grammars.primitive import Bank, Atom, Field, Weights, primitive, real

REACH = 1.5


def _falloff(np, x: float, reach: float = REACH) -> float:
    """It falls."""
    return np.exp(-np.abs(x) / reach)


@primitive(tags=("kernel",))
def ridge(k, *, sharp=real(0.5, 4.0, step=0.5, default=1.0)) -> Weights:
    def kernel(np, y, x):
        # a comment that stays
        u, _ = turned(np, y, x, 45.0, 0.0, 0.0)
        return sharp * _falloff(np, u) * abs(y) / (1 + abs(x))

    return k.table(kernel)


@primitive(tags=("kernel",))
def odd(k) -> Weights:
    """What torch has no word for."""
    return k.table(lambda np, y, x: np.interp(x, [-1.0, 0.0, 1.0], [0.0, 1.0, 0.0]))


@primitive(tags=("kernel",))
def twice(k, w: Weights) -> Weights:
    """A kernel of a kernel."""
    return {place: 2 * weight for place, weight in w.items()}


@primitive(tags=("colour",))
def mean(k, maps: Bank) -> Atom:
    """The mean of all channels."""
    return mixed(k, [1 / 4] * len(maps), maps)
'''


def test_kernels_of_a_user(tmp_path: Path) -> None:
    """Functions and numbers of the user's file come along; what torch cannot run is stored."""
    file = tmp_path / "mine.py"
    file.write_text(USER, encoding="utf-8")
    mine = load_grammar(files=[file], tags=("core", "kernel", "colour"), installed=False)
    falls = call("ridge", sharp=1.5)
    programs = (
        call("relu", conv(falls, call("mean", bank(IMAGE, 4)))),
        conv(call("odd"), RED),
        conv(call("twice", falls), GREEN),
        call("abs", linear([(0.5, conv(falls, BLUE))], 0.25)),
    )
    read_ = read(nn.Sequential(nn.Conv2d(4, len(programs), 5, padding=2)), 4, 9, 9)
    chosen = choice(read_.layers[0], dict(enumerate(programs)))
    result = emitted(read_, tmp_path, choose=lambda _: chosen, grammar=mine)
    assert result.error(torch.randn(3, 4, 9, 9)) <= 1e-6
    assert "def _falloff(np, x, reach = REACH):" in result.text
    assert "REACH = 1.5" in result.text and "# a comment that stays" in result.text
    assert "builtins.abs(y)" in result.text and "def odd" not in result.text
    assert "m0_0 = relu(conv(ridge(sharp=1.5), mean(input_1)))" in result.text


def test_sequences_and_groups(tmp_path: Path) -> None:
    """Kernels along one axis, and over the channels of a group."""
    wave = kernel("cosine", angle=0.0, wavelength=4.0)
    read_ = read(nn.Sequential(nn.Conv1d(3, 2, 5, stride=2, padding=1), nn.ReLU()), 3, 11)
    programs = (call("relu", linear([(0.5, conv(wave, GREEN)), (0.25, RED)])), conv(wave, BLUE))
    assert of(read_, tmp_path, *programs).error(torch.randn(3, 3, 11)) <= 1e-6
    apart = read(nn.Sequential(nn.Conv2d(3, 3, 3, padding=1, groups=3)), 3, 6, 6)
    each = (conv(GABOR, RED), conv(GABOR, GREEN), None)
    assert of(apart, tmp_path, *each).error(torch.randn(3, 3, 6, 6)) <= 1e-6


def test_dense_layers(tmp_path: Path) -> None:
    """A window that is the whole map has its middle too; numbers have no surroundings."""
    parts = nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 5, 2)
    read_ = read(nn.Sequential(*parts), 3, 8, 7)
    wide = kernel("gaussian", sigma=6.0, dy=-4.0)
    programs = (linear([(0.5, conv(wide, tap("0", 1))), (1.0, tap("0", 2, 3, -2))], 0.25), None)
    dense = choice(read_.layers[1], dict(enumerate(programs)))
    result = emitted(
        read_,
        tmp_path,
        choose=lambda la: dense if la is read_.layers[1] else None,
        grammar=grammar(),
    )
    assert result.error(torch.randn(3, 3, 8, 7)) <= 1e-6 and "conv(gaussian(" in result.text
    flat = read(nn.Sequential(nn.Linear(3, 2)), 3)
    numbers = of(flat, tmp_path, conv(GABOR, linear([(0.5, RED), (1.0, BLUE)])), None)
    assert numbers.error(torch.randn(4, 3)) <= 1e-6


def test_many_groups_keep_their_lines(tmp_path: Path) -> None:
    """Kernels of a layer of many groups are lines, and not rows of a table."""
    many = 32
    read_ = read(nn.Sequential(nn.Conv2d(many, many, 3, padding=1, groups=many)), many, 6, 6)
    programs = [conv(GABOR, tap(IMAGE, c)) for c in range(many)]
    result = of(read_, tmp_path, *programs)
    assert result.error(torch.randn(3, many, 6, 6)) <= 1e-6
    assert "m0_31 = conv(gabor(angle=45.0, dx=0.5), input_1[:, 31])" in result.text
