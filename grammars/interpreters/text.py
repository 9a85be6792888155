"""Programs as Python source over torch tensors: how bodies become code without this package."""

from collections.abc import Sequence

from grammars.evaluation import Algebra
from grammars.primitive import Transcendental

GROUP = 32  # terms in a parenthesised group: Python's parser recurses once a term

HELPERS = '''def maximum(a, b):
    if torch.is_tensor(a) and torch.is_tensor(b):
        return torch.maximum(a, b)
    if torch.is_tensor(a):
        return a.clamp(min=b)
    return b.clamp(min=a) if torch.is_tensor(b) else max(a, b)


def minimum(a, b):
    if torch.is_tensor(a) and torch.is_tensor(b):
        return torch.minimum(a, b)
    if torch.is_tensor(a):
        return a.clamp(max=b)
    return b.clamp(max=a) if torch.is_tensor(b) else min(a, b)


def select(condition, positive, otherwise):
    """`positive` where condition > 0, else `otherwise`."""
    if not torch.is_tensor(condition):
        return positive if condition > 0 else otherwise
    if not torch.is_tensor(positive):
        positive = torch.full_like(condition, positive)
    return torch.where(condition > 0, positive, otherwise)


def as_tensor(x):
    return x if torch.is_tensor(x) else torch.tensor(x, dtype=torch.float64)
'''
"""Source of the functions that the text refers to, beside the module `torch` itself.

Numbers adopt the dtype and the device of the maps beside them, as in the torch interpreter.
"""


class TextAlgebra(Algebra):
    """Values are Python expressions; constants are written by `repr`, so nothing is lost."""

    name = "text"

    def const(self, value: float | str) -> str:
        return value if isinstance(value, str) else repr(float(value))

    def add(self, a: str, b: str) -> str:
        return f"({a} + {b})"

    def mul(self, a: str, b: str) -> str:
        return f"({a} * {b})"

    def max(self, a: str, b: str) -> str:
        return f"maximum({a}, {b})"

    def min(self, a: str, b: str) -> str:
        return f"minimum({a}, {b})"

    def select(self, condition: str, positive: str, otherwise: str) -> str:
        return f"select({condition}, {positive}, {otherwise})"

    def linear(self, weights: Sequence[float], values: Sequence[str], bias: float) -> str:
        pieces = [f"{self.const(w)} * {v}" for w, v in zip(weights, values, strict=True)]
        pieces.append(self.const(bias))
        groups = [" + ".join(pieces[i : i + GROUP]) for i in range(0, len(pieces), GROUP)]
        return f"({' + '.join(f'({g})' for g in groups)})"

    def call(self, function: Transcendental, x: str) -> str:
        return f"torch.{function.torch}(as_tensor({x}))"
