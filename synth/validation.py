"""Validation: what held-out says of a replacement, once.

Everything streams over batches of probes; of a batch all maps are held, of all others the outputs.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from grammars.grammar import Grammar
from synth.assembly import LayerChoice, Status, bank_module
from synth.batches import Batch, Inputs, batch_size
from synth.controls import mean_ablation, resample_ablation, unit_statistics
from synth.layers import Layer
from synth.network import Network
from synth.outputs import (
    agreement,
    answers,
    as_rows,
    cross_entropy,
    kl_divergence,
    reading_of,
)
from synth.splits import Part
from synth.statistics import NonInferiority, non_inferiority
from synth.threads import each

HELD = 2**26  # numbers of all that is held for a batch: units draw their donors among its probes
DROP_IN, APPROXIMATE, INCONCLUSIVE = "drop-in", "approximate", "inconclusive"
JUDGED = (Status.PROGRAM, Status.ROUNDED)  # the units whose FVUs are summarised

Envelopes = Mapping[str, tuple[np.ndarray, np.ndarray]]


@dataclass(frozen=True)
class Spread:
    """Of FVUs over units; None over no units. `p95` is that of a unit, not interpolated."""

    median: float | None
    p95: float | None
    max: float | None


@dataclass(frozen=True)
class UnitFidelity:
    """The FVUs of one unit on held-out, with the variance of fit."""

    layer: str
    channel: int
    fvu_local: float
    fvu_in_situ: float


@dataclass(frozen=True)
class Validation:
    """Held-out figures of a replacement; `dataclasses.asdict` makes it JSON.

    `n` probes, of which the original alone is right on `lost` and the replacement alone on
    `gained`; without labels (`labelled` False) the original's answers are the labels, so that its
    accuracy is 1. The interval is that of the change at 95 %, unless asked otherwise; `needed` is
    the number of probes at which these shares would lie above −margin, None if never. Divergences
    are in nats. `recovered_mean` and `recovered_resample` are None where the ablation does no harm.
    Losses are the mean cross-entropy, or KL to the original without labels.
    """

    n: int
    labelled: bool
    accuracy_original: float
    accuracy_replaced: float
    accuracy_change: float
    accuracy_change_interval: tuple[float, float]
    lost: int
    gained: int
    margin: float
    needed: int | None
    verdict: str
    agreement: float
    kl_mean: float
    kl_max: float
    loss_original: float
    loss_replaced: float
    loss_mean_ablated: float
    loss_resample_ablated: float
    recovered_mean: float | None
    recovered_resample: float | None
    fvu_local: Spread
    fvu_in_situ: Spread
    held_out_outside_envelope: float | None
    units: tuple[UnitFidelity, ...]

    @property
    def drop_in(self) -> bool:
        return self.verdict == DROP_IN


def validate(
    network: Network,
    choices: Sequence[LayerChoice],
    grammar: Grammar,
    held_out: Part,
    fit: Part,
    *,
    margin: float,
    min_agreement: float = 0.98,
    confidence: float = 0.95,
    seed: int = 0,
    variances: Mapping[str, np.ndarray] | None = None,
    envelopes: Envelopes | None = None,
) -> Validation:
    """Compare `network` and its replacement by `choices` on held-out.

    Means for the ablation and variances for FVUs come from fit (`variances[layer]` (U,) if given).
    `envelopes[layer]` are the least and largest value of each weight column, (F,) each, that the
    claims were made for. ValueError for labels that the network has no class for.
    """
    stream = _Stream(network, choices, grammar, fit.inputs, envelopes or {}, seed)
    run = stream.run(held_out.inputs)
    scales = variances or {name: s.variance for name, s in stream.statistics.items()}
    units = _fidelity(choices, run, scales)
    judge = _Judge(run, held_out.labels)
    test = judge.test(margin, confidence)
    return Validation(
        **judge.paired(test),
        verdict=verdict(test, judge.agreement, min_agreement=min_agreement),
        **judge.divergence(),
        **judge.losses(),
        fvu_local=_spread(choices, [u.fvu_local for u in units]),
        fvu_in_situ=_spread(choices, [u.fvu_in_situ for u in units]),
        held_out_outside_envelope=float(run.outside.mean()) if envelopes else None,
        units=units,
    )


def verdict(test: NonInferiority, agreement: float, *, min_agreement: float = 0.98) -> str:
    """Drop-in, approximate, or inconclusive with the number of probes that would decide."""
    if agreement < min_agreement or test.needed is None:
        return APPROXIMATE
    return DROP_IN if test.holds else f"{INCONCLUSIVE}, needs n >= {test.needed}"


def recovered(original: float, replaced: float, ablated: float) -> float | None:
    """1 − (replaced − original)/(ablated − original) of losses; None if ablation does no harm."""
    harm = ablated - original
    return 1 - (replaced - original) / harm if harm > 0 and np.isfinite(harm) else None


@dataclass(frozen=True, eq=False)
class _Run:
    """What one pass over held-out collects: outputs (n, K), who left an envelope (n,), errors.

    `errors[layer]` (2, U) are the mean squared errors on the original and the replaced sources.
    """

    original: Tensor
    replaced: Tensor
    mean: Tensor
    resample: Tensor
    outside: np.ndarray
    errors: Mapping[str, np.ndarray]


@dataclass(frozen=True, eq=False)
class _Batch:
    """The same for one batch, with sums of squared errors."""

    outputs: tuple[Tensor, ...]
    outside: np.ndarray
    squares: Mapping[str, np.ndarray]


class _Stream:
    """Runs the original, the replacement and both ablations over held-out."""

    def __init__(
        self,
        network: Network,
        choices: Sequence[LayerChoice],
        grammar: Grammar,
        fit: Inputs,
        envelopes: Envelopes,
        seed: int,
    ) -> None:
        self.network, self.choices, self.fit = network, choices, fit
        self.seed = seed
        self.layers = {c.layer.name: c.layer for c in choices}
        self.envelopes = {n: box for n, box in envelopes.items() if n in self.layers}
        self.banks = {b for la in self.layers.values() for b in (la.name, la.source)}
        self.modules = {c.layer.name: bank_module(c, grammar) for c in choices}
        self.statistics = unit_statistics(network, list(self.layers), fit)
        means = {name: s.mean for name, s in self.statistics.items()}
        self.mean = mean_ablation(choices, means)

    def run(self, inputs: Inputs) -> _Run:
        """All held-out probes."""
        batches = enumerate(inputs.cut(batch_size(_held(self.layers.values()), held=HELD)))
        parts = each(lambda pair: self._batch(pair[1].batch(), pair[0]), batches)
        original, replaced, mean, resample = (
            torch.cat([p.outputs[k] for p in parts]) for k in range(4)
        )
        errors = {}
        for name, layer in self.layers.items():
            positions = len(inputs) * layer.out_shape[1] * layer.out_shape[2]
            errors[name] = np.sum([p.squares[name] for p in parts], axis=0) / positions
        outside = np.concatenate([p.outside for p in parts])
        return _Run(original, replaced, mean, resample, outside, errors)

    def _batch(self, batch: Batch, index: int) -> _Batch:
        ablated = self._ablated(batch, index)  # first: its maps are gone when others come
        original = self.network.record(batch, self.banks)
        replaced = self.network.record(batch, self.banks, modules=self.modules)
        outputs = (original["output"], replaced["output"], *ablated)
        rows = tuple(as_rows(output).float().cpu() for output in outputs)
        squares = {name: self._squares(name, original, replaced) for name in self.layers}
        return _Batch(rows, self._outside(original, len(batch[0])), squares)

    def _ablated(self, batch: Batch, index: int) -> tuple[Tensor, Tensor]:
        """The outputs when all replaced units are their means, and those of random fit probes."""
        generator = np.random.default_rng([self.seed, index])
        drawn = generator.integers(len(self.fit), size=len(batch[0]))
        donors = self.network.record(self.fit.take(drawn).batch(), self.layers, to_end=False)
        resample = resample_ablation(self.choices, donors, generator)
        kinds = (self.mean, resample)
        mean, other = (self.network.record(batch, [], modules=m)["output"] for m in kinds)
        return mean, other

    def _squares(
        self, name: str, original: Mapping[str, Tensor], replaced: Mapping[str, Tensor]
    ) -> np.ndarray:
        """(2, U) sums of squared errors, of the programs on original and on replaced sources."""
        source, unit = self.layers[name].source, original[name]
        situ = _square(replaced[name] - unit)
        if torch.equal(original[source], replaced[source]):
            return torch.stack([situ, situ]).cpu().numpy()
        with torch.no_grad():
            local = self.modules[name](original[source])
        return torch.stack([_square(local - unit), situ]).cpu().numpy()

    def _outside(self, original: Mapping[str, Tensor], count: int) -> np.ndarray:
        """(N,) whether a tap of a layer leaves the values that its claims were made for."""
        left = np.zeros(count, dtype=bool)
        for name, (lower, upper) in self.envelopes.items():
            layer = self.layers[name]
            columns = layer.geometry.columns(original[layer.source])  # (N, width, places)
            least, most = columns.amin(2).cpu().numpy(), columns.amax(2).cpu().numpy()
            left |= ((least < lower) | (most > upper)).any(1)
        return left


def _square(error: Tensor) -> Tensor:
    """(U,) float64 sums of the squares of (N, U, h, w)."""
    norms = torch.linalg.vector_norm(error, dim=(2, 3), dtype=torch.float64)
    return (norms**2).sum(0)


class _Judge:
    """Figures of one run; without labels the original's answers are the labels."""

    def __init__(self, run: _Run, labels: Tensor | None) -> None:
        self.run, self.labels = run, labels
        self.reading = reading_of(run.original)
        self.original = answers(run.original, self.reading)
        self.replaced = answers(run.replaced, self.reading)
        self.truth = self.original if labels is None else labels

    @property
    def agreement(self) -> float:
        return agreement(self.run.original, self.run.replaced, self.reading)

    def test(self, margin: float, confidence: float) -> NonInferiority:
        """The paired test of the change of accuracy."""
        right, still = self.original == self.truth, self.replaced == self.truth
        lost, gained = int((right & ~still).sum()), int((~right & still).sum())
        return non_inferiority(len(right), lost, gained, margin, confidence=confidence)

    def paired(self, test: NonInferiority) -> dict[str, Any]:
        right = int((self.original == self.truth).sum())
        return {
            "n": test.n,
            "labelled": self.labels is not None,
            "accuracy_original": right / test.n,
            "accuracy_replaced": (right - test.lost + test.gained) / test.n,
            "accuracy_change": test.change,
            "accuracy_change_interval": (test.interval.low, test.interval.high),
            "lost": test.lost,
            "gained": test.gained,
            "margin": test.margin,
            "needed": test.needed,
        }

    def divergence(self) -> dict[str, Any]:
        kl = kl_divergence(self.run.original, self.run.replaced, self.reading)
        return {"agreement": self.agreement, "kl_mean": float(kl.mean()), "kl_max": float(kl.max())}

    def losses(self) -> dict[str, Any]:
        run = self.run
        kinds = {
            "original": run.original,
            "replaced": run.replaced,
            "mean_ablated": run.mean,
            "resample_ablated": run.resample,
        }
        loss = {kind: self._loss(outputs) for kind, outputs in kinds.items()}
        found = {f"loss_{kind}": value for kind, value in loss.items()}
        pair = loss["original"], loss["replaced"]
        return found | {
            "recovered_mean": recovered(*pair, loss["mean_ablated"]),
            "recovered_resample": recovered(*pair, loss["resample_ablated"]),
        }

    def _loss(self, outputs: Tensor) -> float:
        if self.labels is None:
            return float(kl_divergence(self.run.original, outputs, self.reading).mean())
        return float(cross_entropy(outputs, self.labels, self.reading).mean())


