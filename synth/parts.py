"""What a network is read as, beside its layers: views, opaque nodes, and where layers lie."""

from dataclasses import dataclass

OUTPUT = "output"  # reserved: `record` returns the network's output by this name


@dataclass(frozen=True)
class View:
    """A parameter-free node that makes a bank: `sources` are the banks it reads, in order."""

    name: str
    operation: str
    node_name: str
    sources: tuple[str, ...]


@dataclass(frozen=True)
class Opaque:
    """A node that is left exactly as it is, and why; `bank` is its name as a source, or ""."""

    node: str
    operation: str
    module_path: str
    reason: str
    bank: str = ""


@dataclass(frozen=True)
class LayerNodes:
    """Names of the graph nodes of a layer: its linear operation, its cut and the node it reads."""

    linear: str
    last: str
    source: str
