"""What is most promising, where nobody knows how much of what is left is noise.

At one price of what is left, long formulas that say some of the noise would take the place of short
ones that say all the rest; so the best go on at several prices, by turns.
"""

from collections.abc import Callable, Sequence
from itertools import chain
from typing import TypeVar

T = TypeVar("T")

WORTHS = (25.0, 100.0, 400.0)  # bits that may be paid for what is left to be e times smaller


def by_turns(items: Sequence[T], price: Callable[[T, float], float]) -> list[T]:
    """All items, the best at each price of what is left before the second best at any.

    `price(item, worth)` is the less the better; of two at one price the first comes first.
    """
    ranked = [sorted(range(len(items)), key=lambda i: (price(items[i], w), i)) for w in WORTHS]
    return [items[i] for i in dict.fromkeys(chain.from_iterable(zip(*ranked, strict=True)))]