def _held(layers: Iterable[Layer]) -> int:
    """Numbers held for a probe: each layer's maps and sources twice, and the widest patches."""
    maps = [math.prod(la.in_shape) + math.prod(la.out_shape) for la in layers]
    patches = [la.width * math.prod(la.out_shape[1:]) for la in layers]
    return 2 * sum(maps) + max(patches, default=0)


def _fidelity(
    choices: Sequence[LayerChoice], run: _Run, variances: Mapping[str, np.ndarray]
) -> tuple[UnitFidelity, ...]:
    found = []
    for choice in choices:
        name = choice.layer.name
        fvus = _fvu(run.errors[name], variances[name]).T.tolist()
        found += [UnitFidelity(name, u.channel, *fvus[u.channel]) for u in choice.units]
    return tuple(found)


def _fvu(errors: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """Mean squared errors (2, U) by variances (U,); of no variance, 0 if there is no error."""
    constant = np.where(errors == 0, 0.0, np.inf)
    shares = errors / np.where(variance > 0, variance, 1.0)
    return np.nan_to_num(np.where(variance > 0, shares, constant), nan=np.inf, posinf=np.inf)


def _spread(choices: Sequence[LayerChoice], values: Sequence[float]) -> Spread:
    """Over the units that are programs or rounded."""
    statuses = [u.status for c in choices for u in c.units]
    judged = [v for s, v in zip(statuses, values, strict=True) if s in JUDGED]
    if not judged:
        return Spread(None, None, None)
    median, p95 = np.median(judged), np.quantile(judged, 0.95, method="higher")
    return Spread(float(median), float(p95), max(judged))
