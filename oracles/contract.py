"""The contract of a primitive: its meanings agree, and what it declares is so.

One test for every primitive, the core's and a user's: it builds random programs of the primitive
and compares all interpreters with torch in float64. Whatever a body does, an exception included,
becomes a `Violation` that names the interpreter; none is raised.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from grammars.evaluation import Unsupported
from grammars.grammar import Grammar
from grammars.primitive import OPTIONAL, Primitive
from oracles.contract_cases import Case, cases_of
from oracles.contract_checks import Check, checks_by_interpreter


@dataclass(frozen=True)
class Violation:
    """What a primitive breaks: `interpreter` is one of the six, or bits, docstring or slopes."""

    primitive: str
    interpreter: str
    message: str

    def __str__(self) -> str:
        return f"{self.primitive}: {self.interpreter}: {self.message}"


def check_primitive(
    primitive: Primitive, grammar: Grammar, *, seed: int = 0, cases: int = 9
) -> tuple[Violation, ...]:
    """All violations of one primitive over `cases` random programs; () if it is honest.

    The same seed gives the same programs.
    """
    found = list(_docstring(primitive))
    try:
        programs = cases_of(primitive, grammar, seed=seed, count=cases)
    except TypeError as error:
        return (*found, Violation(primitive.name, "torch", str(error)))
    for interpreter, checks in checks_by_interpreter().items():
        messages = dict.fromkeys(_run(primitive, interpreter, checks, programs))
        found += [Violation(primitive.name, interpreter, message) for message in messages]
    return tuple(found)


def _run(
    primitive: Primitive, interpreter: str, checks: tuple[Check, ...], programs: tuple[Case, ...]
) -> Iterator[str]:
    """One message a check that fails, and one if the declared gaps are not the real ones."""
    gap: str | None = None
    for check in checks:
        for case in programs:
            try:
                message = check(case)
            except Unsupported as error:
                gap, message = f"{error} in {case.text}", None
            except Exception as error:  # whatever the body does is a finding
                message = f"raised {type(error).__name__}: {error}"
            if message:
                yield f"{message}, in {case.text}"
                break
    declared = interpreter in primitive.gaps
    if gap and not declared:
        able = interpreter in OPTIONAL
        todo = f"declare it by gaps=({interpreter!r},)" if able else "it is needed: give it one"
        yield f"{'undeclared gap' if able else 'no meaning'}: {gap}; {todo}"
    if declared and not gap:
        yield f"declared gap, but {interpreter} has a meaning: remove it from gaps"


def _docstring(primitive: Primitive) -> Iterator[Violation]:
    if len(primitive.doc.split()) < 3:
        message = "no docstring: say in a sentence what it computes, and its shapes"
        yield Violation(primitive.name, "docstring", message)
    elif not re.search(r"shape|position|elementwise|broadcast", primitive.doc):
        message = (
            "the docstring does not say what shape it gives: write 'elementwise', of a kernel "
            "'by position', or 'the shape of x'"
        )
        yield Violation(primitive.name, "docstring", message)
