"""The commands `synth grammar`: list, show and check the primitives that programs are made of."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from synth.commands.options import json_option
from synth.errors import InputError, nearest

if TYPE_CHECKING:
    from grammars.grammar import Grammar
    from grammars.primitive import Primitive

FILE = click.Path(path_type=Path)

_with_files = click.option(
    "--grammar", "files", type=FILE, metavar="FILE", multiple=True,
    help="File of primitives; may be repeated.",
)  # fmt: skip


@click.group()
def grammar() -> None:
    """List, show and check primitives."""


@grammar.command("list")
@_with_files
@json_option
def list_(files: tuple[Path, ...], as_json: bool) -> None:
    """List all primitives, whatever their tags, and those of your own files."""
    from synth.shown.tables import print_json, print_lines

    if as_json:
        print_json([_row(p) for p in _load(files).primitives])
        return
    rows = [
        (p.name, signature(p), ", ".join(sorted(p.tags)), p.doc.partition("\n")[0])
        for p in _load(files).primitives
    ]
    print_lines(rows, ("name", "takes → gives", "tags", "meaning"))


@grammar.command()
@click.argument("name")
@_with_files
@json_option
def show(name: str, files: tuple[Path, ...], as_json: bool) -> None:
    """Show one primitive: what it takes, what it means and its source."""
    found = _load(files)
    if name not in found:
        yours = "" if files else " One of your own needs --grammar FILE."
        raise InputError(f"no primitive is called {name!r}.{nearest(name, found)}{yours}")
    one = found[name]
    if as_json:
        from synth.shown.tables import print_json

        print_json(_row(one) | {"source": one.source, "file": str(one.path)})
        return
    gaps = f", no meaning in {', '.join(sorted(one.gaps))}" if one.gaps else ""
    tags = ", ".join(sorted(one.tags))
    click.echo(f"{name}{signature(one)}\n\n{one.doc}\n\ntags {tags}, weight {one.weight:g}{gaps}")
    click.echo(f"\n# {one.path}\n{one.source.rstrip()}")


@grammar.command()
@click.argument("given", type=FILE, nargs=-1, metavar="[FILE]...")
@_with_files
@json_option
def check(given: tuple[Path, ...], files: tuple[Path, ...], as_json: bool) -> None:
    """Hold primitives to the contract.

    Those of the files, or all; exit 1 if one breaks it.
    """
    wanted = tuple(dict.fromkeys((*given, *files)))
    found = _load(wanted)
    from oracles.contract import check_primitive
    from synth.shown.tables import print_json

    broken, checked = 0, []
    for one in (p for p in found.primitives if not wanted or p.path in wanted):
        violations = check_primitive(one, found)
        broken += bool(violations)
        if as_json:
            told = [{"interpreter": v.interpreter, "message": v.message} for v in violations]
            checked.append({"name": one.name, "ok": not violations, "violations": told})
            continue
        lines = [f"{v.interpreter}: {v.message}".replace("\n", "\n    ") for v in violations]
        click.echo("\n  ".join([f"{one.name}: {'BROKEN' if violations else 'ok'}", *lines]))
    if as_json:
        print_json(checked)
    sys.exit(1 if broken else 0)


def _row(one: "Primitive") -> dict[str, Any]:
    """A primitive as JSON."""
    return {
        "name": one.name,
        "signature": signature(one),
        "tags": sorted(one.tags),
        "weight": one.weight,
        "gaps": sorted(one.gaps),
        "doc": one.doc,
    }


def signature(one: "Primitive") -> str:
    """`(field, slope=0.01) → field`."""
    sorts = [str(sort) for sort in one.args]
    parameters = [f"{name}={spec.default}" for name, spec in one.parameters]
    rest = ["…"] if one.variadic else []
    return f"({', '.join([*sorts, *rest, *parameters])}) → {one.result}"


def _load(files: tuple[Path, ...]) -> "Grammar":
    from grammars.grammar import GrammarError, load_grammar

    try:
        return load_grammar(files=files, tags=None)
    except GrammarError as error:
        raise InputError(*error.problems) from None
