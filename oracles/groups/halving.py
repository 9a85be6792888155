"""A claim on a group over parts of its box: in each fewer ReLUs are unstable, and all by less."""

from collections.abc import Callable
from fractions import Fraction

import numpy as np

from oracles.claims import Box, Proved, Refuted, Unknown, Verdict
from oracles.groups.question import Group

PARTS = 64  # boxes that are looked at, those that are halved again among them


def halved_group(
    group: Group,
    epsilon: Fraction,
    road: Callable[[Group, Fraction], Verdict],
    *,
    parts: int = PARTS,
) -> Verdict:
    """Decide ``|first − second| <= epsilon`` by one road on halves of the box, and on halves of
    those that it does not decide, `parts` in all. A proof is of the weakest trust among them."""
    todo, proofs = [group.box], list[Proved]()
    for _ in range(parts):
        box = todo.pop()
        verdict = road(Group(group.first, group.second, box), epsilon)
        match verdict:
            case Refuted():
                return verdict
            case Proved():
                proofs.append(verdict)
            case Unknown():
                todo += _halves(group, box)
        if not todo:
            every = all(proof.trust == "checked" for proof in proofs)
            return Proved("checked" if every else "solver", max(proof.bound for proof in proofs))
    return Unknown(f"{parts} parts of the box do not decide it: {len(todo)} are left")


def _halves(group: Group, box: Box) -> list[Box]:
    """A box cut through the middle, across the input that moves the hidden units most."""
    moved = sum(np.abs(side.hidden.weights).sum(axis=0) for side in (group.first, group.second))
    at = int(np.argmax(moved * (box.upper - box.lower)))
    lower, upper = box.lower.copy(), box.upper.copy()
    lower[at] = upper[at] = box.lower[at] / 2 + box.upper[at] / 2
    return [Box(box.lower, upper), Box(lower, box.upper)]
