"""Regression in processes of their own: planted formulas found, and no end of a process hurts."""

import ast
import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import sympy
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from planted_formulas import GRAMMAR, NAMES, TAPS, planted, read, unexplained, values
from small import CORE

from grammars.grammar import load_grammar
from grammars.text import format_program
from synth.engine import EngineFailed
from synth.engines import automatic, pysr
from synth.engines.operon import EVALUATED, SYMBOLS, OperonEngine, options_of
from synth.engines.pysr import PySREngine
from synth.regression.apart import Apart
from synth.regression.expressions import MEANINGS, program_of, sayable
from synth.regression.operon_child import NAMES as OPERON_NAMES
from synth.regression.pysr_child import OPERATORS, expression_of
from synth.regression.search import Question, proposals

CHILDREN = {
    "dies": "import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)",
    "hangs": "import time\nprint('so far', flush=True)\ntime.sleep(60)",
    "fails": "raise ValueError('no such operator')",
    "devours": "import synth.regression.child as c\nc.serve(lambda *_: len(bytes(2**31)))",
    "answers": "import synth.regression.child as c\nc.serve(lambda o, x, y: [o, x.shape, y.sum()])",
}


@pytest.fixture
def children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Modules on the path that end in different ways."""
    for name, code in CHILDREN.items():
        (tmp_path / f"child_{name}.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("dies", "ended by signal SIGSEGV"),
        ("hangs", "no answer within 1 s"),
        ("fails", "ValueError: no such operator"),
        ("devours", "MemoryError"),
    ],
)
def test_the_end_of_a_process_is_told(children: None, name: str, words: str):
    apart = Apart(f"child_{name}", seconds=1 if name == "hangs" else 30, memory_mib=512)
    with pytest.raises(EngineFailed, match=words):
        apart.fit({}, np.zeros((3, 2)), np.zeros(3))


def test_a_process_answers(children: None):
    said = Apart("child_answers").fit({"a": 1}, np.zeros((3, 2)), np.ones(3))
    assert said == [{"a": 1}, [3, 2], 3.0]


def test_operon_finds_what_was_planted():
    """What its child replies is read as it meant it: the formula comes back, in short numbers."""
    text = "x_0*x_1 + 0.5*max(x_2, x_3)"
    samples, able = planted(text, count=400), sayable(GRAMMAR)
    options = options_of(able, 100_000 // EVALUATED, 0)
    apart = Apart("synth.regression.operon_child")
    found = list(proposals(samples, apart, options, 0))
    best = min(found, key=lambda p: unexplained(p, samples, of=text))
    assert unexplained(best, samples, of=text) < 1e-9, format_program(best, NAMES, GRAMMAR)


def test_evaluations_give_the_same_again():
    question, options = (
        Question.of(planted("x_0*x_1", count=100)),
        options_of(sayable(GRAMMAR), 9, 0),
    )
    apart = Apart("synth.regression.operon_child")
    first, second = (apart.fit(options, question.inputs, question.target) for _ in range(2))
    assert first == second and first


@pytest.mark.parametrize("name", sorted(OPERON_NAMES.values()))
def test_operations_mean_what_operon_means(name: str):
    """Also of minimum and maximum, whose names are swapped in its enumeration."""
    a, b = read("x_0"), read("x_1")
    inputs = torch.tensor([[3.0], [2.0], [0.0], [0.0]], dtype=torch.float64)
    wanted = {"add": 5.0, "sub": 1.0, "mul": 6.0, "div": 1.5, "min": 2.0, "max": 3.0}[name]
    assert float(values(MEANINGS[name].build(a, b), inputs)) == wanted


def test_a_question_is_of_inputs_and_formulas():
    samples = planted("x_0*x_1 + x_2", count=500)
    question = Question.of(samples)
    assert question.variables[: len(TAPS)] == TAPS and len(question.variables) > len(TAPS)
    assert question.inputs.shape == (len(question.target), len(question.variables))
    assert question.target.mean() == pytest.approx(0, abs=1e-12)
    assert question.target.std() == pytest.approx(1)


def test_what_a_grammar_lacks_is_not_asked_for():
    assert "sin" in sayable(GRAMMAR) and "sin" not in sayable(CORE)
    assert all(name in MEANINGS for name in sayable(GRAMMAR))


def test_no_operation_is_asked_for_that_no_interpreter_has():
    """Each that Operon and PySR are given has a meaning here, of primitives that keep the contract
    (another test holds all of the package to it)."""
    grammar = load_grammar(tags=None, installed=False)
    assert {*SYMBOLS, *OPERATORS} <= sayable(grammar)


@pytest.mark.parametrize("answer", [["weird", ["var", 0]], ["const", "x"], ["var", 99], ["add"]])
def test_what_is_no_program_is_passed_over(answer: list):
    assert program_of(answer, TAPS) is None


# PySR, as far as it can be had without Julia: its source is read and its exporters are called.


def test_every_keyword_that_pysr_is_given_exists():
    tree = ast.parse((_pysr() / "sr.py").read_text(encoding="utf-8"))
    classes = (n for n in tree.body if isinstance(n, ast.ClassDef) and n.name == "PySRRegressor")
    (init,) = (f for c in classes for f in c.body if getattr(f, "name", "") == "__init__")
    assert isinstance(init, ast.FunctionDef)
    known = {a.arg for a in (*init.args.args, *init.args.kwonlyargs)}
    given = {*pysr.options_of(sayable(GRAMMAR), 100, 0), "extra_sympy_mappings"}
    assert given <= known


@pytest.fixture
def exporters(monkeypatch: pytest.MonkeyPatch) -> tuple[ModuleType, ModuleType]:
    """PySR's exporters without PySR's own import, which looks for Julia."""
    package = ModuleType("pysr")
    package.__path__ = [str(_pysr())]
    monkeypatch.setitem(sys.modules, "pysr", package)
    found = [importlib.import_module(f"pysr.export_{kind}") for kind in ("sympy", "torch")]
    for name in [n for n in sys.modules if n.startswith("pysr.")]:
        monkeypatch.delitem(sys.modules, name)
    return found[0], found[1]


@pytest.mark.parametrize("name", sorted(OPERATORS))
def test_operators_survive_the_exporters_of_pysr(exporters, name: str):
    """What PySR makes of our operators, in sympy and in torch, is what they are in programs."""
    from synth.regression.pysr_child import BINARY, _in_sympy

    word = OPERATORS[name].partition("(")[0]
    infix = {"+", "-", "*", "/"}
    text = f"v0 {word} v1" if word in infix else f"{word}(v0{', v1' * (name in BINARY)})"
    to_sympy, to_torch = exporters
    expression = to_sympy.pysr2sympy(
        text, feature_names_in=["v0", "v1"], extra_sympy_mappings=_in_sympy()
    )
    inputs = torch.tensor([[0.5, 1.5], [0.25, 0.125], [2.0, 3.0]], dtype=torch.float64)
    module = to_torch.sympy2torch(expression, [sympy.Symbol("v0"), sympy.Symbol("v1")])
    program = program_of(expression_of(text), TAPS)
    assert program is not None
    columns = torch.cat([inputs.T, torch.zeros(2, 3, dtype=torch.float64)])
    assert torch.allclose(module(inputs).double(), values(program, columns), rtol=1e-6)


@given(st.recursive(st.sampled_from(["v0", "v1", "2.5"]), lambda inner: st.one_of(
    st.builds("({} + {})".format, inner, inner), st.builds("({} / {})".format, inner, inner),
    st.builds("max({}, {})".format, inner, inner), st.builds("-({})".format, inner),
), max_leaves=8))  # fmt: skip
@example("(v0 / (v0 + -(v0)))")
def test_equations_of_pysr_are_read(text: str):
    """The values are those of the text itself, where it has one and our numbers are exact."""
    program = program_of(expression_of(text), TAPS)
    try:
        wanted = eval(text, {"v0": 0.5, "v1": 4.0, "max": max})
    except ZeroDivisionError:
        return  # it has none
    if program is not None:
        inputs = torch.tensor([[0.5], [4.0], [0.0], [0.0]], dtype=torch.float64)
        assert float(values(program, inputs)) == pytest.approx(wanted, rel=1e-2)


def test_without_julia_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pysr, "_has_julia", lambda: False)
    assert "it needs Julia" in (PySREngine.missing() or "")
    names, note = automatic(lambda engine: True)
    assert "operon" in names and "pysr" not in names
    assert "Operon in the place of PySR: it needs Julia" in note
    assert "pysr" not in sys.modules  # its import would look for Julia


def test_an_engine_that_is_not_installed_is_told_before_work_starts(home, monkeypatch):
    monkeypatch.setattr(pysr, "_has_julia", lambda: False)
    done = home("run", "net.toml", "--engine", "pysr")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "search.engines: 'pysr' cannot be used here: it needs Julia" in done.stderr


def test_with_julia_auto_takes_pysr(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(pysr, "_has_julia", lambda: True)
    names, note = automatic(lambda engine: engine.name != "kernel")
    assert names == ("linear", "discrete", "template", "enumeration", "pysr")
    assert note == "engines: linear, discrete, template, enumeration, pysr"


def test_without_operon_a_sentence_says_what_to_do(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("synth.engines.operon.find_spec", lambda name: None)
    assert "pip install pyoperon" in (OperonEngine.missing() or "")


@pytest.mark.skipif(PySREngine.missing() is not None, reason=str(PySREngine.missing()))
def test_pysr_finds_what_was_planted():
    text = "x_0*x_1 + 0.5*x_2"
    samples = planted(text, count=300)
    apart = Apart("synth.regression.pysr_child", 900, memory_mib=0)
    found = proposals(samples, apart, pysr.options_of(sayable(GRAMMAR), 100, 0), 0)
    assert min(unexplained(p, samples, of=text) for p in found) < 1e-9


def _pysr() -> Path:
    spec = find_spec("pysr")
    assert spec is not None and spec.origin is not None
    return Path(spec.origin).parent
