"""Programs of straight pieces as differences of maxima: the exact form that a linear program takes.

Every continuous function of straight pieces is max of some affine forms − max of others (Tao and An
1997 call it DC). Where a program jumps, it is several of these, each where its guards say. Forms
are over the rows of a difference, with a constant behind; all numbers are exact.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from grammars.evaluation import Algebra, Reader, Unsupported

LIMIT = 256  # forms of one maximum, and pieces of one program
Form = tuple[Fraction, ...]
"""Coefficients of the rows, and a constant."""


@dataclass(frozen=True)
class Piece:
    """max of `tops` − max of `bottoms`, where all guards are at least zero."""

    guards: tuple[Form, ...]
    tops: tuple[Form, ...]
    bottoms: tuple[Form, ...]

    @property
    def form(self) -> Form | None:
        """The piece if it is one form."""
        single = len(self.tops) == len(self.bottoms) == 1
        return _minus(self.tops[0], self.bottoms[0]) if single else None


Pieces = tuple[Piece, ...]


class PieceAlgebra(Algebra):
    """Values are pieces over `rows` rows; raises Unsupported for what is not straight, or for more
    than `LIMIT` pieces."""

    name = "pieces"

    def __init__(self, read: Reader, *, rows: int) -> None:
        super().__init__(read)
        self._zero = (Fraction(0),) * (rows + 1)

    def row(self, index: int) -> Pieces:
        """One of the rows."""
        form = tuple(Fraction(place == index) for place in range(len(self._zero)))
        return self._of(form)

    def const(self, value: float) -> Pieces:
        return self._of((*self._zero[1:], Fraction(value)))

    def add(self, a: Pieces, b: Pieces) -> Pieces:
        return _joined(a, b, _added)

    def mul(self, a: Pieces, b: Pieces) -> Pieces:
        for factor, value in ((a, b), (b, a)):
            form = factor[0].form
            if len(factor) == 1 and form is not None and not any(form[:-1]):
                return tuple(_scaled(form[-1], piece) for piece in value)
        raise Unsupported("a product of two values has no straight pieces")

    def max(self, a: Pieces, b: Pieces) -> Pieces:
        return _joined(a, b, _larger)

    def min(self, a: Pieces, b: Pieces) -> Pieces:
        return _joined(a, b, _smaller)

    def select(self, condition: Pieces, positive: Pieces, otherwise: Pieces) -> Pieces:
        found: list[Piece] = []
        for piece in condition:
            form = piece.form
            if form is None:
                raise Unsupported("a choice by a value that bends has too many sides")
            if not any(form[:-1]):
                sides = [((), positive if form[-1] > 0 else otherwise)]
            else:
                sides = [((form,), positive), ((_times(Fraction(-1), form),), otherwise)]
            for guard, branch in sides:
                found += [
                    _piece((*piece.guards, *guard, *p.guards), p.tops, p.bottoms) for p in branch
                ]
        return _few(tuple(found))

    def _of(self, form: Form) -> Pieces:
        return (Piece((), (form,), (self._zero,)),)


def apart(a: Pieces, b: Pieces) -> Pieces:
    """a − b."""
    return _joined(a, tuple(_scaled(Fraction(-1), piece) for piece in b), _added)


def _joined(a: Pieces, b: Pieces, join: Callable[[Piece, Piece], Piece]) -> Pieces:
    """An operation on every pair of pieces, where the guards of both hold."""
    return _few(tuple(join(p, q) for p in a for q in b))


def _few(pieces: Pieces) -> Pieces:
    kept = tuple(dict.fromkeys(pieces))
    if len(kept) > LIMIT:
        raise Unsupported(f"a program of more than {LIMIT} straight pieces")
    return kept


def _added(a: Piece, b: Piece) -> Piece:
    return _piece((*a.guards, *b.guards), _sums(a.tops, b.tops), _sums(a.bottoms, b.bottoms))


def _larger(a: Piece, b: Piece) -> Piece:
    """max(p − n, q − m) = max(p + m, q + n) − (n + m)."""
    tops = (*_sums(a.tops, b.bottoms), *_sums(b.tops, a.bottoms))
    return _piece((*a.guards, *b.guards), tops, _sums(a.bottoms, b.bottoms))


def _smaller(a: Piece, b: Piece) -> Piece:
    minus = partial(_scaled, Fraction(-1))
    return minus(_larger(minus(a), minus(b)))


def _scaled(factor: Fraction, piece: Piece) -> Piece:
    sides = piece.tops, piece.bottoms
    tops, bottoms = sides if factor >= 0 else sides[::-1]
    size = abs(factor)
    scaled = ([_times(size, form) for form in side] for side in (tops, bottoms))
    return _piece(piece.guards, *scaled)


def _piece(guards: Sequence[Form], tops: Sequence[Form], bottoms: Sequence[Form]) -> Piece:
    """A piece without repeats; a single form at the bottom is taken away from all tops."""
    tops, bottoms = tuple(dict.fromkeys(tops)), tuple(dict.fromkeys(bottoms))
    if len(bottoms) == 1 and any(bottoms[0]):
        tops, bottoms = tuple(_minus(top, bottoms[0]) for top in tops), (_minus(*bottoms * 2),)
    if max(len(tops), len(bottoms)) > LIMIT:
        raise Unsupported(f"a program of more than {LIMIT} straight pieces")
    return Piece(tuple(dict.fromkeys(guards)), tops, bottoms)


def _sums(a: Sequence[Form], b: Sequence[Form]) -> list[Form]:
    if len(a) * len(b) > LIMIT**2:
        raise Unsupported(f"a program of more than {LIMIT} straight pieces")
    return [tuple(x + y for x, y in zip(p, q, strict=True)) for p in a for q in b]


def _times(factor: Fraction, form: Form) -> Form:
    return tuple(factor * x for x in form)


def _minus(a: Form, b: Form) -> Form:
    return tuple(x - y for x, y in zip(a, b, strict=True))
