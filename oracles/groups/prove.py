"""The ladder for a group: exact relaxations with splitting, then HiGHS, on parts of the box if need
be; Z3 again where it can."""

from dataclasses import dataclass
from fractions import Fraction
from functools import partial

from oracles.claims import Refuted, Unknown, Verdict
from oracles.groups import halving, smt, splitting
from oracles.groups.halving import halved_group
from oracles.groups.milp import milp_group
from oracles.groups.question import Group, question_of
from oracles.groups.smt import UNSTABLE, smt_group
from oracles.groups.splitting import split_group


@dataclass(frozen=True)
class Effort:
    """What a claim on a group may take, counted alike on every machine: linear `programs`; `parts`
    of the box, with `nodes` of HiGHS' branch and bound for each; `steps` of Z3's resource counter.
    """

    programs: int = splitting.NODES
    parts: int = halving.PARTS
    nodes: int = 2000
    steps: int = smt.STEPS


@dataclass(frozen=True, eq=False)
class Answer:
    """A verdict on a group, and Z3's own; None where it was not asked."""

    verdict: Verdict
    smt: Verdict | None


def decide_group(group: Group, epsilon: Fraction, *, effort: Effort | None = None) -> Answer:
    """Decide ``|first − second| <= epsilon`` over the group's box.

    A proof by relaxations is `checked`; on the word of HiGHS it is `solver`. Z3 is not asked of
    what a counterexample has refuted, nor of more unstable ReLUs than it can do.
    """
    effort = effort or Effort()
    found = split_group(group, epsilon, nodes=effort.programs)
    if isinstance(found, Unknown):
        road = partial(milp_group, nodes=effort.nodes)
        found = halved_group(group, epsilon, road, parts=effort.parts)
    able = question_of(group).unstable <= UNSTABLE and not isinstance(found, Refuted)
    return Answer(found, smt_group(group, epsilon, steps=effort.steps) if able else None)
