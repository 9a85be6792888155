"""The linear engine finds planted programs again, exactly, and goes from rough to exact."""

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import (
    BANK,
    CORE,
    HEADS,
    IDENTITY,
    RELU,
    correlated,
    dense_evidence,
    dense_layer,
    planted,
    random_probes,
    unit_evidence,
)

import synth.engines.linear as linear_engine
from grammars.hoist import hoist
from grammars.program import Node, call, const, linear, tap, walk
from synth.batches import Inputs
from synth.engine import UnitEvidence, weighted_taps, with_head
from synth.engines.linear import NARROW, LinearEngine, Method, method_of
from synth.evidence import LayerEvidence, Probes
from synth.fronts import error_of
from synth.layers import Head
from synth.schedule import search_unit

COLUMNS = 10
NOISE = 1e-3  # of the RMS weight, added to every planted weight, zeros included


def front_of(evidence: LayerEvidence, channel: int):
    unit = unit_evidence(evidence, channel)
    return search_unit(unit, [LinearEngine()], budget=2000, seed=0).front


def programs_of(evidence: LayerEvidence, channel: int) -> list[Node]:
    return [c.program for c in front_of(evidence, channel)]


def disturbed(rows: np.ndarray, *, noise: float = NOISE) -> np.ndarray:
    """Planted weights with noise on every weight."""
    scale = noise * np.sqrt((rows**2).mean())
    return rows + scale * np.random.default_rng(3).standard_normal(rows.shape)


def drawn(terms: int, seed: int) -> tuple[dict[int, float], float]:
    """Sparse dyadic weights by column, and a bias, in eighths."""
    generator = np.random.default_rng(seed)
    columns = generator.choice(COLUMNS, terms, replace=False).tolist()
    sizes = generator.integers(4, 16, terms) * generator.choice([-1, 1], terms) / 8
    return dict(zip(columns, sizes.tolist(), strict=True)), float(generator.integers(-3, 4)) / 8


def row(weights: dict[int, float]) -> np.ndarray:
    full = np.zeros(COLUMNS)
    full[list(weights)] = list(weights.values())
    return full


@pytest.mark.parametrize("noise", [0.0, NOISE])
def test_planted_units_come_back(noise):
    """Sparse dyadic units under every head are front points, exactly, noise or not."""
    plan = [(h, *drawn(k, 10 * i + k)) for i, h in enumerate(HEADS) for k in (1, 4)]
    weights = disturbed(np.array([row(w) for _, w, _ in plan]), noise=noise)
    layer = dense_layer(list(weights), [b for *_, b in plan], [h for h, *_ in plan])
    evidence = dense_evidence(layer)
    for channel, (head, values, bias) in enumerate(plan):
        assert planted(head, values, bias) in programs_of(evidence, channel)


def test_copies_and_negations_come_back():
    """A unit equal to an earlier one, or to its negation before the head, refers to it."""
    (first, bias), (second, other) = drawn(4, 1), drawn(4, 2)
    rows = np.array([row(first), row(second), row(first), -row(second), row(first)])
    biases, heads = [bias, other, bias, -other, bias], [RELU, RELU, RELU, RELU, Head("sigmoid")]
    evidence = dense_evidence(dense_layer(list(disturbed(rows)), biases, heads))
    assert tap("fc1", 0) in programs_of(evidence, 2)
    assert call("relu", linear([(-1.0, tap("fc1:pre", 1))])) in programs_of(evidence, 3)
    own = {tap("fc1", j) for j in range(5)}
    assert own.isdisjoint(programs_of(evidence, 4))  # another head: no copy
    assert own.isdisjoint(programs_of(evidence, 0))  # nothing before it


@pytest.mark.parametrize("head", [IDENTITY, Head("tanh"), Head("sigmoid"), RELU])
def test_constant_units_come_back(head):
    """A unit without weights is a constant with no error at all, whatever its value."""
    layer = dense_layer([np.zeros(COLUMNS)], [0.7], [head])
    evidence = dense_evidence(layer)
    exact = [c for c in front_of(evidence, 0) if c.worst == 0 and error_of(c) == 0]
    assert exact and exact[0].program == const(float(evidence.target[0, 0]))


