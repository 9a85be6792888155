"""Long programs get new biases on replaced sources: all at once as one by one, and the best."""

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small import BANK, CORE, HEADS, dense_evidence, dense_layer

from grammars.program import Node, call, const, linear, tap, terms_of
from synth import shifting
from synth.engine import with_head
from synth.evidence import LayerEvidence
from synth.metric import FLOOR
from synth.shifting import is_long, shifted

COLUMNS = 9


@pytest.fixture(autouse=True, scope="module")
def _short() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shifting, "LONG", 4)
        yield


@pytest.fixture(scope="module")
def evidence() -> LayerEvidence:
    """A unit under every head."""
    generator = np.random.default_rng(0)
    weights = generator.standard_normal((len(HEADS), COLUMNS))
    return dense_evidence(dense_layer(list(weights), [0.1] * len(HEADS), HEADS))


def sums(step: float = 1 / 8, bias: float = 0.5) -> list[Node]:
    """A long program for each unit, of weights on a grid."""
    generator = np.random.default_rng(1)
    rows = generator.integers(1, 9, (len(HEADS), COLUMNS)) * step
    terms = [[(w, tap(BANK, i)) for i, w in enumerate(row.tolist())] for row in rows]
    return [with_head(h, linear(t, bias)) for h, t in zip(HEADS, terms, strict=True)]


def pre_of(program: Node) -> Node:
    return program if program.op == "linear" else program.args[0]


def test_what_is_long():
    """One sum of many taps, under a head or not; nothing bent, nothing short."""
    (plain, headed, *_) = sums()
    assert is_long(plain, CORE) and is_long(headed, CORE)
    assert not is_long(const(1.0), CORE) and not is_long(tap(BANK, 0), CORE)
    assert not is_long(call("relu", linear([(0.5, tap(BANK, i)) for i in range(4)])), CORE)
    bent = linear([(0.5, headed), *((0.5, tap(BANK, i)) for i in range(8))])
    assert not is_long(bent, CORE) and not is_long(call("max", plain, headed), CORE)


@pytest.mark.parametrize("used", [shifting.ROWS_USED, 100])
def test_all_at_once_are_as_one_by_one(evidence, monkeypatch, used):
    """Programs keep order, heads and weights, and get the biases that they would get alone."""
    monkeypatch.setattr(shifting, "ROWS_USED", used)
    replaced = evidence.patches + np.float32(0.3)
    pairs = list(enumerate(sums()))[::-1]
    found = shifted(evidence, replaced, pairs, CORE)
    assert found == [shifted(evidence, replaced, [pair], CORE)[0] for pair in pairs]
    for (_, before), after in zip(pairs, found, strict=True):
        assert (after.op, after.params) == (before.op, before.params) or before.op == "linear"
        assert terms_of(pre_of(after))[0] == terms_of(pre_of(before))[0]
    assert shifted(evidence, replaced, [], CORE) == []


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.integers(0, len(HEADS) - 1))
def test_no_other_bias_loses_less(evidence, seed, channel):
    """On its grid the new bias has the least error, weighted by where the unit's head is open."""
    noise = np.random.default_rng(seed).standard_normal(evidence.patches.shape) / 4
    replaced = (evidence.patches + noise + 0.2).astype(np.float32)
    (after,) = shifted(evidence, replaced, [(channel, sums()[channel])], CORE)
    terms, bias = terms_of(pre_of(after))
    rows = evidence.fit
    share = evidence.gates(channel)[rows] + FLOOR
    error = evidence.pre[rows, channel] - replaced[rows] @ np.array([w for w, _ in terms])
    losses = [float((share * (error - bias - d) ** 2).sum()) for d in (-1 / 32, 0.0, 1 / 32)]
    assert bias * 32 == round(bias * 32)
    assert losses[1] <= min(losses) * (1 + 1e-6)


@pytest.mark.parametrize("size", [1.0, 1e4, 1e8])
def test_biases_are_float32(evidence, size):
    """However far the sources have moved, a float32 holds the new bias."""
    replaced = (evidence.patches + size / 3).astype(np.float32)
    for program in shifted(evidence, replaced, list(enumerate(sums(2.0**-12, 1 / 3))), CORE):
        _, bias = terms_of(pre_of(program))
        assert abs(bias) > 1e-3 * size and float(np.float32(bias)) == bias
