"""What a pair of outputs certifies, for each of B sets of inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor

from oracles.difference.pair import Pair
from oracles.difference.rounding import gamma, up
from oracles.difference.zonotope import Zonotope, plus


@dataclass(frozen=True, eq=False)
class Answers:
    """Of B sets of inputs and K outputs.

    `answer` (B,): the original's largest output at the middle of the set. `bound` (B, K): no output
    differs by more anywhere in the set. `original` (B,): the original gives that answer everywhere
    in the set, and nothing else is largest beside it. `replaced` (B,): so does the replacement.
    """

    answer: Tensor
    bound: Tensor
    original: Tensor
    replaced: Tensor

    @property
    def same(self) -> Tensor:
        """(B,) both networks give one and the same answer everywhere in the set."""
        return self.original & self.replaced


def answers(pair: Pair) -> Answers:
    """What outputs (B, K) certify. Whatever is no number certifies nothing."""
    answer = pair.original.center.argmax(1)
    both = plus(pair.original, pair.difference)
    replaced = torch.maximum(margins(pair.replaced, answer), margins(both, answer))
    return Answers(
        answer=answer,
        bound=difference_bound(pair),
        original=(margins(pair.original, answer) > 0).all(1),
        replaced=(replaced > 0).all(1),
    )


def difference_bound(pair: Pair) -> Tensor:
    """(B, *shape) bounds of |replaced − original|; infinite where there is none."""
    direct = torch.maximum(-pair.ranges[2][0], pair.ranges[2][1])
    symbols = plus(pair.replaced, pair.original, -1.0)
    bound = torch.minimum(direct, torch.maximum(-symbols.lower, symbols.upper))
    return bound.nan_to_num(nan=torch.inf)


def margins(outputs: Zonotope, answer: Tensor) -> Tensor:
    """(B, K) lower bounds of output `answer` − output k; infinite for the answer itself."""

    def chosen(values: Tensor) -> Tensor:
        places = answer.view(-1, *(1,) * (values.dim() - 1))
        return values.gather(-1, places.expand(-1, *values.shape[1:-1], 1))

    blocks = {
        symbols: chosen(wide) - wide
        for symbols, block in outputs.blocks.items()
        for wide in (block.expand(len(answer), *block.shape[1:]),)
    }
    sizes = chosen(outputs.magnitude) + outputs.magnitude
    radius = up(chosen(outputs.radius) + outputs.radius) + up(gamma(3) * sizes)
    gap = Zonotope(chosen(outputs.center) - outputs.center, up(radius), blocks)
    others = torch.arange(gap.center.shape[1], device=answer.device) != answer[:, None]
    return torch.where(others, gap.lower, torch.inf)
