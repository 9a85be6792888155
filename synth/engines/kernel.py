"""The kernel engine: a unit of a convolution as a short sum of kernels over its sources.

Kernels, their colours and a few taps are found in the metric of the unit (`synth.kernels`): K = 1,
2, 3, … components, each length with what it costs and leaves; the front keeps what pays.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from grammars.coding import program_bits
from grammars.grammar import Grammar
from grammars.program import Node
from grammars.siblings import pre_of
from synth.engine import UnitEvidence, with_head
from synth.evidence import LayerEvidence
from synth.kernels.colours import Axis, axes_of
from synth.kernels.deep import sparse
from synth.kernels.fit import losses_of
from synth.kernels.forms import Window, forms_of
from synth.kernels.numbers import Device
from synth.kernels.problem import Chains, Problem
from synth.kernels.rounding import Readable, readable
from synth.kernels.search import Grown, grow
from synth.kernels.slots import slots_of
from synth.kernels.together import grown_together, regrown
from synth.kernels.writing import PRECISIONS, Draft, Written, held
from synth.layers import Layer
from synth.metric import Metric, mixed_squares, unit_metrics
from synth.rounding import grid_of, round_each
from synth.thinning import thinned
from synth.threads import each

CHANNELS = 4  # up to which each kernel is over a mix of all; over one of them where there are more
WEIGHTS = 1024  # of a unit, at most
SMALL = 9  # places of a window that taps over one channel say as shortly as a kernel
READ = (3, 1, 1, 1, 1)  # fits of one component, of two, … that are made readable; taps fill up
PLAIN = 3  # families of which a single kernel is made readable as if
CHEAP = 25.0  # bits only might be paid for a loss e times smaller: more of them may say noise
CAUTION = 0.03  # how much the metric fears inputs that probes do not show
LEFT = 0.01  # of the weights, in the metric: so much is mended
MENDING = (0, 2, 4)  # by so many taps
FINE = 8  # a constant that is fitted again has at least this many steps of its grid
APART = 1.02  # each proposal is dearer than the last but one by this factor


class KernelEngine:
    """Sums of kernels under the unit's own head."""

    name = "kernel"
    settings = ("device",)

    def __init__(self, device: str = "cpu") -> None:
        self.device = device

    def ahead(
        self, evidence: LayerEvidence, channels: Sequence[int], grammar: Grammar, *, seed: int
    ) -> dict[str, np.ndarray]:
        """On a device, the chains of all units over mixes of channels; on the processor each unit's
        search grows them, which takes no longer and is done by as many workers as there are."""
        if self.device == "cpu" or not forms_of(grammar) or not is_mixed(evidence.layer):
            return {}
        units = [UnitEvidence(evidence, channel, grammar) for channel in channels]
        problems = each(lambda unit: problem_of(unit, wary_metric(unit)), units)
        return grown_together(problems, len(READ), seed, Device(self.device))

    def propose(self, evidence: UnitEvidence, *, budget: int, seed: int) -> Iterable[Node]:
        """Sums of one kernel, two, …, in several precisions; nothing for what is no image."""
        return islice(_all(evidence, seed), budget)

    @staticmethod
    def unable(grammar: Grammar, layers: Sequence[Layer]) -> str | None:
        """No kernel to speak of, or no layer that looks at an image."""
        if not forms_of(grammar):
            return "the grammar has no kernel: add 'kernel' (and 'colour') to search.tags"
        if not any(map(is_image_like, layers)):
            names = ", ".join(layer.name for layer in layers[:4])
            return (
                f"kernels need layers with space and at most {WEIGHTS} weights a unit, and {names} "
                "are none: leave the engine out"
            )
        return None

    def refit(self, program: Node, evidence: UnitEvidence) -> Node | None:
        """The same kernels and taps with constants for the replaced sources, on grids as fine."""
        layer, channel, grammar = evidence.layer, evidence.channel, evidence.grammar
        found = slots_of(pre_of(program, grammar), evidence.scope, grammar)
        if found is None or not found[0].places:
            return None
        slots, constants = found
        patches = layer.patches if evidence.replaced is None else evidence.replaced
        metric = mixed_squares(
            layer, channel, patches, slots.columns, constants, layer.fit
        ).metric()
        fine = np.array([min(grid_of([c]), abs(c) / FINE) for c in constants if c])
        steps = np.exp2(np.floor(np.log2(np.where(constants, fine, fine.min()))))
        fitted = round_each(metric, np.maximum(steps, held(metric.target)))
        params = {k: v for k, v in program.params if isinstance(v, float)}
        return with_head(evidence.head, slots.program(fitted), **params)


