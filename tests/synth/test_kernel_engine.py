"""The kernel engine finds planted kernels again, names their colours, and is deterministic."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import pictures, read, unit_metric
from torch import nn

from grammars.grammar import Grammar, load_grammar
from grammars.kernels import table
from grammars.primitive import Real
from grammars.program import Node, bank, call, const, linear, tap, taps_of, walk
from synth.batches import Inputs
from synth.engine import UnitEvidence
from synth.engines.kernel import KernelEngine
from synth.evidence import LayerEvidence, Probes, gather
from synth.fronts import judge
from synth.kernels.colours import axes_of
from synth.kernels.fit import losses_beside, losses_of, measured, polish
from synth.kernels.forms import Form, Window, forms_of
from synth.kernels.problem import Problem
from synth.kernels.rounding import readable
from synth.kernels.search import dictionary, singles
from synth.kernels.slots import slots_of

BANK, SIDE = "input_1", 20
OFFSETS = [(dy, dx) for dy in range(-2, 3) for dx in range(-2, 3)]
WINDOW = Window.of(OFFSETS)
PLANTED = {
    "gabor": {"angle": 35.0, "wavelength": 3.5, "phase": 90.0},
    "curve": {"angle": 120.0, "radius": 2.5, "width": 0.5, "dx": 0.25},
    "edge": {"angle": 75.0, "width": 1.5, "dy": 0.5},
    "gaussian": {"sigma": 1.25, "dy": -0.625, "dx": 0.375},
}


@cache
def grammar() -> Grammar:
    return load_grammar(tags=("core", "kernel", "colour"), installed=False)


FORMS = forms_of(grammar())


def kernel(name: str, **changed: float) -> Node:
    return call(name, **{n: changed.get(n, s.default) for n, s in grammar()[name].parameters})


def over(source: Node, name: str = "gabor", **changed: float) -> Node:
    return call("conv", kernel(name, **changed), source)


@cache
def images(channels: int) -> np.ndarray:
    return pictures(40, channels, SIDE, seed=channels)


def evidence_of(*programs: Node, channels: int = 1, noise: float = 0.01) -> LayerEvidence:
    """A layer whose units are these sums of kernels, disturbed, on images."""
    layer = nn.Conv2d(channels, len(programs), 5)
    scope = read(nn.Sequential(layer), (channels, SIDE, SIDE)).layers[0].scope
    generator = np.random.default_rng(0)
    for unit, program in enumerate(programs):
        found = slots_of(program, scope, grammar())
        assert found
        weights = found[0].columns @ found[1][:-1]
        weights += noise * np.sqrt((weights**2).mean()) * generator.standard_normal(len(weights))
        with torch.no_grad():
            layer.weight[unit] = torch.from_numpy(weights.reshape(channels, 5, 5))
            layer.bias[unit] = float(found[1][-1])
    network = read(nn.Sequential(layer), (channels, SIDE, SIDE))
    half = len(images(channels)) // 2
    parts = (Inputs((images(channels)[s],)) for s in (slice(half), slice(half, None)))
    return next(gather(network, Probes(*parts), seed=0))


def proposals(evidence: LayerEvidence, channel: int = 0, seed: int = 0) -> list[Node]:
    unit = UnitEvidence(evidence, channel, grammar())
    return list(KernelEngine().propose(unit, budget=2000, seed=seed))


def matched(evidence: LayerEvidence, truth: Node, channel: int = 0) -> Node:
    """The cheapest proposal that is as near as the truth, which may cost no more."""
    unit = UnitEvidence(evidence, channel, grammar())
    programs = proposals(evidence, channel)
    (own, *others) = judge(unit, [truth, *programs], ["truth"] + ["kernel"] * len(programs))
    near = [c for c in others if c.fvu_select <= 1.1 * own.fvu_select]
    best = min(near, key=lambda c: c.bits)
    assert best.bits <= own.bits
    return best.program


# planted truths


@pytest.mark.parametrize("name", PLANTED)
def test_planted_kernels_are_found(name):
    """A kernel comes back as itself, within its noise and at no more bits."""
    truth = linear([(0.75, over(tap(BANK, 0), name, **PLANTED[name]))], -0.125)
    assert kernel(name, **PLANTED[name]) in list(walk(matched(evidence_of(truth), truth)))


def test_colours_are_named():
    """A kernel over an axis of colour is found as that, in the order of the channels."""
    sources = (
        call("luminance", bank(BANK, 3), bgr=1),
        linear([(0.5, tap(BANK, 0)), (-0.25, tap(BANK, 2))]),
        tap(BANK, 1),
    )
    truths = [over(source, angle=50.0) for source in sources]
    evidence = evidence_of(*truths, channels=3)
    for channel, (truth, source) in enumerate(zip(truths, sources, strict=True)):
        assert source in list(walk(matched(evidence, truth, channel)))


def test_sums_of_kernels_and_taps_are_found():
    """Two kernels and a tap beside them come back together."""
    terms = [
        (0.75, over(tap(BANK, 0), "gabor", angle=20.0, wavelength=3.0, sigma=1.0)),
        (-0.5, over(tap(BANK, 2), "gaussian", sigma=0.75, dy=1.0)),
        (0.5, tap(BANK, 1, -2, 2)),
    ]
    truth = linear(terms, 0.25)
    assert set(truth.args) <= set(matched(evidence_of(truth, channels=3), truth).args)


def test_few_of_many_channels_are_found():
    """A unit over ten channels is a sum of kernels over the three that it reads."""
    parts = [
        (0.75, over(tap(BANK, 7), angle=45.0)),
        (-0.5, over(tap(BANK, 2), "patch")),
        (0.25, over(tap(BANK, 4), "line", angle=90.0)),
    ]
    truth = linear(parts, 0.25)
    evidence = evidence_of(truth, channels=10)
    programs = proposals(evidence)
    unit = UnitEvidence(evidence, 0, grammar())
    (own, *found) = judge(unit, [truth, *programs], ["truth"] + ["kernel"] * len(programs))
    short = [c for c in found if c.bits <= 1.25 * own.bits]
    best = min(short, key=lambda c: c.fvu_select)
    assert best.fvu_select < 1e-3
    assert {t["channel"] for t in taps_of(best.program)} == {2, 4, 7}


def test_the_same_seed_gives_the_same_programs():
    """Proposals depend on evidence and seed alone."""
    evidence = evidence_of(over(tap(BANK, 0), angle=65.0))
    assert proposals(evidence) == proposals(evidence)


def test_groups_have_kernels_over_their_own_channels():
    """In a depthwise layer every unit speaks of the channel that it reads; one without weights
    has nothing to say, and breaks nothing."""
    layer = nn.Conv2d(3, 3, 5, groups=3, bias=False)
    form = next(f for f in FORMS if f.primitive.name == "gabor")
    defaults = np.array([[float(spec.default) for spec in form.specs]])
    weights = form.kernels(defaults, WINDOW).reshape(5, 5)
    with torch.no_grad():
        layer.weight.copy_(torch.from_numpy(np.stack([weights, weights, 0 * weights]))[:, None])
    network = read(nn.Sequential(layer), (3, SIDE, SIDE))
    probes = Probes(Inputs((images(3)[:20],)), Inputs((images(3)[20:],)))
    evidence = next(gather(network, probes, seed=0))
    for channel in range(3):
        unit = UnitEvidence(evidence, channel, grammar())
        with np.errstate(all="ignore"):
            programs = proposals(evidence, channel)
        found = judge(unit, programs, ["kernel"] * len(programs))
        assert not programs if channel == 2 else min(c.fvu_select for c in found) < 1e-3
        assert {t["channel"] for p in programs for t in taps_of(p)} <= {channel}


def test_windows_of_one_place_have_no_kernels():
    """There is nothing to look at, and a grammar without kernels has nothing to say."""
    network = read(nn.Sequential(nn.Conv2d(2, 1, 1)), (2, SIDE, SIDE))
    probes = Probes(Inputs((images(2)[:20],)), Inputs((images(2)[20:],)))
    assert proposals(next(gather(network, probes, seed=0))) == []
    plain = load_grammar(installed=False)
    unit = UnitEvidence(evidence_of(over(tap(BANK, 0))), 0, plain)
    assert list(KernelEngine().propose(unit, budget=10, seed=0)) == []
    assert "add 'kernel'" in str(KernelEngine.unable(plain, network.layers))
    assert "0 are none" in str(KernelEngine.unable(grammar(), network.layers))


def test_constants_follow_replaced_sources():
    """On sources twice as large, the same kernels have constants half as large."""
    truth = linear([(0.75, over(tap(BANK, 0), angle=35.0)), (0.5, tap(BANK, 0, 1, 1))], -0.125)
    evidence = evidence_of(truth, noise=0.0)
    unit = UnitEvidence(evidence, 0, grammar(), replaced=2 * evidence.patches)
    found = KernelEngine().refit(truth, unit)
    assert found == linear([(0.375, truth.args[1]), (0.25, truth.args[0])], -0.125)
    assert KernelEngine().refit(const(1.0), unit) is None
    assert KernelEngine().refit(tap("0", 0), unit) is None


# forms


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.primitive.name)
@settings(max_examples=15)
@given(data=st.data())
def test_forms_are_the_tables(form: Form, data):
    """On its grids a form is the primitive's table before rounding, however many at once."""
    values = [_drawn(form, data) for _ in range(3)]
    kernels = form.kernels(np.array(values, dtype=float), WINDOW)
    for row, own in zip(values, kernels, strict=True):
        found = _table(form.node(row))
        expected = [found.get(place, 0.0) for place in OFFSETS]
        assert own == pytest.approx(expected, abs=2**-10)


