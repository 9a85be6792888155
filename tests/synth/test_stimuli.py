"""Stimuli are the grammar's own shapes, within what the probes show, and turn as pictures do."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from grammars.grammar import load_grammar
from grammars.primitive import Primitive
from synth.batches import Inputs
from synth.errors import InputError
from synth.kernels.forms import Form, Window
from synth.network import Network, read_network
from synth.stimuli.families import FAMILIES, Family, Stimuli, sizes
from synth.stimuli.field import field_of, up_to
from synth.stimuli.screen import Screen, colours, screen_of

KERNELS = load_grammar(tags=("kernel",), installed=False)
TURNING = [family for family in FAMILIES if family.axis == "angle"]
families = st.sampled_from(FAMILIES)


def images(count: int, *shape: int, low: float = 0.0, high: float = 1.0) -> Inputs:
    generator = np.random.default_rng(0)
    return Inputs((generator.uniform(low, high, (count, *shape)).astype(np.float32),))


def network_of(*modules: nn.Module, shape: tuple[int, ...]) -> Network:
    torch.manual_seed(0)
    return read_network(nn.Sequential(*modules), torch.rand(2, *shape))


@given(st.sampled_from(TURNING), st.integers(3, 14), st.data())
def test_a_quarter_turn(family: Family, half: int, data: st.DataObject) -> None:
    """A stimulus turned by 90 degrees is the picture turned by 90 degrees.

    The middle of a circle lies in no direction from itself: there an arc may round either way.
    """
    stimuli = family.stimuli(float(half))
    one = stimuli.values[data.draw(st.integers(0, len(stimuli) - 1))]
    turned = one.copy()
    turned[stimuli.names.index("angle")] += 90
    pair = Stimuli(family, stimuli.names, np.stack([one, turned]))
    straight, quarter = pair.patterns((2 * half + 1, 2 * half + 1), (half, half))
    other = ~np.isclose(quarter, np.rot90(straight), rtol=0, atol=1e-9)
    assert other.sum() <= (family.name == "curve")
    assert np.abs(quarter - np.rot90(straight)).max() < 0.02


@given(families, st.floats(2, 40), st.floats(0, 12), st.floats(0, 12))
@settings(max_examples=40)
def test_pictures_are_within_the_range(family: Family, side: float, y: float, x: float) -> None:
    """No picture leaves what the probes show in any channel, and some reach an end of it."""
    low, high = np.array([-1.0, 0.0, 2.0]), np.array([1.0, 5.0, 2.5])
    background = np.array([0.25, 1.0, 2.25])
    screen = Screen((13, 11), background, low, high, np.array([0.5, -1.0, 0.25]))
    stimuli = family.stimuli(side)
    some = stimuli.take(np.arange(0, len(stimuli), max(len(stimuli) // 50, 1)))
    shown = screen.pictures(some, (y, x))
    assert shown.dtype == np.float32 and shown.shape == (len(some), 3, 13, 11)
    assert (shown >= low[:, None, None]).all() and (shown <= high[:, None, None]).all()


def test_contrast_is_the_largest() -> None:
    """Light on dark goes up to the largest value seen; a grating as far as both sides allow."""
    screen = Screen((9, 9), np.array([0.2]), np.array([0.0]), np.array([1.0]), np.array([1.0]))
    assert screen.light == pytest.approx(0.8) and screen.dark == pytest.approx(0.2)
    for family in FAMILIES:
        shown = screen.pictures(family.stimuli(7.0), (4.0, 4.0))
        top = 0.4 if family.name in ("grating", "edge") else 1.0
        assert shown.min() == pytest.approx(0.0, abs=1e-3)
        assert shown.max() == pytest.approx(top, abs=1e-3)


@given(families)
def test_shapes_are_the_grammars_own(family: Family) -> None:
    """Without an offset, a pattern is the primitive's formula at the pixels."""
    primitive: Primitive = KERNELS[family.primitive]
    stimuli = family.stimuli(6.0)
    names = [name for name, _ in primitive.parameters]
    place = len(stimuli) // 2
    given_ = stimuli.parameters(place)
    given_ |= {
        name: value for name, value in {"offset": 0.0, "sign": 1.0}.items() if name in given_
    }
    one = Stimuli(family, tuple(given_), np.array([list(given_.values())]))
    down, right = np.indices((9, 9)).reshape(2, -1) - 4.0
    defaults = {name: spec.default for name, spec in primitive.parameters}
    values = np.array([[{**defaults, **given_}[name] for name in names]])
    drawn = Form(primitive).kernels(values, Window(down, right)).reshape(9, 9)
    np.testing.assert_array_equal(one.patterns((9, 9), (4.0, 4.0))[0], drawn)