ENGINE = KernelEngine


def _all(evidence: UnitEvidence, seed: int) -> Iterator[Node]:
    if not forms_of(evidence.grammar) or not is_image_like(evidence.layer.layer):
        return
    metric = wary_metric(evidence)
    yield from _worth_a_look(evidence, [*_written(evidence, metric, seed)])


def is_image_like(layer: Layer) -> bool:
    """Whether units look at more than one place, and not at too many; over many channels, at so
    many places that kernels are shorter than a few taps."""
    rows, columns = layer.geometry.window
    return rows * columns > (1 if _has_few(layer) else SMALL) and layer.fan <= WEIGHTS


def is_mixed(layer: Layer) -> bool:
    """Whether units look at an image of so few channels that each kernel is over a mix of all."""
    return is_image_like(layer) and _has_few(layer)


def _has_few(layer: Layer) -> bool:
    return layer.in_shape[0] // layer.groups <= CHANNELS


def _written(evidence: UnitEvidence, metric: Metric, seed: int) -> Iterator[Written]:
    problem = problem_of(evidence, metric)
    found = _mixed if is_mixed(evidence.layer.layer) else _sparse
    for draft in found(evidence, metric, problem, seed):
        yield from filter(None, map(draft.written, PRECISIONS))


def _sparse(evidence: UnitEvidence, metric: Metric, problem: Problem, seed: int) -> Iterator[Draft]:
    """Sums of kernels over one channel each."""
    for chain in sparse(problem, seed):
        yield Draft.of(evidence, metric, problem, chain)


def _mixed(evidence: UnitEvidence, metric: Metric, problem: Problem, seed: int) -> Iterator[Draft]:
    """Sums of kernels over mixes of all channels, and of a few taps."""
    axes = axes_for(evidence)
    known = "kernel_forms_1" in evidence.ahead
    all_ = regrown(problem, evidence.ahead) if known else grow(problem, len(READ), seed)
    for at, chain in _worth_reading(problem, all_):
        found = readable(at, chain, axes)
        draft = Draft.of(evidence, metric, problem, found)
        yield from draft.mended(_taps(problem, found))


def _worth_reading(problem: Problem, all_: Iterable[Grown]) -> Iterator[tuple[Problem, Chains]]:
    """The chains that are made readable, each with the problem at the price that it is worth."""
    cheap = replace(problem, worth=CHEAP)
    for count, grown in zip(READ, all_, strict=True):
        yield from ((problem, grown.chains.part([row])) for row in range(len(grown.losses))[:count])
        if grown.chains.forms.shape[1] == 1:
            plain = Grown.of(cheap, grown.chains, grown.losses).chains
            first = np.sort(np.unique(plain.forms, return_index=True)[1])[:PLAIN]
            yield from ((cheap, plain.part([row])) for row in first.tolist())


def wary_metric(evidence: UnitEvidence) -> Metric:
    """The metric that kernels are fitted in."""
    return next(unit_metrics(evidence.layer, evidence.channel, [CAUTION]))


def _taps(problem: Problem, found: Readable) -> Iterable[int]:
    """How many taps are tried beside kernels: as many as make five of both, and a few more where
    five kernels leave much."""
    count, whole = found.chain.forms.shape[1], float(problem.goal @ problem.goal)
    if count < len(READ) or losses_of(problem, found.chain)[0] <= LEFT * whole:
        return range(len(READ) - count + 1)
    return MENDING


def problem_of(evidence: UnitEvidence, metric: Metric) -> Problem:
    """The weights of a unit in a metric, and the kernels that its grammar has."""
    layer = evidence.layer.layer
    window = Window.of(layer.geometry.offsets())
    channels = layer.in_shape[0] // layer.groups
    return Problem.of(metric, channels, forms_of(evidence.grammar), window)


def axes_for(evidence: UnitEvidence) -> tuple[Axis, ...]:
    """The axes of colour that a unit's source has."""
    layer = evidence.layer.layer
    return axes_of(evidence.grammar, layer.source, layer.in_shape[0]) if layer.groups == 1 else ()


def _worth_a_look(evidence: UnitEvidence, all_: list[Written]) -> Iterator[Node]:
    """Those that lose less than all cheaper ones, cheapest first and somewhat apart."""
    bits = [program_bits(w.program, evidence.scope, evidence.grammar) for w in all_]
    chosen = thinned(np.array(bits), np.array([w.loss for w in all_]), APART)
    return (all_[i].program for i in chosen)
