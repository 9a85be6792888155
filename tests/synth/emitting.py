"""Networks with chosen programs, written as source: what the tests of emission share."""

import ast
import importlib.util
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from architectures import CASES, Case, randomised
from torch import Tensor, nn

from grammars.grammar import Grammar, load_grammar
from grammars.names import Names
from grammars.program import Node, const, linear, tap
from synth.assembly import LayerChoice, Status, UnitChoice, assemble, names_of
from synth.emission import WEIGHTS_FILE, emit, save_weights
from synth.engine import weighted_taps, with_head
from synth.layers import Layer
from synth.network import Network, read_network

OURS = ("synth", "grammars", "oracles")
CORE = load_grammar(installed=False)


class Tied(nn.Module):
    """A layer that is chosen and a use of the same weights that is not."""

    offset: Tensor
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(5, 5)
        self.register_buffer("offset", torch.tensor(0.5))
        self.register_buffer("scale", torch.tensor([1.0, 2.0, 3.0, 4.0, 5.0]))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.fc(x)) * self.scale + self.offset
        return torch.sort(y @ self.fc.weight, dim=1)[0] / 2


class Grown(nn.Module):
    """Sizes computed from the batch, a cast, and an operation with infinite arguments."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2, 3, 3, stride=2)
        self.fc = nn.Linear(4, 2)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x).reshape(x.shape[0] * 3, 4).double().float()
        y = torch.nan_to_num(y, posinf=float("inf"))
        return torch.cat([y[:, :2], y[:, 1:3]], 1).view(x.shape[0], -1)


def one_by_one() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3)
    )


def pointwise_sequence() -> nn.Module:
    return nn.Sequential(nn.Conv1d(3, 4, 1), nn.Tanh(), nn.Conv1d(4, 2, 3, padding=2, stride=2))


EXTRA = (
    Case(Tied, (5,), ("fc",)),
    Case(Grown, (2, 5, 5), ("conv",)),
    Case(one_by_one, (3, 4, 4), ("0", "4")),
    Case(pointwise_sequence, (3, 6), ("0", "2")),
)


ALL = (*CASES, *EXTRA)
NOTES = {"agreement": 0.995, "how": "a\ntest"}


@dataclass(frozen=True, eq=False)
class Emitted:
    """A network, its chosen programs, and the two files."""

    network: Network
    choices: tuple[LayerChoice, ...]
    grammar: Grammar
    names: Names
    text: str
    path: Path

    def forward(self) -> Callable[..., Any]:
        """The function of the emitted file, loaded where our packages cannot be imported."""
        hidden = {n: sys.modules.pop(n) for n in list(sys.modules) if n.split(".")[0] in OURS}
        sys.modules.update(dict.fromkeys(OURS))  # type: ignore[arg-type]
        try:
            spec = importlib.util.spec_from_file_location("decompiled", self.path)
            assert spec is not None and spec.loader is not None
            module = importlib.util.module_from_spec(spec)
            spec.loader.exec_module(module)
        finally:
            for name in OURS:
                del sys.modules[name]
            sys.modules.update(hidden)
        return module.forward

    def error(self, *batch: Tensor) -> float:
        """max |emitted − replacement| over max |replacement|, of the worst output."""
        module = assemble(self.network, self.choices, self.grammar).to(batch[0].dtype)
        with torch.no_grad():
            wanted, got = several(module(*batch)), several(self.forward()(*batch))
        return max(distance(*pair) for pair in zip(got, wanted, strict=True))

    def lines(self) -> Iterator[tuple[LayerChoice, int, str]]:
        """Each unit with the text right of its `=`."""
        known = {
            (self.names.of(c.layer.name, u.channel)): (c, u.channel)
            for c in self.choices
            for u in c.units
        }
        lines = self.text.splitlines()
        for function in ast.parse(self.text).body:
            if not isinstance(function, ast.FunctionDef):
                continue
            for node in (n for n in function.body if isinstance(n, ast.Assign)):
                span = lines[node.value.lineno - 1 : node.value.end_lineno]
                span[-1] = span[-1][: node.value.end_col_offset]
                span[0] = span[0][node.value.col_offset :]
                for target in node.targets:
                    found = known.get(target.id) if isinstance(target, ast.Name) else None
                    if found and says(function, found[0].layer.name):
                        yield (*found, " ".join(" ".join(span).split()))


def says(function: ast.FunctionDef, layer: str) -> bool:
    """The function computes this layer."""
    return (ast.get_docstring(function) or "").startswith(f"Layer {layer}:")


def several(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return (outputs,) if isinstance(outputs, Tensor) else outputs


def distance(got: Tensor, wanted: Tensor) -> float:
    """max |got − wanted| over max |wanted|; infinities have to be the same."""
    assert got.shape == wanted.shape and got.dtype == wanted.dtype
    if not torch.isfinite(wanted).all():
        return 0.0 if torch.equal(got, wanted) else torch.inf
    if not wanted.numel():
        return 0.0
    return float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1e-30))


def rounded(layer: Layer, channel: int, *, bits: int = 6) -> Node:
    """The unit's own program with weights rounded to dyadics."""
    constants = np.append(layer.weight[channel], layer.bias[channel]).astype(float)
    dyadic = np.round(constants * 2**bits) / 2**bits
    return with_head(layer.heads[channel], weighted_taps(layer.scope.of(channel), dyadic))


