"""Programs put in the place of units compute what they say, and exact ones the original."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from architectures import CASES, Case, convolutional, randomised
from small import (
    CORE,
    HEADS,
    IDENTITY,
    RELU,
    as_they_are,
    by_taps,
    chooser_of,
    chosen,
    dense_evidence,
    dense_layer,
    fronts_of,
    gather,
    planted,
    random_probes,
    read,
    seeded,
)
from torch import nn

from grammars.coding import decode, encode
from grammars.program import Node, call, const, linear, tap
from synth.assembly import (
    Status,
    assemble,
    bank_module,
    names_of,
    original_bits,
    own_program,
    source_bits,
)
from synth.fronts import error_of
from synth.network import Network
from synth.picking import Fronts


def relative_error(network: Network, module: nn.Module, *, count: int = 30) -> float:
    """max |module − network| over max |network| on random inputs."""
    x = random_probes(*network.input_shapes, fit=count, seed=9).fit.batch()
    with torch.no_grad():
        wanted, got = network(*x), network.judge(module(*x))
    assert wanted.shape == got.shape
    return float((wanted - got).abs().max() / wanted.abs().max())


@pytest.mark.parametrize("case", CASES, ids=str)
def test_own_programs_are_the_original(case: Case):
    """With every unit replaced by a program of its own weights the network is the same."""
    torch.manual_seed(0)
    network = read(randomised(case.make()), case.shape)
    assert relative_error(network, assemble(network, as_they_are(network), CORE)) < 1e-5


def test_a_replacement_is_one_graph():
    """Nothing of a bank is left to call but torch's operations: one product a layer, whatever the
    slopes of its units, and no reordering."""
    learned = nn.PReLU(5)
    learned.weight.data = torch.linspace(-0.5, 0.5, 5)
    network = read(seeded(nn.Conv2d(1, 5, 3), learned, nn.Flatten(), nn.Linear(180, 3)), (1, 8, 8))
    graph = assemble(network, as_they_are(network), CORE).graph
    called = [n for n in graph.nodes if n.op not in ("placeholder", "get_attr", "output")]
    assert not [n for n in called if n.op == "call_module"]
    assert [n.name for n in called] == ["conv2d_1", "prelu_1", "flatten_1", "linear_1"]


def small_mlp() -> nn.Module:
    return seeded(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 5), nn.Sigmoid(), nn.Linear(5, 3))


def small_cnn() -> nn.Module:
    torch.manual_seed(0)
    return randomised(convolutional())


@pytest.fixture(scope="module", params=[(small_mlp, (6,)), (small_cnn, (1, 8, 8))])
def searched(request: pytest.FixtureRequest) -> tuple[Network, tuple[Fronts, ...]]:
    make, shape = request.param
    network, probes = read(make(), shape), random_probes(shape, fit=60, select=30)
    return network, fronts_of(network, probes, budget=5000)


def test_practically_exact(searched):
    """The exact end of every front, all together, equals the original to 1e-4 of max |output|."""
    network, fronts = searched
    choices = [
        chosen(f.layer, [min(unit, key=error_of).program for unit in f.units]) for f in fronts
    ]
    assert relative_error(network, assemble(network, choices, CORE)) < 1e-4


def test_a_tight_configuration_is_practically_exact(searched):
    """Criteria that allow almost nothing leave a replacement that is practically the original."""
    network, fronts = searched
    probes = random_probes(*network.input_shapes, fit=60, select=30)
    chooser = chooser_of(network, probes, fronts, max_fvu=1e-8, max_kl=1e-12)
    choices = chooser.at(1e16).choices
    assert relative_error(network, assemble(network, choices, CORE)) < 1e-4
    assert Status.OPAQUE not in {u.status for c in choices for u in c.units}


def mixed_programs() -> list[Node]:
    """Programs of many skeletons in no order, with references and constants between them."""
    return [
        planted(RELU, {0: 1.0, 2: -0.5}, 0.25),
        const(0.5),
        planted(HEADS[2], {1: 1.5}, 0.0),
        tap("fc1", 0),
        call("relu", linear([(-1.0, tap("fc1:pre", 0))])),
        call("max", planted(RELU, {3: 1.0}, -0.25), planted(IDENTITY, {0: -1.0}, 0.0)),
        planted(RELU, {1: -0.75}, 0.5),
        planted(IDENTITY, {0: 1.0}, 0.0),
        planted(HEADS[5], {0: 2.0, 3: -1.0}, 0.125),
    ]


def test_a_bank_is_its_programs_in_order():
    """Unit i of the module is program i, whatever the skeletons and references beside it."""
    programs = mixed_programs()
    layer = dense_layer([np.ones(4)] * 9, [0.0] * 9, [RELU] * 9)
    choice = chosen(layer, programs)
    (x,) = random_probes((4,), fit=50).fit.batch()
    with torch.no_grad():
        found = bank_module(choice, CORE)(x[:, :, None, None])[:, :, 0, 0].numpy()
    evidence = replace(dense_evidence(layer), patches=x.numpy())
    expanded = choice.expanded(CORE)
    assert found == pytest.approx(
        np.stack([by_taps(p, evidence) for p in expanded], 1), rel=1e-5, abs=1e-6
    )
    assert found[:, 3].tolist() == found[:, 0].tolist()
    assert (found[:, 1] == 0.5).all()


def test_a_bank_of_constants():
    """A layer of constants alone has no rows and still makes maps of its own shape."""
    network = read(seeded(nn.Conv2d(2, 3, 3, stride=2, padding=1)), (2, 5, 7))
    layer = network.layers[0]
    module = bank_module(chosen(layer, [const(0.5), const(0.0), const(-2.0)]), CORE)
    maps = module(torch.rand(4, 2, 5, 7))
    assert maps.shape == (4, *layer.out_shape)
    assert maps[0, :, 0, 0].tolist() == [0.5, 0.0, -2.0] and maps.std((0, 2, 3)).max() == 0


def test_opaque_units_keep_their_weights():
    """Units without a program compute what they did, beside units that have one."""
    network = read(small_mlp(), (6,))
    choices = as_they_are(network)
    programs = choices[0].programs()
    choices[0] = chosen(network.layers[0], [*programs[:3], None, *programs[4:]])
    assert relative_error(network, assemble(network, choices, CORE)) < 1e-6
    assert choices[0].programs()[3] == own_program(network.layers[0], 3)


@pytest.mark.parametrize("shape", [(2, 6, 5)])
def test_padding_reads_zero(shape):
    """At the border a program reads zeros outside the map, as its patches do."""
    network = read(seeded(nn.Conv2d(2, 2, 3, padding=1, stride=(2, 1), dilation=(1, 2))), shape)
    layer = network.layers[0]
    program = linear([(1.0, tap(layer.source, 0, -1, -2)), (0.5, tap(layer.source, 1, 1, 0))], 0.25)
    probes = random_probes(shape, fit=3, select=1)
    evidence = next(gather(network, probes, seed=0))
    maps = bank_module(chosen(layer, [program, const(0.0)]), CORE)(*probes.fit.batch())
    rows = maps.permute(0, 2, 3, 1).reshape(-1, 2)[:, 0].numpy()
    assert rows == pytest.approx(by_taps(program, evidence)[evidence.role == 0], abs=1e-6)


def test_bits_are_the_stream():
    """`source_bits` is the length of a stream that decodes to the same source."""
    layer = dense_layer([np.ones(4)] * 9, [0.0] * 9, [RELU] * 9)
    choice = chosen(layer, [*mixed_programs()[:8], None])
    stream = encode([choice.source()], CORE)
    assert source_bits([choice], CORE) == len(stream)
    assert decode(stream.to_bytes(), [choice.scope], CORE) == (choice.source(),)
    assert original_bits([layer]) == 32 * 9 * 5


def test_names_are_of_all_banks():
    """Every source and every layer has names, and none is that of a primitive."""
    network = read(small_cnn(), (1, 8, 8))
    names = names_of(network.layers, CORE)
    for layer in network.layers:
        for bank, count in ((layer.source, layer.in_shape[0]), (layer.name, layer.units)):
            found = {names.of(bank, c) for c in range(count)}
            assert len(found) == count and not found & set(CORE)
