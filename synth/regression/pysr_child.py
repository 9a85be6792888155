"""PySR (Cranmer 2023) in a process of its own: `python -m synth.regression.pysr_child`.

The first import of pysr looks for Julia and fetches it with its packages where it can.
"""

import ast
from collections.abc import Mapping
from typing import Any

import numpy as np

from synth.regression.child import serve

OPERATORS = {
    "add": "+",
    "sub": "-",
    "mul": "*",
    "div": "/",
    "max": "max",
    "min": "min",
    "abs": "abs",
    "square": "square",
    "exp": "exp",
    "cos": "cos",
    "sin": "sin",
    "tanh": "tanh",
    "sqrt": "sqrt",
    "relu": "relu",
    "step": "step(x) = x > zero(x) ? one(x) : zero(x)",
    "sigmoid": "sigmoid(x) = one(x) / (one(x) + exp(-x))",
}
"""What PySR calls our operations, or their definitions in Julia."""

BINARY = frozenset({"add", "sub", "mul", "div", "max", "min"})
SIGNS = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul", ast.Div: "div"}


def fit(options: Mapping[str, Any], inputs: np.ndarray, target: np.ndarray) -> list[Any]:
    """The front of error and complexity as expressions, simplest first."""
    from pysr import PySRRegressor

    regressor = PySRRegressor(**options, extra_sympy_mappings=_in_sympy())
    regressor.fit(inputs, target, variable_names=[f"v{i}" for i in range(inputs.shape[1])])
    return [expression_of(text) for text in regressor.equations_["equation"]]  # type: ignore[index]


def expression_of(text: str) -> list[Any]:
    """An equation in PySR's own words; what is no operation of ours has no meaning then."""
    return _read(ast.parse(text, mode="eval").body)


def _read(tree: ast.expr) -> list[Any]:
    match tree:
        case ast.Constant(value=int() | float() as value):
            return ["const", float(value)]
        case ast.Name(id=name):
            return ["var", int(name.removeprefix("v"))]
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            return ["neg", _read(operand)]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in SIGNS:
            return [SIGNS[type(op)], _read(left), _read(right)]
        case ast.Call(func=ast.Name(id=name), args=args):
            return [name, *map(_read, args)]
    return [ast.unparse(tree)]


def _in_sympy() -> dict[str, Any]:
    """What PySR's exporters make of operators that are ours."""
    import sympy

    return {
        "step": lambda x: sympy.Piecewise((1.0, x > 0), (0.0, True)),
        "sigmoid": lambda x: 1 / (1 + sympy.exp(-x)),
    }


if __name__ == "__main__":
    serve(fit)
