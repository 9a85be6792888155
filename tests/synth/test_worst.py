"""What the falsifier finds of whole networks: planted differences, and no point outside."""

import time

import numpy as np
import pytest
import torch
from small import BANK, CORE, chosen, read, seeded
from torch import nn

from grammars.program import Node, linear, tap
from synth.assembly import LayerChoice
from synth.batches import Inputs
from synth.certify.proofs import Ball, prove_balls
from synth.certify.walk import Certifier
from synth.certify.worst import Runs, overshoot, search_balls, searched_box
from synth.network import Network
from synth.outputs import Reading

RADIUS = 0.25
MOVED = {0: 0.5, 2: -0.25}  # of the second unit's weights


def planted() -> tuple[Network, list[LayerChoice]]:
    """Two units without a head, and programs of which one has two weights moved."""
    network = read(seeded(nn.Linear(4, 2)), (4,))
    (layer,) = network.layers
    weights = layer.weight.astype(np.float64) + 0.0
    for column, change in MOVED.items():
        weights[1, column] += change
    return network, [chosen(layer, [row(w, b) for w, b in zip(weights, layer.bias, strict=True)])]


def row(weights: np.ndarray, bias: float) -> Node:
    terms = [(float(w), tap(BANK, i)) for i, w in enumerate(weights)]
    return linear(terms, float(bias))


def searched(ball: Ball) -> tuple[list[dict], Inputs]:
    network, choices = planted()
    certifier = Certifier.of(network, choices, CORE)
    inputs = Inputs([torch.rand(6, 4, generator=torch.Generator().manual_seed(2))])
    rows = prove_balls(certifier, inputs, ball, Reading.LOGITS)
    runs = Runs.of(certifier, choices, CORE)
    return search_balls(runs, inputs, ball, rows, until=time.monotonic() + 60), inputs


@pytest.mark.parametrize(("norm", "near"), [(np.inf, 1e-9), (2.0, 0.02)])
def test_the_planted_difference_is_found(norm: float, near: float) -> None:
    """In every ball: that of its probe, and the radius times the dual norm of what was moved."""
    changes = np.zeros(4)
    changes[list(MOVED)] = list(MOVED.values())
    sizes = {np.inf: np.abs(changes).sum(), 2.0: np.sqrt((changes**2).sum())}
    rows, inputs = searched(Ball(RADIUS, norm))
    (points,) = inputs.batch()
    truths = np.abs(points.double().numpy() @ changes) + RADIUS * sizes[norm]
    found = np.array([row["counterexample"] for row in rows])
    assert (found <= truths * (1 + 1e-7)).all() and (found >= truths * (1 - near)).all()
    ratios = [row["overshoot"] for row in rows]
    assert all(1 - 1e-7 <= ratio <= 1 / (1 - near) + 1e-6 for ratio in ratios)


def test_a_cut_ball_and_a_point() -> None:
    """Inputs that cannot be are not counterexamples, and a point has one difference."""
    cut, inputs = searched(Ball(5.0, within=(0.0, 1.0)))
    assert all(row["counterexample"] == pytest.approx(0.5) for row in cut)  # at 1, 0, 0, 0
    at, _ = searched(Ball(0.0))
    (points,) = inputs.batch()
    wanted = (0.5 * points[:, 0] - 0.25 * points[:, 2]).abs().tolist()
    assert [row["counterexample"] for row in at] == pytest.approx(wanted, rel=1e-5)


def test_what_time_is_too_short_for() -> None:
    """A probe that nothing was looked for around has no counterexample, and is not counted."""
    network, choices = planted()
    certifier = Certifier.of(network, choices, CORE)
    inputs = Inputs([torch.rand(3, 4)])
    rows = prove_balls(certifier, inputs, Ball(0.1), Reading.LOGITS)
    runs = Runs.of(certifier, choices, CORE)
    rows = search_balls(runs, inputs, Ball(0.1), rows, until=time.monotonic() - 1)
    assert [(r["counterexample"], r["overshoot"]) for r in rows] == [(None, None)] * 3
    assert overshoot(None, 1.0) is None and overshoot(1.0, 0.0) is None


def test_a_box_has_a_point() -> None:
    """The largest difference in a box, and the corner of it."""
    network, choices = planted()
    runs = Runs.of(Certifier.of(network, choices, CORE), choices, CORE)
    found = searched_box(runs, torch.zeros(4).double(), torch.ones(4).double(), 1.0)
    assert found["counterexample"] == pytest.approx(0.5) and found["point"][::2] == [1.0, 0.0]
    assert found["overshoot"] == 1.0 / found["counterexample"]
