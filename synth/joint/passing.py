"""Programs that were moved are judged as all are: both FVUs on select, and the bound for ε."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from grammars.compiled import CompiledBank, compile_bank
from grammars.program import Node
from oracles.evidence import fvu
from synth.affine import float_bounds
from synth.assembly import LayerChoice, bank_module, source_index
from synth.choice import Chooser, Point
from synth.evidence import LayerEvidence, Walks
from synth.joint.constants import WRITTEN, Constants
from synth.outputs import as_rows


def passing(chooser: Chooser, before: Point, moved: Sequence[LayerChoice]) -> Point | None:
    """The point of the moved programs; a unit that does not pass on replaced sources is as it was.

    None where some unit does not pass either way, because the sources before it have moved.
    """
    walks, choices = Walks(chooser.network, chooser.probes), []
    for fronts, old, new in zip(chooser.fronts, before.choices, moved, strict=True):
        if not any(fronts.units):
            choices.append(old)
            walks.put(fronts.layer.name)
            continue
        claims = Claims(chooser, chooser.evidence(fronts.layer))
        kept = claims.judged(old, new, walks.patches(fronts.layer, claims.evidence.sample))
        if kept is None:
            return None
        choices.append(kept)
        walks.put(fronts.layer.name, bank_module(kept, chooser.grammar))
    outputs = as_rows(walks.select.output()).float().cpu()
    return chooser.judged(before.multiplier, choices, outputs)


@dataclass(frozen=True, eq=False)
class Claims:
    """What the programs of one layer must hold."""

    chooser: Chooser
    evidence: LayerEvidence

    def hold(self, constants: Constants, values: np.ndarray) -> bool:
        """Whether a program with other constants is near its unit on original sources, within ε of
        it, and of numbers that float32 has."""
        channel = constants.channel
        if np.any(values != values.astype(np.float32)):
            return False
        ranges, bank = self.evidence.ranges, self._bank([constants.program_of(values)])
        (bound,) = float_bounds(ranges, [channel], bank).tolist()
        if not bound <= self.chooser.criteria.epsilon(ranges)[channel]:
            return False
        target, variance = self._target[:, channel], float(ranges.variance[channel])
        return self._near(float(fvu(bank.apply(self._local), target, variance)[0]))

    def judged(self, old: LayerChoice, new: LayerChoice, patches: np.ndarray) -> LayerChoice | None:
        """Each unit's new program where it is near on replaced `patches` (n, width), else its old
        one; None where neither is."""
        situ = self._fvus(self._bank(new.expanded(self.chooser.grammar)), patches)
        pairs = zip(old.units, new.units, situ.tolist(), strict=True)
        units = tuple(b if b.program == a.program or self._near(s) else a for a, b, s in pairs)
        kept = replace(new, units=units)
        bank = self._bank(kept.expanded(self.chooser.grammar))
        local, situ = (self._fvus(bank, p) for p in (self.evidence.patches, patches))
        told = zip(units, local.tolist(), situ.tolist(), strict=True)
        units = tuple(
            replace(u, fvu_local=a, fvu_in_situ=b) if u.status in WRITTEN else u for u, a, b in told
        )
        near = all(self._near(u.fvu_in_situ) for u in units if u.status in WRITTEN)
        return replace(kept, units=units) if near else None

    def _near(self, found: float) -> bool:
        return found <= self.chooser.criteria.max_fvu

    def _bank(self, programs: Sequence[Node]) -> CompiledBank:
        return compile_bank(programs, source_index(self.evidence.scope), self.chooser.grammar)

    def _fvus(self, bank: CompiledBank, patches: np.ndarray) -> np.ndarray:
        """(U,) of all units, on select."""
        outputs, variance = bank.apply(patches[self.evidence.select]), self.evidence.ranges.variance
        target = self._target
        columns = range(bank.units)
        found = [fvu(outputs[:, [c]], target[:, c], float(variance[c]))[0] for c in columns]
        return np.array(found)

    @cached_property
    def _target(self) -> np.ndarray:
        return self.evidence.target[self.evidence.select]

    @cached_property
    def _local(self) -> np.ndarray:
        return self.evidence.patches[self.evidence.select].astype(np.float64)
