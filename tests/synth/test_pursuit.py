"""Forward selection takes the inputs that explain most, in one block or in several."""

from itertools import combinations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from small import IDENTITY, correlated, dense_evidence, dense_layer, random_probes, read
from torch import nn

import synth.survey as survey
from synth.batches import Inputs
from synth.evidence import LayerEvidence, Probes, gather
from synth.metric import own_constants
from synth.pursuit import most_telling

COLUMNS = 24


def evidence_of(weights: np.ndarray, *, correlation: float = 0.0, seed: int = 0) -> LayerEvidence:
    """Evidence of one dense unit on normal probes, each pair of columns with that correlation."""
    rows = correlated(600, len(weights), correlation, seed)
    probes = Probes(Inputs([rows[:500]]), Inputs([rows[500:]]))
    return dense_evidence(dense_layer([weights], [0.25], [IDENTITY]), probes)


def unexplained(evidence: LayerEvidence, support: np.ndarray) -> float:
    """The mean square of what the best constants on a support leave of the pre-activation."""
    (gram,), cross = evidence.moments.gram, evidence.moments.cross[:, 0]
    keep, own = np.append(support, -1), own_constants(evidence, 0)
    return float(own @ cross - cross[keep] @ np.linalg.solve(gram[np.ix_(keep, keep)], cross[keep]))


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.9]), st.integers(1, 12))
def test_planted_inputs_are_taken(seed, correlation, terms):
    """The inputs that a unit reads are the ones that tell, however alike inputs are."""
    generator = np.random.default_rng(seed)
    support = np.sort(generator.choice(COLUMNS, terms, replace=False))
    weights = np.zeros(COLUMNS)
    weights[support] = generator.choice([-1, 1], terms) * generator.uniform(0.5, 1.0, terms)
    evidence = evidence_of(weights, correlation=correlation, seed=seed)
    found = most_telling(evidence, 0, terms + 6)
    assert set(support) <= set(found) and len(found) == min(terms + 6, COLUMNS)
    assert (np.diff(found) > 0).all()


@settings(max_examples=30)
@given(st.integers(0, 2**31), st.sampled_from([0.0, 0.6, 0.95]))
def test_each_input_is_the_best_beside_those_before(seed, correlation):
    """The next input is the one that leaves least: that is what the factorisation computes."""
    weights = np.random.default_rng(seed).standard_normal(8)
    evidence, before = evidence_of(weights, correlation=correlation, seed=seed), set()
    for count in range(1, 8):
        found = set(most_telling(evidence, 0, count).tolist())
        assert before < found
        rivals = [sorted(before | {i}) for i in set(range(8)) - before]
        least = min(unexplained(evidence, np.array(r)) for r in rivals)
        assert unexplained(evidence, np.array(sorted(found))) <= least + 1e-5
        before = found


def test_few_are_near_to_the_best_of_all():
    """Of all triples, the three that are taken leave at most twice what the best ones leave."""
    for seed in range(5):
        weights = np.random.default_rng(seed).standard_normal(10)
        evidence = evidence_of(weights, correlation=0.8, seed=seed)
        best = min(unexplained(evidence, np.array(t)) for t in combinations(range(10), 3))
        assert unexplained(evidence, most_telling(evidence, 0, 3)) <= 2 * best


@pytest.mark.parametrize("count", [0, 1, COLUMNS, COLUMNS + 9])
def test_counts(count):
    """As many as asked for, if there are so many."""
    found = most_telling(evidence_of(np.ones(COLUMNS)), 0, count)
    assert found.tolist() == sorted(set(found.tolist())) and len(found) == min(count, COLUMNS)


def test_inputs_that_do_not_move_come_last():
    """A column that never changes, or is a copy of another, tells nothing more."""
    rows = np.random.default_rng(0).standard_normal((600, 6)).astype(np.float32)
    rows[:, 1], rows[:, 4] = 3.0, rows[:, 0]
    probes = Probes(Inputs([rows[:500]]), Inputs([rows[500:]]))
    evidence = dense_evidence(dense_layer([np.ones(6)], [0.0], [IDENTITY]), probes)
    found = set(most_telling(evidence, 0, 4).tolist())
    assert 1 not in found and len(found & {0, 4}) == 1


def test_in_blocks_inputs_come_from_all(monkeypatch):
    """In several blocks, the last one filled up, the planted inputs of each are found."""
    monkeypatch.setattr(survey, "BLOCK", 10)
    weights = np.zeros(COLUMNS)
    weights[[0, 9, 12, 23]] = [1.0, -0.8, 0.9, 1.2]
    evidence = evidence_of(weights)
    assert len(evidence.moments.gram) == 3
    assert most_telling(evidence, 0, 4).tolist() == [0, 9, 12, 23]


def test_a_grouped_unit_counts_its_own_columns():
    """What tells most about a unit of a group is what does so in a layer of its group alone."""
    torch.manual_seed(0)
    probes = random_probes((12, 1, 1))
    (grouped,) = gather(read(nn.Conv2d(12, 6, 1, groups=3), (12, 1, 1)), probes, seed=0)
    for channel in range(6):
        part = grouped.layer.part(channel)
        own = Probes(*(Inputs([p.arrays[0][:, part, 0, 0]]) for p in (probes.fit, probes.select)))
        weights, bias = grouped.layer.weight[channel], float(grouped.layer.bias[channel])
        alone = dense_evidence(dense_layer([weights], [bias], [IDENTITY]), own)
        assert most_telling(grouped, channel, 2).tolist() == most_telling(alone, 0, 2).tolist()
