"""Templates: one line with holes, read, fitted and written, or refused with a reason."""

from itertools import islice

import pytest
import torch
from planted_formulas import GRAMMAR, NAMES, TAPS, planted, unexplained, values

from grammars.grammar import load_grammar
from grammars.text import format_program
from synth.engines.template import TEMPLATES, TemplateEngine, proposals
from synth.errors import InputError
from synth.formulas.forms import values_of
from synth.formulas.templates import TemplateError, parse_template


@pytest.mark.parametrize("text", TEMPLATES)
def test_our_own_templates_are_read(text: str):
    template = parse_template(text, GRAMMAR)
    assert template.terms and (template.inputs or template.sums)


def test_letters_numbers_and_sums():
    """Weights of the outermost terms are solved for; others are holes, or as they are written."""
    template = parse_template("_*tanh(S) - 2.0*x*y + _*exp(_*x - 1.5) + 3.0", GRAMMAR)
    assert (template.inputs, template.sums, template.holes) == (("x", "y"), ("S",), 1)
    assert [term.op for term in template.terms] == ["tanh", "mul", "exp"]
    form = template.form(TAPS[:2], TAPS[2:])
    assert form.holes == 1 + len(TAPS[2:]) + 1


def test_a_sum_is_the_same_wherever_it_stands():
    form = parse_template("S*sigmoid(S)", GRAMMAR).form((), TAPS)
    assert form.holes == len(TAPS) + 1
    holes = torch.tensor([[1.0, -1.0, 0.5, 0.0, 0.25]], dtype=torch.float64)
    inputs = torch.randn(len(TAPS), 30, dtype=torch.float64)
    found = values_of(form.terms, holes, dict(zip(TAPS, inputs, strict=True)), GRAMMAR)[0, 0]
    total = (holes[0, :4, None] * inputs).sum(0) + 0.25
    assert torch.allclose(found, total * total.sigmoid())
    (program,) = form.filled(holes[0].tolist())
    assert torch.allclose(values(program, inputs), found)


PLANTED = {
    "0.5*tanh(2.0*x_0 - 0.5*x_2 + 0.25)": "_*tanh(S)",
    "x_0*cos(2.0*x_1) + 1.0": "_*x*cos(_*y)",
    "(x_0 + x_1)*(x_2 - 0.5*x_3)": "S*T",
}


@pytest.mark.parametrize("text", PLANTED)
def test_a_planted_template_is_found(text: str):
    samples = planted(text)
    found = [*proposals(samples, [parse_template(PLANTED[text], GRAMMAR)], seed=0)]
    left = [unexplained(p, samples, reach=3.0, of=text) for p in found]
    assert min(left) < 1e-9, [format_program(p, NAMES, GRAMMAR) for p in islice(found, 6)]


WRONG = {
    "tanh(S": "not a Python expression",
    "_ + 1.0": "expected an input",
    "tanh(sum)": "expected _, a lower-case letter for an input or a capital for a sum",
    "tnah(S)": "did you mean tanh",
    "tanh(S, T)": "tanh takes 1 values",
    "S**2": "expected a number, _, a letter, a sum, a product or a call",
    "tanh('S')": "expected a number",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_is_no_template(text: str):
    with pytest.raises(TemplateError) as caught:
        parse_template(text, GRAMMAR)
    assert WRONG[text] in str(caught.value) and text in str(caught.value)


def test_every_wrong_template_is_named_at_once():
    with pytest.raises(InputError) as caught:
        TemplateEngine.check(("tanh(S)", "tnah(S)", "_"), GRAMMAR)
    assert len(caught.value.problems) == 2


def test_products_need_their_primitive():
    with pytest.raises(TemplateError, match="add the tag 'formula'"):
        parse_template("x*y", load_grammar(installed=False))