@pytest.mark.parametrize("form", FORMS, ids=lambda f: f.primitive.name)
@settings(max_examples=15)
@given(data=st.data(), turns=st.integers(-3, 3))
def test_turns_change_nothing(form: Form, data, turns):
    """What is turned further than its period is the same kernel, or its negative, within its
    ranges."""
    values = np.array([_drawn(form, data)], dtype=float)
    turned = values + turns * form.periods
    wrapped = form.wrapped(turned)
    before, after = form.kernels(turned, WINDOW), form.kernels(wrapped, WINDOW)
    signs = (1, -1) if form.primitive.folded else (1,)
    assert any(after == pytest.approx(sign * before, abs=1e-6) for sign in signs)
    assert ((wrapped >= form.low) & (wrapped <= form.high)).all()


@given(data=st.data())
@settings(max_examples=30)
def test_a_checker_is_named_by_its_field_nearest_to_the_middle(data):
    """However far it was moved."""
    (form,) = (f for f in FORMS if f.primitive.name == "checker")
    values = _drawn(form, data)
    *_, dy, dx = form.wrapped(np.array([values]))[0]
    assert np.hypot(dy, dx) <= values[1] * np.sqrt(0.5) + 1e-9


def _drawn(form: Form, data) -> list[float]:
    """A point of the form's grids."""
    return [
        spec.value(data.draw(st.integers(0, spec.size - 1)))
        if isinstance(spec, Real)
        else data.draw(st.integers(spec.low, spec.high))
        for spec in form.specs
    ]


