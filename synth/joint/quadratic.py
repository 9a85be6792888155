"""What moving the constants of one program costs, to second order and beside all other moves."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from grammars.grammar import Grammar
from synth.joint.constants import Constants
from synth.joint.signals import Signal

ACTIVATIONS = 0.3  # weight of the unit's own error, in the nats that it costs where it is unrelated
# to the gradients; so constants are not bent to the outputs of fit alone
RIDGE = 1e-9  # of the mean curvature
AT_ONCE = 1024  # probes


@dataclass(frozen=True, eq=False)
class Quadratic:
    """Nats of a change δ (A+1,) of the constants `start`: slope · δ + ½ δᵀ gram δ.

    `effects` (S, N, A+1) say what it does to the answers on the probes: the next unit's slope
    depends on it.
    """

    slope: np.ndarray
    gram: np.ndarray
    start: np.ndarray
    effects: Tensor

    def nats(self, values: np.ndarray) -> float:
        """Those of the step to other constants (A+1,)."""
        change = values - self.start
        return float(change @ (self.slope + 0.5 * self.gram @ change))


def quadratic(
    constants: Constants,
    patches: Tensor,
    signal: Signal,
    target: Tensor,
    done: Tensor,
    grammar: Grammar,
) -> Quadratic:
    """That of a unit with activations `target` (N, h, w), on `patches` (N·h·w, width) as replaced,
    behind moves that have `done` (S, N) to the answers.

    Gauss–Newton: the divergence has the sampled Fisher information for its curvature, and is joined
    by ½ Σ E[g²]·E[e²] over positions: the price of the errors e of the activations if they knew
    nothing of the gradients g.
    """
    answers, count = done.shape
    own = signal.slopes[:, :, constants.channel].flatten(2).double()  # (S, N, P)
    pull = signal.pull[:, constants.channel].flatten(1).double()
    unrelated = ACTIVATIONS * (own**2).sum(0).mean(0)  # (P,)
    values = torch.from_numpy(constants.values)
    size, places = len(values), own.shape[2]
    effects = torch.empty(answers, count, size, dtype=torch.float64)
    slope, gram = torch.zeros(size, dtype=torch.float64), torch.zeros(size, size).double()
    for start in range(0, count, AT_ONCE):
        part = slice(start, start + AT_ONCE)
        inputs = constants.inputs(patches[start * places : (start + AT_ONCE) * places])
        units, opened = _opened(constants, inputs @ values, grammar)
        inputs = inputs.unflatten(0, (-1, places))  # (n, P, A+1)
        units, opened = units.view(inputs.shape[:2]), opened.view(inputs.shape[:2])
        effects[:, part] = torch.einsum("snp,npa->sna", own[:, part] * opened, inputs)
        slope += torch.einsum("np,npa->a", pull[part] * opened, inputs)
        errors = units - target[part].flatten(1).double()
        slope += torch.einsum("np,npa->a", unrelated * opened * errors, inputs)
        weighted = (unrelated.sqrt() * opened)[:, :, None] * inputs
        gram += weighted.flatten(0, 1).T @ weighted.flatten(0, 1)
    flat = effects.flatten(0, 1)
    slope += flat.T @ done.flatten()
    gram += flat.T @ flat
    gram.diagonal().add_(RIDGE * gram.trace() / size)
    slope, gram = slope / count, gram / count
    return Quadratic(slope.numpy(), gram.numpy(), constants.values, effects)


def _opened(constants: Constants, pre: Tensor, grammar: Grammar) -> tuple[Tensor, Tensor]:
    """The program's values (n,), and their slopes, from those of its sum."""
    pre.requires_grad_()
    units = constants.units(pre, grammar)
    (opened,) = torch.autograd.grad(units.sum(), pre)
    return units.detach(), opened