def test_sweeps() -> None:
    """Angles are in steps of 5 degrees; sizes grow with the receptive field, six at most."""
    for family in TURNING:
        angles = np.unique(family.stimuli(7.0).column("angle"))
        assert set(np.diff(angles)) == {5.0}
    assert sizes(2.0, 7.0) == (2.0, 3.0, 4.0, 6.0)
    assert len(sizes(2.0, 200.0)) == 6 and sizes(2.0, 200.0)[-1] == 64.0
    assert sizes(2.0, 1.0) == (2.0,)


def test_an_offset_moves_across() -> None:
    """A bar moves across itself and an edge towards its light side."""
    bar, edge = (next(f for f in FAMILIES if f.name == name) for name in ("bar", "edge"))
    names = ("angle", "width", "length", "offset")
    rows = np.array([[0.0, 1.0, 40.0, 2.0], [90.0, 1.0, 40.0, 2.0]])
    flat, upright = Stimuli(bar, names, rows).patterns((9, 9), (4.0, 4.0))
    assert flat[2].min() == 1.0 and flat.sum() == pytest.approx(9.0)  # up
    assert upright[:, 2].min() == pytest.approx(1.0)  # a quarter turn on from up: left
    (step,) = Stimuli(edge, ("angle", "offset"), np.array([[0.0, 2.0]])).patterns((9, 9), (4, 4))
    assert step[0].tolist() == [-1, -1, -1, -1, -1, -1, 0, 1, 1]


def test_where_a_layer_looks() -> None:
    """A field is centred where the place in the middle looks, through stride and padding."""
    modules = nn.Conv2d(1, 3, 5, stride=2, padding=2), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.Flatten()
    network = network_of(*modules, nn.Linear(2 * 6 * 6, 2), shape=(1, 16, 16))
    probes = images(20, 1, 16, 16, low=-1.0)
    first, second, last = (field_of(network, layer, probes) for layer in network.layers)
    assert (first.place, first.centre, first.size) == ((3, 3), (6.0, 6.0), (5, 5))
    assert (second.place, second.centre, second.size) == ((2, 2), (6.0, 6.0), (9, 9))
    assert (last.place, last.size) == ((0, 0), (16, 16))


def test_up_to_a_layer() -> None:
    """The network that ends with a layer says there what the whole one says."""
    modules = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 3), nn.ReLU(), nn.Flatten()
    network = network_of(*modules, nn.Linear(32, 2), shape=(1, 8, 8))
    short = up_to(network, "2")
    batch = torch.rand(5, 1, 8, 8)
    assert [layer.name for layer in short.layers] == ["0", "2"]
    whole = network.record(batch, ["0", "2"])
    found = short.record(batch, ["0", "2"])
    assert all(torch.equal(whole[name], found[name]) for name in ("0", "2"))
    assert len(list(short.graph.nodes)) < len(list(network.graph.nodes))


def test_colours() -> None:
    """An image of three channels has named axes in both orders; others have one colour."""
    assert list(colours(1)) == ["all"]
    known = colours(3)
    assert known["red_green"].tolist() == [1.0, -1.0, 0.0]
    assert known["luminance_bgr"].tolist() == [0.125, 0.5625, 0.3125]
    network = network_of(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(72, 2), shape=(3, 8, 8))
    screen = screen_of(network, images(30, 3, 8, 8), colour="red_green")
    assert screen.direction[2] == 0 and screen.direction[0] > 0 > screen.direction[1]
    np.testing.assert_allclose(screen.background, 0.5, atol=0.05)
    with pytest.raises(InputError, match=r"colour 'red_gren' .* Did you mean 'red_green'"):
        screen_of(network, images(30, 3, 8, 8), colour="red_gren")


def test_what_is_no_image() -> None:
    """Numbers, sequences and images of one value are one clear error each."""
    dense = network_of(nn.Linear(6, 2), shape=(6,))
    with pytest.raises(InputError, match=r"reads \(6,\) a sample: expected one input \(C, H, W\)"):
        screen_of(dense, images(9, 6))
    sequence = network_of(nn.Conv1d(2, 2, 3), nn.Flatten(), nn.Linear(12, 2), shape=(2, 8))
    with pytest.raises(InputError, match=r"reads \(2, 8\) a sample"):
        screen_of(sequence, images(9, 2, 8))
    network = network_of(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 2), shape=(1, 4, 4))
    with pytest.raises(InputError, match="one value in every channel"):
        screen_of(network, images(9, 1, 4, 4, low=1.0))