def _table(node: Node):
    class Plain:
        table = staticmethod(table)

    return grammar()[node.op].body(Plain, **dict(node.params))


# fits


@cache
def problem() -> Problem:
    truth = linear([(1.0, over(tap(BANK, 0), angle=40.0)), (0.5, over(tap(BANK, 0), "line"))])
    return Problem.of(unit_metric(evidence_of(truth, noise=0.1), 0), 1, FORMS, WINDOW)


def test_slopes_are_those_of_the_loss():
    """Down the slope the loss falls as it says."""
    forms, values, _ = dictionary(problem(), 0)
    first, second = (singles(problem(), forms[s::97], values[s::97]) for s in (0, 50))
    chains = first.part(range(len(second))).beside(second)
    fit, step = measured(problem(), chains), 1e-5
    for k, i in ((0, 0), (1, 1), (0, 2)):
        able = chains.free[:, k, i]
        moved = chains.values.copy()
        moved[:, k, i] += step * problem().steps[chains.forms[:, k], i]
        change = measured(problem(), replace(chains, values=moved)).losses - fit.losses
        slope = -2 * step * fit.slope.reshape(chains.values.shape)[:, k, i]
        scale = np.abs(slope[able]).max() + 1e-9 * fit.losses.max()
        assert np.abs(change - slope)[able].max() < 0.05 * scale


@pytest.mark.parametrize("k", [0, 1])
def test_losses_beside_the_rest_are_those_of_the_whole(k):
    """A component that moves has the losses that the whole chains have."""
    forms, values, _ = dictionary(problem(), 0)
    first, second, *_ = (singles(problem(), forms[[i]], values[[i]]) for i in (5, 2000))
    chain, rows = first.beside(second), np.flatnonzero(forms == forms[(5, 2000)[k]])[:20]
    many = chain.part([0] * len(rows))
    many.values[:, k] = values[rows]
    found = losses_beside(problem(), chain, k, values[rows])
    assert np.allclose(found, losses_of(problem(), many), rtol=1e-6)


def test_polishing_never_loses():
    """More steps are never worse."""
    forms, values, _ = dictionary(problem(), 0)
    chains = singles(problem(), forms[::61], values[::61])
    losses = [polish(problem(), chains, steps)[1] for steps in (0, 3, 10)]
    assert (losses[1] <= losses[0]).all() and (losses[2] <= losses[1] * (1 + 1e-12)).all()


def test_readable_chains_are_on_their_grids():
    """Every parameter is a point of its grid, and the loss is not far from the fit's."""
    forms, values, _ = dictionary(problem(), 0)
    chain, losses = polish(problem(), singles(problem(), forms[:2000:40], values[:2000:40]), 15)
    best = int(np.argmin(losses))
    found = readable(problem(), chain.part([best]), ()).chain
    form = FORMS[found.forms[0, 0]]
    own = found.values[0, 0, : len(form.specs)]
    assert own == pytest.approx(np.array(form.snapped(own), dtype=float), abs=1e-9)
    assert polish(problem(), found, 0)[1][0] < 3 * losses[best]


def test_axes_are_those_of_three_channels():
    """An axis for each order of the channels, and none for other banks."""
    assert len(axes_of(grammar(), BANK, 3)) == 6
    assert axes_of(grammar(), BANK, 4) == ()
