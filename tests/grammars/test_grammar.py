"""Grammars are found on demand, and everything that is wrong with them is said at once."""

import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from grammars.grammar import GrammarError, load_grammar
from grammars.primitive import NEEDED, STRUCTURE, Integer, Real, normalised_source, primitive
from grammars.program import Sort

HONEST = Path(__file__).parents[1] / "oracles" / "honest"
HEAD = "from grammars.primitive import Field, integer, primitive, real\n"
GOOD = (
    HEAD + "@primitive()\ndef twice(k, x: Field) -> Field:\n    '''2x.'''\n    return k.add(x, x)\n"
)


def problems(*files: Path, **options) -> tuple[str, ...]:
    with pytest.raises(GrammarError) as caught:
        load_grammar(files=files, installed=False, **options)
    return caught.value.problems


def test_core_is_sorted_and_complete() -> None:
    """The core has the structure and the usual heads, in an order of its own."""
    grammar = load_grammar(installed=False)
    assert list(grammar) == sorted(grammar)
    assert STRUCTURE | {"relu", "prelu", "clip", "sigmoid", "max_pool"} <= set(grammar)
    assert not grammar.user and all(p.core for p in grammar.primitives)


def test_tags_select() -> None:
    """A tag selects its primitives; the structure is always there."""
    grammar = load_grammar(tags=["pool"], installed=False)
    assert set(grammar) == STRUCTURE | {"max_pool", "mean_pool"}
    every = load_grammar(tags=None, installed=False)
    assert {"max_pool", "relu", "conv", "gabor"} <= set(every)


def test_user_file_is_added() -> None:
    """A user's file adds its primitives, whatever their tags, with sorts and parameters."""
    grammar = load_grammar(files=[HONEST / "hat.py", HONEST / "ridge.py"], installed=False)
    assert {p.name for p in grammar.user} == {"hat", "ridge"}
    assert grammar["hat"].args == (Sort.FIELD,) and grammar["hat"].weight == 2.0
    assert grammar["ridge"].args == (Sort.ATOM,) and grammar["ridge"].result is Sort.ATOM
    assert grammar["hat"].parameter("height") == Real(0.25, 4.0, 0.25, 1.0)
    assert "height" in grammar["hat"].doc


def test_weights_override() -> None:
    """Weights by name replace the declared ones and change the digest."""
    plain, weighted = (load_grammar(weights=w, installed=False) for w in ({}, {"tanh": 5}))
    assert weighted["tanh"].weight == 5.0
    assert plain.digest != weighted.digest
    assert plain.digest == load_grammar(installed=False).digest


def test_all_problems_are_reported_at_once(tmp_path: Path) -> None:
    """Several broken files, a missing one, a wrong tag and wrong weights: one list of all."""
    sources = {
        "syntax.py": "def f(:",
        "raises.py": "raise RuntimeError('boom')",
        "empty.py": "x = 1",
        "unsorted.py": HEAD + "@primitive()\ndef f(k, x) -> Field:\n    return x\n",
        "twice.py": GOOD.replace("twice", "relu"),
    }
    for name, text in sources.items():
        (tmp_path / name).write_text(text)
    files = [tmp_path / name for name in (*sources, "missing.py")]
    found = "\n".join(problems(*files, tags=["core", "kore"], weights={"relo": 1.0, "tanh": -1.0}))
    for fragment in (
        "syntax.py: SyntaxError",
        "raises.py: RuntimeError: boom",
        "empty.py declares no primitive",
        "argument 'x' of primitive 'f'",
        "primitive 'relu' is defined in",
        "missing.py does not exist",
        "no primitive has the tag 'kore'; known are colour, core",
        "unknown primitive 'relo'",
        "the weight of 'tanh' is a positive number, not -1.0",
    ):
        assert fragment in found


BROKEN = {
    "def f(x: Field) -> Field: return x": "takes the algebra first",
    "def f() -> Field: return 0": "takes the algebra first",
    "def f(k, x: Field): return x": "the result of primitive 'f'",
    "def f(k, x: float) -> Field: return x": "annotate it with Field, Atom, Weights or Bank",
    "def f(k, x: Field, *, s) -> Field: return x": "needs a default real",
    "def f(k, x: Field, *, s=1.0) -> Field: return x": "needs a default real",
    "def f(k, x: Field, s=real(0, 1, step=1, default=0)) -> Field: return x": "put * before it",
    "def f(k, x: Field, *more: Field) -> Field: return x": "beside *more",
    "def pre(k, x: Field) -> Field: return x": "cannot name a primitive",
    "def f(k, x: Field, *, s=real(1, 0, step=1, default=0)) -> Field: return x": "low < high",
    "def f(k, x: Field, *, s=integer(1, 3, default=4)) -> Field: return x": "low ≤ default ≤ high",
}


@pytest.mark.parametrize("source", sorted(BROKEN))
def test_broken_declarations_are_explained(source: str, tmp_path: Path) -> None:
    """A declaration that cannot work says what is missing."""
    path = tmp_path / "mine.py"
    path.write_text(f"{HEAD}@primitive()\n{source}\n")
    (problem,) = problems(path)
    assert BROKEN[source] in problem and "mine.py" in problem


