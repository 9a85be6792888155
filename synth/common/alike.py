"""What several programs of a bank say alike: trees, and parts of sums up to a gain."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

from grammars.common import fields, gain_of, primitive_sum
from grammars.primitive import Primitive
from grammars.program import PRE, Node, is_sum_of_taps, leaves, sort_key, terms_of
from synth.emission.plan import LONGEST

PAIRS = 100_000  # of terms, of all sums together: a second or two

LEAVES = ("tap", "bank", "const")

Terms = Mapping[Node, float]
"""A sum without its constant."""


@dataclass(frozen=True)
class Alike:
    """A value that several texts say, and their numbers in order."""

    value: Node
    texts: tuple[int, ...]


def alike(
    texts: Mapping[int, Node], bank: str, primitives: Mapping[str, Primitive]
) -> Iterator[Alike]:
    """All that two texts of a bank have in common, or more, and that could have a name.

    Values read no siblings, which may read them. Sums of more terms than a line of source holds
    are rows of numbers, and have none.
    """
    trees: dict[Node, dict[int, None]] = {}
    sums: list[tuple[Terms, int]] = []
    for number, text in texts.items():
        for node in fields(text, primitives):
            if node.op == "linear":
                if len(node.args) <= LONGEST:
                    terms = {a: w for w, a in terms_of(node)[0] if _is_free(a, bank)}
                    sums.append((terms, number))
            elif node.op not in LEAVES and _is_free(node, bank):
                trees.setdefault(node, {})[number] = None
    yield from (Alike(tree, tuple(of)) for tree, of in trees.items() if len(of) > 1)
    yield from _alike_sums(sums)


def _alike_sums(sums: Sequence[tuple[Terms, int]]) -> Iterator[Alike]:
    """For every two terms that several sums have in one ratio, all that these sums share so; of
    many sums the shortest are looked at."""
    pairs: dict[tuple[Node, Node, float], list[int]] = {}
    left = PAIRS
    for place in sorted(range(len(sums)), key=lambda place: len(sums[place][0])):
        terms, _ = sums[place]
        left -= comb(len(terms), 2)
        if left < 0:
            break
        ordered = sorted(terms.items(), key=lambda term: sort_key(term[0]))
        for (a, v), (b, w) in combinations(ordered, 2):
            pairs.setdefault((a, b, w / v), []).append(place)
    seen: set[tuple[Node, tuple[int, ...]]] = set()
    for (first, _, _), places in pairs.items():
        texts = tuple(dict.fromkeys(sums[place][1] for place in places))
        if len(texts) > 1:
            value = _shared(first, [sums[place][0] for place in places])
            if value is None or not _may_save(value, len(places)):
                continue
            if (value, texts) not in seen:
                seen.add((value, texts))
                yield Alike(value, texts)


def _shared(first: Node, sums: Sequence[Terms]) -> Node | None:
    """The terms that stand in one ratio to `first` in all sums; None where only rounding made it
    seem so."""
    one, *others = sums
    kept = [
        (weight, atom)
        for atom, weight in one.items()
        if all(
            atom in terms and terms[atom] / terms[first] == weight / one[first] for terms in others
        )
    ]
    value = primitive_sum(kept)
    return value if all(gain_of(value, terms) is not None for terms in sums) else None


def _may_save(value: Node, count: int) -> bool:
    """Whether a name could save bits: that of a sum of taps stands for one tap more wherever it is
    read, and the sum is written once."""
    terms = len(value.args)
    return not is_sum_of_taps(value) or count * (terms - 1) > terms


def _is_free(node: Node, bank: str) -> bool:
    """Whether a node reads no sibling."""
    return all(leaf.params[0][1] not in (bank, f"{bank}{PRE}") for leaf in leaves([node]))
