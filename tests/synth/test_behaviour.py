"""Beyond validation: which answers change, under what, and whether causes are the network's own."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small import CORE, as_they_are, read, seeded
from torch import nn
from typed import Home

from synth.assembly import bank_module
from synth.batches import Inputs
from synth.behaviour.answers import Answers
from synth.behaviour.corruption import corruptions
from synth.behaviour.interchange import halves
from synth.behaviour.interventions import Intervention, effects
from synth.behaviour.swaps import Interfered, Mixed
from synth.modules import layer_module


def scores(*answers: int) -> torch.Tensor:
    return 4 * nn.functional.one_hot(torch.tensor(answers), 3).float()


def test_answers_are_told_apart() -> None:
    """Classes, changes with who was right, and the worst probes, of planted answers."""
    replaced = scores(0, 1, 1, 2, 2)
    replaced[3, 0] = 3.5  # nearly another answer
    found = Answers(scores(0, 0, 1, 2, 1), replaced, torch.tensor([0, 1, 1, 2, 2]), range(10, 15))
    rows = {row["class"]: row for row in found.by_class()}
    assert rows[0] == {
        "class": 0, "n": 1, "accuracy_original": 1.0, "accuracy_replaced": 1.0, "agreement": 1.0
    }  # fmt: skip
    assert rows[1]["accuracy_original"] == 0.5 and rows[1]["accuracy_replaced"] == 1.0
    assert [rows[c]["agreement"] for c in (1, 2)] == [0.5, 0.5]
    assert found.changed() == [
        {"from": 0, "to": 1, "n": 1, "were_right": 0, "are_right": 1},
        {"from": 1, "to": 2, "n": 1, "were_right": 0, "are_right": 1},
    ]
    worst = found.worst()
    assert {row["place"] for row in worst[:2]} == {11, 14} and worst[2]["place"] == 13
    assert worst[2]["original"] == worst[2]["replaced"] == worst[2]["label"] == 2


@given(st.lists(st.tuples(*[st.integers(0, 2)] * 3), min_size=1, max_size=30))
def test_answers_add_up(rows: list[tuple[int, int, int]]) -> None:
    """Classes hold every probe once, and changes are as many as there are disagreements."""
    first, then, label = (torch.tensor(column) for column in zip(*rows, strict=True))
    outputs = (scores(*column.tolist()) for column in (first, then))
    found = Answers(*outputs, label, range(len(rows)))
    assert sum(row["n"] for row in found.by_class()) == len(rows)
    assert sum(row["n"] for row in found.changed()) == int((first != then).sum())
    agreeing = sum(row["n"] * row["agreement"] for row in found.by_class())
    assert agreeing == pytest.approx(int((first == then).sum()))


def test_corruptions_mean_what_they_say() -> None:
    """Noise is of its strength, blur smooths, contrast shrinks about the mean; all stay in range,
    give the same again, and only maps are blurred."""
    values = np.random.default_rng(0).normal(size=(40, 1, 12, 12)).astype(np.float32)
    found = {(c.kind, c.strength): c for c in corruptions(Inputs([values]), 0)}

    def made(kind: str, strength: float) -> np.ndarray:
        (again,) = found[kind, strength].of(Inputs([values])).batch()
        return again.numpy()

    noise = made("noise", 0.2) - values
    assert noise.std() == pytest.approx(0.2 * values.std(), rel=0.05)
    assert np.array_equal(made("noise", 0.2) - values, noise)
    assert made("blur", 2.0).std() < made("blur", 1.0).std() < 0.5 * values.std()
    shrunk = made("contrast", 0.25)
    assert np.allclose(shrunk.mean((1, 2, 3)), values.mean((1, 2, 3)), atol=1e-6)
    assert np.allclose(shrunk.std((1, 2, 3)), 0.25 * values.std((1, 2, 3)), rtol=1e-4)
    for kind, strength in found:
        again = made(kind, strength)
        assert again.min() >= values.min() and again.max() <= values.max()
    flat = {c.kind for c in corruptions(Inputs([values.reshape(40, -1)]), 0)}
    assert flat == {"noise", "contrast"}


def network():
    return read(seeded(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), (4,))


def test_half_of_the_units_are_replaced() -> None:
    """Each draw takes half of all units from the replacement, another half each time."""
    net = network()
    own = {la.name: layer_module(la) for la in net.layers}
    other = {name: Interfered(m, range(la.units), 0.0, [7.0] * la.units)
             for (name, m), la in zip(own.items(), net.layers, strict=True)}  # fmt: skip
    maps, seen = torch.rand(5, 4, 1, 1), set()
    for modules in halves(as_they_are(net), other, 0):
        assert all(isinstance(m, Mixed) for m in modules.values())
        masks = [m.get_buffer("units").flatten() for m in modules.values()]
        assert sum(int(mask.sum()) for mask in masks) == 4  # of nine units
        seen.add(tuple(torch.cat(masks).tolist()))
        mixed = modules["0"](maps)
        assert torch.equal(mixed[:, masks[0]], torch.full_like(mixed[:, masks[0]], 7.0))
        assert torch.equal(mixed[:, ~masks[0]], own["0"](maps)[:, ~masks[0]])
    assert len(seen) > 4


DONE = [
    Intervention("0", channel, *how)
    for channel in range(6)
    for how in (("ablated", 0.0, 0.3), ("rescaled", 2.0, 0.0))
]


def test_the_same_network_moves_alike() -> None:
    """R² is one for a replacement that is the network; the change is that of the unit alone."""
    net, batch = network(), (torch.randn(64, 4, generator=torch.Generator().manual_seed(1)),)
    modules = {c.layer.name: bank_module(c, CORE) for c in as_they_are(net)}
    found = effects(net, modules, DONE, batch)
    assert all(e.r2 is None or e.r2 > 1 - 1e-6 for e in found)
    moving = [e for e in found if e.moved > 0]
    assert len(moving) >= 6
    maps = net.record(batch, ["0"])["0"][:, 2, 0, 0].double()
    weight = torch.tensor(net.layers[1].weight[:, 2]).double()
    change = torch.outer(maps, weight)  # of what is doubled
    wanted = float(((change - change.mean(0)) ** 2).sum())
    assert found[5].moved == pytest.approx(wanted, rel=1e-4)


def test_other_causes_show() -> None:
    """A replacement of the same answers on data whose readout takes another unit does not follow:
    two units that are equal on all probes have one reader each here, the other one there."""
    module = seeded(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3))
    with torch.no_grad():
        module[0].weight[1], module[0].bias[1] = module[0].weight[0], module[0].bias[0]
        module[2].weight[:, 1] = 0
    net = read(module, (4,))
    moved = layer_module(net.layers[1])
    with torch.no_grad():
        weight = moved.get_parameter("weight")
        weight[:, [0, 1]] = weight[:, [1, 0]]
    batch = (torch.randn(64, 4),)
    same = net.record(batch, [], modules={"2": moved})["output"]
    assert torch.allclose(same, net(*batch), atol=1e-6)
    modules = {"0": layer_module(net.layers[0]), "2": moved}
    effect, *_ = effects(net, modules, [Intervention("0", 0, "rescaled", 2.0, 0.0)], batch)
    assert effect.moved > 0 and effect.r2 is not None and effect.r2 < 0.1


def test_the_command_writes_and_prints(copied: Home) -> None:
    """`synth validate --full` prints every table, writes behaviour.json and gives the same again;
    --json is one document."""
    done = copied("validate", "run", "--full")
    assert (done.exit_code, done.stderr) == (0, "")
    for word in ("drop-in", "class", "worst probes", "noise 0.1", "half replaced", "R²"):
        assert word in done.stdout, word
    written = (copied.folder / "run" / "behaviour.json").read_text(encoding="utf-8")
    document = json.loads(written)
    assert document["r2_interventions"] > 0.9 and len(document["halves"]) == 8
    printed = json.loads(copied("validate", "run", "--full", "--json").stdout)
    assert printed["behaviour"] == document and printed["verdict"] == "drop-in"
    assert (copied.folder / "run" / "behaviour.json").read_text(encoding="utf-8") == written
    assert "behaviour" not in json.loads(copied("validate", "run", "--json").stdout)


def test_bench_measures_both(home: Home) -> None:
    """`synth bench` has a row for each batch, in a table and as JSON; no probes are an error."""
    done = home("bench", "results/net", "--batch", "1", "--batch", "500")
    assert (done.exit_code, done.stderr) == (0, "")
    assert [line.split()[0] for line in done.stdout.splitlines()[1:] if line] == ["1", "500"]
    rows = json.loads(home("bench", "results/net", "--json").stdout)
    assert [row["batch"] for row in rows] == [1, 64]
    assert all(0 < row["low"] <= row["ratio"] <= row["high"] for row in rows)
    done = home("bench", "results/net", "--batch", "0")
    assert done.exit_code == 2 and "--batch 0: expected a number of probes" in done.stderr
