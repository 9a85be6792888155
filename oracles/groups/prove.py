"""The ladder for a group: exact relaxations with splitting, then HiGHS; Z3 again where it can."""

from dataclasses import dataclass
from fractions import Fraction

from oracles.claims import Refuted, Unknown, Verdict
from oracles.groups import milp, smt, splitting
from oracles.groups.milp import milp_group
from oracles.groups.question import Group, question_of
from oracles.groups.smt import UNSTABLE, smt_group
from oracles.groups.splitting import split_group


@dataclass(frozen=True)
class Effort:
    """What a claim on a group may take, counted alike on every machine: linear `programs`, `nodes`
    of HiGHS' branch and bound and `steps` of Z3's resource counter, each for one sign or for both.
    """

    programs: int = splitting.NODES
    nodes: int = milp.NODES
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
        found = milp_group(group, epsilon, nodes=effort.nodes)
    able = question_of(group).unstable <= UNSTABLE and not isinstance(found, Refuted)
    return Answer(found, smt_group(group, epsilon, steps=effort.steps) if able else None)
