"""Which banks a user wants written over which earlier ones: `search.deep`."""

from collections.abc import Iterator, Sequence

from synth.deep.reach import Reach
from synth.errors import InputError, Problems, nearest
from synth.network import Network
from synth.nodes import module_path

INPUT = "input"  # what users call the only input, whatever the network does


def asked_reaches(
    network: Network, layers: Sequence[str], asked: str | Sequence[tuple[str, str]] | None
) -> tuple[Reach, ...]:
    """What is to be written over an earlier bank too: pairs of a bank and the earlier one, or the
    one that all `layers` behind it are written over.

    Raises InputError, with every problem, where there is no such bank or one cannot be.
    """
    with Problems() as problems:
        pairs = list(_pairs(network, layers, asked, problems))
        found = [problems.attempt(Reach, network, *pair) for pair in pairs]
    return tuple(reach for reach in found if reach)


def _pairs(
    network: Network,
    layers: Sequence[str],
    asked: str | Sequence[tuple[str, str]] | None,
    problems: Problems,
) -> Iterator[tuple[str, str]]:
    """What is written, and over what; what is no bank is a problem."""
    if isinstance(asked, str):
        source = problems.attempt(_known, network, asked)
        behind = [name for name in layers if network.layer(name).source != source]
        yield from ((name, source) for name in behind if source)
        if source and not behind:
            problems.add(f"search.deep: every layer that is searched reads {source!r} anyway.")
        return
    for pair in asked or ():
        target, source = (problems.attempt(_known, network, bank) for bank in pair)
        if target and source:
            yield target, source


def _known(network: Network, name: str) -> str:
    """The bank of that name, or the last one that a module of that name makes; the only input has
    two names."""
    if name == INPUT and len(network.input_names) == 1:
        return network.input_names[0]
    made = [bank for bank, path in _made(network) if f"{path}.".startswith(f"{name}.")]
    if name in network.banks or made:
        return name if name in network.banks else made[-1]
    raise InputError(
        f"search.deep: there is no bank or module {name!r}.{nearest(name, (INPUT, *network.banks))}"
    )


def _made(network: Network) -> Iterator[tuple[str, str]]:
    """Each bank with the path of the module that makes it, in the order of the graph."""
    banks = {node: bank for bank, node in network.banks.items()}
    for node in network.graph.nodes:
        if node.name in banks:
            yield banks[node.name], module_path(node)
