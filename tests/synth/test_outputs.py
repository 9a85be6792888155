"""Outputs: read as distributions and answers, the same way for original and replacement."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from synth.batches import Inputs
from synth.outputs import (
    Reading,
    accuracy,
    agreement,
    answers,
    cross_entropy,
    judged,
    kl_divergence,
    log_probabilities,
    named,
    reading_of,
    run_batches,
)

LOGITS = st.lists(
    st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=1, max_size=5
)


def test_batches_are_fixed_and_lose_nothing():
    """600 probes run in batches of 256, in order, without gradients, as float32."""
    sizes = []

    def module(x: Tensor) -> Tensor:
        sizes.append(len(x))
        assert not torch.is_grad_enabled()
        return 2 * x

    inputs = np.random.default_rng(0).standard_normal((600, 3))
    found = run_batches(module, Inputs([inputs]))
    assert sizes == [256, 256, 88]
    assert found.dtype == torch.float32
    assert torch.equal(found, 2 * torch.from_numpy(inputs).float())
    assert torch.equal(run_batches(module, Inputs([inputs]), batch=7), found)


FIVE = Inputs([np.zeros((5, 1))])


def test_several_inputs_and_outputs_run():
    """A module gets an argument for each input, and `pick` takes the judged output."""
    left, right = np.arange(6.0).reshape(3, 2), np.arange(3.0)[:, None]

    def module(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return a, a + 10 * b

    found = run_batches(module, Inputs([left, right]), pick=lambda outputs: outputs[1])
    assert found.tolist() == [[0, 1], [12, 13], [24, 25]]


OUTPUTS = {
    "logits": torch.zeros(2, 3),
    "aux": {"box": torch.ones(2, 4), "text": "no tensor"},
}


def test_outputs_have_names():
    """Names are keys of dicts, and places where there is none; what is no tensor has none."""
    a, b, c = (torch.full((1, 1), float(i)) for i in range(3))
    assert list(named(a)) == ["output"]
    assert list(named((a, [b, None], c))) == ["output", "output_1", "output_2"]
    assert list(named(OUTPUTS)) == ["logits", "aux.box"]
    assert list(named([{"x": a}, {"x": b}])) == ["x", "x_1"]


def test_the_judged_output_is_named_or_alone():
    """By name, by place, or without either where there is only one."""
    box = OUTPUTS["aux"]["box"]  # type: ignore[index]
    assert judged(OUTPUTS, "aux.box") is judged(OUTPUTS, 1) is judged([box]) is box


@pytest.mark.parametrize(
    ("which", "expected"),
    [
        (None, r"^the network returns logits \(2, 3\), aux.box \(2, 4\): say which"),
        ("box", r"network.output = 'box', but the network returns logits \(2, 3\)"),
        (2, r"network.output = 2, but the network returns"),
        (-1, r"network.output = -1, but"),
    ],
)
def test_a_judged_output_that_is_not_there(which, expected):
    """The error lists all outputs with their shapes and says what to set."""
    with pytest.raises(ValueError, match=expected):
        judged(OUTPUTS, which)
    with pytest.raises(ValueError, match="returns no tensor"):
        judged({"text": "x"}, which)


def test_divergences_do_not_depend_on_their_number():
    """Many probes are compared in parts; each divergence is what it is alone."""
    torch.manual_seed(0)
    p, q = torch.randn(600, 4), torch.randn(600, 4)
    found = kl_divergence(p, q, Reading.LOGITS)
    assert torch.equal(found[270:300], kl_divergence(p[270:300], q[270:300], Reading.LOGITS))
    assert len(found) == 600


@pytest.mark.parametrize(
    ("shape", "rows"), [((5,), (5, 1)), ((5, 3, 1, 1), (5, 3)), ((5, 2), (5, 2))]
)
def test_outputs_become_rows(shape, rows):
    """Scalars become a column, and sizes of one are dropped."""
    assert run_batches(lambda x: torch.zeros(shape), FIVE).shape == rows


def test_maps_are_refused():
    """A network that returns maps is told how to be wrapped."""
    with pytest.raises(ValueError, match=r"returns \(5, 3, 2, 2\).*mean over positions"):
        run_batches(lambda x: torch.zeros(5, 3, 2, 2), FIVE)


@pytest.mark.parametrize(
    ("outputs", "reading"),
    [
        ([[0.5, 0.5], [1.0, 0.0]], Reading.PROBABILITIES),
        ([[0.5, 0.5], [1.0, 0.5]], Reading.LOGITS),
        ([[-0.5, 1.5]], Reading.LOGITS),
        ([[0.2], [1.0]], Reading.PROBABILITY),
        ([[0.2], [1.5]], Reading.LOGIT),
        ([[math.nan, 1.0]], Reading.LOGITS),
    ],
)
def test_what_outputs_are(outputs, reading):
    """Probabilities are recognised by their sign and sum, and by their range if there is one."""
    assert reading_of(torch.tensor(outputs)) is reading


def test_softmax_networks_are_read_as_distributions():
    """A network with a softmax at its end has the divergences of the network without."""
    torch.manual_seed(0)
    a, b = torch.randn(9, 4), torch.randn(9, 4)
    expected = kl_divergence(a, b)
    found = kl_divergence(a.softmax(1), b.softmax(1))
    assert torch.allclose(found, expected, atol=1e-6)
    assert torch.allclose(kl_divergence(a.log_softmax(1), b.log_softmax(1)), expected, atol=1e-6)


def test_divergence_by_hand():
    """KL of (3/4, 1/4) from (1/2, 1/2), in nats, and not the other way round."""
    p, q = torch.tensor([[math.log(3.0), 0.0]]), torch.zeros(1, 2)
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert kl_divergence(p, q).item() == pytest.approx(expected)
    single = kl_divergence(torch.tensor([[-math.log(3.0)]]), torch.zeros(1, 1))
    assert single.item() == pytest.approx(expected)


@given(LOGITS, LOGITS)
def test_divergence_is_positive_and_blind_to_shifts(a, b):
    """KL is finite and never negative, zero for equals, and logits have no origin."""
    count = min(len(a), len(b))
    p, q = (torch.tensor(v[:count], dtype=torch.float32) for v in (a, b))
    found = kl_divergence(p, q, Reading.LOGITS)
    assert found.dtype == torch.float64
    assert bool((found >= 0).all()) and bool(found.isfinite().all())
    assert kl_divergence(p, p).abs().max() == 0
    assert torch.allclose(found, kl_divergence(p, q + 1, Reading.LOGITS), atol=1e-4)


def test_broken_outputs_are_infinitely_far():
    """NaN gives an infinite divergence and no answer; a masked class of no weight gives none."""
    good, bad = torch.tensor([[1.0, 2.0]]), torch.tensor([[math.nan, 2.0]])
    assert kl_divergence(good, bad).item() == math.inf
    assert answers(bad).item() == -1
    assert agreement(good, bad) == agreement(bad, bad) == 0.0
    masked = torch.tensor([[-math.inf, 2.0]])
    assert kl_divergence(masked, masked).item() == 0.0
    assert kl_divergence(good, masked).item() == math.inf


def test_ties_are_resolved_alike():
    """Among equal outputs the first is the answer, so that equal outputs agree."""
    tied = torch.tensor([[1.0, 3.0, 3.0], [0.0, 0.0, 0.0]])
    assert answers(tied).tolist() == [1, 0]
    assert agreement(tied, tied.clone()) == 1.0


def test_single_outputs_answer_by_sign_or_by_half():
    """A logit answers by its sign; a probability, which is never negative, by a half."""
    logits = torch.tensor([[-2.0], [0.5], [3.0]])
    assert answers(logits).tolist() == [0, 1, 1]
    assert answers(logits.sigmoid()).tolist() == [0, 1, 1]
    assert agreement(logits, torch.tensor([[-1.0], [-0.1], [9.0]])) == pytest.approx(2 / 3)


def test_the_original_decides_how_both_are_read():
    """A replacement of logits that happens to look like probabilities is still read as logits."""
    original, replaced = torch.tensor([[2.0], [-1.0]]), torch.tensor([[0.2], [0.1]])
    assert agreement(original, replaced) == 0.5


def test_accuracy_and_cross_entropy_by_hand():
    """One of two right; the loss is the mean negative log probability of the labels."""
    outputs, labels = torch.tensor([[2.0, 0.0], [1.0, 0.0]]), torch.tensor([0, 1])
    assert accuracy(outputs, labels) == 0.5
    expected = [math.log1p(math.exp(-2)), math.log1p(math.exp(1))]
    assert cross_entropy(outputs, labels).tolist() == pytest.approx(expected)
    single = cross_entropy(torch.tensor([[2.0], [-1.0]]), torch.tensor([1, 1]))
    assert single.tolist() == pytest.approx(expected)


def test_labels_without_a_class_are_refused():
    """The error names the label and the number of classes."""
    with pytest.raises(ValueError, match=r"label 2 .* 2 classes"):
        cross_entropy(torch.zeros(1, 2), torch.tensor([2]))


def test_shapes_must_agree():
    """Outputs of another shape are not compared."""
    with pytest.raises(ValueError, match=r"\(2, 3\) and \(2, 4\)"):
        kl_divergence(torch.zeros(2, 3), torch.zeros(2, 4))


def test_log_probabilities_have_gradients():
    """The gradient of log p(y | x) reaches the network."""
    layer = nn.Linear(3, 2)
    log_probabilities(layer(torch.ones(1, 3)))[0, 0].backward()
    assert layer.weight.grad is not None and layer.weight.grad.abs().sum() > 0
