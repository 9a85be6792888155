"""Emitted source: it runs alone, computes what the replacement does, and says what was chosen."""

import ast
import re
import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from architectures import Case
from emitting import (
    ALL,
    CORE,
    NOTES,
    OURS,
    Emitted,
    case_of,
    choice,
    emitted,
    mixed,
    network_of,
    read,
)
from safetensors.torch import load_file
from torch import nn

from grammars.grammar import Grammar, load_grammar
from grammars.names import Names
from grammars.parser import parse_program
from grammars.program import call, const, linear, tap
from grammars.text import format_program
from synth.assembly import assemble, bank_module, names_of, own_program
from synth.emission import WEIGHTS_FILE, emit
from synth.emission.helpers import named_parts
from synth.emission.plan import is_long

ALLOWED = {"torch", "json", "pathlib", "math", "operator", "builtins"}

USER = '''
from grammars.evaluation import Unsupported
from grammars.primitive import Atom, Field, integer, primitive, real


@primitive()
def select(k, torch_: Field, maximum: Field) -> Field:
    """The smaller of both where it is positive, else the larger: names that helpers have too."""
    low = k.min(torch_, maximum)
    return k.select(low, low, k.max(torch_, maximum))


@primitive(tags=("user", "head"))
def bump(k, x: Field, *, width=real(0.0, 4.0, step=0.25, default=1.0)) -> Field:
    """max(width - |x|, 0) with "quotes" and a \\\\ in its first line; the shape of x."""
    return k.max(k.add(k.const(width), k.mul(k.const(-1.0), k.max(x, k.mul(k.const(-1.0), x)))),
                 k.const(0.0))


@primitive()
def edge(
    k, i: Atom, *, reach=integer(0, 2, default=1), gain=real(0.0, 1.0, step=0.125, default=1.0)
) -> Field:
    """gain² · (i[x + reach] − i[x − reach]): parameters that the body computes with."""
    return k.mul(k.const(gain * gain), k.linear([1.0, -1.0], [i(0, reach), i(0, -reach)], 0.0))


@primitive()
def below(k, i: Atom, *, by=integer(0, 1, default=1)) -> Atom:
    """i[y + by]: an atom of an atom."""
    return lambda dy, dx: i(dy + by, dx)


@primitive()
def total(k, *terms: Field) -> Field:
    """The sum of its arguments, however many."""
    return k.linear([1.0] * len(terms), terms, 0.0)


@primitive(gaps=("text",))
def untold(k, x: Field) -> Field:
    """x, for which the text interpreter has no words."""
    if k.name == "text":
        raise Unsupported("no words")
    return x


@primitive()
def torch(k, x: Field) -> Field:
    """x under a name that every emitted file needs."""
    return x
'''


@pytest.fixture(scope="module")
def of_case(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Case], Emitted]:
    """A case with mixed programs, emitted once for all tests that look at it."""
    return cache(
        lambda case: emitted(network_of(case), tmp_path_factory.mktemp("case"), choose=mixed)
    )


@pytest.mark.parametrize("case", ALL, ids=str)
def test_equals_the_replacement(case: Case, of_case, tmp_path: Path) -> None:
    """The emitted file computes what the replacement computes, for every kind of network."""
    x = torch.randn(7, *case.shape)
    assert of_case(case).error(x) <= 1e-5
    assert emitted(network_of(case), tmp_path).error(x) <= 1e-5


@pytest.mark.parametrize("case", ALL, ids=str)
def test_layers_that_keep_everything(case: Case, tmp_path: Path) -> None:
    """Layers without any program, and layers that were not chosen, run from stored weights."""
    opaque = emitted(
        network_of(case),
        tmp_path,
        choose=lambda la: choice(la, dict.fromkeys(range(la.units))),
    )
    assert opaque.error(torch.randn(3, *case.shape)) <= 1e-5
    untouched = emitted(network_of(case), tmp_path, choose=lambda la: None)
    assert untouched.error(torch.randn(3, *case.shape)) <= 1e-5


@pytest.mark.parametrize("case", ALL, ids=str)
def test_every_line_is_the_program(case: Case, of_case) -> None:
    """The text right of `=` is the canonical text, and parses back to the chosen program, unless
    it is long: then it is the head of a sum that is stored."""
    result = of_case(case)
    seen = set()
    for chosen, unit, text in result.lines():
        program = chosen.units[unit].program
        if program is not None and is_long(program):
            assert re.search(rf"\bsum_{unit}\b", text)
        elif program is not None:
            assert parse_program(text, result.names, CORE) == program
            assert text.replace("( ", "(").replace(" )", ")") == format_program(
                program, result.names, CORE
            )
        seen.add((chosen.layer.name, unit))
    assert seen == {(c.layer.name, u) for c in result.choices for u in range(c.layer.units)}


