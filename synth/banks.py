"""The banks of a network as rows: what each is, and which banks it is computed from.

`programs.json` holds them, so that a finished run says how its layers hang together without the
network being read again.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import fx

from grammars.names import Names
from synth.network import Network
from synth.nodes import schema_name
from synth.operations import ARITHMETIC, ELEMENTWISE, IDENTITIES, POOLS
from synth.parts import OUTPUT

Row = dict[str, Any]

SAME = IDENTITIES | ELEMENTWISE | ARITHMETIC | POOLS  # operations on each channel by itself


def bank_rows(network: Network, names: Names) -> list[Row]:
    """A row for each input, layer, view and opaque bank in order, and one for the judged output.

    `reads` are the banks that it is computed from without another between, `channels` how many its
    maps have, and `called` what programs call it as a whole, None where none does. `passes` says
    what its channels are: "same" as those of each source, "joined" sources one after another, or
    None. Views that nothing reads are left out.
    """
    banks = {node: bank for bank, node in network.banks.items()}
    nodes = [node for node in network.graph.nodes if node.name in banks]
    rows = [_row(network, banks, names, node) for node in nodes]
    judged = network.output_nodes[network.judged]
    end = banks.get(judged.name)
    reads = [end] if end else _above(judged, banks)
    rows.append({"name": OUTPUT, "kind": "output", "operation": "", "reads": reads})
    return _read_somewhere(rows)


def _row(network: Network, banks: Mapping[str, str], names: Names, node: fx.Node) -> Row:
    bank, kind = banks[node.name], _kind(network, banks[node.name], node)
    reads = [network.layer(bank).source] if kind == "layer" else _above(node, banks)
    row: Row = {"name": bank, "kind": kind, "reads": reads}
    row |= {"operation": schema_name(node) if kind == "view" else ""}
    row |= {"called": names.stem(bank), "channels": _channels(node)}
    return row | {"passes": _passes(network, row) if kind == "view" else None}


def _read_somewhere(rows: Sequence[Row]) -> list[Row]:
    """The rows without views that nothing reads: what a layer sees through, as a flattening."""
    kept: list[Row] = []
    for row in reversed(rows):
        if row["kind"] != "view" or any(row["name"] in other["reads"] for other in kept):
            kept.insert(0, row)
    return kept


def _kind(network: Network, bank: str, node: fx.Node) -> str:
    if node.op == "placeholder":
        return "input"
    if bank in network.nodes:
        return "layer"
    return "view" if any(view.name == bank for view in network.views) else "opaque"


def _above(node: fx.Node, banks: Mapping[str, str]) -> list[str]:
    """The banks nearest above a node, in the order in which they are read."""
    found: dict[str, None] = {}
    for source in node.all_input_nodes:
        bank = banks.get(source.name)
        found |= dict.fromkeys([bank] if bank else _above(source, banks))
    return list(found)


def _passes(network: Network, row: Row) -> str | None:
    nodes = [network.node(network.banks[bank]) for bank in row["reads"]]
    own, channels = row["channels"], [_channels(node) for node in nodes]
    if row["operation"] in SAME and nodes and set(channels) == {own}:
        return "same"
    return "joined" if row["operation"] == "cat" and sum(channels) == own else None


def _channels(node: fx.Node) -> int:
    """How many channels the maps of a bank have."""
    return int(node.meta["val"].shape[1])
