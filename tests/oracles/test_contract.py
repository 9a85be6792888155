"""The contract passes honest primitives and fails broken ones, with the interpreter named."""

from functools import cache
from pathlib import Path

import pytest

from grammars.grammar import Grammar, load_grammar
from grammars.primitive import NEEDED
from grammars.program import Sort
from oracles.contract import Violation, check_primitive

HERE = Path(__file__).parent
OWN = sorted(load_grammar(tags=None, installed=False))
HONEST = sorted(path.stem for path in (HERE / "honest").glob("*.py"))

VALUES = {"torch", "affine", "text", "interval", "z3", "slopes"}
"""Where a body fails that asks values for what only some have."""

MUTANTS = {
    "claims_affine": {"affine"},
    "decreasing": {"interval"},
    "doubles_precision": {"torch"},
    "ends_only": {"interval"},
    "ignored_in_text": {"text"},
    "kernel_of_state": {*VALUES, "rational"},
    "looks_at_the_name": {"rational"},
    "needless_gap": {"z3"},
    "no_docstring": {"docstring"},
    "no_gradient": {"torch"},
    "other_side_of_zero": {"z3"},
    "other_torch_function": {"interval"},
    "python_if": VALUES,
    "python_max": VALUES - {"text"},  # which compares strings, without complaint
    "raises": VALUES,
    "random_body": (VALUES | {"rational"}) - {"slopes"},
    "says_no_shapes": {"docstring"},
    "square": {"z3"},
    "undeclared_gap": {"rational", "z3"},
    "uses_torch": (VALUES | {"rational"}) - {"torch"},
    "wrong_in_fractions": {"rational"},
    "wrong_lipschitz": {"slopes"},
    "wrong_parity": {"interval"},
    "wrong_peak": {"interval"},
    "wrong_range": {"interval"},
    "wrong_shape": {*VALUES, "rational"},
}


@cache
def core() -> Grammar:
    return load_grammar(installed=False)


def violations(folder: str, name: str, **options: int) -> tuple[Violation, ...]:
    grammar = load_grammar(files=[HERE / folder / f"{name}.py"], installed=False)
    return check_primitive(grammar[name], grammar, **options)


@cache
def own() -> Grammar:
    return load_grammar(tags=None, installed=False)


def test_no_primitive_is_left_out() -> None:
    """The contract is held over every file of the folder of primitives."""
    folder = Path(own()["relu"].path).parent
    assert {p.stem for p in folder.glob("[!_]*.py")} == set(OWN)


@pytest.mark.parametrize("name", OWN)
def test_own_primitive_keeps_the_contract(name: str) -> None:
    """Every primitive that comes with the package keeps the contract."""
    sorts = {own()[name].result, *own()[name].args}
    cases = 4 if Sort.WEIGHTS in sorts else 9  # hundreds of taps in each
    assert check_primitive(own()[name], own(), cases=cases) == ()


AXIS = """
from grammars.evaluation import mixed
from grammars.primitive import Atom, Bank, primitive

@primitive(tags=("colour",))
def grey(k, image: Bank) -> Atom:
    \"\"\"The sum of all channels; the shape of one.\"\"\"
    return {body}
"""


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("mixed(k, [1.0] * len(image), image)", None),
        ("lambda i, j: k.linear([1.0] * len(image), [c(i, j) for c in image], 0.0)", "None"),
        ("lambda i, j: k.linear([1.0], [image[0](i, j) or k.const(0.0)], 0.0)", "has a value"),
    ],
)
def test_axes_end_where_the_window_does(tmp_path: Path, body: str, said: str | None) -> None:
    """A kernel leaves positions out that are None, so a mix of channels has to be None there."""
    file = tmp_path / "grey.py"
    file.write_text(AXIS.format(body=body))
    grammar = load_grammar(files=[file], tags=("core", "kernel", "colour"), installed=False)
    found = [
        v.message for v in check_primitive(grammar["grey"], grammar) if v.interpreter == "affine"
    ]
    assert (not found) if said is None else (said in found[0])


