"""What all programs together do to the outputs: gradients of softened answers at every unit.

Few probes have doubtful answers, and constants that are fitted to those alone help no other probe.
So outputs are compared as in distillation (Hinton, Vinyals and Dean 2015, section 2), as
distributions at a temperature: what the network takes for nearly as likely counts on every probe.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from synth.batches import Batch
from synth.network import Network
from synth.outputs import Reading, as_rows, log_probabilities, reading_of
from synth.price import answers, slopes_of

TEMPERATURE = 4.0  # logarithms of probabilities are divided by it


@dataclass(frozen=True, eq=False)
class Signal:
    """Of a layer on N probes: its `source` (N, C, H, W) as replaced, and gradients at its units.

    `slopes` (S, N, U, h, w) are those of √probability · log softened probability for S answers, and
    `pull` (N, U, h, w) that of the softened divergence.
    """

    source: Tensor
    slopes: Tensor
    pull: Tensor


@dataclass(frozen=True, eq=False)
class Signals:
    """Mean divergences of a replacement in nats, as it is and `softened`, and `layers` by name."""

    kl: float
    softened: float
    layers: Mapping[str, Signal]


@dataclass(frozen=True, eq=False)
class Listener:
    """Hears replacements of a network on some probes. `units` are the original's maps, by layer."""

    network: Network
    probes: Batch
    units: Mapping[str, Tensor]
    reading: Reading
    log_p: Tensor
    seed: int

    @staticmethod
    def of(network: Network, probes: Batch, seed: int) -> "Listener":
        found = network.record(probes, [la.name for la in network.layers])
        outputs = as_rows(found.pop("output"))
        reading = reading_of(outputs)
        units = {name: maps.cpu() for name, maps in found.items()}
        return Listener(network, probes, units, reading, log_probabilities(outputs, reading), seed)

    def heard(self, modules: Mapping[str, nn.Module]) -> Signals:
        """The signals of a replacement by these modules."""
        layers = self.network.layers
        banks = [*(la.name for la in layers), *(la.source for la in layers)]
        found = self.network.record(self.probes, banks, modules=modules, grad=True)
        log_q = log_probabilities(as_rows(found["output"]), self.reading)
        soft_p, soft_q = (torch.log_softmax(v / TEMPERATURE, 1) for v in (self.log_p, log_q))
        apart = _divergence(soft_p, soft_q)
        maps = [found[la.name] for la in layers]
        slopes = [t.cpu() for t in slopes_of(maps, [*answers(soft_q, self.seed), apart])]
        known = {
            la.name: Signal(found[la.source].detach().cpu(), t[:-1], t[-1])
            for la, t in zip(layers, slopes, strict=True)
        }
        with torch.no_grad():
            kl = float(_divergence(self.log_p, log_q).mean())
            return Signals(kl, float(apart.mean()), known)


def _divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    return (log_p.exp() * (log_p - log_q)).sum(1)