@pytest.mark.parametrize("head", HEADS, ids=lambda h: h.op)
def test_fronts_go_from_a_constant_to_exact(head):
    """A dense unit's front has at least 8 points, from a constant to an FVU of at most 1e-9."""
    generator = np.random.default_rng(5)
    weights = generator.standard_normal((1, COLUMNS))
    evidence = dense_evidence(dense_layer(list(weights), [0.1], [head]))
    front = front_of(evidence, 0)
    assert len(front) >= 8
    assert front[0].program.op == "const"
    assert error_of(front[-1]) <= 1e-9
    assert front[-1].bound <= 1e-4 * float(evidence.ranges.span[0])


def test_budget_and_repetition():
    """`propose` gives at most `budget` programs, the same ones again, rough ones first."""
    weights = np.random.default_rng(5).standard_normal((1, COLUMNS))
    unit = unit_evidence(dense_evidence(dense_layer(list(weights), [0.1], [RELU])))
    engine = LinearEngine()
    everything = list(engine.propose(unit, budget=10_000, seed=0))
    assert list(engine.propose(unit, budget=7, seed=0)) == everything[:7]
    assert list(engine.propose(unit, budget=10_000, seed=0)) == everything
    assert everything[0] == const(0.0)


def test_head_parameters_are_on_the_human_grid():
    """A noisy slope is snapped in coarse programs and kept in the exact ones."""
    head = Head("prelu", (("slope", 0.2503),))
    values, bias = drawn(3, 2)
    evidence = dense_evidence(dense_layer([row(values)], [bias], [head]))
    slopes = [n["slope"] for p in programs_of(evidence, 0) for n in walk(p) if n.op == "prelu"]
    spec = CORE["prelu"].parameter("slope")
    assert spec.snap(0.2503) in slopes and slopes[-1] == 0.2503


def grid(values: np.ndarray) -> float:
    """The largest power of two that divides all values."""
    step = 2.0**10
    while np.any(values / step != np.round(values / step)):
        step /= 2
    return step


@settings(max_examples=15)
@given(st.integers(0, 2**31), st.sampled_from(HEADS), st.integers(1, 6))
def test_refit_keeps_support_and_grid(seed, head, terms):
    """A re-fit changes constants only: its taps are among the old, on the old grid, same head."""
    generator = np.random.default_rng(seed)
    layer = dense_layer([generator.standard_normal(COLUMNS)], [0.2], [head])
    unit = unit_evidence(dense_evidence(layer, random_probes((COLUMNS,), fit=80, select=20)))
    constants = np.zeros(COLUMNS + 1)
    chosen = generator.choice(COLUMNS, terms, replace=False)
    constants[chosen] = generator.integers(1, 16, terms) / 8
    constants[-1] = generator.integers(-9, 10) / 16
    program = with_head(head, weighted_taps(unit.scope, constants))
    fitted = LinearEngine().refit(program, unit)
    assert fitted is not None and (fitted.op == program.op or head.op == "identity")
    (before,), after = hoist(program, CORE).rows, hoist(fitted, CORE).rows
    new = after[0] if after else None
    assert new is None or set(new.weights) <= set(before.weights)
    steps = grid(np.array(list(before.weights.values())))
    assert new is None or grid(np.array(list(new.weights.values()))) >= steps


def test_refit_of_the_optimum_is_itself():
    """The planted program, re-fitted on the sources that it was planted on, stays as it is."""
    values, bias = drawn(4, 7)
    unit = unit_evidence(dense_evidence(dense_layer([row(values)], [bias], [RELU])))
    program = planted(RELU, values, bias)
    assert LinearEngine().refit(program, unit) == program


