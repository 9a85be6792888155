"""Formulas that were planted are found again: enumerated, fitted, and written in short numbers."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from planted_formulas import GRAMMAR, NAMES, TAPS, inputs_of, planted, read, unexplained, values

from grammars.program import Node, call, linear
from grammars.text import format_program
from synth.formulas.fitting import Problem, fitted
from synth.formulas.forms import Form, loosened, values_of
from synth.formulas.library import BEST, Library
from synth.formulas.refining import best_fit, programs_of, refitted
from synth.formulas.sums import sums_of
from synth.formulas.writing import written

SMALL = 30_000  # formulas that tests enumerate


@pytest.fixture(scope="module")
def library() -> Library:
    return Library(planted("cos(x_0*x_1) + 0.3*x_2", count=256), SMALL)


def test_stored_formulas_are_different_functions(library: Library):
    """Hardly two have the same values, and each program computes the values that stand for it."""
    stored = library.stored
    assert len(stored) > 5000
    some, alike = stored.at(torch.arange(0, len(stored), 97)), []
    for row in some.values:
        near = (stored.values - row).abs().amax(1) <= 1e-6 * row.abs().max()
        alike.append(int(near.sum()))
    assert alike.count(1) >= 0.99 * len(alike)
    for program, row in zip(library.programs(some), some.values, strict=True):
        exact = values(program, library.samples.inputs.float()).float()
        near = (exact - row).abs() <= 1e-4 * row.abs().max()
        assert near.float().mean() > 0.98  # but for rounding where a function jumps


def test_formulas_grow_from_cheap_to_dear(library: Library):
    bits = library.stored.bits
    assert (bits[1:] >= bits[:-1]).all() and library.tried >= SMALL
    counts = library.best.bits.bincount()
    assert counts.max() <= BEST and (library.best.likeness <= 1).all()


def test_a_budget_gives_the_same_again(library: Library):
    again = Library(library.samples, SMALL)
    assert torch.equal(again.stored.places, library.stored.places)
    assert again.programs(again.best) == library.programs(library.best)


def test_equal_functions_are_stored_once(library: Library):
    """relu(x) − relu(−x) is x, and |x| is the root of x²: the cheaper is kept."""
    programs = set(library.programs(library.stored))
    assert call("abs", TAPS[0]) in programs
    assert call("abs", call("abs", TAPS[0])) not in programs
    assert linear([(1.0, TAPS[1]), (1.0, TAPS[0])]) in programs


def test_sums_of_formulas_find_what_no_formula_is(library: Library):
    best = min(sums_of(library), key=lambda s: s.bits if s.left < 1e-9 else 1e9)
    assert set(best.terms) == {read("cos(x_0*x_1)"), TAPS[2]}


def test_a_formula_that_told_most_at_first_is_let_go():
    """A mixture that looks like both waves comes first, and is of no use beside the two."""
    library = Library(planted("sin(x_0) + sin(2.0*x_1)", noise=0.01, count=256), SMALL)
    sums = sums_of(library)
    two = next(s for s in sums if set(s.terms) == {read("sin(x_0)"), read("sin(2.0*x_1)")})
    assert two.left < 2e-4 and two.bits < min(s.bits for s in sums if s.left < 1e-3 and s != two)


def nodes() -> st.SearchStrategy[Node]:
    weights = st.integers(-6, 6).filter(bool).map(lambda i: i / 2)

    def larger(inner: st.SearchStrategy[Node]) -> st.SearchStrategy[Node]:
        sums = st.builds(
            linear, st.lists(st.tuples(weights, inner), min_size=1, max_size=3), weights
        )
        calls = st.builds(call, st.sampled_from(["relu", "cos", "square", "abs", "step"]), inner)
        pairs = st.builds(call, st.sampled_from(["mul", "max"]), inner, inner)
        return sums | calls | pairs

    return st.recursive(st.sampled_from(TAPS), larger, max_leaves=6)


@settings(max_examples=60)
@given(nodes())
@example(call("cos", call("relu", linear([(0.5, TAPS[0])], 0.5))))  # a factor comes out of relu
@example(call("max", linear([(3.0, call("square", linear([(2.0, TAPS[0])])))]), TAPS[1]))
def test_a_form_is_its_formula_but_for_a_factor_and_a_constant(program: Node):
    """With the numbers that it starts with, a loosened formula is the formula that it was."""
    inputs = inputs_of(64)
    form = loosened([program], GRAMMAR)
    starts = torch.tensor([form.starts], dtype=torch.float64)
    by_tap = dict(zip(TAPS, inputs, strict=True))
    found = values_of(form.terms, starts, by_tap, GRAMMAR)[0, 0]
    wanted = values(program, inputs)
    design = torch.stack([found, torch.ones_like(found)], 1)
    weights = torch.linalg.lstsq(design, wanted[:, None], driver="gelsd").solution
    assert torch.allclose(
        (design @ weights)[:, 0], wanted, rtol=1e-6, atol=1e-6 + 1e-9 * wanted.abs().max()
    )
    (filled,) = form.filled(form.starts)
    assert torch.allclose(
        values(filled, inputs), found, rtol=1e-9, atol=1e-9 + 1e-12 * found.abs().max()
    )


def test_a_step_follows_the_slope():
    """Fitting ends where a grid of starts finds nothing better."""
    samples = planted("tanh(1.5*x_0 - 0.5*x_1 + 0.25)")
    form = loosened([call("tanh", linear([(1.0, TAPS[0]), (1.0, TAPS[1])]))], GRAMMAR)
    fit = best_fit(Problem.of(form, samples), seed=0)
    assert fit.left < 1e-12
    assert fit.holes.abs().tolist() == pytest.approx([1.5, 0.5, 0.25], rel=1e-5)


def test_what_is_not_free_stays():
    problem = Problem.of(loosened([read("cos(x_0 + x_1)")], GRAMMAR), planted("cos(2.0*x_0 + x_1)"))
    start = torch.tensor([problem.form.starts], dtype=torch.float64)
    free = torch.tensor([[False, True, True]])
    holes, left = fitted(problem, start, free, 20)
    assert holes[0, 0] == 1.0 and float(left) > 0.1


PLANTED = {
    "x_0*tanh(2.0*x_1 + 0.5)": "x_0*tanh(x_1)",
    "0.75*cos(2.5*x_0) - 0.5*x_1*x_2": "cos(x_0) + x_1*x_2",
    "relu(x_0 - 0.5*x_1) + square(x_2)": "relu(x_0 - x_1) + square(x_2)",
    "max(x_0, 0.5*x_1 + 0.25)": "max(x_0, x_1)",
}


@pytest.mark.parametrize("text", PLANTED)
def test_numbers_of_a_known_shape_are_found(text: str):
    """From the shape alone the numbers come out as they were planted, and as short."""
    samples = planted(text)
    terms = [atom for _, atom in _pairs(read(PLANTED[text]))]
    found = list(programs_of([terms], samples, count=1, seed=0))
    exact = [p for p in found if unexplained(p, samples, of=text) < 1e-9]
    assert exact, [format_program(p, NAMES, GRAMMAR) for p in found]
    assert unexplained(exact[0], samples, reach=3.0, of=text) < 1e-9  # outside of what it was shown
    assert len(format_program(exact[0], NAMES, GRAMMAR)) <= len(text) + 12


def _pairs(node: Node) -> list[tuple[float, Node]]:
    from grammars.program import terms_of

    return list(terms_of(node)[0])


def test_numbers_that_do_nothing_are_not_written():
    samples = planted("square(x_0)", noise=0.01)
    form = loosened([call("square", linear([(1.0, TAPS[0]), (1.0, TAPS[1])], 1.0))], GRAMMAR)
    problem = Problem.of(form, samples)
    holes = best_fit(problem, seed=0).holes
    assert all(TAPS[1] not in _taps(p) for p in written(problem, holes))


def _taps(program: Node) -> tuple[Node, ...]:
    from grammars.program import taps_of

    return taps_of(program)


def test_a_formula_is_fitted_again_on_other_inputs():
    """The numbers follow the samples, with as many bits as they had."""
    program = read("0.5*tanh(1.5*x_0) + 0.25*x_1")
    again = refitted(program, planted("0.75*tanh(0.75*x_0) + 0.5*x_1"))
    assert again == read("0.75*tanh(0.75*x_0) + 0.5*x_1")
    assert refitted(read("0.5"), planted("x_0")) is None


def test_a_form_without_holes_needs_no_fit():
    problem = Problem.of(Form((TAPS[0],), ()), planted("3.0*x_0 - 1.0"))
    assert list(written(problem, torch.zeros(0, dtype=torch.float64)))[-1] == read("3.0*x_0 - 1.0")