def test_runs_alone(tmp_path: Path) -> None:
    """A fresh interpreter without our packages and libraries runs the file to the same numbers."""
    case = case_of("convolutional")
    result = emitted(network_of(case), tmp_path, choose=mixed)
    script = (
        f"import sys; sys.modules.update(dict.fromkeys({(*OURS, 'safetensors', 'numpy')}))\n"
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import torch, decompiled\n"
        "x = torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)\n"
        "print(decompiled.forward(x).flatten().tolist())\n"
    )
    out = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script], capture_output=True, text=True, check=True
    )
    got = torch.tensor(ast.literal_eval(out.stdout)).reshape(2, 3)
    wanted = assemble(result.network, result.choices, CORE)(
        torch.linspace(-1, 1, 128).reshape(2, 1, 8, 8)
    )
    assert float((got - wanted).abs().max()) <= 1e-5 * float(wanted.abs().max())


def test_imports_and_lint(of_case) -> None:
    """Only torch and the standard library are imported; ruff finds no fault and no long line."""
    results = [of_case(case) for case in ALL]
    for result in results:
        nodes = list(ast.walk(ast.parse(result.text)))
        imported = {alias.name for n in nodes if isinstance(n, ast.Import) for alias in n.names}
        assert imported <= ALLOWED
        assert not any(isinstance(n, ast.ImportFrom) for n in nodes)
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "E9,F,E501,E701"]
    command += ["--line-length", "100", *(str(r.path) for r in results)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_same_bytes(tmp_path: Path) -> None:
    """The same choices, in whatever order, give the same bytes of text and of weights."""
    case = case_of("Strange")
    first = emitted(network_of(case), tmp_path, choose=mixed)
    stored = (tmp_path / WEIGHTS_FILE).read_bytes()
    again = emitted(network_of(case), tmp_path, choose=mixed)
    turned = emit(
        again.network,
        again.choices[::-1],
        CORE,
        again.names,
        notes=NOTES,
    )
    assert first.text == again.text == turned
    assert stored == (tmp_path / WEIGHTS_FILE).read_bytes()


def user_grammar(folder: Path) -> Grammar:
    file = folder / "mine.py"
    file.write_text(USER, encoding="utf-8")
    return load_grammar(files=[file], installed=False)


def test_user_primitives(tmp_path: Path) -> None:
    """Primitives of a user's file are written out, whatever their names and parameters do."""
    a, b = (tap("input_1", channel) for channel in (0, 1))
    atom = call("shift", call("below", b, by=0), dy=-1, dx=0)
    programs = (
        call("select", a, linear([(0.5, b)], 0.25)),
        call("bump", linear([(0.5, a), (-0.25, b)]), width=1.25),
        call("bump", linear([(-0.5, tap("0:pre", 1))]), width=0.5),
        call("edge", a, reach=1, gain=0.5),
        linear([(2.0, call("edge", atom, reach=1, gain=1.0))]),
        call("edge", call("below", b, by=1), reach=0, gain=0.5),
        call("total", a, b, call("max", a, const(0.125))),
        call("total", call("total", a, b), call("min", a, b)),
        call("max", const(0.5), call("abs", const(-2.0))),
        call("max_pool", tap("input_1", 1, -1, -1), size=3),
        call("mean_pool", b, size=2),
        call("sigmoid", const(1.5)),
    )
    grammar = user_grammar(tmp_path)
    network = read(nn.Sequential(nn.Conv2d(2, len(programs), 3, padding=1)), 2, 5, 6)
    chosen = choice(network.layers[0], dict(enumerate(programs)))
    result = emitted(network, tmp_path, choose=lambda _: chosen, grammar=grammar)
    assert result.error(torch.randn(4, 2, 5, 6)) <= 1e-5
    for _, unit, text in result.lines():
        assert parse_program(text, result.names, grammar) == programs[unit]
    assert "def max_pool(" in result.text and "def tanh(" not in result.text


def test_atoms_without_a_window(tmp_path: Path) -> None:
    """An operation on atoms works on a flat bank too."""
    program = call("edge", tap("input_1", 1), reach=0, gain=0.5)
    network = read(nn.Sequential(nn.Linear(3, 2)), 3)
    chosen = choice(network.layers[0], {0: program})
    grammar = user_grammar(tmp_path)
    result = emitted(network, tmp_path, choose=lambda _: chosen, grammar=grammar)
    assert result.error(torch.randn(4, 3)) <= 1e-5


def test_primitives_that_cannot_be_written(tmp_path: Path) -> None:
    """A primitive without text, or with a name that the file needs, is told by name."""
    network = read(nn.Sequential(nn.Linear(3, 1)), 3)
    grammar = user_grammar(tmp_path)
    names = names_of(network.layers, grammar)
    for name in ("untold", "torch"):
        chosen = choice(network.layers[0], {0: call(name, tap("input_1", 1))})
        with pytest.raises(ValueError, match=f"primitive '{name}' cannot be emitted"):
            emit(network, [chosen], grammar, names)


def test_names_that_clash(tmp_path: Path) -> None:
    """Modules may be named like our helpers, Python's words or each other's units."""
    module = nn.Sequential()
    for name in ("torch", "stack", "maximum", "WEIGHTS", "pre", "relu", "channels", "fc_1", "fc"):
        module.add_module(name, nn.Linear(3, 3))
        module.add_module(f"{name}_act", nn.ReLU())
    result = emitted(read(module, 3), tmp_path, choose=mixed)
    assert result.error(torch.randn(4, 3)) <= 1e-5


def test_given_names(tmp_path: Path) -> None:
    """Names that a user gives appear; one that the file needs itself is refused."""
    network = read(nn.Sequential(nn.Linear(2, 2), nn.ReLU()), 2)
    banks = {"input_1": 2, "0": 2}
    names = Names(banks, given={("input_1", 0): "left", ("0", 1): "edge"})
    result = emitted(network, tmp_path, names=names)
    assert re.search(r"^    edge = relu\(.*left.*\)$", result.text, re.MULTILINE)
    assert result.error(torch.randn(4, 2)) <= 1e-5
    with pytest.raises(ValueError, match="'torch'"):
        emitted(network, tmp_path, names=Names(banks, given={("0", 1): "torch"}))


def test_dead_units(tmp_path: Path) -> None:
    """A layer of constants alone still has its shape, and an opaque unit may have no weights."""
    linear_ = nn.Linear(5, 3)
    nn.init.zeros_(linear_.weight[2:])
    network = read(nn.Sequential(linear_, nn.ReLU(), nn.Linear(3, 2)), 5)
    dead = {0: const(0.5), 1: const(-1.0), 2: None}
    result = emitted(
        network, tmp_path, choose=lambda la: choice(la, dead if la.name == "0" else {0: None})
    )
    assert result.error(torch.randn(4, 5)) <= 1e-5


def test_stored_weights(tmp_path: Path) -> None:
    """The stored tensors are the rows of each layer, and what the rest of the graph reads."""
    case = case_of("Tied")
    result = emitted(
        network_of(case), tmp_path, choose=lambda la: mixed(la) if la.name == "fc" else None
    )
    stored = load_file(tmp_path / WEIGHTS_FILE)
    assert set(stored) == {"fc.weight", "fc.bias", "original.fc.weight", "scale"}
    module = bank_module(result.choices[0], CORE)
    assert torch.equal(stored["fc.weight"], module.weight)
    assert torch.equal(stored["fc.bias"], module.bias)


def test_foreign_and_circular_programs(tmp_path: Path) -> None:
    """A program that reads elsewhere and units that refer in a circle are told by name."""
    network = read(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), 2)
    names = names_of(network.layers, CORE)
    foreign = choice(network.layers[1], {0: linear([(0.5, tap("input_1", 0))])})
    with pytest.raises(ValueError, match="read input"):
        emit(network, [foreign], CORE, names)
    circle = choice(
        network.layers[0], {0: linear([(0.5, tap("0", 1))]), 1: linear([(0.5, tap("0", 0))])}
    )
    with pytest.raises(ValueError, match="circle"):
        emit(network, [circle], CORE, names)


