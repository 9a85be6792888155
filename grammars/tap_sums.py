"""Sums of taps are read from their text without Python's parser, which takes some thirty times as
long: stored fronts are such sums, under a head or not, of thousands of terms.

What is read here may be wrong: it is for `grammars.parser` to write it again and compare.
"""

import re
from collections.abc import Mapping
from itertools import pairwise

from grammars.program import Node, sum_of_taps

_NUMBER = r"\d+\.\d+(?:e[+-]?\d+)?|\d+e[+-]?\d+"
_ATOM = r"shift\((?:pre\(\w+\)|\w+)(?:, d[yx]=-?\d+)+\)|pre\(\w+\)|[^\W\d]\w*"
_TERM = re.compile(rf"([+-]?) ?\(?(-?)(?:({_NUMBER})\*)?(?:({_ATOM})|({_NUMBER}))")
_HEAD = re.compile(r"(?!shift\(|pre\()([^\W\d]\w*)\(")
_REST = re.compile(r"(?:, \w+=[-+.\de]+)*\)$")
_LONGEST_REST = 400  # characters


def split_head(text: str) -> tuple[str, str, str]:
    """(head, argument, rest) of `head(argument, parameter=1.0)`; without a head all is argument."""
    head = _HEAD.match(text)
    rest = head and _REST.search(text, max(head.end(), len(text) - _LONGEST_REST))
    if not head or not rest:
        return "", text, ""
    return head[1], text[head.end() : rest.start()], rest[0]


def read_sum(text: str, taps: Mapping[str, Node]) -> Node | None:
    """The sum of two `taps` or more, given by their own texts, or None.

    Raises KeyError for a tap that is none of them.
    """
    weights, atoms, bias = [], [], 0.0
    for outer, inner, factor, atom, constant in _TERM.findall(text):
        sign = -1.0 if (outer == "-") != (inner == "-") else 1.0
        if atom:
            weights.append(sign * float(factor) if factor else sign)
            atoms.append(taps[atom])
        else:
            bias += sign * float(constant)
    sorted_ = all(a.params < b.params for a, b in pairwise(atoms))  # as by `sort_key`
    if len(atoms) < 2 or not sorted_ or not all(weights):
        return None
    return sum_of_taps(weights, atoms, bias)
