"""Programs as Python source over torch tensors: how bodies become code without this package."""

from grammars.evaluation import Algebra
from grammars.primitive import Transcendental

HELPERS = '''def maximum(a, b):
    return torch.maximum(*torch.broadcast_tensors(torch.as_tensor(a), torch.as_tensor(b)))


def minimum(a, b):
    return torch.minimum(*torch.broadcast_tensors(torch.as_tensor(a), torch.as_tensor(b)))


def select(condition, positive, otherwise):
    """`positive` where condition > 0, else `otherwise`."""
    return torch.where(torch.as_tensor(condition) > 0, positive, otherwise)
'''
"""Source of the functions that the text refers to, beside the module `torch` itself."""


class TextAlgebra(Algebra):
    """Values are Python expressions; constants are written by `repr`, so nothing is lost."""

    name = "text"

    def const(self, value: float | str) -> str:
        return value if isinstance(value, str) else repr(value)

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

    def call(self, function: Transcendental, x: str) -> str:
        return f"torch.{function.torch}(torch.as_tensor({x}))"
