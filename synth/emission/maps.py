"""Kernels over whole maps: what `conv` reads in a line of the emitted file.

Elsewhere a name is the value of a channel where a window has its offset 0. Under `conv` it is the
map, written `image[:, 0]`, because a kernel reads its surroundings. A mix of maps is the map of the
mix, padding included, since that is zero in all of them and a mix has no constant.
"""

import re

from grammars.evaluation import argument_sorts, is_mix
from grammars.grammar import Grammar
from grammars.program import Node, Sort, is_sum_of_taps, tap
from synth.emission.helpers import primitive_source, use_of
from synth.emission.kernels import KernelTexts

MAPS = ":maps"
"""The bank of a source's maps as `conv` reads them; WHOLE is the channel of all of them at once."""

WHOLE = -1
CONV = "conv"

_MARK = re.compile(r"__maps(?:_(\d+))?__")


def is_told(program: Node, source: str, texts: KernelTexts) -> bool:
    """Whether a line can hold a program of a layer that reads the bank `source`.

    It can but for kernels that have no text, or not the same numbers, and for kernels over anything
    that is not a mix of channels where they are; others are rows of stored weights.
    """
    grammar, todo = texts.grammar, [program]
    while todo:
        node = todo.pop()
        if is_sum_of_taps(node) or not node.args:
            continue
        if is_conv(node, grammar):
            kernel, atom = node.args
            if not (texts.tells(kernel) and _is_map(atom, source, grammar)):
                return False
            continue
        sorts = argument_sorts(node, grammar[node.op])
        if any(map(_is_hidden, node.args, sorts, [grammar] * len(sorts))):
            return False
        todo += node.args
    return True


def is_conv(node: Node, grammar: Grammar) -> bool:
    """A kernel over an atom."""
    return node.op == CONV and grammar[CONV].core


def has_kernels(program: Node, grammar: Grammar) -> bool:
    """Whether there is a `conv` anywhere in a program."""
    todo = [program]
    while todo:
        node = todo.pop()
        if is_conv(node, grammar):
            return True
        if not is_sum_of_taps(node):
            todo += node.args
    return False


def over_maps(program: Node, grammar: Grammar) -> Node:
    """A program with taps of MAPS wherever a kernel reads its source; sums keep their order."""
    if is_conv(program, grammar):
        kernel, atom = program.args
        return Node(CONV, (kernel, _mapped(atom)), program.params)
    if is_sum_of_taps(program) or not program.args:
        return program
    return Node(program.op, tuple(over_maps(a, grammar) for a in program.args), program.params)


def map_names(channels: int) -> dict[tuple[str, int], str]:
    """Names of the taps of MAPS, for `spelled` to find in a text."""
    return {(MAPS, WHOLE): "__maps__"} | {(MAPS, c): f"__maps_{c}__" for c in range(channels)}


def spelled(text: str, source: str) -> str:
    """A text with the names of `map_names` as expressions over the tensor `source`."""
    return _MARK.sub(lambda m: source if m[1] is None else f"{source}[:, {m[1]}]", text)


def _is_hidden(arg: Node, sort: Sort, grammar: Grammar) -> bool:
    """An argument of an operation other than `conv` that only `conv` can take in a line."""
    if sort is Sort.ATOM:
        return arg.op == "linear" or is_conv(arg, grammar)
    return sort is not Sort.FIELD


def _is_map(node: Node, source: str, grammar: Grammar) -> bool:
    """An atom that can be written over whole maps."""
    if node.op == "tap":
        return node == tap(source, int(node["channel"]))  # type: ignore[arg-type]
    if is_mix(node, grammar):
        return all(_is_map(arg, source, grammar) for arg in node.args)
    primitive = grammar[node.op]
    if primitive.args != (Sort.BANK,) or node.args[0]["name"] != source:
        return False
    try:
        return bool(primitive_source(primitive, [use_of(node)], {}, remember=False))
    except ValueError:
        return False


def _mapped(node: Node) -> Node:
    if node.op == "tap":
        return tap(MAPS, int(node["channel"]))  # type: ignore[arg-type]
    if node.op == "bank":
        return tap(MAPS, WHOLE)
    return Node(node.op, tuple(map(_mapped, node.args)), node.params)
