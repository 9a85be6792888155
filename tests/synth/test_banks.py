"""How the layers of a network hang together, as `programs.json` says it."""

import torch
from torch import Tensor, nn

from grammars.grammar import load_grammar
from synth.assembly import names_of
from synth.banks import bank_rows
from synth.network import read_network


class Branches(nn.Module):
    """Two convolutions joined, one of them added to a third; a part that nobody knows."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(1, 2, 3, padding=1), nn.Conv2d(1, 3, 3, padding=1)
        self.deep = nn.Conv2d(5, 5, 1)
        self.out = nn.Linear(5 * 16, 2)

    def forward(self, x: Tensor) -> Tensor:
        both = torch.cat([self.left(x), self.right(x)], 1)
        summed = (both + self.deep(both)).relu()
        return self.out(torch.cumsum(summed, 1).flatten(1))


def test_banks_of_branches() -> None:
    """Views say which channels of which bank they are; a layer reads what it sees through reshapes,
    and what is unknown has no channels of another's."""
    network = read_network(Branches().eval(), (torch.randn(1, 1, 4, 4),))
    rows = bank_rows(network, names_of(network.layers, load_grammar(tags=None)))
    known = {row["name"]: row for row in rows}
    assert [row["name"] for row in rows][-1] == "output" and known["output"]["reads"] == ["out"]
    (joined,) = (row for row in rows if row["operation"] == "cat")
    assert (joined["reads"], joined["passes"], joined["channels"]) == (
        ["left", "right"],
        "joined",
        5,
    )
    (added,) = (row for row in rows if row["operation"] == "add")
    assert added["reads"] == [joined["name"], "deep"] and added["passes"] == "same"
    (unknown,) = (row for row in rows if row["kind"] == "opaque")
    assert unknown["passes"] is None and known["out"]["reads"] == [unknown["name"]]
    assert known["left"] == {
        "name": "left", "kind": "layer", "operation": "", "called": "left",
        "channels": 2, "reads": ["x"], "passes": None,
    }  # fmt: skip
