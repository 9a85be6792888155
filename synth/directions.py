"""Directions of a bank, such as probes or dictionary features, as a bank of their own.

Where several units share what they mean, no unit has a short program, but a direction may have one.
A direction of pre-activations is affine over its layer's source, so it is a unit of another layer
in the same place: evidence, engines, fronts and proofs take it as it is. A direction of activations
behind a head is a sum over the bank's own units: its program says which units make it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property, partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from grammars.grammar import Grammar
from grammars.program import PRE
from synth.assembly import LayerChoice, bank_module
from synth.evidence import LayerEvidence, Probes, Walks, evidence_of
from synth.layers import Geometry, Head, Layer
from synth.modules import HeadModule, layer_module
from synth.network import Network
from synth.walk import Walk

SUFFIX = ":direction"  # of the bank that directions are, as PRE is of the pre-activations
CONDITION = 1e4  # beyond this number an inverse is one in name only: float32 has 7 digits


@dataclass(frozen=True, eq=False)
class Directions:
    """`matrix` (D, U) float64: each row is a direction of the units of the layer `of`.

    `key` is the layer's name, for activations, or the name and `:pre`, for pre-activations.
    `names` has a text for each direction, or nothing. `layer` is the directions as a layer of D
    units with the identity head, in float32: programs and proofs speak of those numbers.
    ValueError where float32 cannot hold them.
    """

    key: str
    of: Layer
    matrix: np.ndarray
    names: tuple[str, ...] = ()
    layer: Layer = field(init=False)

    def __post_init__(self) -> None:
        with np.errstate(over="ignore"):  # a layer of infinite weights is refused
            layer = self._over_source() if self.affine else self._over_units()
        object.__setattr__(self, "layer", layer)

    @property
    def affine(self) -> bool:
        """Whether the directions are affine over the layer's source; else they read its units."""
        plain = all(head.op == "identity" for head in self.of.heads)
        return plain or self.key.endswith(PRE)

    @cached_property
    def condition(self) -> float | None:
        """The condition number of the matrix; None if it is not square."""
        count, units = self.matrix.shape
        return float(np.linalg.cond(self.matrix)) if count == units else None

    @property
    def invertible(self) -> bool:
        """Whether the units can be had back from the directions."""
        return self.condition is not None and self.condition < CONDITION

    def _over_source(self) -> Layer:
        of = self.of
        rows = of.spread(range(of.units)).astype(np.float64)
        numbers = self.matrix @ rows, self.matrix @ of.bias.astype(np.float64)
        return self._as_layer(of.source, of.in_shape, of.geometry, *numbers)

    def _over_units(self) -> Layer:
        none = np.zeros(len(self.matrix))
        return self._as_layer(self.of.name, self.of.out_shape, Geometry((1, 1)), self.matrix, none)

    def _as_layer(
        self,
        source: str,
        in_shape: tuple[int, int, int],
        geometry: Geometry,
        weight: np.ndarray,
        bias: np.ndarray,
    ) -> Layer:
        count = len(self.matrix)
        return Layer(
            name=f"{self.key}{SUFFIX}",
            source=source,
            in_shape=in_shape,
            out_shape=(count, *self.of.out_shape[1:]),
            geometry=geometry,
            weight=weight,
            bias=bias,
            heads=(Head("identity"),) * count,
        )


def gather_directions(
    network: Network, probes: Probes, found: Iterable[Directions], *, seed: int
) -> Iterator[tuple[Directions, LayerEvidence]]:
    """Evidence of all directions on the original sources, in the layers' order, one at a time."""
    by_layer: dict[str, list[Directions]] = {}
    for directions in found:
        by_layer.setdefault(directions.of.name, []).append(directions)
    walks = Walks(network, probes) if by_layer else None
    for layer in network.layers:
        for directions in by_layer.pop(layer.name, ()):
            assert walks is not None
            maps = (partial(_maps, directions, walk) for walk in (walks.fit, walks.select))
            yield directions, evidence_of(directions.layer, *maps, seed=seed)
        if not by_layer or walks is None:
            return
        walks.put(layer.name)


def _maps(directions: Directions, walk: Walk) -> Iterator[Tensor]:
    """What the directions read, where a walk stands before their layer."""
    units = nn.Identity() if directions.affine else layer_module(directions.of)
    for maps in walk.source(directions.of.name):
        with torch.no_grad():
            yield units.to(maps.device)(maps)


class Replacement(nn.Module):
    """Maps of a layer's source to maps of its units: head(inverse · programs of directions)."""

    inverse: Tensor

    def __init__(self, directions: Directions, programs: nn.Module) -> None:
        super().__init__()
        inverse = torch.from_numpy(np.linalg.inv(directions.matrix)).float()
        self.programs = programs
        self.register_buffer("inverse", inverse[:, :, None, None])
        self.heads = HeadModule(directions.of.heads).float()

    def forward(self, maps: Tensor) -> Tensor:
        return self.heads(F.conv2d(self.programs(maps), self.inverse))


def replacement(directions: Directions, choice: LayerChoice, grammar: Grammar) -> nn.Module:
    """A module that computes a layer by the programs of its directions.

    It takes the layer's place in `Network.replaced`. ValueError with `why_not`, where there is
    none.
    """
    if reason := why_not(directions):
        raise ValueError(f"the directions of {directions.key!r} replace no bank: {reason}")
    return Replacement(directions, bank_module(choice, grammar)).eval()


def why_not(directions: Directions) -> str | None:
    """Why directions cannot replace their bank; None if they can."""
    count, units = directions.matrix.shape
    if not directions.affine:
        return f"they are sums over the units; give directions of '{directions.of.name}{PRE}'"
    if directions.condition is None:
        return f"{count} directions of {units} units have no inverse"
    if not directions.invertible:
        return f"their condition number {directions.condition:.3g} is not below {CONDITION:.0e}"
    return None


def inverse_bits(directions: Directions) -> int:
    """The price of the inverse: its numbers at 32 bits each."""
    return 32 * directions.matrix.size