def test_refit_mends_replaced_sources():
    """On sources of twice the size the re-fitted weights are half as large.

    The same for replaced sources of the same layer, whose targets are those of the original ones.
    """
    values, bias = {1: 1.5, 4: -0.5}, 0.25
    evidence = dense_evidence(dense_layer([row(values)], [bias], [RELU]))
    doubled = dense_evidence(dense_layer([row(values) / 2], [bias], [RELU]), _doubled())
    program = planted(RELU, values | {2: 0.125}, bias)
    fitted = LinearEngine().refit(program, UnitEvidence(doubled, 0, CORE))
    assert fitted == planted(RELU, {1: 0.75, 4: -0.25}, bias)
    assert LinearEngine().refit(program, unit_evidence(evidence)) == planted(RELU, values, bias)
    replaced = UnitEvidence(evidence, 0, CORE, evidence.patches * 2)
    assert LinearEngine().refit(program, replaced) == planted(RELU, {1: 0.75, 4: -0.25}, bias)


def _doubled() -> Probes:
    probes = random_probes((COLUMNS,))
    return Probes(*(Inputs([p.batch()[0] * 2]) for p in (probes.fit, probes.select)))


@pytest.mark.parametrize(
    "program",
    [
        const(0.5),
        tap("fc1", 0),
        call("relu", linear([(-1.0, tap("fc1:pre", 0))])),
        call("max", tap(BANK, 0), call("relu", tap(BANK, 1))),
    ],
)
def test_nothing_to_refit(program):
    """Constants, references to siblings and bent programs have no constants to fit again."""
    values, bias = drawn(4, 7)
    layer = dense_layer([row(values)] * 2, [bias] * 2, [RELU] * 2)
    assert LinearEngine().refit(program, unit_evidence(dense_evidence(layer), 1)) is None


# what runs


def is_single(program: Node) -> bool:
    """Whether a float32 holds every constant of a program."""
    rows = hoist(program, CORE).rows
    numbers = np.array([v for r in rows for v in (*r.weights.values(), r.bias)])
    return np.array_equal(numbers, numbers.astype(np.float32))


@pytest.mark.parametrize("bias", [0.1, 1000.1, -123456.7])
def test_constants_are_float32(bias):
    """What is proved is what runs: no constant of a program needs more bits than a float32."""
    evidence = dense_evidence(dense_layer([row({0: 0.01, 3: -0.02})], [bias], [IDENTITY]))
    assert all(is_single(program) for program in programs_of(evidence, 0))


@pytest.mark.parametrize("size", [1.0, 1e3, 1e6])
def test_refitted_constants_are_float32(size):
    """A bias that is millions of steps large, and moves, still fits a float32."""
    values = {0: 3 * 2.0**-9, 3: -(2.0**-9)}
    evidence = dense_evidence(dense_layer([row(values)], [size / 3], [IDENTITY]))
    patches = evidence.patches + np.eye(1, COLUMNS, dtype=np.float32)  # one more of column 0
    program = planted(IDENTITY, values, float(np.float32(size / 3)))
    fitted = LinearEngine().refit(program, UnitEvidence(evidence, 0, CORE, patches))
    assert fitted is not None and is_single(fitted)
    (affine,) = hoist(fitted, CORE).rows
    weights = row({key[1]: weight for key, weight in affine.weights.items()})
    errors = patches @ weights + affine.bias - evidence.pre[:, 0]
    assert np.abs(errors).max() <= 2.0**-9 + 2.0**-22 * size


# units of many weights

MANY = NARROW + 44


@pytest.fixture(params=[256, 32], ids=["all tell", "some tell"])
def telling(request, monkeypatch):
    """Layers of this file as if they were too large to be searched weight by weight."""
    monkeypatch.setattr(linear_engine, "EXACT", 0)
    monkeypatch.setattr(linear_engine, "TELLING", request.param)
    return request.param


@pytest.mark.parametrize(
    ("units", "fan", "expected"),
    [
        (4096, 128, Method.EXACT),
        (10, 300, Method.EXACT),
        (10, 588, Method.WIDE),
        (256, 1152, Method.WIDE),
    ],
)
def test_methods_follow_from_sizes(units, fan, expected):
    """Small layers get the better method, and large ones one whose cost they can bear."""
    assert (
        method_of(dense_layer(np.zeros((units, fan)), np.zeros(units), [IDENTITY] * units))
        is expected
    )


