"""Each command and code block of the documentation parses, and each link leads somewhere."""

import ast
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import click
import pytest
from blocks import DOCUMENTS, ROOT, Block, blocks_of

from synth.command import main
from synth.config import TABLES

LANGUAGES = {"sh", "python", "toml", "text"}
OTHERS = {"make", "source", "export", "python", "head", "pip"}
ALL = [(d.name, b) for d in DOCUMENTS for b in blocks_of(d)]


def checked(kind: str) -> pytest.MarkDecorator:
    """The blocks of a language as parameters."""
    chosen = [
        pytest.param(b, id=f"{name}-{i}") for i, (name, b) in enumerate(ALL) if b.kind == kind
    ]
    return pytest.mark.parametrize("block", chosen)


def test_every_block_says_its_language() -> None:
    """A block without one would not be checked."""
    assert {block.kind for _, block in ALL} <= LANGUAGES and len(ALL) > 50


def parsed(words: list[str]) -> None:
    """Raises click.UsageError where `synth` would refuse these words."""
    context = click.Context(main, info_name="synth")
    command, rest = main, words
    while isinstance(command, click.Group) and rest:
        name, found, rest = command.resolve_command(context, rest)
        assert found is not None
        command, context = found, click.Context(found, info_name=name, parent=context)
    command.make_context(words[0], list(rest), parent=context.parent)


@checked("sh")
def test_commands_are_commands(block: Block) -> None:
    """`synth` knows the command and takes its words; `make` has the target."""
    for words in block.commands():
        if words[0] == "synth":
            parsed(words[1:])
        elif words[0] == "make":
            assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.M), words
        else:
            assert words[0] in OTHERS, words


def test_wrong_commands_are_found() -> None:
    """What is checked above can fail."""
    with pytest.raises(click.UsageError):
        parsed(["shw", "results/net"])
    with pytest.raises(click.UsageError):
        parsed(["validate", "results/net", "--fully"])


@checked("python")
def test_python_is_python(block: Block) -> None:
    """No block is a fragment that does not parse."""
    ast.parse(block.text)


@checked("toml")
def test_keys_are_keys(block: Block) -> None:
    """Each key of a configuration is one, and its value is accepted."""
    tables = tomllib.loads(block.text)
    for name, keys in tables.items():
        if name == "project":  # of a package
            continue
        rules = {f.name: f.metadata["rule"] for f in fields(TABLES[name])}
        for key, value in keys.items():
            assert rules[key].accepts(value), (name, key, value)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    """Files exist, and headings are there under the name that a link gives them."""
    for target in re.findall(r"\]\((?!https?:)([^)\s]+)\)", document.read_text()):
        path, _, heading = target.partition("#")
        file = (document.parent / path).resolve() if path else document
        assert file.exists(), target
        if heading:
            titles = re.findall(r"^#+ (.+)$", file.read_text(), re.M)
            assert heading in {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}
