"""A layer of `decompiled.py`: one function that computes each unit by the text of its program."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

from grammars.evaluation import argument_sorts
from grammars.grammar import Grammar
from grammars.names import Names
from grammars.program import PRE, Node, Sort, taps_of, walk
from grammars.scope import COMMON
from grammars.siblings import references
from grammars.templates import Template, template_of
from grammars.text import format_program
from synth.assembly import LayerChoice, Status
from synth.emission.blocks import BlockWriter, stored_text
from synth.emission.layout import WIDTH, assign, docstring, returned
from synth.emission.loops import family_text
from synth.emission.maps import CONV, MAPS, has_kernels, map_names, over_maps, spelled
from synth.emission.plan import STORED, Plan
from synth.emission.rows import listed, stored_rows
from synth.emission.windows import Columns, Reading, Windows, geometry_text
from synth.layers import Geometry, Layer, Shape


def status_counts(choices: Iterable[LayerChoice]) -> str:
    """Units by status: "12 program, 2 rounded"."""
    counts = Counter(unit.status for choice in choices for unit in choice.units)
    return ", ".join(f"{counts[status]} {status}" for status in Status if counts[status])


def shape_text(shape: Shape, rank: int) -> str:
    """A bank's shape as a tensor of `rank` has it: (N, C, H, W)."""
    return f"(N, {', '.join(map(str, (shape[0], *shape[5 - rank :])))})"