def test_a_thousand_probes_in_a_second(tmp_path: Path) -> None:
    """A small convolutional network runs 1,000 probes well within a second of processor time."""
    parts = (nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    more = (nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2))
    network = read(nn.Sequential(*parts, *more, nn.Flatten(), nn.Linear(64, 10)), 1, 8, 8)
    forward = emitted(network, tmp_path).forward()
    x, seconds = torch.randn(1000, 1, 8, 8), []
    for _ in range(5):
        start = time.process_time()
        forward(x)
        seconds.append(time.process_time() - start)
    assert min(seconds) < 1


def test_own_program_is_written_in_full(tmp_path: Path) -> None:
    """A unit with all its float weights can be written as a program, to the last bit."""
    network = read(nn.Sequential(nn.Linear(40, 2)), 40)
    program = own_program(network.layers[0], 0)
    result = emitted(network, tmp_path, choose=lambda la: choice(la, {0: program}))
    texts = {unit: text for _, unit, text in result.lines()}
    assert parse_program(texts[0], result.names, CORE) == program


def test_repeated_calls_get_names_of_their_own() -> None:
    """The value stays, also where a call ends another's text, or a name is taken already."""
    body = " + ".join([*["max(x, part_1)*amax(x, part_1)"] * 4, *["amax(max(x, part_1), y)"] * 3])
    parts, rest = named_parts(body)
    assert parts and "part_1" not in parts and len(rest) < len(body)
    known = {"x": 2.0, "y": 5.0, "part_1": 3.0, "max": max, "amax": lambda a, b: a + 10 * b}
    wanted = eval(body, dict(known))
    for name, part in parts.items():
        known[name] = eval(part, dict(known))
    assert eval(rest, dict(known)) == wanted