def test_names_of_python_stay_usable(tmp_path: Path) -> None:
    """`abs_` is abs; `not_` keeps its underscore, because `not(x)` is no call."""
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("twice", "not_") + GOOD.replace("twice", "round_"))
    grammar = load_grammar(files=[path], installed=False)
    assert {p.name for p in grammar.user} == {"not_", "round"}


def test_a_file_is_a_python_file(tmp_path: Path) -> None:
    """Another file is refused, with its name."""
    path = tmp_path / "grammar.toml"
    path.write_text(GOOD)
    assert "grammar.toml does not exist or is no .py file" in problems(path)[0]


@pytest.mark.parametrize("options", [{"weight": 0.0}, {"weight": float("inf")}, {"gaps": ("smt",)}])
def test_decorator_checks_its_options(options) -> None:
    """A weight that is no frequency and an unknown interpreter are refused."""
    with pytest.raises(ValueError, match=r"weight|gaps may name .* and not \['smt'\]"):
        primitive(**options)


@pytest.mark.parametrize("interpreter", NEEDED)
def test_no_primitive_lacks_what_a_search_needs(interpreter: str, tmp_path: Path) -> None:
    """What cannot be evaluated or bounded is refused by its declaration, before any search."""
    path = tmp_path / "mine.py"
    path.write_text(GOOD.replace("@primitive()", f"@primitive(gaps=({interpreter!r},))"))
    (problem,) = problems(path)
    assert str(path) in problem and f"and not [{interpreter!r}]" in problem


def test_fingerprints_forget_comments_and_docstrings() -> None:
    """Comments, docstrings and layout change no key; code does."""
    plain = normalised_source(GOOD)
    assert normalised_source(GOOD.replace("'''2x.'''", "'''Two times x.'''  # note")) == plain
    assert normalised_source(GOOD.replace("k.add(x, x)", "k.max(x, x)")) != plain
    assert normalised_source("def f():\n    'only words'\n") == "def f():\n    pass"


CHILD = """
import pickle, sys
from fractions import Fraction
from grammars.evaluation import evaluate
from grammars.interpreters.rational import RationalAlgebra
from grammars.program import call, tap
grammar = pickle.loads(sys.stdin.buffer.read())
program = call("soft_threshold", tap("a", 0), width=0.5)
value = evaluate(program, RationalAlgebra(lambda *_: Fraction(2)), grammar)
print(grammar.digest, value, grammar["tanh"].weight)
"""


def test_grammars_pickle_across_processes() -> None:
    """A grammar with user files works in another process, with the same digest."""
    files = [HONEST / "soft_threshold.py", HONEST / "softsign_gate.py"]
    grammar = load_grammar(files=files, weights={"tanh": 3.0}, installed=False)
    assert pickle.loads(pickle.dumps(grammar)) == grammar
    done = subprocess.run(
        [sys.executable, "-c", CHILD],
        input=pickle.dumps(grammar),
        capture_output=True,
        env={"PYTHONPATH": ":".join(p for p in sys.path if p)},
    )
    assert done.stdout.decode().split() == [grammar.digest, "3/2", "3.0"], done.stderr.decode()


GRIDS = st.builds(
    lambda low, count, step: Real(low, low + count * step, step, low),
    st.integers(-100, 100).map(float),
    st.integers(1, 300),
    st.sampled_from([0.5, 0.125, 0.25]),
)


@given(GRIDS | st.just(Real(0.0, 1.0, 0.01, 0.01)), st.integers(0, 10**6), st.floats(-300, 300))
def test_grids(grid: Real, index: int, value: float) -> None:
    """Grid points know their place, and snapping finds the nearest."""
    index %= grid.size
    assert grid.index(grid.value(index)) == index
    assert grid.value(0) == grid.low and grid.value(grid.size - 1) == grid.high
    snapped = grid.snap(value)
    assert grid.index(snapped) is not None
    nearest = min(abs(grid.value(i) - value) for i in range(grid.size))
    assert abs(snapped - value) <= nearest * (1 + 1e-9) + 1e-9


def test_grid_points_are_what_a_person_writes() -> None:
    """The grid of step 0.01 has 0.07 and not 0.07000000000000001."""
    grid = Real(0.0, 1.0, 0.01, 0.01)
    assert [grid.value(i) for i in (7, 29, 57)] == [0.07, 0.29, 0.57]
    assert grid.size == 101 and grid.index(0.075) is None


@pytest.mark.parametrize(
    ("build", "fragment"),
    [
        (lambda: Real(0.0, 0.0, 0.1, 0.0), "low < high"),
        (lambda: Real(0.0, float("inf"), 0.1, 0.0), "finite"),
        (lambda: Real(0.0, 1.0, 0.0, 0.0), "positive step"),
        (lambda: Real(0.0, 1.0, 0.1, 0.15), "not on the grid"),
        (lambda: Integer(3, 1, 2), "low ≤ default ≤ high"),
    ],
)
def test_ranges_are_checked(build, fragment: str) -> None:
    """Empty ranges, steps of zero and defaults off the grid are refused."""
    with pytest.raises(ValueError, match=fragment):
        build()