def test_a_kernel_needs_conv() -> None:
    """In a grammar without `conv` a kernel is told to be of no use, and what to do."""
    (violation,) = check_primitive(own()["gabor"], core())
    assert "add the tag 'kernel'" in violation.message


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", HONEST)
def test_honest_user_primitive_keeps_the_contract(name: str, seed: int) -> None:
    """A user's honest primitive keeps the contract, whatever the seed."""
    assert violations("honest", name, seed=seed) == ()


@pytest.mark.parametrize("name", sorted(MUTANTS))
def test_mutant_is_caught_where_it_is_broken(name: str) -> None:
    """A broken primitive fails in exactly the interpreters in which it is broken."""
    assert {v.interpreter for v in violations("mutants", name)} == MUTANTS[name]


def test_every_mutant_has_its_expectation() -> None:
    """No mutant file is without a line in the table, and none is missing."""
    assert {path.stem for path in (HERE / "mutants").glob("*.py")} == set(MUTANTS)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(
    "name", ["wrong_in_fractions", "ignored_in_text", "ends_only", "other_side_of_zero"]
)
def test_subtle_mutants_are_caught_with_any_seed(name: str, seed: int) -> None:
    """Mutants that are wrong on a part of their domain only are found whatever the seed."""
    found = {v.interpreter for v in violations("mutants", name, seed=seed)}
    assert found == MUTANTS[name]


def test_violation_names_values_and_program() -> None:
    """A message says what was found, what torch gives and for which program."""
    (violation,) = violations("mutants", "looks_at_the_name")
    assert str(violation).startswith("looks_at_the_name: rational: gives ")
    assert " where torch gives " in violation.message
    assert "looks_at_the_name(" in violation.message


def test_undeclared_gap_says_how_to_declare_it() -> None:
    """The message of an undeclared gap holds the declaration that is missing."""
    found = violations("mutants", "undeclared_gap")
    assert [v.interpreter for v in found] == ["rational", "z3"]
    assert all(f"gaps=({v.interpreter!r},)" in v.message for v in found)


MINE = """
from grammars.evaluation import Unsupported
from grammars.primitive import Field, primitive


@primitive()
def mine(k, x: Field) -> Field:
    '''Something of x, elementwise, the shape of x.'''
    if k.name == "LACKING":
        raise Unsupported("no words")
    return VALUE
"""


def of_mine(path: Path, *, lacking: str = "", value: str = "x") -> tuple[Violation, ...]:
    """The violations of a primitive that lacks an interpreter, or is of that value."""
    path.write_text(MINE.replace("LACKING", lacking).replace("VALUE", value))
    grammar = load_grammar(files=[path], installed=False)
    return check_primitive(grammar["mine"], grammar)


def test_an_operation_that_no_interpreter_has_is_named(tmp_path: Path) -> None:
    """The message says which operations there are."""
    first = of_mine(tmp_path / "mine.py", value="k.floor(x)")[0]
    assert first.interpreter == "torch"
    assert "no interpreter has k.floor: bodies are made of const, add, mul" in first.message


@pytest.mark.parametrize("interpreter", NEEDED)
def test_a_meaning_that_a_search_needs_cannot_be_declared_away(
    interpreter: str, tmp_path: Path
) -> None:
    """Nothing that the declaration could say would help, and the message does not say so."""
    violations = of_mine(tmp_path / "mine.py", lacking=interpreter)
    found = [v for v in violations if v.interpreter == interpreter]
    assert found and all("no meaning: no words" in v.message for v in found)
    assert not any("declare it" in v.message for v in found)


def test_same_seed_gives_the_same_violations() -> None:
    """The contract is deterministic."""
    first, second = (violations("mutants", "square", seed=7) for _ in range(2))
    assert first == second


def test_argument_without_programs_is_a_violation(tmp_path: Path) -> None:
    """A sort that no program can fill is reported, not raised."""
    path = tmp_path / "mine.py"
    path.write_text(
        "from grammars.primitive import Bank, Field, primitive\n"
        "@primitive()\n"
        "def gray(k, image: Bank) -> Field:\n"
        "    '''The mean over channels, at every position.'''\n"
        "    return image\n"
    )
    grammar = load_grammar(files=[path], installed=False)
    (violation,) = check_primitive(grammar["gray"], grammar)
    assert "sort bank" in violation.message