@dataclass(frozen=True, eq=False)
class LayerWriter:
    """Writes the function `function(source)` of one layer.

    `ranks` are those of the tensors that it reads and returns; `blocks` are the plan's; `support`
    names the supporting functions; `taken` are names that mean something else.
    """

    plan: Plan
    names: Names
    function: str
    source: str
    ranks: tuple[int, int]
    blocks: tuple[BlockWriter, ...]
    support: Mapping[str, str]
    taken: frozenset[str]

    @property
    def layer(self) -> Layer:
        return self.plan.layer

    @cached_property
    def lines(self) -> Mapping[int, Node]:
        """The plan's, with whole maps under kernels."""
        return {u: over_maps(p, self.plan.grammar) for u, p in self.plan.lines.items()}

    @cached_property
    def values(self) -> Mapping[int, Node]:
        """The common values of the plan in the same way."""
        return {n: over_maps(v, self.plan.grammar) for n, v in self.plan.values.items()}

    @property
    def _every(self) -> tuple[Node, ...]:
        """All that has a statement."""
        return (*self.values.values(), *self.lines.values())

    @cached_property
    def reading(self) -> Reading:
        """Without a window where no line needs one."""
        layer, grammar = self.layer, self.plan.grammar
        plain = layer.geometry == Geometry((1, 1))
        plain = plain and not any(_reads_atoms(p, grammar) for p in self._every)
        unread = not self._channels and not self._slides
        kind = Columns if plain or (self._flat and unread) else Windows
        return kind(layer, self.source, self.ranks, self.support["channels"])

    @cached_property
    def _slides(self) -> bool:
        """Kernels slide over the source."""
        return any(has_kernels(p, self.plan.grammar) for p in self._every)

    @property
    def _flat(self) -> bool:
        """The stored weight is the matrix of a dense layer."""
        return self.ranks[1] == 2 and bool(self.plan.stored) and self.plan.module.weight.dim() == 2

    @cached_property
    def _channels(self) -> list[int]:
        """The channels of the source that lines read; ValueError for a tap of another bank."""
        layer = self.layer
        taps = {t for p in self._every for t in taps_of(p)}
        foreign = {str(t["bank"]) for t in taps}
        foreign -= {layer.source, layer.name, f"{layer.name}{PRE}", self._common, STORED, MAPS}
        if foreign:
            raise ValueError(
                f"programs of {layer.name!r} read {', '.join(sorted(foreign))}, but the layer "
                f"reads {layer.source!r}: only that bank and the layer's own units can be emitted"
            )
        return sorted({int(str(t["channel"])) for t in taps if t["bank"] == layer.source})

    @cached_property
    def _rows(self) -> dict[int, str]:
        """Stored rows that lines read, by what they are called: kept_3, or sum_3 of a program."""
        found: dict[int, str] = {}
        for unit in (u for u in self.lines if u in self.plan.stored):
            rows = list(self.plan.stored[unit].rows.values())
            stem = f"{'kept' if unit in self.plan.opaque else 'sum'}_{unit}"
            found |= {r: stem if len(rows) == 1 else f"{stem}_{i}" for i, r in enumerate(rows)}
        return {row: self._free(name) for row, name in found.items()}

    def _free(self, name: str) -> str:
        while name in self.taken:
            name = f"{name}_"
        return name

    @cached_property
    def all_names(self) -> Names:
        """Names of the taps that lines read."""
        own, source = self.layer, (self.layer.source, self.layer.in_shape[0])
        pairs = [(b, c) for b, n in (source, (own.name, own.units)) for c in range(n)]
        pairs += [(self._common, number) for number in self.values]
        rows = {(STORED, row): name for row, name in self._rows.items()}
        own_names = {key: self.names.of(*key) for key in pairs}
        return Names({}, given=own_names | rows | map_names(source[1]))

    def source_text(self) -> str:
        """The whole function."""
        lines = [f"def {self.function}({self.source}):", docstring(self._doc())]
        lines += [*self._kernels(), *self._fields(), *self._stored()]
        lines += [*self._values(), *self._constants(), *self._units()]
        return "\n".join([*lines, *self._result()])

    def _doc(self) -> Iterator[str]:
        layer, (rank_in, rank_out) = self.layer, self.ranks
        geometry = layer.geometry
        sizes = [f"window={geometry.window}"] * (geometry != Geometry((1, 1)))
        details = "; ".join(["", *sizes, *geometry_text(geometry, groups=layer.groups)])
        units = f"{layer.units} unit{'s' * (layer.units > 1)}"
        yield (
            f"Layer {layer.name}: {units} {shape_text(layer.out_shape, rank_out)} "
            f"of {self.source} {shape_text(layer.in_shape, rank_in)}{details}."
        )
        yield f"Units by status: {status_counts([self.plan.choice])}."

    def _kernels(self) -> Iterator[str]:
        """Say how kernels slide over the source."""
        if self._slides:
            geometry = self.layer.geometry
            details = ", ".join([f"{geometry.window}", *geometry_text(geometry)])
            yield assign(CONV, f"{self.support['convolution']}({details})")

    def _fields(self) -> Iterator[str]:
        """Name the channels of the source that programs read."""
        if used := self._channels:
            yield self.reading.unpacked([self.names.of(self.layer.source, c) for c in used], used)

    def _stored(self) -> Iterator[str]:
        """Compute the stored rows that lines read."""
        if self._rows:
            units = (unit for unit in self.lines if unit in self.plan.stored)
            yield stored_text(self.plan, self.names, units)
            rows = stored_rows(self.layer, self.plan.module, list(self._rows))
            yield self.reading.named(list(self._rows.values()), rows)

    def _values(self) -> Iterator[str]:
        """A statement for each value that units have in common."""
        for number, value in self.values.items():
            yield assign(self.names.of(self._common, number), self._text(value))

    def _constants(self) -> Iterator[str]:
        """Units of equal value in one assignment; they come first, for siblings may read them."""
        groups: dict[str, list[str]] = {}
        for unit, program in self.lines.items():
            if program.op == "const":
                groups.setdefault(self._text(program), []).append(self._name(unit))
        for value, units in groups.items():
            yield from _chained(units, value)

    def _units(self) -> Iterator[str]:
        """A statement for each unit in order, save that a unit follows those it refers to, and that
        a family stands together, where its first one would."""
        families = {family[0]: family for family in self.families}
        members = {unit for family in families.values() for unit in family}
        for unit in _order(self.lines, self.layer.name):
            if unit in families:
                yield from self._family(families[unit])
            elif unit not in members and self.lines[unit].op != "const":
                yield assign(self._name(unit), self._text(self.lines[unit]))

    @cached_property
    def families(self) -> tuple[tuple[int, ...], ...]:
        """The families whose members all have lines of their own."""
        rows = self.plan.stored
        return tuple(
            family
            for family in self.plan.choice.families
            if all(unit in self.lines and unit not in rows for unit in family)
        )

    def _family(self, family: Sequence[int]) -> Iterator[str]:
        """A function of what differs in a family, and its calls."""
        programs = [self.lines[unit] for unit in family]
        found = template_of(programs, self.all_names, self.plan.grammar)
        source = self.source
        columns = {n: tuple(spelled(v, source) for v in c) for n, c in found.columns.items()}
        template = Template(spelled(found.text, source), columns)
        if not columns:  # units that are equal
            yield from (assign(self._name(u), template.text) for u in family)
            return
        yield ""
        yield from family_text(self._family_name(family), template, [*map(self._name, family)])

    def _family_name(self, family: Sequence[int]) -> str:
        """What the function of a family is called: by its first unit."""
        return self._free(f"like_{self._name(family[0])}")

    def _result(self) -> Iterator[str]:
        """Return all units: those of lines, and the blocks."""
        back, blocks = self.reading.back, self.blocks
        if not blocks:
            yield returned(f"{self._stacked()}{back}")
            return
        yield from (block.comment() for block in blocks)
        every = [(f.block.units, f.expression(self.reading)) for f in blocks]
        every += [(tuple(self.lines), self._stacked())] if self.lines else []
        if [units for units, _ in every] == [tuple(range(self.layer.units))]:
            yield returned(f"{every[0][1]}{back}")
        else:
            parts = (f"({listed(units)}, {text})" for units, text in every)
            yield returned(f"{self.support['joined']}({', '.join(parts)}){back}")

    def _stacked(self) -> str:
        units = f"[{', '.join(map(self._name, self.lines))}]"
        if all(taps_of(p) for p in self.lines.values()):
            return f"torch.stack({units}, 1)"
        arguments = ", ".join([units, self.source, *map(str, self.reading.size)])
        return f"{self.support['stack']}({arguments})"

    @property
    def _common(self) -> str:
        """The bank of the common values."""
        return f"{self.layer.name}{COMMON}"

    def _name(self, unit: int) -> str:
        return self.names.of(self.layer.name, unit)

    def _text(self, program: Node) -> str:
        text = format_program(program, self.all_names, self.plan.grammar)
        return spelled(text, self.source)


def _reads_atoms(program: Node, grammar: Grammar) -> bool:
    """Some operation reads beside the position, or at least may."""
    calls = (n for n in walk(program) if n.op not in ("tap", "const", "linear"))
    return any(Sort.ATOM in argument_sorts(n, grammar[n.op]) for n in calls)


def _order(programs: Mapping[int, Node], bank: str) -> list[int]:
    """Units such that each comes after the siblings that it refers to.

    ValueError where they refer to each other in a circle.
    """
    done: dict[int, None] = {}
    for unit in programs:
        path = [unit] * (unit not in done)
        while path:
            missing = [u for u in references(programs[path[-1]], bank) if u not in done]
            if not missing:
                done[path.pop()] = None
            elif missing[0] in path:
                raise ValueError(f"units {path} of {bank!r} refer to each other in a circle")
            else:
                path.append(missing[0])
    return list(done)


def _chained(units: list[str], value: str) -> Iterator[str]:
    """`a = b = c = value`, in as many lines as it takes."""
    line = ""
    for unit in units:
        if line and 4 + len(line) + len(unit) + 3 + len(value) > WIDTH:
            yield f"    {line}{value}"
            line = ""
        line += f"{unit} = "
    yield f"    {line}{value}"
