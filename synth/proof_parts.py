"""What one task proves: units of the same columns at once, or one whose program bends."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction

from joblib import Parallel, delayed
from joblib.externals.loky.process_executor import TerminatedWorkerError

from grammars.grammar import Grammar
from grammars.program import Node
from grammars.scope import Column
from oracles.claims import AffineBank, Box, Proved, Verdict
from oracles.cross_check import smt_check
from oracles.prove import prove_layer, prove_program


@dataclass(frozen=True, eq=False)
class Part:
    """Units of the same columns with their programs and claims."""

    units: AffineBank
    programs: AffineBank
    box: Box
    claims: list[Fraction]

    def decided(self) -> list[tuple[Verdict, Verdict | None]]:
        """What the closed form and, of what it proves, Z3 say of each."""
        found = prove_layer(self.units, self.programs, self.box, self.claims)
        return [(verdict, self._again(i, verdict)) for i, verdict in enumerate(found)]

    def _again(self, i: int, verdict: Verdict) -> Verdict | None:
        if not isinstance(verdict, Proved):
            return None
        return smt_check(self.units[i], self.programs[i], self.box, self.claims[i])


@dataclass(frozen=True, eq=False)
class Bent:
    """A unit with a program that is more than one affine map under a head."""

    unit: Node
    program: Node
    columns: Mapping[Column, int]
    box: Box
    claim: Fraction
    grammar: Grammar

    def decided(self) -> list[tuple[Verdict, Verdict | None]]:
        """What linear programs or splitting say of it; Z3 is not asked."""
        parts = self.unit, self.program, self.columns, self.box
        return [(prove_program(*parts, self.claim, self.grammar), None)]


def all_decided(
    parts: Sequence[Part | Bent], jobs: int
) -> list[list[tuple[Verdict, Verdict | None]]]:
    """Every part, in processes of their own if there is much to do."""
    if jobs > 1 and len(parts) > jobs:
        with suppress(TerminatedWorkerError):  # a process died: what it did is done again here
            return Parallel(n_jobs=jobs)(delayed(part.decided)() for part in parts)  # type: ignore[return-value]
    return [part.decided() for part in parts]
