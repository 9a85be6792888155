"""Wrapping of generated Python."""

import ast

from hypothesis import given
from hypothesis import strategies as st

from synth.emission import layout

LEAVES = ("a", "0.5*name_12", "shift(b_3, dy=1, dx=-1)", 'W["a.b (c"]')
EXPRESSIONS = st.recursive(
    st.sampled_from(LEAVES),
    lambda inner: st.one_of(
        st.lists(inner, min_size=2, max_size=40).map(lambda p: f"({' + '.join(p)})"),
        st.lists(inner, min_size=1, max_size=6).map(lambda p: f"call({', '.join(p)}).done(1)"),
        st.lists(inner, min_size=1, max_size=6).map(lambda p: f"rows[:, [{', '.join(p)}]]"),
    ),
    max_leaves=60,
)


@given(EXPRESSIONS)
def test_layout_adds_white_space_only(text: str) -> None:
    """Wrapped statements parse to the same tree, and their lines fit."""
    for source, wrapped in (
        (f"name = {text}", layout.assign("name", text)),
        (f"{', '.join('abcdefghij' * 5)} = {text}", layout.unpack("abcdefghij" * 5, text)),
    ):
        assert ast.dump(ast.parse(wrapped.strip())) == ast.dump(ast.parse(source))
        assert max(map(len, wrapped.splitlines())) <= layout.WIDTH


@given(st.lists(st.text(), min_size=1))
def test_docstrings_hold_any_text(paragraphs: list[str]) -> None:
    """Quotes, backslashes and empty text make a docstring that says the same words."""
    source = f"def f():\n{layout.docstring(paragraphs)}"
    function = ast.parse(source).body[0]
    assert isinstance(function, ast.FunctionDef)
    said = (ast.get_docstring(function) or "").split()
    assert said == " ".join(paragraphs).split()
