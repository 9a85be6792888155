"""Planted truths: a network built from forty known programs and disturbed, to be found again.

Every weight, zeros and biases included, gets additive noise of 1e-3 of its layer's root mean square
weight. A program comes back exactly if the chosen one is equal to it by value.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from grammars.compiled import compile_bank
from grammars.grammar import load_grammar
from grammars.program import PRE, Node, call, const, linear, tap
from grammars.scope import Scope
from grammars.siblings import expand, pre_of
from synth.chain import search
from synth.config import load_config
from synth.job import load_job
from synth.stopwatch import Stopwatch
from synth.store import Store

INPUTS = 24
NOISE = 1e-3
HEADS: dict[str, tuple[int, dict[str, float]]] = {
    "relu": (10, {}),
    "leaky_relu": (5, {"slope": 0.01}),
    "prelu": (5, {"slope": 0.25}),
    "clip": (5, {"low": 0.0, "high": 6.0}),
    "sigmoid": (5, {}),
    "tanh": (5, {}),
    "identity": (5, {}),
}
"""Units and parameters of one bank for each head: forty in all."""

CONFIG = """
[network]
factory = "planted_network.py:network"
weights = "planted.safetensors"
[probes]
inputs = "planted_network.py:probes"
[search]
max_fvu = 0.00002
[accept]
max_kl = 0.001
min_agreement = 0.001  # the outputs are units, not classes: copies tie
[run]
seed = {seed}
"""

FACTORY = '''"""Written by benchmarks/planted.py."""
import torch
from benchmarks.planted import PlantedNetwork, planted_probes


def network():
    return PlantedNetwork()


def probes():
    return planted_probes(), None
'''


@dataclass(frozen=True)
class Planted:
    """One program of a bank."""

    bank: str
    channel: int
    program: Node


class PlantedNetwork(nn.Module):
    """One dense bank a head over the same inputs (N, INPUTS); the output is all units."""

    def __init__(self) -> None:
        super().__init__()
        self.banks = nn.ModuleDict({n: nn.Linear(INPUTS, u) for n, (u, _) in HEADS.items()})
        self.heads = nn.ModuleDict(
            {
                "relu": nn.ReLU(),
                "leaky_relu": nn.LeakyReLU(0.01),
                "prelu": nn.PReLU(init=0.25),
                "clip": nn.ReLU6(),
                "sigmoid": nn.Sigmoid(),
                "tanh": nn.Tanh(),
                "identity": nn.Identity(),
            }
        )

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.heads[n](self.banks[n](x)) for n in HEADS], 1)


def planted_probes() -> Tensor:
    """1,500 correlated inputs (N, INPUTS) in [-1, 1]."""
    generator = np.random.default_rng(5)
    mixing = np.eye(INPUTS) + 0.3 * generator.normal(size=(INPUTS, INPUTS)) / INPUTS**0.5
    return torch.from_numpy(np.tanh(generator.normal(size=(1500, INPUTS)) @ mixing)).float()


def plant(seed: int) -> list[Planted]:
    """Forty programs: sparse dyadic ones under every head, copies, negations and constants."""
    generator = np.random.default_rng(seed)
    return [p for name in HEADS for p in _bank(name, generator)]


def recover(folder: Path, *, seed: int, jobs: int) -> tuple[list[Planted], list[str]]:
    """Plant, disturb and search; the planted programs and what was chosen instead of each miss."""
    planted = plant(seed)
    _write(folder, planted, seed)
    config = load_config(
        folder / "planted.toml", {"run.out": str(folder / "run"), "run.jobs": jobs}
    )
    job = load_job(config)
    with Store(config.out) as store:
        choices = search(job, job.network, store, Stopwatch()).point.choices
    found = {(c.layer.name, u.channel): u.program for c in choices for u in c.units}
    misses = []
    for truth in planted:
        program = found[truth.bank, truth.channel]
        if program != truth.program:
            wanted = job.records.text(truth.program)
            chosen = "opaque" if program is None else job.records.text(program)
            misses.append(f"{truth.bank}[{truth.channel}]: planted {wanted}, chosen {chosen}")
    return planted, misses


def _bank(head: str, generator: np.random.Generator) -> list[Planted]:
    """Sparse programs first; then, where a head has them, a constant, a copy and a negation."""
    bank, (units, params) = f"banks.{head}", HEADS[head]

    def headed(pre: Node) -> Node:
        return pre if head == "identity" else call(head, pre, **params)

    programs = [headed(_sparse(generator)) for _ in range(units - 2)]
    programs.append(headed(linear([(-1.0, tap(f"{bank}{PRE}", 0))])))
    programs.append(const(0.625) if head in ("relu", "identity") else tap(bank, 1))
    return [Planted(bank, i, p) for i, p in enumerate(programs)]


def _sparse(generator: np.random.Generator) -> Node:
    """Two to five terms and a bias on a grid of eighths."""
    places = generator.choice(INPUTS, generator.integers(2, 6), replace=False)
    sizes = generator.integers(3, 17, size=len(places)) * generator.choice([-1, 1], len(places))
    terms = [(float(m) / 8, tap("x", int(i))) for m, i in zip(sizes, places, strict=True)]
    return linear(terms, float(generator.integers(-4, 5)) / 8)


def _write(folder: Path, planted: list[Planted], seed: int) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    network, generator = PlantedNetwork(), np.random.default_rng(seed + 1)
    state = network.state_dict()
    for name in HEADS:
        weight, bias = _constants([p for p in planted if p.bank == f"banks.{name}"])
        noise = NOISE * float(np.sqrt((weight**2).mean()))
        for key, values in (("weight", weight), ("bias", bias)):
            disturbed = values + noise * generator.normal(size=values.shape)
            state[f"banks.{name}.{key}"] = torch.from_numpy(disturbed).float()
    save_file(state, folder / "planted.safetensors")
    (folder / "planted_network.py").write_text(FACTORY, encoding="utf-8")
    (folder / "planted.toml").write_text(CONFIG.format(seed=seed), encoding="utf-8")


def _constants(planted: list[Planted]) -> tuple[np.ndarray, np.ndarray]:
    """The pre-activation weights (U, INPUTS) and biases (U,) of a bank's programs."""
    grammar, bank = load_grammar(), planted[0].bank
    programs = [p.program for p in planted]
    plain = [expand(p, bank, programs.__getitem__, grammar) for p in programs]
    columns = Scope(bank, len(plain), tuple(("x", i, 0, 0) for i in range(INPUTS))).columns
    index = {key: i for i, key in enumerate(columns)}
    rows = [compile_bank([pre_of(p, grammar)], index, grammar) for p in plain]
    weight = np.array([r.weight[0] if len(r.weight) else np.zeros(INPUTS) for r in rows])
    bias = [r.bias[0] if len(r.bias) else p["value"] for r, p in zip(rows, plain, strict=True)]
    return weight, np.array(bias, dtype=np.float64)