def choice(layer: Layer, programs: dict[int, Node | None] | None = None) -> LayerChoice:
    """A choice for every unit; those without a program here are rounded, None stays opaque."""
    given = programs or {}
    every = {c: given[c] if c in given else rounded(layer, c) for c in range(layer.units)}
    units = (
        UnitChoice(c, Status.OPAQUE if p is None else Status.PROGRAM, p, 0, 0.0, 0.0, "test")
        for c, p in every.items()
    )
    return LayerChoice(layer, layer.scope, tuple(units))


def mixed(layer: Layer) -> LayerChoice:
    """Programs among which are constants, an opaque unit, a copy and two kinds of negation."""
    own, before = layer.name, f"{layer.name}:pre"
    head = layer.heads[-1]
    special: list[Node | None] = [
        None,
        const(0.25),
        linear([(-1.0, tap(own, 0))], 0.5),
        const(0.25),
        with_head(head, linear([(-1.0, tap(before, 0))])),
    ]
    last = layer.units - 1
    return choice(layer, {last - i: special[i] for i in range(min(len(special), last))})


def emitted(
    network: Network,
    folder: Path,
    *,
    choose: Callable[[Layer], LayerChoice | None] = choice,
    grammar: Grammar = CORE,
    names: Names | None = None,
) -> Emitted:
    """Both files of a network in `folder`; `choose` gives None for a layer that stays as it is."""
    choices = tuple(c for layer in network.layers if (c := choose(layer)) is not None)
    names = names or names_of(network.layers, grammar)
    text = emit(network, choices, grammar, names, notes=NOTES)
    path = folder / "decompiled.py"
    path.write_text(text, encoding="utf-8")
    save_weights(network, choices, grammar, folder / WEIGHTS_FILE)
    return Emitted(network, choices, grammar, names, text, path)


def read(module: nn.Module, *shape: int) -> Network:
    return read_network(randomised(module), torch.randn(2, *shape))


def read_several(module: nn.Module, *shapes: tuple[int, ...]) -> Network:
    return read_network(randomised(module), tuple(torch.randn(2, *shape) for shape in shapes))


@cache
def network_of(case: Case) -> Network:
    """The network of a case, read once for all tests."""
    torch.manual_seed(0)
    return read(case.make(), *case.shape)


def case_of(name: str) -> Case:
    return next(case for case in ALL if str(case) == name)