def wide_evidence(
    weights: np.ndarray, head: Head, *, bias: float = 0.25, correlation: float = 0.5, seed: int = 1
) -> LayerEvidence:
    """Evidence of one unit of `MANY` weights on correlated inputs."""
    rows = correlated(900, MANY, correlation, seed)
    probes = Probes(Inputs([rows[:700]]), Inputs([rows[700:]]))
    return dense_evidence(dense_layer([weights], [bias], [head]), probes)


def wide_weights(terms: int) -> dict[int, float]:
    """Sparse dyadic weights of a wide unit by column, in eighths."""
    generator = np.random.default_rng(terms)
    columns = generator.choice(MANY, terms, replace=False).tolist()
    sizes = generator.integers(4, 16, terms) * generator.choice([-1, 1], terms) / 8
    return dict(zip(columns, sizes.tolist(), strict=True))


def wide_row(weights: Mapping[int, float]) -> np.ndarray:
    full = np.zeros(MANY)
    full[list(weights)] = list(weights.values())
    return full


@pytest.mark.parametrize("head", [HEADS[i] for i in (0, 1, 3, 6)], ids=lambda h: h.op)
@pytest.mark.parametrize(("correlation", "noise"), [(0.9, 0.0), (0.0, NOISE), (0.9, NOISE)])
def test_planted_wide_units_come_back(head, correlation, noise, telling):
    """Sparse dyadic units of too many weights to be searched one by one are front points too."""
    for terms in (3, 40):
        values = wide_weights(terms)
        weights = disturbed(wide_row(values)[None], noise=noise)[0]
        evidence = wide_evidence(weights, head, correlation=correlation)
        assert planted(head, values, 0.25) in programs_of(evidence, 0)


def test_wide_fronts_go_from_a_constant_to_exact(telling):
    """A dense wide unit's front has its points a good deal apart, and an FVU of at most 1e-8."""
    weights = np.random.default_rng(5).standard_normal(MANY)
    evidence = wide_evidence(weights, RELU)
    front = front_of(evidence, 0)
    assert front[0].program.op == "const" and error_of(front[-1]) <= 1e-8
    assert len(front) >= 8
    bits = np.array([c.bits for c in front if c.program.op != "const"])
    assert np.median(bits[1:] / bits[:-1]) > 1.05
    assert all(is_single(c.program) for c in front)


@pytest.mark.parametrize("constant", [0.1, 1000.1, 1e8])
def test_wide_constants_are_float32(constant, telling):
    """An input that never changes goes into the bias, and a float32 still holds that."""
    generator = np.random.default_rng(6)
    rows = generator.standard_normal((500, MANY))
    rows[:, 0] = constant
    probes = Probes(Inputs([rows[:400]]), Inputs([rows[400:]]))
    layer = dense_layer([generator.uniform(0.5, 1.0, MANY)], [0.0], [IDENTITY])
    unit = unit_evidence(dense_evidence(layer, probes))
    programs = list(LinearEngine().propose(unit, budget=2000, seed=0))
    biases = [abs(r.bias) for p in programs for r in hoist(p, CORE).rows]
    assert max(biases) > constant / 1000
    assert all(is_single(program) for program in programs)


@pytest.mark.parametrize("shift", [1.0, 1e6])
def test_wide_refits_move_the_bias(shift):
    """Of a program of many terms a re-fit changes the bias alone, which a float32 still holds."""
    values = wide_weights(NARROW + 4)
    evidence = wide_evidence(wide_row(values), IDENTITY)
    program = planted(IDENTITY, values, 0.25)
    moved = UnitEvidence(evidence, 0, CORE, evidence.patches + np.float32(shift))
    fitted = LinearEngine().refit(program, moved)
    assert fitted is not None and is_single(fitted)
    (before,), (after,) = hoist(program, CORE).rows, hoist(fitted, CORE).rows
    assert after.weights == before.weights
    expected = 0.25 - shift * sum(values.values())
    assert after.bias == pytest.approx(expected, rel=1e-6, abs=1 / 32)
    assert LinearEngine().refit(program, unit_evidence(evidence)) == program
