"""Blocks of `decompiled.py`: many units of one form as one expression over rows of weights."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from grammars.names import Names
from grammars.program import count_terms
from grammars.text import format_program
from synth.emission.plan import ROW, Block, Plan
from synth.emission.rows import Rows, stored_rows
from synth.emission.tables import Table
from synth.emission.windows import Reading


@dataclass(frozen=True, eq=False)
class BlockWriter:
    """Writes one block; `tables` names the weight and the bias of its table, None if stored."""

    plan: Plan
    block: Block
    names: Names
    tables: tuple[str, str] | None

    def expression(self, reading: Reading) -> str:
        """The units: the skeleton over the product of all rows."""
        product, mark = reading.together(self.rows), "__rows__"
        known = Names({}, given={(str(ROW["bank"]), 0): mark})
        return format_program(self.block.skeleton, known, self.plan.grammar).replace(mark, product)

    @property
    def rows(self) -> Rows:
        if (table := self.table) is not None:
            return table.read()
        return stored_rows(self.plan.layer, self.plan.module, self.block.rows)

    @cached_property
    def table(self) -> Table | None:
        """What the text holds of the rows."""
        if self.tables is None:
            return None
        units = tuple(self.names.of(self.plan.layer.name, unit) for unit in self.block.units)
        return Table(self.plan.layer, self.plan.module, self.block.rows, units, self.tables)

    def comment(self) -> str:
        if self.tables is None:
            return stored_text(self.plan, self.names, self.block.units)
        return f"    # {len(self.block.units)} units of one form, their weights in {self.tables[0]}"


def stored_text(plan: Plan, names: Names, units: Iterable[int]) -> str:
    """A comment that says what the stored rows of some units are."""
    kept, sums, terms = [], [], set()
    programs = {u.channel: u.program for u in plan.choice.units}
    for unit in units:
        program, name = programs[unit], names.of(plan.layer.name, unit)
        (kept if program is None else sums).append(name)
        terms |= set() if program is None else {count_terms(program)}
    return f"    # {'; '.join([*_kept_text(kept), *_sums_text(sums, terms)])}"


def _kept_text(units: Sequence[str]) -> Iterator[str]:
    if units:
        several = f"{len(units)} units keep their weights"
        yield several if len(units) > 1 else f"{units[0]} keeps its weights"


def _sums_text(units: Sequence[str], terms: Collection[int]) -> Iterator[str]:
    if units:
        sizes = "–".join(map(str, sorted({min(terms), max(terms)})))
        several = f"{len(units)} units are sums" if len(units) > 1 else f"{units[0]} is a sum"
        yield f"{several} of {sizes} rounded terms, stored"
