"""What an error costs: the expected change of the output distribution, to second order.

For a unit with activation error e over a map, KL(original ‖ replaced) ≈ ½ E[(Σ g·e)²], with the
gradient g of log p(y | x) at the unit and y drawn from the network's own answer: the Fisher
information in place of the Hessian (Amari 1998; Martens 2020, section 9). Errors of different units
are priced apart, as if they were uncorrelated.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from grammars.compiled import compile_bank
from grammars.grammar import Grammar
from synth.bank_module import BankModule
from synth.batches import Batch, Inputs
from synth.fronts import Candidate
from synth.layers import Layer
from synth.network import Network
from synth.outputs import as_rows, log_probabilities
from synth.threads import each

PROBES = 4096  # fit probes that prices are measured on, evenly spread: probes may be sorted. Only
# those with doubtful answers tell, and of many candidates the luckiest on too few would be chosen.
AT_ONCE = 32  # of these, so that all candidates' maps stay near the cache
LEAST = 8  # as few as these where gradients of more would be large
HELD = 2**28  # numbers of all gradients together
CLASSES = 16  # up to which the expectation over answers is exact
DRAWS = 8  # answers drawn from each distribution of more classes


def priced_probes(network: Network, fit: Inputs) -> Batch:
    """The fit probes that prices are measured on, as one batch."""
    classes = max(2, math.prod(network.output_nodes[network.judged].meta["val"].shape[1:]))
    answers = classes if classes <= CLASSES else DRAWS
    numbers = answers * sum(math.prod(la.out_shape) for la in network.layers)
    count = min(len(fit), PROBES, max(LEAST, HELD // numbers))
    return fit.take(np.linspace(0, len(fit) - 1, count).astype(np.int64)).batch()


@dataclass(frozen=True, eq=False)
class Priced:
    """What the programs of a layer are priced on: its maps on N samples, and its gradients.

    `source` (N, C, H, W) and `units` (N, U, h, w); `slopes` (S, N, U, h, w), gradients of
    log p(y | x) for S answers, scaled by √probability: the sum over S of squares is an expectation.
    """

    source: Tensor
    units: Tensor
    slopes: Tensor


def gradients(network: Network, probes: Batch, *, seed: int) -> dict[str, Priced]:
    """What each layer is priced on, from one pass forward and one backward for each answer."""
    names = [la.name for la in network.layers]
    sources = [la.source for la in network.layers]
    recorded = network.record(probes, [*names, *sources], grad=True)
    maps = [recorded[n] for n in names]
    slopes = slopes_of(maps, answers(log_probabilities(as_rows(recorded["output"])), seed))
    known = (
        Priced(recorded[s].detach(), m.detach(), t)
        for s, m, t in zip(sources, maps, slopes, strict=True)
    )
    return dict(zip(names, known, strict=True))


def answers(log_p: Tensor, seed: int) -> list[Tensor]:
    """√probability · log probability (N,) of each answer that the expectation runs over."""
    weights = log_p.detach().exp().sqrt()
    if log_p.shape[1] <= CLASSES:
        return [weights[:, c] * log_p[:, c] for c in range(log_p.shape[1])]
    generator = torch.Generator().manual_seed(seed)
    drawn = torch.multinomial(weights**2, DRAWS, replacement=True, generator=generator)
    share = torch.tensor(DRAWS**-0.5)
    return [share * log_p.gather(1, drawn[:, i : i + 1])[:, 0] for i in range(DRAWS)]


def slopes_of(maps: Sequence[Tensor], values: Sequence[Tensor]) -> list[Tensor]:
    """Gradients (S, N, …) at each of the maps (N, …) of S values (N,) that depend on them."""
    slopes = [torch.zeros(len(values), *m.shape, device=m.device) for m in maps]

    def fill(i: int) -> None:
        found = torch.autograd.grad(values[i].sum(), maps, retain_graph=True, allow_unused=True)
        for slope, part in zip(slopes, found, strict=True):
            if part is not None:
                slope[i] = part

    each(fill, range(len(values)))
    return slopes


def costs(
    layer: Layer, fronts: Sequence[Sequence[Candidate]], priced: Priced, grammar: Grammar
) -> list[np.ndarray]:
    """For each unit (C,) nats: what each candidate of its front would cost alone."""
    maps, units = priced.source, priced.units
    before = torch.cat([_pre_maps(layer, part) for part in maps.split(AT_ONCE)])
    siblings = torch.cat([units, before], 1)
    result = []
    for channel, candidates in enumerate(fronts):
        run = _Candidates(candidates, layer, grammar).to(maps.device)
        unit = units[:, channel : channel + 1]
        parts = zip(*(t.split(AT_ONCE) for t in (maps, siblings, unit)), strict=True)
        errors = (run(part, read) - own for part, read, own in parts)
        result.append(_cost(errors, priced.slopes[:, :, channel]))
    return result


def _cost(errors: Iterable[Tensor], slopes: Tensor) -> np.ndarray:
    """(C,) nats, from batches of errors (n, C, h, w) and slopes (S, N, h, w)."""
    total, start = 0.0, 0
    for error in errors:
        slope = slopes[:, start : start + len(error)].flatten(2).transpose(0, 1)
        change = slope @ error.flatten(2).transpose(1, 2)  # (n, S, C)
        total = total + (change.double() ** 2).sum((0, 1))
        start += len(error)
    return (0.5 * torch.as_tensor(total) / start).cpu().numpy()


def _pre_maps(layer: Layer, maps: Tensor) -> Tensor:
    """The layer's pre-activations (N, U, h, w)."""
    rows = layer.pre(layer.geometry.patches(maps))
    return rows.reshape(len(maps), *layer.out_shape[1:], layer.units).permute(0, 3, 1, 2)


class _Candidates(nn.Module):
    """(N, C, h, w): candidates on the original sources; siblings are read from the original too."""

    read: Tensor | None

    def __init__(self, candidates: Sequence[Candidate], layer: Layer, grammar: Grammar) -> None:
        super().__init__()
        bank = compile_bank([c.program for c in candidates], layer.scope.index, grammar)
        read = torch.from_numpy(bank.weight[:, layer.width :]).float()
        self.module = BankModule(bank, layer)
        self.register_buffer("read", read if read.any() else None)

    def forward(self, maps: Tensor, siblings: Tensor) -> Tensor:
        rows = self.module.rows(maps)
        if self.read is not None:
            rows = rows + torch.einsum("ru,nuhw->nrhw", self.read, siblings)
        return self.module.bank.heads(rows)
